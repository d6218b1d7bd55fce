"""A learner's own run of a notebook under nbval in grading mode, summed up as one line for each exercise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import nbformat

from course_lib.classroom.check import FAILED, NOT_ATTEMPTED, NOT_RUN, PASSED
from course_lib.classroom.progress import CHECK

NOT_REACHED = "not reached"
CELL_TIMEOUT = 120  # seconds
HIDING = ("raises-exception", "nbval-raises-exception", "nbval-skip", "NBVAL_RAISES_EXCEPTION", "NBVAL_SKIP")
CARD = re.compile(rf"ExerciseFailed: . Exercise (\S+): ({FAILED}|{NOT_ATTEMPTED}|{NOT_RUN})[^\n]*\n?([^\n]*)")
COLOURS = re.compile(r"(?:\x1b|#x1B)\[[0-9;]*m")


class NotebookError(ValueError):
    """The notebook cannot be judged: which file, why, what to do."""


@dataclass(frozen=True)
class Outcome:
    """What came of one exercise, or of another cell that failed (exercise is then "")."""

    exercise: str
    state: str
    points: float
    message: str = ""

    @property
    def earned(self) -> float:
        """Points, all or none."""
        return self.points if self.state == PASSED else 0.0


def check_notebook(notebook: Path, *, junit: Path | None = None) -> tuple[list[Outcome], bool]:
    """Execute a notebook with nbval, grading mode on: outcomes in order, and whether every cell and exercise passed.

    Raises NotebookError where there is nothing to judge. `junit`: where the XML report goes.
    """
    cells = _code_cells(notebook)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(junit).resolve() if junit else Path(folder) / "report.xml"
        run = _run(notebook, report)
        if not report.exists():
            raise NotebookError(f"{notebook}: nbval could not run it:\n{(run.stdout + run.stderr).strip()[-2000:]}")
        outcomes = _outcomes(cells, report)
    return outcomes, run.returncode == 0 and all(o.state == PASSED for o in outcomes)


def _code_cells(notebook: Path) -> list:
    """The code cells, as nbval counts them."""
    if not notebook.is_file():
        raise NotebookError(f"{notebook}: no such file; give the path of a notebook, such as lessons/04_dot_product.ipynb")
    try:
        cells = nbformat.read(notebook, as_version=4).cells
    except Exception as error:
        raise NotebookError(
            f"{notebook} cannot be read as a notebook ({type(error).__name__}); save it again in Jupyter"
        ) from error
    code = [cell for cell in cells if cell.cell_type == "code"]
    if not any(CHECK.search(cell.source) for cell in code):
        raise NotebookError(f"{notebook} has no check cell, so there is nothing to judge")
    return code


def _run(notebook: Path, report: Path) -> subprocess.CompletedProcess:
    """Run pytest in a process of its own, with nothing but nbval's settings."""
    command = [sys.executable, "-m", "pytest", str(notebook.resolve()), "--nbval-lax", "--nbval-current-env"]
    command += [f"--nbval-cell-timeout={CELL_TIMEOUT}", f"--junitxml={report}", f"--rootdir={notebook.resolve().parent}"]
    command += ["-c", os.devnull, "-q", "--color=no", "-p", "no:cacheprovider", "--noconftest"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    environment |= {"COURSE_GRADING": "1", "OMP_NUM_THREADS": environment.get("OMP_NUM_THREADS", "1")}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def _outcomes(cells: list, report: Path) -> list[Outcome]:
    """Join the report's cases with the exercises of the cells; failures elsewhere get a line of their own."""
    cases = {case.get("name"): case for case in ElementTree.parse(report).iter("testcase")}
    found = []
    for number, cell in enumerate(cells):
        case = cases.get(f"Cell {number}")
        checks = CHECK.findall(cell.source)
        trouble = [] if case is None else [c for c in case if c.tag in ("failure", "error")]
        text = COLOURS.sub("", "\n".join(c.text or c.get("message", "") for c in trouble))
        if not checks and trouble:
            found.append(Outcome("", f"code cell {number + 1} stopped", 0, _last_line(text)))
        skipped = case is None or case.find("skipped") is not None
        for exercise, points in checks:
            found.append(Outcome(exercise, *_state(exercise, cell, text, bool(trouble), skipped, float(points or 1))))
    return found


def _state(exercise: str, cell, text: str, trouble: bool, skipped: bool, points: float) -> tuple[str, float, str]:
    hidden = [mark for mark in HIDING if mark in cell.metadata.get("tags", []) or mark in cell.source]
    if hidden:
        return FAILED, points, f"the check cell carries {hidden[0]}, which would hide a wrong answer: remove it"
    for name, state, message in CARD.findall(text):
        if name == exercise:
            return state, points, message.strip()
    if trouble:
        return FAILED, points, _last_line(text)
    return (NOT_REACHED, points, "an earlier cell ran out of time") if skipped else (PASSED, points, "")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
