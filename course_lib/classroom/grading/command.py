"""`course grade`: from paths to a folder of marks and reports."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from course_lib.classroom import masters
from course_lib.classroom.check import PASSED
from course_lib.classroom.grading import gradebook
from course_lib.classroom.grading import sandbox as protection
from course_lib.classroom.grading.attempts import Rules
from course_lib.classroom.grading.batch import GradingError, grade
from course_lib.classroom.grading.journal import Journal, JournalError
from course_lib.classroom.grading.report import ReportError, awarded, write_reports
from course_lib.classroom.grading.restore import restore
from course_lib.classroom.grading.results import Graded
from course_lib.classroom.grading.submissions import Submission, SubmissionError, collect, without_notebook
from course_lib.classroom.grading.tables import TableError, write

MODES = ("require", "auto", "off")


class BatchError(RuntimeError):
    """A batch that did not come to its end: where, why, what to do."""


@dataclass(frozen=True)
class Summary:
    """What the command line shows."""

    rows: tuple[tuple[str, ...], ...]
    text: str
    unread: int


def grade_class(
    paths: Sequence[Path],
    out: Path,
    *,
    jobs: int = 2,
    sandbox: str | None = None,
    seconds: float = 20,
    scheduler: str | None = None,
    resume: bool = False,
    roster: Path | None = None,
    folder: Path | None = None,
    say: Callable[[str], None] = print,
) -> Summary:
    """Collect, judge and report. folder: where the masters are (default: the course's own); `say` gets lines for people.

    Raises BatchError. What was judged before is kept in OUT/journal.jsonl, and not judged again with `resume`.
    """
    started, clock = datetime.now().astimezone(), time.monotonic()
    known = {path.stem: masters.load(path) for path in masters.masters(folder)}
    try:
        submissions = collect(paths, lessons=list(known))
        awarded(out / "texts.csv")  # what cannot be read is said now, and not after an hour of grading
        gradebook.canvas_csv((), roster)
        for line in without_notebook(paths, lessons=list(known)):
            say(line)
        rules = Rules(seconds=seconds, layers=_layers(sandbox, len(submissions), say))
        with _opened(out, resume) as journal:
            bar = tqdm(total=sum(len(known[s.lesson].exercises) for s in submissions if s.lesson in known), unit="exercise")
            with bar:
                graded = _judged(submissions, known, journal, rules, jobs, scheduler, bar)
        answers = {(s.learner, s.lesson): restore(s.data, known[s.lesson]).answers for s in submissions if s.lesson in known}
        took = time.monotonic() - clock
        graded, notes = write_reports(graded, out, masters=known, answers=answers, started=started, seconds=took)
        for note in [*notes, *_gradebooks(graded, out, roster)]:
            say(note)
    except (SubmissionError, GradingError, JournalError, ReportError, TableError) as error:
        raise BatchError(str(error)) from None
    except KeyboardInterrupt:
        raise BatchError("interrupted; what was judged is kept, and the same command with --resume goes on") from None
    return _summary(graded, out, took)


class _opened:
    """The journal of a batch, for one grader at a time."""

    def __init__(self, out: Path, resume: bool):
        self.out, self.resume = out, resume

    def __enter__(self) -> Journal:
        path = self.out / "journal.jsonl"
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            self.lock = FileLock(self.out / ".lock")
            self.lock.acquire(timeout=0)
        except Timeout:
            raise BatchError(
                f"another `course grade` writes into {self.out}; wait for its end or choose another folder"
            ) from None
        except OSError as error:
            why = "it is a file" if self.out.is_file() else error.strerror
            raise BatchError(f"{self.out} cannot be used: {why}; choose another folder") from None
        if path.exists() and path.stat().st_size and not self.resume:
            self.lock.release()
            raise BatchError(f"{self.out} holds a batch already: go on with --resume, or choose another folder")
        self.journal = Journal(path)
        return self.journal

    def __exit__(self, *error) -> None:
        self.journal.close()
        self.lock.release()


def _layers(mode: str | None, submissions: int, say) -> tuple[str, ...]:
    """Layers of the sandbox to use; BatchError where one that is demanded is missing."""
    mode = mode or ("require" if submissions > 1 else "auto")
    if mode not in MODES:
        raise BatchError(f"--sandbox={mode}: it is one of {', '.join(MODES)}")
    if mode == "off":
        say("Sandbox off: answers run with your rights, and can read, change and send whatever you can.")
        return ()
    missing = {layer: why for layer, why in protection.available().items() if why}
    told = "; ".join(f"{layer}: {why}" for layer, why in missing.items())
    if missing and mode == "require":
        raise BatchError(f"this system lacks a layer of the sandbox ({told}). --sandbox=auto grades with what there is")
    if missing:
        say(f"Not protected here: {told}")
    return tuple(layer for layer in protection.LAYERS if layer not in missing)


def _judged(submissions: list[Submission], known, journal: Journal, rules: Rules, jobs: int, scheduler, bar) -> list[Graded]:
    def progress(submission: Submission, exercise: str) -> None:
        bar.set_postfix_str(f"{submission.learner} {exercise}", refresh=False)
        bar.update()

    if scheduler:
        from course_lib.classroom.grading.cluster import grade_on

        return grade_on(scheduler, submissions, masters=known, journal=journal, rules=rules, jobs=jobs, progress=progress)
    return grade(submissions, masters=known, journal=journal, rules=rules, jobs=jobs, progress=progress)


def _gradebooks(graded: list[Graded], out: Path, roster: Path | None) -> list[str]:
    """Write them; lines that tell what a person should know, each with its file's name where it is of one book alone."""
    books = {
        "nbgrader/grades.csv": gradebook.nbgrader_csv(graded),
        "canvas/gradebook.csv": gradebook.canvas_csv(graded, roster),
    }
    for name, book in books.items():
        for file, content in book.files.items():
            write(out / Path(name).parent / file, content)
    every = [note for book in books.values() for note in book.notes]
    shared = [note for note in dict.fromkeys(every) if every.count(note) > 1]
    return shared + [f"{name}: {note}" for name, book in books.items() for note in book.notes if note not in shared]


def _summary(graded: list[Graded], out: Path, seconds: float) -> Summary:
    rows = [
        (
            g.learner,
            g.lesson,
            f"{g.earned:g} of {g.total:g}",
            f"{sum(v.state == PASSED for v in g.verdicts)} of {len(g.verdicts)}",
            g.problem or "; ".join(g.notes),
        )
        for g in graded
    ]
    unread = sum(bool(g.problem) for g in graded)
    count = f"{len(graded)} {'notebook' if len(graded) == 1 else 'notebooks'}"
    text = f"{count} in {seconds:.0f} s; {unread} could not be read. Reports: {out}"
    return Summary(tuple(rows), text, unread)
