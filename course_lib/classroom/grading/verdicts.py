"""Judging one exercise: the master's check in the judge's process, the answers in the learner's."""

from __future__ import annotations

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

from course_lib.classroom.check import FAILED, NOT_ATTEMPTED, NOT_RUN
from course_lib.classroom.grading import frames
from course_lib.classroom.grading.remote import MISSING, Link
from course_lib.classroom.grading.results import STOPPED

LINE = re.compile(r"(?:^Check, line |line )(\d+)(?= of the check cell| )")  # of the check, as cards name it
MEMORY = 2 << 30  # bytes beyond what the lesson holds


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
    found = run_check(lesson, question.check)
    if link.gone:
        return {"state": STOPPED, "message": "Your code ended the process that ran it while the check was calling it."}
    if found.card is None:
        return {"state": FAILED, "message": f"The check stopped with {type(found.raised).__name__}: {found.raised}"[:400]}
    return _told(found.card, found.cause, errors, question) | {"stopped": sorted(errors)}


def _told(card, cause, errors: dict[int, dict], question: Question) -> dict:
    """The card, with the place in the learner's own code where that is known, and without the words of hidden tests."""
    own = [errors[number] for number in sorted(errors) if number >= question.first]
    where = getattr(cause, "where", None)  # None: the error is not the learner's code's
    if card.state in (NOT_RUN, NOT_ATTEMPTED) and own:
        message = f"Your cell stopped with {own[-1]['type']}: {own[-1]['text']}".rstrip(": ")
        return _failed(message, own[-1]["where"])
    if card.state == NOT_RUN and where is not None:  # the name is missing in the learner's code, not in the check
        return _failed(f"Your code stopped with {type(cause).__name__}: {cause}", where) | {"missing": True}
    if card.state == FAILED and where:
        return _failed(card.message, where)
    details = [list(detail) for detail in card.details]
    if any(int(n) in question.hidden for label, value in details for n in LINE.findall(f"{label} {value}")[:1]):
        details = []
    return {"state": card.state, "message": card.message, "details": details}


def _failed(message: str, where: str) -> dict:
    return {"state": FAILED, "message": message, "details": [["Where", where]] if where else []}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a check cell came to: its last card, the error that the block stopped with, the error that came out of the cell."""

    card: object | None
    cause: BaseException | None
    raised: BaseException | None


def run_check(lesson, check: str, *, grading: bool = False) -> Outcome:
    """Execute a check cell in a lesson's names. This process must be a fork that ends afterwards."""
    module = importlib.import_module("course_lib.classroom.check")
    cards, causes, raised = [], [], None
    decide, module._display = module._judge, cards.append

    def noted(frame, line, error, *more):
        causes.append(error)
        return decide(frame, line, error, *more)

    module._judge = noted
    chosen = dataclasses.replace(module.settings(), grading=grading)
    module.settings = lambda: chosen
    try:
        lesson.execute(check)
    except BaseException as error:
        raised = error
    return Outcome(cards[-1] if cards else None, causes[-1] if causes else None, raised)


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
