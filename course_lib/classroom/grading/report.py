"""The reports of a graded batch: tables for the teacher, JSON and JUnit for programs, a page for each learner."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

from course_lib.classroom.check import PASSED
from course_lib.classroom.grading import feedback
from course_lib.classroom.grading.results import UNREADABLE, Graded, Verdict
from course_lib.classroom.grading.tables import TableError, cell, clean, csv_text, number, read_records, write
from course_lib.classroom.masters import Master

UNKNOWN = "unknown"  # stands for the lesson of a notebook where nothing tells it
FORMAT = 1  # of report.json; goes up when a reader would have to change
LONGEST_TITLE = 500  # characters of a message in report.xml's attributes; the element's text has all of it
GRADES = ("learner", "lesson", "earned", "total", "waiting", "passed", "exercises", "problem", "notes", "source")
EXERCISES = ("learner", "lesson", "exercise", "state", "earned", "points", "message", "seconds")
TEXTS = ("learner", "lesson", "grade_id", "points", "earned", "text")


class ReportError(ValueError):
    """A report that cannot be written: where, why, what to do."""


def write_reports(
    graded: Sequence[Graded],
    out: Path,
    *,
    masters: Mapping[str, Master],
    answers: Mapping[tuple[str, str], Mapping[str, str]],
    started: datetime,
    seconds: float,
) -> tuple[list[Graded], list[str]]:
    """Write grades.csv, exercises.csv, texts.csv, report.json, report.xml and feedback/LEARNER/LESSON.html into a folder.

    masters: lesson → master, for headings and order; answers: (learner, lesson) → grade_id → the learner's source;
    seconds: wall time of the batch. The tables are UTF-8 with a byte-order mark, which spreadsheets need for names such as
    李明 and pandas skips; a cell that looks like a formula starts with '. Points that a person wrote into texts.csv
    count and stay (see `awarded`).
    Returns the batch with those points, and lines about points that fit no answer any more.
    Raises TableError where texts.csv cannot be read, before anything is written; ReportError where the folder cannot be
    written; each file is whole, the old one or the new one.
    """
    graded, lost = _credited(graded, out / "texts.csv")
    try:
        for name, text in _tables(graded).items():
            write(out / name, text, encoding="utf-8-sig")
        notes = _write_texts(graded, out / "texts.csv", lost)
        write(out / "report.json", as_json(graded, started=started, seconds=seconds))
        write(out / "report.xml", junit(graded, started=started))
        folders = feedback.folders(one.learner for one in graded)
        for one in graded:
            sources = answers.get((one.learner, one.lesson), {})
            page = feedback.page(one, masters.get(one.lesson), sources, started=started)
            write(out / "feedback" / folders[one.learner] / f"{one.lesson or UNKNOWN}.html", page)
    except OSError as error:
        where, why = error.filename or out, error.strerror or error
        raise ReportError(
            f"the report cannot be written: {where}: {why}; close the file where it is open, or choose another folder"
        ) from error
    return graded, notes


def _tables(graded: Sequence[Graded]) -> dict[str, str]:
    """File name → content."""
    grades = [
        (
            one.learner, one.lesson, one.earned, one.total, one.waiting,
            sum(verdict.state == PASSED for verdict in one.verdicts), len(one.verdicts),
            one.problem, "; ".join(one.notes), one.source,
        )
        for one in graded
    ]  # fmt: skip
    exercises = [
        (one.learner, one.lesson, v.exercise, v.state, v.earned, v.points, v.message, round(v.seconds, 3))
        for one in graded
        for v in one.verdicts
    ]
    return {"grades.csv": csv_text(GRADES, grades), "exercises.csv": csv_text(EXERCISES, exercises)}


def as_json(graded: Sequence[Graded], *, started: datetime, seconds: float) -> str:
    """Everything that grading found, for programs: {format, started, seconds, graded: [Graded.as_dict(), …]}."""
    found = [one.as_dict() | {"earned": _exact(one.earned), "total": _exact(one.total)} for one in graded]
    content = {"format": FORMAT, "started": started.isoformat(timespec="seconds"), "seconds": round(seconds, 3)}
    return json.dumps(content | {"graded": found}, ensure_ascii=False, indent=1) + "\n"


def _exact(points: float) -> float:
    return float(number(points))


def junit(graded: Sequence[Graded], *, started: datetime) -> str:
    """JUnit's XML: a suite for each learner and lesson, a case for each exercise with classname `learner.lesson`.

    An exercise that did not pass is a failure with its message; a notebook that could not be read is an error.
    """
    root = ElementTree.Element("testsuites", name="course grade")
    for one in graded:
        suite = ElementTree.SubElement(root, "testsuite", name=_name(one), skipped="0")
        suite.set("timestamp", started.isoformat(timespec="seconds"))
        properties = ElementTree.SubElement(suite, "properties")
        for name, value in (("earned", one.earned), ("total", one.total)):
            ElementTree.SubElement(properties, "property", name=name, value=number(value))
        cases = one.verdicts
        if one.problem and not cases:
            cases = (Verdict("notebook", UNREADABLE, 0, one.problem),)
        suite.extend(_case(verdict, one) for verdict in cases)
        _count(suite, [suite], sum(verdict.seconds for verdict in cases))
    _count(root, root.findall("testsuite"), sum(v.seconds for one in graded for v in one.verdicts))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _name(one: Graded) -> str:
    return clean(f"{one.learner}.{one.lesson or UNKNOWN}")


def _case(verdict: Verdict, one: Graded) -> ElementTree.Element:
    case = ElementTree.Element("testcase", classname=_name(one), name=clean(verdict.exercise), time=f"{verdict.seconds:.3f}")
    if verdict.state != PASSED:
        tag = "error" if verdict.state == UNREADABLE else "failure"
        message = clean(verdict.message or one.problem or verdict.state)
        child = ElementTree.SubElement(case, tag, type=verdict.state, message=message[:LONGEST_TITLE])
        child.text = "\n".join([message, *(clean(f"{label}: {value}") for label, value in verdict.details)])
    return case


def _count(element: ElementTree.Element, suites: Sequence[ElementTree.Element], seconds: float) -> None:
    """Set the sums that readers of JUnit's XML expect."""
    for name, path in (("tests", "testcase"), ("failures", "testcase/failure"), ("errors", "testcase/error")):
        element.set(name, str(sum(len(suite.findall(path)) for suite in suites)))
    element.set("time", f"{seconds:.3f}")


