"""A batch over several machines: the same judging of a few submissions at a time, on the workers of a Dask cluster."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from course_lib.classroom import masters as lessons
from course_lib.classroom.grading.attempts import Rules
from course_lib.classroom.grading.batch import GradingError, grade, key_of
from course_lib.classroom.grading.journal import Journal
from course_lib.classroom.grading.results import Graded
from course_lib.classroom.grading.submissions import Submission
from course_lib.classroom.masters import Master

PARTS = 2  # for each worker: one that ends early takes another


def grade_on(
    address: str,
    submissions: Sequence[Submission],
    *,
    masters: Mapping[str, Master],
    journal: Journal,
    rules: Rules,
    jobs: int = 1,
    progress: Callable[[Submission, str], None] = lambda submission, exercise: None,
) -> list[Graded]:
    """As `batch.grade`, on the workers of the scheduler at `address`; each needs the course installed, and `jobs` cores.

    Verdicts come back part by part into this machine's journal. GradingError where the scheduler cannot be reached.
    """
    try:
        from dask.distributed import Client
    except ImportError:
        raise GradingError("--scheduler needs Dask: pip install 'course_lib[cluster]'") from None
    waiting = [s for s in submissions if s.lesson in masters and not s.problem and not _done(s, masters[s.lesson], journal)]
    try:
        client = Client(address, timeout="20s", set_as_default=False)
    except (OSError, ValueError) as error:
        raise GradingError(f"no Dask scheduler answers at {address} ({error}): start it, or leave out --scheduler") from None
    with client:
        parts = _parts(waiting, PARTS * max(1, len(client.scheduler_info(n_workers=-1)["workers"])))
        tasks = [client.submit(judged, part, _text(masters[part[0].lesson]), rules, jobs, pure=False) for part in parts]
        for task in tasks:
            for key, verdict in task.result():
                if key not in journal.done:
                    journal.add(key, verdict)
    return grade(submissions, masters=masters, journal=journal, rules=rules, progress=progress)


def judged(part: list[Submission], text: str, rules: Rules, jobs: int) -> list:
    """On a worker: (key, verdict) of every exercise of a few submissions of one lesson."""
    lesson = part[0].lesson
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal.jsonl")
        try:
            grade(part, masters={lesson: lessons.parse(text, Path(f"{lesson}.py"))}, journal=journal, rules=rules, jobs=jobs)
            return list(journal.done.items())
        finally:
            journal.close()


def _done(submission: Submission, master: Master, journal: Journal) -> bool:
    return all(key_of(submission, master, e.number) in journal.done for e in master.exercises)


def _parts(submissions: list[Submission], number: int) -> list[list[Submission]]:
    """Submissions of one lesson each, in about so many parts."""
    size, found = max(1, math.ceil(len(submissions) / number)), []
    for lesson in sorted({s.lesson for s in submissions}):
        mine = [s for s in submissions if s.lesson == lesson]
        found += [mine[i : i + size] for i in range(0, len(mine), size)]
    return found


def _text(master: Master) -> str:
    return master.path.read_text(encoding="utf-8")
