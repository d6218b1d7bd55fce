"""What a teacher and a program get from a graded batch; names and answers are hostile."""

import json
from xml.etree import ElementTree

import pandas as pd
import pytest
from graded_batch import EVIL, LESSON, STARTED, Page, graded, judge, read, report, unreadable, written

from course_lib.classroom import masters
from course_lib.classroom.check import FAILED, PASSED
from course_lib.classroom.grading import tables
from course_lib.classroom.grading.report import ReportError, awarded, junit
from course_lib.classroom.grading.results import Graded

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\tx", " =1", "＝1", "\r=1"]


def test_a_batch_becomes_tables_reports_and_pages(tmp_path):
    out = report([graded(), unreadable()], tmp_path / "new" / "out")
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()) == [
        "exercises.csv", f"feedback/ann/{LESSON}.html", f"feedback/bob/{LESSON}.html", "grades.csv", "report.json",
        "report.xml", "texts.csv",
    ]  # fmt: skip
    ann, bob = read(out / "grades.csv")
    assert (ann["earned"], ann["total"], ann["waiting"], ann["passed"], ann["exercises"]) == ("0.1", "0.3", "2", "1", "2")
    assert (bob["earned"], bob["total"], bob["problem"]) == ("0", "0.3", "bob.ipynb is no notebook")
    first, second = read(out / "exercises.csv")[:2]
    assert (first["exercise"], first["state"], first["earned"], first["points"]) == ("90.1", PASSED, "0.1", "0.1")
    assert (second["earned"], second["message"], second["seconds"]) == ("0", "add 'x', then double", "0.5")


def test_sums_carry_no_noise(tmp_path):
    out = report([graded(states=(PASSED, PASSED))], tmp_path)
    assert 0.1 + 0.2 != 0.3
    assert read(out / "grades.csv")[0]["earned"] == "0.3"
    assert json.loads((out / "report.json").read_text())["graded"][0]["earned"] == 0.3
    assert "0.3 of 0.3 points" in Page((out / "feedback/ann" / f"{LESSON}.html").read_text()).words
    assert ElementTree.parse(out / "report.xml").find(".//property[@name='earned']").get("value") == "0.3"
    assert tables.number(1234567.25) == "1234567.25"


def test_an_empty_batch_still_has_headers(tmp_path):
    out = report([], tmp_path)
    assert [list(pd.read_csv(out / name).columns)[:2] for name in ("grades.csv", "exercises.csv", "texts.csv")] == [
        ["learner", "lesson"]
    ] * 3


def test_tables_open_in_a_spreadsheet_with_chinese_names(tmp_path):
    out = report([graded("李明")], tmp_path)
    assert (out / "grades.csv").read_bytes().startswith(b"\xef\xbb\xbflearner,lesson")
    assert pd.read_csv(out / "grades.csv").learner.tolist() == ["李明"]
    assert (out / "feedback" / "李明" / f"{LESSON}.html").exists()


@pytest.mark.parametrize("text", FORMULAS, ids=ascii)
def test_no_cell_is_a_formula(text, tmp_path):
    out = report([graded(text=text, message=text, notes=(text,))], tmp_path)
    found = [
        read(out / "texts.csv")[0]["text"],
        read(out / "exercises.csv")[1]["message"],
        read(out / "grades.csv")[0]["notes"],
    ]
    assert all(cell.startswith("'") and cell.strip("'\t\n ") == text.strip() for cell in found), found


def test_harmless_cells_stay_as_they_are():
    assert [tables.cell(text) for text in ("a = 1", "x-y", "", "'=1")] == ["a = 1", "x-y", "", "'=1"]


def test_text_is_cleaned_of_what_turns_or_hides_it():
    assert tables.clean("a\u202eb\u2066c\x00d\x1be\ud800f\x85g\ufffe") == "a�b�c�d�e�f�g�"
    assert tables.clean("tab\t李明 é 😀\r\nnext\rlast\n") == "tab\t李明 é 😀\nnext\nlast\n"


def test_a_cell_fits_into_a_spreadsheet():
    assert len(tables.cell("=" + "x" * 100_000)) == tables.LONGEST_CELL < 32_767


def test_json_keeps_everything_and_says_its_format(tmp_path):
    out = report([graded(EVIL.replace("/", ""), message=EVIL, notes=("n",))], tmp_path)
    content = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert (content["format"], content["started"], content["seconds"]) == (1, "2026-03-04T05:06:07+00:00", 1.5)
    (one,) = content["graded"]
    assert one["verdicts"][1]["message"] == EVIL
    assert (one["notes"], one["texts"][0]["text"], one["total"]) == (["n"], "It is.", 0.3)


def test_junit_counts_and_names():
    root = ElementTree.fromstring(junit([graded(), unreadable()], started=STARTED).encode())
    ann, bob = root.findall("testsuite")
    counts = [[suite.get(name) for name in ("tests", "failures", "errors", "time")] for suite in (root, ann, bob)]
    assert counts == [["4", "1", "2", "1.500"], ["2", "1", "0", "0.750"], ["2", "0", "2", "0.750"]]
    assert [(case.get("classname"), case.get("name")) for case in ann] [1:] == [
        (f"ann.{LESSON}", "90.1"), (f"ann.{LESSON}", "90.3"),
    ]  # fmt: skip
    (failure,) = ann.iter("failure")
    assert (failure.get("type"), failure.get("message")) == (FAILED, "add 'x', then double")
    assert failure.text == "add 'x', then double\nSeen: 3"
    assert (ann.get("skipped"), ann.get("timestamp")) == ("0", "2026-03-04T05:06:07+00:00")


