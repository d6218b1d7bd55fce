"""What a case of the grading corpus is, and how one is written: a few lines of text that fill in the unsolved sheet.

A block of cases is text. `#: NAME: why` begins a case; `#: NAME waits loses 90.2,90.4: why` says that a grader has to stop
it by the clock, and which exercises a fair person gives no points for. `#= 90.2` begins the answer to that exercise,
`#= extra 90.2` a cell of the learner's own before that answer, `#= below 90.2` one between the answer and its check, and
`#= each` is the answer to every exercise that has none of its own, with NUMBER replaced.
"""

from __future__ import annotations

import copy
import functools
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from grading_sheet import master

from course_lib.classroom import build, masters

OUTSIDE = Path(tempfile.gettempdir()) / f"course-corpus-outside-{os.getpid()}"  # who gets out leaves a file in here
WITNESS = "COURSE_CORPUS_WITNESS"  # a variable for the grader's environment, which no learner may see
ORPHAN = "corpus-orphan"  # marks each process that a case leaves behind: in /proc/PID/comm, or on its command line
POINTS = {exercise.number: exercise.points for exercise in master().exercises}
IDS = {exercise.number: exercise.answers[0].nbgrader["grade_id"] for exercise in master().exercises}
RIGHT = {exercise.number: masters.solved(exercise.answers[0]) for exercise in master().exercises}
WRONG = {exercise.number: exercise.wrong[0].source for exercise in master().exercises}
HEAD = re.compile(r"^#: (\w+)( waits)?(?: loses ([\d.,]+|all))?: (.+)$", re.MULTILINE)
PART = re.compile(r"^#= (?:(extra|below) )?(90\.\d|each)$", re.MULTILINE)


@dataclass(frozen=True)
class Case:
    """A notebook handed in, the exercises that a fair person gives points for, and the reason.

    notes: text that a note on the notebook contains. waits: stopped only by a limit on time. readable: False where the
    file as a whole is a problem.
    """

    name: str
    notebook: bytes
    passed: tuple[str, ...]
    why: str
    notes: str = ""
    waits: bool = False
    readable: bool = True

    @property
    def points(self) -> float:
        """The fair score, of 10."""
        return sum(POINTS[number] for number in self.passed)


@functools.cache
def _unsolved() -> dict:
    return build.targets_of(master(), Path())[1].notebook


def unsolved() -> dict:
    """The lesson as learners get it: a copy to write into."""
    return copy.deepcopy(_unsolved())


def cell_of(notebook: dict, number: str) -> dict:
    """The answer cell of an exercise."""
    return next(c for c in notebook["cells"] if c["metadata"].get("nbgrader", {}).get("grade_id") == IDS[number])


def own_cell(source: str) -> dict:
    """A code cell that a learner adds."""
    return {"cell_type": "code", "metadata": {}, "source": source, "outputs": [], "execution_count": None}


def place(notebook: dict, source: str, number: str, *, below: bool = False) -> None:
    """Put a cell of the learner's own right before or right below the answer to an exercise."""
    position = next(i for i, cell in enumerate(notebook["cells"]) if cell is cell_of(notebook, number))
    own = own_cell(source)
    own["id"] = f"own-{len(notebook['cells'])}"
    notebook["cells"].insert(position + below, own)


def filled(answers: Mapping[str, str]) -> dict:
    """The notebook with these answers (exercise → source); what is not given stays unsolved."""
    notebook = unsolved()
    for number, source in answers.items():
        cell_of(notebook, number)["source"] = source
    return notebook


def as_bytes(notebook: dict) -> bytes:
    """The file that an editor would save."""
    return json.dumps(notebook, indent=1, ensure_ascii=False).encode()


def written(text: str, answers: Mapping[str, str], *, default: str, before: str = "", after: str = "") -> list[Case]:
    """Cases of a block of text, in order; the format is in this module's docstring.

    answers: what stands where a case says nothing. default: the exercise that a case without parts answers, or "each".
    Such a case gets `before` in front, and `after` behind where it defines no `centre` itself.
    """
    heads = list(HEAD.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    return [
        _case(head, text[head.end() : end].strip("\n"), answers, default, before, after)
        for head, end in zip(heads, ends, strict=True)
    ]


def _case(head: re.Match, body: str, answers: Mapping[str, str], default: str, before: str, after: str) -> Case:
    name, waits, lost, why = head.groups()
    found = list(PART.finditer(body))
    if not found:
        body = f"{before}{body}\n" + ("" if "def centre" in body else after)
        parts = [(None, default, body)]
    else:
        ends = [part.start() for part in found[1:]] + [len(body)]
        parts = [(*part.groups(), body[part.end() : end].strip("\n")) for part, end in zip(found, ends, strict=True)]
    given = {number: source for kind, number, source in parts if kind is None}
    each = given.pop("each", None)
    full = {**answers, **({number: each.replace("NUMBER", number) for number in POINTS} if each else {}), **given}
    notebook = filled(full)
    for kind, number, source in parts:
        if kind:
            place(notebook, source, number, below=kind == "below")
    gone = set(POINTS) if lost == "all" else set((lost or "").split(","))
    passed = tuple(number for number in POINTS if number not in gone)
    return Case(name, as_bytes(notebook), passed, why, waits=bool(waits))
