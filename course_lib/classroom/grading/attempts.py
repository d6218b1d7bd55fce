"""One exercise of one learner: the cells that are run, the limits, and what a hang, a death or a flood becomes."""

from __future__ import annotations

import json
import os
import select
import socket
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from course_lib.classroom import masters
from course_lib.classroom.check import NOT_ATTEMPTED, PASSED
from course_lib.classroom.grading import sandbox, verdicts
from course_lib.classroom.grading.restore import Restored
from course_lib.classroom.grading.results import OUT_OF_TIME, STOPPED, Verdict
from course_lib.classroom.grading.servers import Server

PATIENCE = 3  # seconds of wall time for one of CPU time: a busy machine costs nobody a point
GLANCE = 0.1  # seconds between two looks at the disk


@dataclass(frozen=True)
class Rules:
    """What an answer may use. seconds: of CPU time for each exercise; layers: of the sandbox."""

    seconds: float = 20.0
    memory: int = 1 << 30
    folder_size: int = 64 << 20
    layers: tuple[str, ...] = tuple(sandbox.LAYERS)

    @property
    def limits(self) -> dict:
        """For the sandbox."""
        return {"cpu_seconds": self.seconds, "memory": self.memory, "folder_size": self.folder_size}


@dataclass
class Work:
    """A learner's answers to a lesson, and the cells among them that did not end in an earlier exercise.

    kept: for each exercise, what `bound_after` says.
    """

    restored: Restored
    kept: list[list[frozenset[str]]]
    broken: set[str] = field(default_factory=set)


def decide(work: Work, master: masters.Master, index: int, learner: Server, judge: Server, rules: Rules) -> Verdict:
    """Verdict on exercise number `index` of the master; with the learner's own extra cells where it fails without."""
    exercise, start = master.exercises[index], time.monotonic()
    if not verdicts.attempted(exercise, work.restored.answers):
        return Verdict(exercise.number, NOT_ATTEMPTED, exercise.points, "The answer cell is as it was handed out.")
    verdict = _tried(work, master, index, learner, judge, rules, extras=False)
    if verdict.state != PASSED and any(before <= index for before, _ in work.restored.extras):
        second = _tried(work, master, index, learner, judge, rules, extras=True)
        verdict = second if second.state == PASSED else verdict
    return _timed(verdict, time.monotonic() - start)


def _tried(work: Work, master, index: int, learner: Server, judge: Server, rules: Rules, *, extras: bool) -> Verdict:
    """Run earlier cells and the answer; a cell before the answer that does not end is left out, and all is run again."""
    exercise = master.exercises[index]
    while True:
        cells = [c for c in _cells(work, master, index, extras) if c.name not in work.broken]
        own = len(exercise.answers)
        told, last = _run([(c.source, sorted(c.kept)) for c in cells], exercise, learner, judge, rules, own)
        if told["state"] in (STOPPED, OUT_OF_TIME) and last >= 0:
            work.broken.add(cells[last].name)  # later exercises are judged without it
            if last < len(cells) - own:
                continue
        details = tuple((_words(label), _words(value)) for label, value in told.get("details", ()))
        return Verdict(exercise.number, told["state"], exercise.points, _words(told["message"]), details)


@dataclass(frozen=True)
class _Cell:
    """A learner's cell; kept: the names that the lesson binds between it and the exercise."""

    name: str
    source: str
    kept: frozenset[str]


def _cells(work: Work, master, index: int, extras: bool) -> list[_Cell]:
    """The learner's cells up to an exercise's answer, in the master's order."""
    restored = work.restored
    found, kept = [], work.kept[index]
    for position, exercise in enumerate(master.exercises[: index + 1]):
        own = [(f"extra {n}", s) for n, (before, s) in enumerate(restored.extras) if extras and before == position]
        if position == index or verdicts.attempted(exercise, restored.answers):
            ids = [cell.nbgrader["grade_id"] for cell in exercise.answers]
            own += [(name, restored.answers.get(name, "")) for name in ids]
        found += [_Cell(name, source, kept[position]) for name, source in own]
    return found


def bound_after(master: masters.Master, index: int) -> list[frozenset[str]]:
    """For each exercise up to `index`, the names that cells of the lesson bind between its check and that exercise."""
    found = [set() for _ in range(index + 1)]
    position = 0
    for cell in master.cells:
        if cell.is_check:
            position += 1
        elif position > index:
            break
        elif cell.kind == "code" and not cell.is_answer and not cell.is_wrong:
            for names in found[:position]:
                names |= verdicts.bound(cell.source)
    return [frozenset(names) for names in found]


def _words(text) -> str:
    """Text that every file can hold."""
    return str(text).encode("utf-8", "replace").decode()


def _run(
    cells: list[tuple[str, list[str]]], exercise, learner: Server, judge: Server, rules: Rules, own: int
) -> tuple[dict, int]:
    """What the judge told, and the number of the cell that ran last (−1 when all had). own: how many are the answer's."""
    check = masters.solved(exercise.check)
    names = verdicts.answer_names([masters.solved(a) for a in exercise.answers])
    with tempfile.TemporaryDirectory(prefix="answer-", ignore_cleanup_errors=True) as folder:
        ours, theirs = socket.socketpair()
        read, write = os.pipe()
        pids = []
        try:
            request = {"folder": folder, "cells": cells, "layers": list(rules.layers), "limits": rules.limits}
            pids.append((learner, learner.fork(request, [theirs.fileno()])))
            pids.append(
                (judge, judge.fork({"check": check, "names": names, "first": len(cells) - own}, [ours.fileno(), write]))
            )
            ours.close(), theirs.close(), os.close(write)
            write = None
            return _watched(read, Path(folder), rules)
        finally:
            for server, pid in pids:
                server.end(pid)
            ours.close(), theirs.close(), os.close(read)
            if write is not None:
                os.close(write)


def _watched(read: int, folder: Path, rules: Rules) -> tuple[dict, int]:
    end, last, text = time.monotonic() + PATIENCE * rules.seconds, 0, b""
    while True:
        ready = select.select([read], [], [], GLANCE)[0]
        part = os.read(read, 1 << 16) if ready else None
        text += part or b""
        *lines, text = text.split(b"\n")
        for line in map(json.loads, lines):
            if "state" in line:
                return _explained(line, end, rules), last
            last = line["cell"]
        if part == b"":
            return {"state": STOPPED, "message": "The check ended without a verdict."}, last
        if time.monotonic() > end:
            return {"state": OUT_OF_TIME, "message": _too_long(last, PATIENCE * rules.seconds)}, last
        if sandbox.folder_bytes(folder) > rules.folder_size:
            return {"state": STOPPED, "message": f"Your code wrote more than {rules.folder_size >> 20} MB of files."}, last


def _explained(told: dict, end: float, rules: Rules) -> dict:
    """A process that died at its limit of CPU time is out of time."""
    used = PATIENCE * rules.seconds - (end - time.monotonic())
    if told["state"] == STOPPED and used > 0.9 * rules.seconds:
        return {"state": OUT_OF_TIME, "message": f"Your code did not end within {rules.seconds:g} s of computing."}
    return told


def _too_long(last: int, seconds: float) -> str:
    where = "a call of your code" if last < 0 else "the cell"
    return f"It took longer than {seconds:g} s: {where} did not end."


def _timed(verdict: Verdict, seconds: float) -> Verdict:
    return Verdict(verdict.exercise, verdict.state, verdict.points, verdict.message, verdict.details, round(seconds, 3))
