"""A whole class: lesson by lesson, exercise by exercise, every submission in a fork of the same warm lesson."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from course_lib.classroom.check import NOT_ATTEMPTED
from course_lib.classroom.grading import frames
from course_lib.classroom.grading.answers import attempted
from course_lib.classroom.grading.attempts import Examiner, Rules, Work
from course_lib.classroom.grading.journal import Journal, Key
from course_lib.classroom.grading.restore import Restored, restore
from course_lib.classroom.grading.results import UNREADABLE, FreeText, Graded, Verdict
from course_lib.classroom.grading.servers import LessonError, Server, ServerGone, Stem
from course_lib.classroom.grading.submissions import Submission
from course_lib.classroom.masters import Cell, Master, solved, unsolved

ENOUGH = 3  # times that a warm process may end on one answer


class GradingError(RuntimeError):
    """A batch that cannot go on: where, why, what to do."""


@dataclass
class _Paper:
    """One submission on its way."""

    submission: Submission
    keys: dict[str, Key]
    work: Work
    verdicts: dict[str, Verdict] = field(default_factory=dict)


def grade(
    submissions: Sequence[Submission],
    *,
    masters: Mapping[str, Master],
    journal: Journal,
    rules: Rules,
    jobs: int = 1,
    progress: Callable[[Submission, str], None] = lambda submission, exercise: None,
) -> list[Graded]:
    """Judge every exercise of every submission once, but for those whose verdict the journal holds.

    masters: lesson → master. progress is called after each verdict. One bad submission stops nothing; GradingError where a
    lesson itself does not run, JournalError where a verdict cannot be kept.
    """
    graded = []
    with Stem() as stem:
        for lesson in sorted({s.lesson for s in submissions}):
            master = masters.get(lesson)
            mine = [s for s in submissions if s.lesson == lesson]
            papers = []
            for submission in [s for s in mine if master and not s.problem]:
                keys = {e.number: key_of(submission, master, e.number) for e in master.exercises}
                papers.append(_Paper(submission, keys, Work(restore(submission.data, master))))
            _grade_lesson(master, papers, journal, rules, jobs, progress, stem)
            found = {id(p.submission): p for p in papers}
            graded += [_graded(s, master, found.get(id(s))) for s in mine]
    return graded


def _grade_lesson(
    master: Master, papers: list[_Paper], journal: Journal, rules: Rules, jobs: int, progress, stem: Stem
) -> None:
    """Fill in the verdicts of a lesson's papers."""

    def keep(paper: _Paper, verdict: Verdict) -> None:
        if paper.keys[verdict.exercise] not in journal.done:
            with lock:
                journal.add(paper.keys[verdict.exercise], verdict)
        paper.verdicts[verdict.exercise] = verdict
        progress(paper.submission, verdict.exercise)

    lock, waiting = threading.Lock(), []
    for paper in papers:
        for index, exercise in enumerate(master.exercises):
            known = journal.done.get(paper.keys[exercise.number]) or _without_running(paper, exercise)
            if known:
                keep(paper, known)
            else:
                waiting.append((index, paper))
    if not waiting:
        return
    with ThreadPoolExecutor(jobs) as pool, _Warm(master, rules, stem) as warm:
        try:
            for index in warm.exercises(max(i for i, _ in waiting)):
                todo = [paper for i, paper in waiting if i == index]
                for paper, verdict in zip(todo, pool.map(lambda p, i=index: warm.decide(p, i), todo), strict=True):
                    keep(paper, verdict)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # who interrupts a batch does not want to wait for its end
            raise


def _without_running(paper: _Paper, exercise) -> Verdict | None:
    """The verdict on what needs no process."""
    restored = paper.work.restored
    if restored.problem:
        return Verdict(exercise.number, UNREADABLE, exercise.points, restored.problem)
    if not attempted(exercise, restored.answers):
        there = any(restored.answers.get(cell.nbgrader["grade_id"]) for cell in exercise.answers)
        message = "The answer cell is as it was handed out." if there else "The answer cell is missing or empty."
        return Verdict(exercise.number, NOT_ATTEMPTED, exercise.points, message)
    return None


