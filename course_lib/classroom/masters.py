"""Lesson masters (percent-format .py): their cells, their exercises, and the unsolved form of a cell."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path

from course_lib.config import settings

MARKER = re.compile(r"^[ \t]*### (BEGIN|END) (SOLUTION|HIDDEN TESTS)[ \t]*$")
CHECK = re.compile(r"""^with check\(\s*["']([^"']+)["'](?:\s*,\s*points\s*=\s*([\d.]+))?""", re.MULTILINE)
FREE_TEXT = "*Your answer here (double-click this cell to edit it).*"
NAME = re.compile(r"^\d\d_\w+$")


class MasterError(ValueError):
    """A master that cannot become notebooks: which file, which cell, and what to do."""


@dataclass(frozen=True)
class Cell:
    """One cell of a master. kind: "code" or "markdown"; nbgrader: its metadata for grading, empty for other cells."""

    kind: str
    source: str
    tags: tuple[str, ...] = ()
    nbgrader: dict = field(default_factory=dict)

    @property
    def is_wrong(self) -> bool:
        """A wrong answer, listed for the tests only."""
        return "wrong" in self.tags

    @property
    def is_answer(self) -> bool:
        """A code cell that the learner fills in."""
        return self.kind == "code" and bool(self.nbgrader.get("solution"))

    @property
    def is_check(self) -> bool:
        """A code cell that judges an answer."""
        return self.kind == "code" and bool(self.nbgrader.get("grade"))

    @property
    def label(self) -> str:
        """What to call the cell in a message."""
        return self.nbgrader.get("grade_id") or (self.source.strip().splitlines() or ["(empty cell)"])[0][:60]


@dataclass(frozen=True)
class Exercise:
    """One checked exercise: its number as in "4.2", its cells, and the points that the metadata give."""

    number: str
    points: float
    answers: tuple[Cell, ...]
    check: Cell
    wrong: tuple[Cell, ...]

    @property
    def check_points(self) -> float:
        """Points that the check cell itself states."""
        return float(CHECK.search(self.check.source).group(2) or 1)


@dataclass(frozen=True)
class Master:
    """One lesson's source, as cells."""

    path: Path
    cells: tuple[Cell, ...]
    exercises: tuple[Exercise, ...]

    @property
    def name(self) -> str:
        """File name without ending, such as 04_dot_product."""
        return self.path.stem

    def number_of(self, cell: Cell) -> str:
        """Exercise to which an answer cell belongs."""
        return next(e.number for e in self.exercises if any(cell is answer for answer in e.answers))


def masters(folder: Path | None = None) -> list[Path]:
    """Master files in a folder (default: solutions/), in order."""
    folder = folder or settings().project / "solutions"
    return sorted(path for path in Path(folder).glob("*.py") if NAME.match(path.stem))


def load(path: Path) -> Master:
    """Read a master and hold it against the exercise conventions; MasterError names the cell that breaks them."""
    return parse(Path(path).read_text(encoding="utf-8"), Path(path))


def parse(text: str, path: Path) -> Master:
    """The same as `load`, from text."""
    import jupytext

    cells = tuple(
        Cell(c.cell_type, c.source, tuple(c.metadata.get("tags", ())), dict(c.metadata.get("nbgrader", {})))
        for c in jupytext.reads(text, fmt="py:percent").cells
        if c.source.strip()
    )
    for cell in cells:
        _check_markers(cell, path)
    return Master(path, cells, tuple(_exercises(cells, path)))


def _error(path: Path, cell: Cell, message: str) -> MasterError:
    return MasterError(f"{path.name}, cell '{cell.label}': {message}")


def _check_markers(cell: Cell, path: Path) -> None:
    """Markers come in pairs, do not nest, and stand in the right kind of cell."""
    inside = None
    for match in filter(None, map(MARKER.match, cell.source.splitlines())):
        side, kind = match.groups()
        if (side == "BEGIN") != (inside is None) or (side == "END" and kind != inside):
            raise _error(path, cell, f"'### {side} {kind}' has no partner; write BEGIN and END in pairs")
        inside = kind if side == "BEGIN" else None
        if kind == "SOLUTION" and not cell.nbgrader.get("solution"):
            raise _error(path, cell, "a solution block needs nbgrader metadata with solution: true")
        if kind == "HIDDEN TESTS" and not cell.is_check:
            raise _error(path, cell, "hidden tests belong into a check cell (nbgrader metadata with grade: true)")
    if inside:
        raise _error(path, cell, f"'### BEGIN {inside}' is never closed")


def _exercises(cells: tuple[Cell, ...], path: Path) -> list[Exercise]:
    """Answer cells, the check cell after them, and the wrong answers right after that."""
    found, answers, seen = [], [], set()
    for position, cell in enumerate(cells):
        if cell.nbgrader:
            grade_id = cell.nbgrader.get("grade_id")
            if not grade_id or grade_id in seen:
                raise _error(path, cell, f"grade_id {grade_id!r} is missing or used twice; give every graded cell its own")
            seen.add(grade_id)
        if cell.is_answer and cell.is_check:
            raise _error(path, cell, "an answer cell cannot be its own check; split it in two")
        if cell.is_answer:
            if "### BEGIN SOLUTION" not in cell.source:
                raise _error(path, cell, "no '### BEGIN SOLUTION' … '### END SOLUTION' in this answer cell")
            answers.append(cell)
        elif cell.is_check:
            match = CHECK.search(cell.source)
            if not match or not answers:
                raise _error(path, cell, 'a check cell holds `with check("4.2", points=2):` and follows its answer cell')
            points = float(cell.nbgrader.get("points", 0))
            found.append(Exercise(match.group(1), points, tuple(answers), cell, _wrong_after(cells, position)))
            answers = []
    if answers:
        raise _error(path, answers[0], "no check cell (nbgrader metadata with grade: true) follows")
    return found


def _wrong_after(cells: tuple[Cell, ...], position: int) -> tuple[Cell, ...]:
    end = position + 1
    while end < len(cells) and cells[end].is_wrong:
        end += 1
    return cells[position + 1 : end]


def solved(cell: Cell) -> str:
    """Source for the solved notebook: everything but the marker lines."""
    return "\n".join(line for line in cell.source.splitlines() if not MARKER.match(line)).strip("\n")


def hidden_lines(cell: Cell) -> set[int]:
    """Numbers, from 1 and as in `solved`, of the lines that hidden tests take in a check cell."""
    found, number, hidden = set(), 0, False
    for line in cell.source.strip("\n").splitlines():
        match = MARKER.match(line)
        if match:
            hidden = match.group(1) == "BEGIN" and match.group(2) == "HIDDEN TESTS"
        else:
            number += 1
            found |= {number} if hidden else set()
    return found


def unsolved(cell: Cell, number: str = "") -> str:
    """Source for the learner: no solution and no hidden test; `number` is the exercise that an answer cell belongs to.

    Inside a function a solution becomes `raise NotImplementedError("exercise 4.2")`; elsewhere each name that it assigns
    becomes `name = ...`; in a markdown cell it becomes an invitation to write.
    """
    lines, kept, block = cell.source.splitlines(), [], None
    for position, line in enumerate(lines):
        match = MARKER.match(line)
        if match and match.group(1) == "BEGIN":
            block = (position, match.group(2))
        elif match and block[1] == "SOLUTION":
            kept += _placeholder(cell, block[0], position, number)
            block = None
        elif match:
            block = None
        elif block is None:
            kept.append(line)
    return "\n".join(kept).strip("\n")


def _placeholder(cell: Cell, begin: int, end: int, number: str) -> list[str]:
    """Lines that stand in for lines begin … end (0-based, the two markers)."""
    if cell.kind == "markdown":
        return [FREE_TEXT]
    lines = cell.source.splitlines()
    indent = lines[begin][: len(lines[begin]) - len(lines[begin].lstrip())]
    tree = ast.parse(cell.source)
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    if any(f.lineno <= begin + 1 and f.end_lineno >= end and f.col_offset < len(indent) for f in functions):
        return [f'{indent}raise NotImplementedError("exercise {number}")']
    inside = [n for n in ast.walk(tree) if begin + 1 < getattr(n, "lineno", 0) < end + 1]
    top = min((n.col_offset for n in inside if isinstance(n, ast.stmt)), default=0)
    names = [name for n in inside if isinstance(n, ast.stmt) and n.col_offset == top for name in bound(n)]
    return [f"{indent}{name} = ..." for name in dict.fromkeys(names)]


def bound(statement: ast.stmt) -> list[str]:
    """Names that a statement binds where it stands, in order: assignments, definitions, but no imports."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    return [n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)] if isinstance(
        statement, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.For | ast.With
    ) else []  # fmt: skip
