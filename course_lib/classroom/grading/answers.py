"""What the text of a cell tells about its names and answers, before anything runs."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator

from course_lib.classroom import masters

PARSED = 200_000  # characters: a longer source is searched for definitions line by line
DEFINES = re.compile(r"^(?:async\s+)?(?:def|class)\s+(\w+)|^(\w+)\s*(?::[^=\n]+)?=(?!=)", re.MULTILINE)


def defined(source: str) -> set[str]:
    """Names that a cell defines outside of functions and classes; magics are passed over, faulty cells read line by line."""
    if len(source) <= PARSED:
        lines = [line for line in source.splitlines() if not line.lstrip().startswith(("%", "!", "?"))]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # invalid escapes in the learner's strings are not the grader's affair
                return set(_names(ast.parse("\n".join(lines)).body))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            pass
    return {name for match in DEFINES.findall(source) for name in match if name}


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


def attempted(exercise: masters.Exercise, answers: dict[str, str]) -> bool:
    """Whether any answer cell of the exercise differs from the one that the lesson starts with."""
    return any(
        _bare(answers.get(cell.nbgrader["grade_id"], "")) not in ("", _bare(masters.unsolved(cell, exercise.number)))
        for cell in exercise.answers
    )


def _bare(source: str) -> str:
    return "\n".join(line.rstrip() for line in source.strip().splitlines() if line.strip())
