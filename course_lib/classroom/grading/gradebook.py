"""Marks for other systems: the tables that nbgrader and Canvas take, made from a graded batch."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from course_lib.classroom.grading.results import Graded
from course_lib.classroom.grading.tables import TableError, cell, csv_text, number, read_records, read_table

NBGRADER = (
    "assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email",
    "raw_score", "late_submission_penalty", "score", "max_score",
)  # fmt: skip
STUDENT = ("id", "first_name", "last_name", "email")
CANVAS = ("Student", "ID", "SIS Login ID", "Section")  # the least that Canvas takes
IDS = ("ID", "SIS User ID", "SIS Login ID", "Integration ID")
NAMES = ("Student", "LastName", "FirstName")
NUMBERED = re.compile(r"^(.*?)(?:\s\((\d+)\))?$", re.DOTALL)
EXPORT = "in Canvas: Grades → Export → Export Entire Gradebook"


@dataclass(frozen=True)
class Gradebook:
    """files: name → content, to be written as UTF-8 without a byte-order mark; notes: what a person should know."""

    files: dict[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Marks:
    """Points by learner and lesson, answers in words included where a person has judged them."""

    earned: dict[tuple[str, str], float]
    possible: dict[str, float]
    waiting: int

    @property
    def learners(self) -> list[str]:
        return sorted({learner for learner, _ in self.earned})

    @property
    def notes(self) -> list[str]:
        one = "1 answer in words has" if self.waiting == 1 else f"{self.waiting} answers in words have"
        into = "write them into the column `earned` of texts.csv, and run the same command with --resume"
        return [f"{one} no points yet, and counts nothing here: {into}"] if self.waiting else []


def _marks(graded: Sequence[Graded]) -> _Marks:
    earned, possible, waiting = {}, defaultdict(float), 0
    for one in (each for each in graded if each.lesson):
        waiting += sum(text.earned is None for text in one.texts)
        earned[one.learner, one.lesson] = one.earned
        possible[one.lesson] = max(possible[one.lesson], one.total + one.waiting)
    return _Marks(earned, dict(sorted(possible.items())), waiting)


def nbgrader_csv(graded: Sequence[Graded], roster: Path | None = None) -> Gradebook:
    """Tables in nbgrader's columns: grades.csv as `nbgrader export` writes it, students.csv and assignments.csv for its import.

    roster: a table as `nbgrader db student import` takes it (id, and if wanted first_name, last_name, email), where id is the
    learner's name in the batch; who is in it and handed in nothing has 0 points, as in nbgrader. Times of submission are
    unknown here and stay empty. Raises TableError.
    """
    marks = _marks(graded)
    people = {row["id"].strip(): row for row in read_records(roster, "id")} if roster else {}
    strangers = [learner for learner in marks.learners if learner not in people]
    notes = marks.notes
    if roster and strangers:
        notes.append(f"not in the roster, so without a full name: {', '.join(strangers)}")
    rows = []
    for lesson, most in marks.possible.items():
        for learner in sorted({*people, *marks.learners}):
            last, first, email = (people.get(learner, {}).get(name, "") for name in ("last_name", "first_name", "email"))
            score = marks.earned.get((learner, lesson), 0.0)
            rows.append((lesson, "", "", learner, last, first, email, score, 0.0, score, most))
    columns = [name for name in STUDENT if name == "id" or any(name in row for row in people.values())]
    students = [[name if c == "id" else people.get(name, {}).get(c, "") for c in columns] for name in (*people, *strangers)]
    files = {
        "grades.csv": csv_text(NBGRADER, rows),
        "students.csv": csv_text(columns, students),
        "assignments.csv": csv_text(["name"], [[lesson] for lesson in marks.possible]),
    }
    return Gradebook(files, tuple(notes))


def canvas_csv(graded: Sequence[Graded], roster: Path | None = None) -> Gradebook:
    """The table gradebook.csv for Canvas's "Import" of grades: one row a student, one column a lesson.

    roster: Canvas's own export of the gradebook. Learners are found in it by ID, by login, or by name in either order; an
    assignment is a lesson's where its title is the lesson's file name, with or without the number. Without a roster there
    are names only, and Canvas asks whose they are. Who handed in nothing keeps the grade of the export: an empty cell would
    erase what Canvas has.
    Raises TableError.
    """
    marks = _marks(graded)
    book = _canvas_roster(roster) if roster else _Roster(list(CANVAS), {}, [], [])
    matched, strangers = _match(marks.learners, book)
    columns = {
        lesson: book.assignments.get(_fold(lesson)) or book.assignments.get(_fold(lesson[3:])) for lesson in marks.possible
    }
    width = len(book.header)
    points = [column[1] if column else number(marks.possible[lesson]) for lesson, column in columns.items()]
    rows: list[list] = [["    Points Possible", *[""] * (width - 1), *points]]
    titles = {lesson: column[0] if column else "" for lesson, column in columns.items()}
    known = [(row, matched.get(position, ""), book.held[position]) for position, row in enumerate(book.rows)]
    for row, learner, held in known + [([name] + [""] * (width - 1), name, {}) for name in strangers]:
        rows.append(row + [marks.earned.get((learner, lesson), held.get(titles[lesson], "")) for lesson in columns])
    header = book.header + [cell(column[0] if column else lesson) for lesson, column in columns.items()]
    notes = [*marks.notes, *_canvas_notes(roster, marks, columns, strangers, len(book.rows) - len(matched))]
    return Gradebook({"gradebook.csv": csv_text(header, rows)}, tuple(notes))


@dataclass(frozen=True)
class _Roster:
    """Canvas's export.

    header, rows: the columns that say who; assignments: folded title → (heading, points possible); held: grades of each row
    by heading.
    """

    header: list[str]
    assignments: dict[str, tuple[str, str]]
    rows: list[list[str]]
    held: list[dict[str, str]]


def _canvas_roster(path: Path) -> _Roster:
    header, *rows = read_table(path) or [[]]
    if "Section" not in header or header[0].strip() not in ("Student", "LastName"):
        raise TableError(f"{path} is no export of Canvas's gradebook (no columns Student … Section); {EXPORT}")
    width = header.index("Section") + 1
    rows = [row + [""] * (len(header) - len(row)) for row in rows]
    possible = next((row for row in rows if row[0].strip() == "Points Possible"), [""] * len(header))
    students = [row for row in rows if row is not possible and any(value.strip() for value in row[:width])]
    titles = {_fold(NUMBERED.match(title).group(1)): (title, possible[n]) for n, title in enumerate(header) if n >= width}
    held = [dict(zip(header[width:], row[width:], strict=False)) for row in students]
    return _Roster(header[:width], titles, [row[:width] for row in students], held)


def _fold(text: str) -> str:
    """Letters and digits alone, in one case and without accents, so that "Doë, Jane" meets "doejane" and 04_dot "4 dot"."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(letter for letter in plain if letter.isalnum()).lstrip("0")