class _Warm:
    """The two warm processes of a lesson; where one ends, both are begun anew and brought to the same cell."""

    def __init__(self, master: Master, rules: Rules, stem: Stem):
        self.master, self.stem, self.examiner = master, stem, Examiner(master, rules)
        self.position = self.generation = 0
        self.cells = [c for c in master.cells if c.kind == "code" and not c.is_wrong]
        self.lock = threading.Lock()
        self._start()

    def __enter__(self) -> _Warm:
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def close(self) -> None:
        """End both processes."""
        self.learner.close()
        self.judge.close()

    def exercises(self, last: int) -> Iterator[int]:
        """Index of each exercise up to `last`, the lesson's cells before it having run."""
        index = 0
        for cell in self.cells:
            if cell.is_check:
                yield index
                index += 1
            if index > last:
                return
            self._advance(cell)
            self.position += 1

    def decide(self, paper: _Paper, index: int) -> Verdict:
        """Verdict on one exercise of a paper."""
        for _ in range(ENOUGH):
            generation = self.generation
            try:
                return self.examiner.decide(paper.work, index, self.learner, self.judge)
            except LessonError as error:
                raise GradingError(f"{paper.submission.source}: {error}") from None
            except (ServerGone, frames.Gone):
                with self.lock:
                    if self.generation == generation:
                        self._restart()
        raise GradingError(
            f"{paper.submission.source}: the warm processes ended {ENOUGH} times on exercise "
            f"{self.master.exercises[index].number}; is memory short? Grade with fewer --jobs, and --resume"
        )

    def _start(self) -> None:
        try:
            self.learner, self.judge = Server("learner", self.stem), Server("judge", self.stem)
        except ServerGone as error:
            raise GradingError(f"{self.master.name}: no process for it could be begun ({error}); is memory short?") from None
        self.generation += 1

    def _restart(self) -> None:
        self.close()
        self._start()
        for cell in self.cells[: self.position]:
            self._advance(cell)

    def _advance(self, cell: Cell) -> None:
        """Run a cell in both processes at once: as handed out for the learners, as solved for the judge."""
        number = self.master.number_of(cell) if cell.is_answer else ""
        runs = [(self.judge, solved(cell))] + ([] if cell.is_check else [(self.learner, unsolved(cell, number))])
        with ThreadPoolExecutor(2) as pool:
            try:
                list(pool.map(lambda run: run[0].run(run[1]), runs))
            except KeyboardInterrupt:
                self.close()  # else the pool would wait for the cell's end
                raise
            except (LessonError, ServerGone) as error:
                raise GradingError(f"{self.master.name}, cell '{cell.label}' does not run here: {error}") from None


def key_of(submission: Submission, master: Master, exercise: str) -> Key:
    """What a verdict is kept under: it holds as long as neither the notebook nor the master changes."""
    told = [submission.data, *(cell.source.encode() for cell in master.cells)]
    digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in told)).hexdigest()
    return submission.learner, digest, exercise


def _graded(submission: Submission, master: Master | None, paper: _Paper | None) -> Graded:
    learner, lesson, source = submission.learner, submission.lesson, submission.source
    if paper is None:
        problem = submission.problem or f"there is no lesson {lesson}"
        exercises = master.exercises if master else ()
        verdicts = tuple(Verdict(e.number, UNREADABLE, e.points, problem) for e in exercises)
        return Graded(learner, lesson, source, verdicts, problem=problem)
    restored = paper.work.restored
    verdicts = tuple(paper.verdicts[e.number] for e in master.exercises)
    return Graded(learner, lesson, source, verdicts, restored.notes, _texts(master, restored), restored.problem)


def _texts(master: Master, restored: Restored) -> tuple[FreeText, ...]:
    points = {c.nbgrader.get("grade_id"): float(c.nbgrader.get("points", 0)) for c in master.cells if c.kind == "markdown"}
    return tuple(FreeText(name, points.get(name, 0.0), text) for name, text in restored.texts.items())
