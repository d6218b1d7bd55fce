"""The command line of the course: data, doctor, build, progress, check, grade, map, experiments, serve and version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(help="Large models in recommender systems: the course's tools.", no_args_is_help=True, add_completion=False)
COLOURS = {"OK": "green", "WARN": "yellow", "FAIL": "red"}


@app.command()
def data() -> None:
    """Fetch and verify the data once; afterwards no lesson needs the network."""
    from course_lib.datasets import DataError, fetch_movielens

    try:
        folder = fetch_movielens(progress=True)
    except (DataError, ValueError) as error:
        typer.echo(f"course data: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"MovieLens-100K is in {folder}, verified.")


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print every finding as JSON.")] = False) -> None:
    """Look at everything a lesson needs, and say which command repairs what is missing."""
    from course_lib.classroom.doctor import examine, summary

    findings = examine()
    if as_json:
        typer.echo(json.dumps([finding.as_dict() for finding in findings], indent=1, ensure_ascii=False))
    else:
        for finding in summary(findings):
            tag = typer.style(f"[{finding.level}]", fg=COLOURS[finding.level])
            typer.echo(f"{tag} {finding.what}: {finding.detail}")
            if finding.repair:
                typer.echo(f"       repair: {finding.repair}")
    raise typer.Exit(int(any(finding.level == "FAIL" for finding in findings)))


@app.command()
def build(
    names: Annotated[list[str] | None, typer.Argument(help="Numbers or names of lessons; all when left out.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only compare: fail where a notebook differs from its master.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Notebooks executed at once.")] = 2,
    force: Annotated[bool, typer.Option("--force", help="Build what has not changed, too.")] = False,
    nbgrader: Annotated[Path | None, typer.Option(help="Write a course for nbgrader into this folder, nothing else.")] = None,
) -> None:
    """Make lessons/ and solutions/ notebooks from their masters."""
    from course_lib.classroom.build import build as build_notebooks

    if nbgrader:
        from course_lib.classroom.nbgrader import course

        raise typer.Exit(course(names or [], nbgrader, force=force))
    raise typer.Exit(build_notebooks(names or [], check=check, jobs=jobs, force=force))


@app.command()
def progress() -> None:
    """Show what you have solved so far."""
    from course_lib.classroom.progress import location
    from course_lib.classroom.progress import progress as by_lesson

    table = by_lesson()
    if table.empty:
        typer.echo("No lessons are built yet.")
        return
    shown = _table("lesson", "solved", "points")
    for lesson, row in table.iterrows():
        shown.add_row(lesson, f"{row.solved:.0f} of {row.exercises:.0f}", f"{row.points:g} of {row.of:g}")
    Console().print(shown)
    typer.echo(f"Kept in {location()}; delete the file to start afresh.")


@app.command()
def check(
    notebook: Annotated[Path, typer.Argument(help="The notebook to judge, such as lessons/04_dot_product.ipynb.")],
    junit: Annotated[Path | None, typer.Option(help="Write the XML report here.")] = None,
) -> None:
    """Run a notebook from top to end with nbval, and show a score card; exit status 0 only if all passed."""
    from course_lib.classroom.nbval_check import NotebookError, check_notebook

    try:
        outcomes, passed = check_notebook(notebook, junit=junit)
    except NotebookError as error:
        typer.echo(f"course check: {error}", err=True)
        raise typer.Exit(2) from None
    shown = _table("exercise", "result", "points", "what to look at")
    for outcome in outcomes:
        score = f"{outcome.earned:g} of {outcome.points:g}" if outcome.exercise else ""
        shown.add_row(outcome.exercise or "–", outcome.state, score, outcome.message)
    console = Console()
    console.print(shown)
    console.print(f"{sum(o.earned for o in outcomes):g} of {sum(o.points for o in outcomes):g} points")
    raise typer.Exit(0 if passed else 1)


@app.command()
def grade(
    paths: Annotated[list[Path], typer.Argument(help="Notebooks, folders or zip files as a platform hands them out.")],
    out: Annotated[Path, typer.Option(help="The folder for marks, reports and pages for learners.")],
    jobs: Annotated[int, typer.Option(min=1, help="Answers judged at once.")] = 2,
    sandbox: Annotated[
        str | None, typer.Option(help="require, auto or off; require when there is more than one submission, else auto.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=1, help="Seconds of computing for an exercise; by the clock three times that.")
    ] = 20,
    scheduler: Annotated[str | None, typer.Option(help="Address of a running Dask scheduler that shares the work.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a batch that was interrupted.")] = False,
    roster: Annotated[Path | None, typer.Option(help="A gradebook exported by Canvas, for the table that it imports.")] = None,
) -> None:
    """Grade a class: the master's checks against every learner's answers, run where they can do no harm.

    Exit status 0: everything was judged; 1: some notebooks could not be read; 2: the batch did not come to its end, be it by
    Ctrl-C, and --resume goes on. Answers in words wait in OUT/texts.csv for your points, which count after --resume.
    """
    from course_lib.classroom.grading.command import BatchError, grade_class

    try:
        summary = grade_class(
            paths, out, jobs=jobs, sandbox=sandbox, seconds=seconds, scheduler=scheduler, resume=resume, roster=roster,
            say=typer.echo,
        )  # fmt: skip
    except BatchError as error:
        typer.echo(f"course grade: {error}", err=True)
        raise typer.Exit(2) from None
    shown = _table("learner", "lesson", "points", "passed", "remarks")
    for row in summary.rows:
        shown.add_row(*row)
    console = Console()
    console.print(shown)
    console.print(summary.text)
    raise typer.Exit(1 if summary.unread else 0)


@app.command(name="map")
def lesson_map(
    only: Annotated[list[str] | None, typer.Argument(help="Measure only these lessons, by number or name.")] = None,
    costs: Annotated[bool, typer.Option(help="Run every lesson once, and record its CPU time and memory.")] = True,
) -> None:
    """Write the map of the lessons into README.md and lessons/README.md, with the measured cost of each."""
    from course_lib.classroom import lesson_map as maps

    try:
        maps.write(measure=costs, only=only)
    except ValueError as error:
        typer.echo(f"course map: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo("README.md and lessons/README.md have the map of today's lessons.")


@app.command()
def experiments(
    name: Annotated[str | None, typer.Argument(help="The experiment to run or to go on with.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Show the experiments, and what their tables hold.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="Run only this variant; may be given again.")] = None,
) -> None:
    """Run an experiment that is too long for a lesson, cell by cell, into data/results/NAME.csv."""
    from course_lib import experiments as runs

    if listed or name is None:
        shown = _table("experiment", "question", "variants", "cells done")
        for known in runs.names():
            what = runs.experiment(known)
            shown.add_row(known, what.question, ", ".join(what.variants), f"{_rows(what)} of {len(what.cells)}")
        Console().print(shown)
        raise typer.Exit(0 if listed else 2)
    try:
        what = runs.experiment(name)
        table = runs.run(what, variants=only, progress=True)
    except runs.ExperimentError as error:
        typer.echo(f"course experiments: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(table.groupby("variant", sort=False)[[*what.metrics, "seconds"]].mean().to_string(float_format="{:.4g}".format))


@app.command()
def serve(
    package: Annotated[Path, typer.Argument(help="Folder that write_package made.")],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port to listen on.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that answer.")] = 1,
    token: Annotated[
        str | None, typer.Option(envvar="COURSE_TOKEN", help="Bearer token to ask for; the variable keeps it out of `ps`.")
    ] = None,
    feedback: Annotated[Path | None, typer.Option(envvar="COURSE_FEEDBACK", help="JSONL file for POST /feedback.")] = None,
    log: Annotated[str, typer.Option(envvar="COURSE_LOG", help="debug (each request), info, warning or error.")] = "info",
) -> None:
    """Serve a package over HTTP until Ctrl-C; a package that replaces it is taken up without a break."""
    from course_lib.serving.options import Options
    from course_lib.serving.package import PackageError, load_package
    from course_lib.serving.server import serve as serve_package

    try:
        options = Options.from_environment(token=token, feedback=feedback, log=log)
        found = load_package(package)
    except (PackageError, ValueError) as error:
        typer.echo(f"course serve: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{found.name} {found.version} ({found.model}) on http://{host}:{port}, described at /openapi.json")
    serve_package(package, host=host, port=port, workers=workers, options=options)


@app.command()
def version() -> None:
    """Print the version of the course's library."""
    from importlib.metadata import version as installed

    typer.echo(installed("course_lib"))


def _rows(what) -> int:
    """Cells of an experiment that its table holds; none where there is no table."""
    from course_lib.experiments import ExperimentError, results

    try:
        return len(results(what.name))
    except ExperimentError:
        return 0


def _table(*columns: str) -> Table:
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