def awarded(path: Path) -> dict[tuple[str, str, str, str], tuple[int, float]]:
    """Points that a person wrote into the column `earned` of texts.csv: (learner, lesson, grade_id, text) → (row, points).

    Names and text are as in the table, that is, after `cell`; blanks in the text do not matter. Nothing where there is no
    file. Raises TableError for what is no number between 0 and the question's points.
    """
    found = {}
    for row, record in enumerate(read_records(path, *TEXTS) if path.exists() else (), start=2):
        given = record["earned"].strip()
        if not given:
            continue
        try:
            points = float(given.replace(",", "."))
            if not 0 <= points <= float(record["points"].replace(",", ".")):
                raise ValueError
        except ValueError:
            raise TableError(f"{path}, row {row}: earned is a number from 0 to {record['points']}, not {given!r}") from None
        found[record["learner"], record["lesson"], record["grade_id"], _words(record["text"])] = row, points
    return found


def _credited(graded: Sequence[Graded], path: Path) -> tuple[list[Graded], list[str]]:
    """The batch with the points of texts.csv; lines about rows with points that belong to no answer that is there now."""
    given, found = awarded(path), []
    for one in graded:
        names = cell(one.learner), cell(one.lesson)
        keys = [(*names, cell(text.grade_id), _words(cell(feedback.answered(text)))) for text in one.texts]
        points = [given.pop(key, (0, None))[1] for key in keys]
        texts = tuple(replace(text, earned=earned) for text, earned in zip(one.texts, points, strict=True))
        found.append(replace(one, texts=texts))
    lost = [f"texts.csv, row {row} ({key[0]}, {key[2]}): no such answer with this text" for key, (row, _) in given.items()]
    return found, lost


def _write_texts(graded: Sequence[Graded], path: Path, lost: list[str]) -> list[str]:
    """Write the answers in words; an old table with points that were not used is put aside, and the lines say where."""
    rows = []
    for one, text in ((each, text) for each in graded for text in each.texts):
        earned = "" if text.earned is None else text.earned
        rows.append((one.learner, one.lesson, text.grade_id, text.points, earned, feedback.answered(text)))
    if lost:
        names = (path.with_name(f"texts.before-{n}.csv") for n in itertools.count(1))
        aside = next(name for name in names if not name.exists())
        os.replace(path, aside)
        lost = [f"{line}; its points were not used. Your table is kept as {aside.name}" for line in lost]
    write(path, csv_text(TEXTS, rows), encoding="utf-8-sig")
    return lost


def _words(text: str) -> str:
    return " ".join(text.split())