def _match(learners: Sequence[str], book: _Roster) -> tuple[dict[int, str], list[str]]:
    """Row of the roster → learner, where exactly one row fits and no other learner took it; and who was not found."""
    by_id, by_name = defaultdict(set), defaultdict(set)
    for position, row in enumerate(book.rows):
        record = dict(zip(book.header, row, strict=True))
        for key in _ids(record):
            by_id[key].add(position)
        for key in _names(record):
            by_name[key].add(position)
    matched, strangers = {}, []
    for learner in learners:
        name, _, number_ = learner.rpartition("-")  # as submissions tell two of one name apart
        rows = by_id[learner.casefold()] or by_id[number_] & by_name[_fold(name)] or by_name[_fold(learner)]
        position = next(iter(rows)) if len(rows) == 1 else -1
        if position < 0 or position in matched:
            strangers.append(learner)
        else:
            matched[position] = learner
    return matched, strangers


def _ids(record: Mapping[str, str]) -> Iterator[str]:
    """What identifies a student: IDs, logins, and what stands before the @ of a login."""
    for name in IDS:
        value = record.get(name, "").strip().casefold()
        yield from {value, value.partition("@")[0]} - {""}


def _names(record: Mapping[str, str]) -> set[str]:
    """A student's name in both orders."""
    last, _, first = record["Student"].partition(",") if "Student" in record else (record["LastName"], "", record["FirstName"])
    return {_fold(last + first), _fold(first + last)} - {""}


def _canvas_notes(roster: Path | None, marks: _Marks, columns: Mapping, strangers: Sequence[str], absent: int) -> Iterator[str]:
    if roster is None:
        yield f"without a roster there are names only, and Canvas asks whose they are; {EXPORT}, and give that file"
        return
    if strangers:
        yield f"not found in the roster, or not for certain; Canvas asks who it is: {', '.join(strangers)}"
    if absent:
        yield f"{absent} of the roster handed in nothing; they keep the grades of that export"
    for lesson, column in columns.items():
        if column is None:
            yield f"{lesson}: no assignment of that name, so Canvas offers to make one"
        elif _as_number(column[1]) != round(marks.possible[lesson], 10):
            most = number(marks.possible[lesson])
            yield f"{lesson}: the exercises give {most} points, Canvas has {column[1].strip() or 'none'}: change it there"


def _as_number(text: str) -> float | None:
    try:
        return float(text.strip().replace(",", "."))
    except ValueError:
        return None
