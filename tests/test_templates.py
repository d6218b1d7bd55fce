"""The workflows for classrooms: valid for their platforms, no command that does not exist, and they check what changed."""

import os
import re
import subprocess
import tomllib

import pytest
import typer
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from jsonschema.validators import validator_for

from course_lib import classroom
from course_lib.classroom.cli import app
from course_lib.config import PROJECT

FOLDER = PROJECT / "course_lib" / "classroom" / "templates"
SCHEMAS = {"github-classroom.yml": "vendor.github-workflows", "gitlab-ci.yml": "vendor.gitlab-ci"}
CALL = re.compile(r"(?:^|['\"\s])course (\w+)((?: [^\n;|&]*)?)", re.MULTILINE)


def load(name: str) -> dict:
    """A template as plain data; YAML 1.1 reads the key `on` as true."""
    content = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    return {"on" if key is True else key: value for key, value in content.items()}


def script(name: str) -> str:
    """All that a template has a shell do."""
    if name.startswith("github"):
        return "\n".join(step["run"] for step in load(name)["jobs"]["check"]["steps"] if "run" in step)
    job = load(name)["check"]
    return "\n".join(job["before_script"] + job["script"])


def problems(name: str, content: dict) -> list[str]:
    schema = get_builtin_schema(SCHEMAS[name])
    return [error.message for error in validator_for(schema)(schema).iter_errors(content)]


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_template_is_valid_for_its_platform(name):
    assert problems(name, load(name)) == []
    job = {"runs-on": 3, "steps": "none"} if name.startswith("github") else {"script": 3}
    spoilt = load(name) | ({"jobs": {"check": job}} if name.startswith("github") else {"check": job})
    assert problems(name, spoilt) != []


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_command_and_option_exists(name):
    commands = typer.main.get_command(app).commands
    calls = CALL.findall(script(name))
    assert {command for command, _ in calls} == {"data", "check"}
    for command, rest in calls:
        known = {option for parameter in commands[command].params for option in parameter.opts}
        assert set(re.findall(r"(?<=\s)--[\w-]+", rest)) <= known, rest


def test_reports_are_kept_where_the_platform_looks_for_them():
    assert load("gitlab-ci.yml")["check"]["artifacts"] == {"when": "always", "reports": {"junit": "reports/*.xml"}}
    last = load("github-classroom.yml")["jobs"]["check"]["steps"][-1]
    assert last["if"] == "always()" and last["with"]["path"] == "reports/*.xml"


def test_templates_are_part_of_the_package():
    data = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]
    found = {path for pattern in data[classroom.__name__] for path in FOLDER.parent.glob(pattern)}
    assert found == {FOLDER / name for name in SCHEMAS} == set(FOLDER.iterdir())


def git(folder, *arguments) -> str:
    identity = ["-c", "user.name=learner", "-c", "user.email=learner@localhost", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    """A learner's repository: handed out with three notebooks; then one changed, one new, one deleted, and a text."""
    git(tmp_path, "init", "--quiet")
    folder = tmp_path / "lessons"
    folder.mkdir()
    for name in ("00_a", "01_b", "02_c"):
        (folder / f"{name}.ipynb").write_text("handed out")
    git(tmp_path, "add", "."), git(tmp_path, "commit", "--quiet", "-m", "handed out")
    (folder / "01_b.ipynb").write_text("solved")
    (folder / "02_c.ipynb").unlink()
    (folder / "my own $(false) notes.ipynb").write_text("new")
    (folder / "notes.md").write_text("new")
    git(tmp_path, "add", "."), git(tmp_path, "commit", "--quiet", "-m", "solved")
    return tmp_path


def checked(repository, name: str, before: str, status: int) -> tuple[int, list[str]]:
    """Exit status of a template's last script, and the calls of `course`, which ends with `status`."""
    programs = repository / "programs"
    programs.mkdir(exist_ok=True)
    (programs / "course").write_text(f'#!/bin/sh\nprintf "%s|" "$@" >> calls\necho >> calls\nexit {status}\n')
    (programs / "course").chmod(0o755)
    lines = script(name)
    last = lines[lines.index("BEFORE=$CI" if name.startswith("gitlab") else "git cat-file") :]
    given = {"BEFORE": before, "CI_COMMIT_BEFORE_SHA": before, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-e", "-c", last], cwd=repository, env=os.environ | given, capture_output=True, text=True)
    calls = repository / "calls"
    return done.returncode, sorted(calls.read_text().splitlines()) if calls.exists() else []


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_changed_notebooks_are_checked_whatever_their_names(repository, name):
    first = git(repository, "rev-list", "--max-parents=0", "HEAD")
    status, calls = checked(repository, name, first, 0)
    assert status == 0 and calls == [
        "check|lessons/01_b.ipynb|--junit|reports/01_b.xml|",
        "check|lessons/my own $(false) notes.ipynb|--junit|reports/my own $(false) notes.xml|",
    ]


@pytest.mark.parametrize("name", SCHEMAS)
def test_one_that_fails_fails_the_job_after_the_others_were_checked(repository, name):
    status, calls = checked(repository, name, "0" * 40, 1)  # a branch that is pushed for the first time
    assert status != 0 and len(calls) == 2


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_push_without_notebooks_checks_nothing(repository, name):
    assert checked(repository, name, git(repository, "rev-parse", "HEAD"), 1) == (0, [])