def test_junit_has_the_attributes_that_its_readers_allow():
    allowed = {
        "testsuites": {"name", "tests", "failures", "errors", "time"},
        "testsuite": {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"},
        "testcase": {"classname", "name", "time"},
        "failure": {"type", "message"}, "error": {"type", "message"},
        "property": {"name", "value"}, "properties": set(),
    }  # fmt: skip
    root = ElementTree.fromstring(junit([graded(), unreadable()], started=STARTED).encode())
    assert {element.tag: set(element.keys()) for element in root.iter()} == allowed
    assert all(suite[0].tag == "properties" for suite in root), "properties come before the cases"


def test_junit_of_a_notebook_without_verdicts_is_an_error():
    one = Graded("bob", LESSON, "bob.zip", (), problem="bob.zip is encrypted")
    (case,) = ElementTree.fromstring(junit([one], started=STARTED).encode()).iter("testcase")
    assert (case.get("name"), case[0].tag, case[0].get("message")) == ("notebook", "error", "bob.zip is encrypted")


def test_a_notebook_of_an_unknown_lesson_has_its_page_and_case(tmp_path):
    out = report([Graded("bob", "", "x.ipynb", (), problem="Nothing tells which lesson this is.")], tmp_path)
    words = Page((out / "feedback/bob/unknown.html").read_text()).words
    assert "A notebook of an unknown lesson" in words and "Nothing tells which lesson this is." in words
    assert ElementTree.parse(out / "report.xml").find(".//testcase").get("classname") == "bob.unknown"
    assert read(out / "grades.csv")[0]["lesson"] == ""


def test_junit_takes_any_text():
    text = junit([graded(EVIL, message=EVIL * 100)], started=STARTED)
    (failure,) = ElementTree.fromstring(text.encode()).iter("failure")
    assert failure.text.startswith("<script>alert(1)</script>") and "\x1b" not in text and "\ud800" not in text
    assert len(failure.get("message")) == 500 < len(failure.text)


def test_a_report_that_cannot_be_written_says_where(tmp_path):
    (tmp_path / "feedback").write_text("a file in the way")
    with pytest.raises(ReportError, match=r"cannot be written: .*feedback.*choose another folder"):
        report([graded()], tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "grades.csv"
    tables.write(path, "old")
    monkeypatch.setattr(tables.os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError):
        tables.write(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_texts_wait_for_a_person(tmp_path):
    (row,) = read(report([graded(text="- one\n- two")], tmp_path) / "texts.csv")
    assert row == {
        "learner": "ann", "lesson": LESSON, "grade_id": "90-2-explain", "points": "2", "earned": "", "text": "'- one\n- two",
    }  # fmt: skip
    assert read(report([graded(text=masters.FREE_TEXT)], tmp_path) / "texts.csv")[0]["text"] == ""


def test_points_of_a_person_outlast_another_run(tmp_path):
    batch = [graded("=ann", text="- one\n- two"), graded("bob")]
    path = judge(report(batch, tmp_path) / "texts.csv", "1,5", "")
    report(batch, tmp_path)
    assert [row["earned"] for row in read(path)] == ["1.5", ""]
    assert awarded(path) == {("'=ann", LESSON, "90-2-explain", "'- one - two"): (2, 1.5)}
    ann, bob = read(tmp_path / "grades.csv")
    assert [(row["earned"], row["total"], row["waiting"]) for row in (ann, bob)] == [("1.6", "2.3", "0"), ("0.1", "0.3", "2")]
    told = json.loads((tmp_path / "report.json").read_text())["graded"]
    assert [(one["earned"], one["total"], one["waiting"]) for one in told] == [(1.6, 2.3, 0), (0.1, 0.3, 2)]
    pages = {page.parent.name: Page(page.read_text()).words for page in tmp_path.glob("feedback/*/*.html")}
    (first,) = [words for name, words in pages.items() if name.startswith("=ann")]
    assert "1.6 of 2.3 points" in first and "read by your teacher (1.5 of 2 points)" in first and "more for what" not in first
    assert "2 more for what you wrote in words" in pages["bob"]
    assert not list(tmp_path.glob("texts.before*"))


def test_points_for_another_text_are_put_aside_not_lost(tmp_path):
    path = judge(report([graded(text="first")], tmp_path) / "texts.csv", "1")
    lost = written([graded(text="second")], tmp_path)[1]
    assert lost == [
        "texts.csv, row 2 (ann, 90-2-explain): no such answer with this text; its points were not used. "
        "Your table is kept as texts.before-1.csv"
    ]
    assert [(row["text"], row["earned"]) for row in read(path)] == [("second", "")]
    assert awarded(tmp_path / "texts.before-1.csv") == {("ann", LESSON, "90-2-explain", "first"): (2, 1.0)}


def test_a_table_of_points_that_cannot_be_read_is_left_alone(tmp_path):
    path = report([graded()], tmp_path) / "texts.csv"
    path.write_bytes("learner;名\n".encode("gb18030"))
    with pytest.raises(tables.TableError, match="texts.csv is not in UTF-8"):
        report([graded()], tmp_path)
    assert path.read_bytes() == "learner;名\n".encode("gb18030")


@pytest.mark.parametrize("given", ["three", "2.5", "-1", "nan"])
def test_points_that_cannot_be_are_named(given, tmp_path):
    path = judge(report([graded()], tmp_path) / "texts.csv", given)
    with pytest.raises(tables.TableError, match=rf"texts.csv, row 2: earned is a number from 0 to 2, not '{given}'"):
        awarded(path)
