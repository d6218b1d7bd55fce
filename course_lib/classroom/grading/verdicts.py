"""Judging one exercise: the master's check in the judge's process, the answers in the learner's."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import json
import os
import random
import re
import resource
import socket

import numpy as np
import torch

from course_lib.classroom import masters
from course_lib.classroom.check import FAILED, NOT_ATTEMPTED, NOT_RUN
from course_lib.classroom.grading import frames
from course_lib.classroom.grading.remote import MISSING, Link
from course_lib.classroom.grading.results import STOPPED

LINE = re.compile(r"(?:^Check, line |line )(\d+)(?= of the check cell| )")  # of the check, as cards name it
MEMORY = 2 << 30  # bytes beyond what the lesson holds


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


@dataclasses.dataclass(frozen=True)
class Question:
    """What a judge is asked: a solved check, the lines of it that stay hidden, the names of the answer, its first cell."""

    check: str
    hidden: list[int]
    names: list[str]
    first: int


def judge(lesson, question: Question, channel: socket.socket, out: int) -> None:
    """Execute a check with the learner's answers in place of its names, and write lines of JSON about it into `out`.

    lesson: `execute(source)` and `names`, the lesson so far. This process must be a fork that ends afterwards.
    """
    _fresh()
    link = Link(channel)
    _tell(out, judged(lesson, question, link, lambda number: _tell(out, {"cell": number})))


def judged(lesson, question: Question, link: Link, progress) -> dict:
    """State, message and details of the card; stopped: numbers of the learner's cells that raised."""
    try:
        errors = link.wait(progress)
        progress(-1)  # all cells have run
        for name in question.names:
            lesson.names.pop(name, None)
            value = link.fetch(name)
            if value is not MISSING:
                lesson.names[name] = value
    except frames.Gone as error:
        return {"state": STOPPED, "message": f"Your code ended the process that ran it ({error})."}
    card, problem = run_check(lesson, question.check)
    if link.gone:
        return {"state": STOPPED, "message": "Your code ended the process that ran it while the check was calling it."}
    if card is None:
        return {"state": FAILED, "message": f"The check stopped with {type(problem).__name__}: {problem}"[:400]}
    return _told(card, problem, errors, question) | {"stopped": sorted(errors)}


def _told(card, problem, errors: dict[int, dict], question: Question) -> dict:
    """The card, with the place in the learner's own code where that is known, and without the words of hidden tests."""
    own = [errors[number] for number in sorted(errors) if number >= question.first]
    if card.state in (NOT_RUN, NOT_ATTEMPTED) and own:
        message = f"Your cell stopped with {own[-1]['type']}: {own[-1]['text']}".rstrip(": ")
        return {"state": FAILED, "message": message, "details": [["Where", own[-1]["where"]]] if own[-1]["where"] else []}
    details = [list(detail) for detail in card.details]
    if (where := getattr(problem, "where", "")) and card.state == FAILED:
        details = [["Where", where]]
    elif any(int(n) in question.hidden for label, value in details for n in LINE.findall(f"{label} {value}")[:1]):
        details = []
    return {"state": card.state, "message": card.message, "details": details}


def run_check(lesson, check: str, *, grading: bool = False) -> tuple:
    """(card or None, what went wrong or None) of a check cell that is executed in a lesson's names."""
    module = importlib.import_module("course_lib.classroom.check")
    cards, problems = [], []
    explain, module._display = module._explain_error, cards.append

    def noted(frame, error, own, asked):
        problems.append(error)
        return explain(frame, error, own, asked)

    module._explain_error = noted
    chosen = dataclasses.replace(module.settings(), grading=grading)
    module.settings = lambda: chosen
    try:
        lesson.execute(check)
    except BaseException as error:
        problems.append(error)
    return (cards[-1] if cards else None), (problems[-1] if problems else None)


def attempted(exercise: masters.Exercise, answers: dict[str, str]) -> bool:
    """Whether any answer cell of the exercise differs from the one that the lesson starts with."""
    return any(
        _bare(answers.get(cell.nbgrader["grade_id"], "")) not in ("", _bare(masters.unsolved(cell, exercise.number)))
        for cell in exercise.answers
    )


def _bare(source: str) -> str:
    return "\n".join(line.rstrip() for line in source.strip().splitlines() if line.strip())


def _fresh() -> None:
    """Random draws that nobody can foresee, and limits of the judge's own."""
    seed = int.from_bytes(os.urandom(8), "big") >> 1
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    held = int(open("/proc/self/statm").read().split()[5]) * resource.getpagesize() if os.path.exists("/proc/self/statm") else 0
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (held + MEMORY, hard))


def _tell(out: int, line: dict) -> None:
    data = (json.dumps(line) + "\n").encode()
    while data:
        data = data[os.write(out, data) :]
