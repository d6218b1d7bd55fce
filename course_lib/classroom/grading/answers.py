"""What the text of a lesson's cells tells about its answers, before anything runs."""

from __future__ import annotations

import ast

from course_lib.classroom import masters


def answer_names(answers: list[str]) -> list[str]:
    """Names that solved answer cells bind at their top level: what a check may ask the learner for."""
    found = {}
    for node in [n for source in answers for n in ast.parse(source).body]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[node.name] = True
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.With | ast.For | ast.If):
            found |= {n.id: True for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return list(found)


def bound(source: str) -> set[str]:
    """Names that a cell of the lesson binds at its top level."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def attempted(exercise: masters.Exercise, answers: dict[str, str]) -> bool:
    """Whether any answer cell of the exercise differs from the one that the lesson starts with."""
    return any(
        _bare(answers.get(cell.nbgrader["grade_id"], "")) not in ("", _bare(masters.unsolved(cell, exercise.number)))
        for cell in exercise.answers
    )


def _bare(source: str) -> str:
    return "\n".join(line.rstrip() for line in source.strip().splitlines() if line.strip())
