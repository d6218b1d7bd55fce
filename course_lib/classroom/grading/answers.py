"""What the text of a cell tells about its names and answers, before anything runs."""

from __future__ import annotations

import ast
import contextlib
import re
import warnings
from collections.abc import Iterable, Iterator

from course_lib.classroom import masters

PARSED = 200_000  # characters: a longer source is searched for definitions line by line
LIBRARY = "course_lib"
DEFINES = re.compile(r"^(?:async\s+)?(?:def|class)\s+(\w+)|^(\w+)\s*(?::[^=\n]+)?=(?!=)", re.MULTILINE)


def defined(source: str) -> set[str]:
    """Names that a cell defines outside of functions and classes; magics are passed over, faulty cells read line by line."""
    tree = _parsed(source)
    if tree is not None:
        with contextlib.suppress(RecursionError):
            return set(_names(tree.body))
    return {name for match in DEFINES.findall(source) for name in match if name}


def _parsed(source: str) -> ast.Module | None:
    """Tree of a cell without its magics; None where it is faulty or very long."""
    if len(source) > PARSED:
        return None
    lines = [line for line in source.splitlines() if not line.lstrip().startswith(("%", "!", "?"))]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in the learner's strings are not the grader's affair
            return ast.parse("\n".join(lines))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _names(body: list) -> Iterator[str]:
    for statement in body:
        yield from masters.bound(statement)
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = [n for n in ast.iter_child_nodes(statement) if isinstance(n, ast.stmt | ast.ExceptHandler | ast.match_case)]
            yield from _names(inner)


def bound(source: str) -> set[str]:
    """Names that a cell of the lesson binds, imports included."""
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    return defined(source) | {(alias.asname or alias.name).split(".")[0] for node in imports for alias in node.names}


def borrowed(source: str, around: Iterable[str] = ()) -> set[str]:
    """What an answer takes from the course's library by name, such as course_lib.models.predict.

    around: cells of the learner's own; what they import counts where the answer reads it.
    """
    found = set(_from_library(source).values())
    for imported in map(_from_library, around):
        found |= {origin for name, origin in imported.items() if re.search(rf"\b{re.escape(name)}\b", source)}
    return found


def _from_library(source: str) -> dict[str, str]:
    """Name in the cell → origin, of all that it imports from the course's library."""
    tree = _parsed(source) if LIBRARY in source else None
    found = {}
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == LIBRARY:
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            ours = [alias for alias in node.names if alias.name.split(".")[0] == LIBRARY]
            found |= {alias.asname or LIBRARY: alias.name for alias in ours}
    return found


def attempted(exercise: masters.Exercise, answers: dict[str, str]) -> bool:
    """Whether any answer cell of the exercise differs from the one that the lesson starts with."""
    return any(
        _bare(answers.get(cell.nbgrader["grade_id"], "")) not in ("", _bare(masters.unsolved(cell, exercise.number)))
        for cell in exercise.answers
    )


def _bare(source: str) -> str:
    return "\n".join(line.rstrip() for line in source.strip().splitlines() if line.strip())
