"""One exercise of one learner: the cells that are run, the limits, and what a hang, a death or a flood becomes."""

from __future__ import annotations

import json
import os
import select
import socket
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from course_lib.classroom import masters
from course_lib.classroom.check import PASSED
from course_lib.classroom.grading import answers, frames, sandbox
from course_lib.classroom.grading.restore import Restored
from course_lib.classroom.grading.results import OUT_OF_TIME, STOPPED, Verdict
from course_lib.classroom.grading.servers import Server

PATIENCE = 3  # seconds of wall time for one of CPU time: a busy machine costs nobody a point
GLANCE = 0.1  # seconds between two looks at the disk


@dataclass(frozen=True)
class Rules:
    """What an answer may use: seconds of computing for each exercise, bytes beyond the lesson's, layers of the sandbox."""

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
    """A learner's answers to a lesson; broken: the cells among them that did not come to their end."""

    restored: Restored
    broken: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Cell:
    """A learner's cell; kept: the names that the lesson binds between it and the exercise."""

    name: str
    source: str
    kept: tuple[str, ...]


class Examiner:
    """Judges the exercises of one lesson. Whoever hands in the very same cells gets the very same verdict."""

    def __init__(self, master: masters.Master, rules: Rules):
        self.master, self.rules = master, rules
        self.kept = [bound_after(master, index) for index in range(len(master.exercises))]
        self.known: dict[tuple, dict] = {}

    def decide(self, work: Work, index: int, learner: Server, judge: Server) -> Verdict:
        """Verdict on exercise number `index`.

        Where it does not pass, the learner gets other chances: without earlier cells that raised, with cells of their own.
        """
        start = time.monotonic()
        told = self._tried(work, index, learner, judge)
        ways = [{"without": told["stopped"]}] if told.get("stopped") else []  # earlier cells that raised, and what they left
        ways += [{"extras": True}] if any(before <= index for before, _ in work.restored.extras) else []
        for way in ways:
            if told["state"] != PASSED:
                second = self._tried(work, index, learner, judge, **way)
                told = second if second["state"] == PASSED or "missing" in told else told  # a name may be in a cell of theirs
        exercise = self.master.exercises[index]
        details = tuple((_words(label), _words(value)) for label, value in told.get("details", ()))
        verdict = Verdict(exercise.number, told["state"], exercise.points, _words(told["message"]), details)
        return replace(verdict, seconds=round(time.monotonic() - start, 3))

    def _tried(self, work: Work, index: int, learner: Server, judge: Server, *, extras=False, without=()) -> dict:
        """What the judge tells; stopped: names of the earlier cells that raised.

        A cell before the answer that does not come to its end is left out, and all is run again.
        """
        own = len(self.master.exercises[index].answers)
        while True:
            cells = [c for c in self._cells(work, index, extras) if c.name not in {*work.broken, *without}]
            key = (index, *((c.source, c.kept) for c in cells))
            if key in self.known:
                return self.known[key]
            told, last = _run(cells, self.master.exercises[index], learner, judge, self.rules)
            told["stopped"] = [cells[n].name for n in told.get("stopped", ()) if n < len(cells) - own]
            if told["state"] not in (STOPPED, OUT_OF_TIME):
                self.known[key] = told
                return told
            if last >= 0:
                work.broken.add(cells[last].name)  # later exercises are judged without it
            if not 0 <= last < len(cells) - own:
                return told

    def _cells(self, work: Work, index: int, extras: bool) -> list[_Cell]:
        """The learner's cells up to an exercise's answer, in the master's order."""
        restored, found = work.restored, []
        for position, exercise in enumerate(self.master.exercises[: index + 1]):
            own = [(f"extra {n}", s) for n, (before, s) in enumerate(restored.extras) if extras and before == position]
            if position == index or answers.attempted(exercise, restored.answers):
                ids = [cell.nbgrader["grade_id"] for cell in exercise.answers]
                own += [(name, restored.answers.get(name, "")) for name in ids]
            found += [_Cell(name, source, self.kept[index][position]) for name, source in own]
        return found


def bound_after(master: masters.Master, index: int) -> list[tuple[str, ...]]:
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
                names |= answers.bound(cell.source)
    return [tuple(sorted(names)) for names in found]


def _run(cells: list[_Cell], exercise, learner: Server, judge: Server, rules: Rules) -> tuple[dict, int]:
    """What the judge told, and the number of the cell that ran last (−1 when all had)."""
    names = sorted(set().union(*(answers.defined(masters.solved(a)) for a in exercise.answers)))
    question = {
        "check": masters.solved(exercise.check),
        "hidden": sorted(masters.hidden_lines(exercise.check)),
        "names": names,
        "first": len(cells) - len(exercise.answers),
    }
    folder = Path(tempfile.mkdtemp(prefix="answer-"))
    ours, theirs = socket.socketpair()
    read, write = os.pipe()
    begun = []
    try:
        answer = {"folder": str(folder), "layers": rules.layers, "limits": rules.limits}
        begun.append((learner, learner.fork(answer, [theirs.fileno()])))
        frames.send(ours, {"cells": [(c.source, c.kept) for c in cells]})
        begun.append((judge, judge.fork(question, [ours.fileno(), write])))
        ours.close()  # now only the children hold these ends, and the end of one is noticed by the other
        theirs.close()
        os.close(write)
        write = -1
        return _watched(read, folder, rules)
    finally:
        try:
            for server, pid in begun:
                server.end(pid)
        finally:  # a server that has ended takes what it began with it
            ours.close()
            theirs.close()
            for descriptor in {read, write} - {-1}:
                os.close(descriptor)
            sandbox.remove_folder(folder)


def _watched(read: int, folder: Path, rules: Rules) -> tuple[dict, int]:
    start, last, text = time.monotonic(), 0, b""
    while True:
        ready = select.select([read], [], [], GLANCE)[0]
        part = os.read(read, 1 << 16) if ready else None
        text += part or b""
        *lines, text = text.split(b"\n")
        for line in map(json.loads, lines):
            if "state" in line:
                return _explained(line, time.monotonic() - start, rules), last
            last = line["cell"]
        if part == b"":
            return {"state": STOPPED, "message": "The check ended without a verdict."}, last
        if time.monotonic() - start > PATIENCE * rules.seconds:
            where = "a call of your code" if last < 0 else "the cell"
            message = f"It took longer than {PATIENCE * rules.seconds:g} s: {where} did not end."
            return {"state": OUT_OF_TIME, "message": message}, last
        if sandbox.folder_bytes(folder, enough=rules.folder_size + 1) > rules.folder_size:
            return {"state": STOPPED, "message": f"Your code wrote more than {rules.folder_size >> 20} MB of files."}, last


def _explained(told: dict, used: float, rules: Rules) -> dict:
    """A process that died at its limit of CPU time is out of time."""
    if told["state"] == STOPPED and used > 0.9 * rules.seconds:
        return {"state": OUT_OF_TIME, "message": f"Your code did not end within {rules.seconds:g} s of computing."}
    return told


def _words(text) -> str:
    """Text that every file can hold."""
    return str(text).encode("utf-8", "replace").decode()
