"""Tables for nbgrader and Canvas: the columns that they take, and whose row is whose."""

import csv
import io

import pytest
from graded_batch import LESSON, graded, judge, report, rows, written

from course_lib.classroom.check import PASSED
from course_lib.classroom.grading import tables
from course_lib.classroom.grading.gradebook import canvas_csv, nbgrader_csv
from course_lib.classroom.grading.results import Graded


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("学号,a\n".encode("gb18030"), "not in UTF-8"),
        (b"a,b\n1,2\n", "no column id"),
        (b"", "no column id"),
        (None, "No such file"),
    ],
)
def test_a_roster_that_cannot_be_read_says_why(content, message, tmp_path):
    path = tmp_path / "roster.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(tables.TableError, match=message):
        nbgrader_csv([graded()], path)


def test_nbgrader_gets_its_columns(tmp_path):
    roster = tmp_path / "students.csv"
    roster.write_text("id,last_name,first_name,email\nann,Arendt,Ann,ann@example.org\nzoe,Zhou,Zoe,\n", encoding="utf-8")
    judge(report([graded(), graded("bob")], tmp_path) / "texts.csv", "1.5", "")
    book = nbgrader_csv(written([graded(), graded("bob")], tmp_path)[0], roster)
    ann, bob, zoe = rows(book.files["grades.csv"])
    assert list(ann) == (
        "assignment,duedate,timestamp,student_id,last_name,first_name,email,raw_score,late_submission_penalty,score,max_score"
    ).split(",")
    assert list(ann.values()) == [LESSON, "", "", "ann", "Arendt", "Ann", "ann@example.org", "1.6", "0", "1.6", "2.3"]
    assert (bob["student_id"], bob["last_name"], bob["score"]) == ("bob", "", "0.1")
    assert (zoe["student_id"], zoe["last_name"], zoe["score"], zoe["max_score"]) == ("zoe", "Zhou", "0", "2.3")
    assert [row["id"] for row in rows(book.files["students.csv"])] == ["ann", "zoe", "bob"]
    assert rows(book.files["assignments.csv"]) == [{"name": LESSON}]
    assert book.notes == (
        "1 answer in words has no points yet, and counts nothing here: write them into the column `earned` of texts.csv, "
        "and run the same command with --resume",
        "not in the roster, so without a full name: bob",
    )


def test_nbgrader_without_a_roster_changes_no_names():
    book = nbgrader_csv([graded()])
    assert rows(book.files["students.csv"]) == [{"id": "ann"}]
    assert not book.files["grades.csv"].startswith("\ufeff")


CANVAS = """Student,ID,SIS User ID,SIS Login ID,Section,Notes,4 Dot Product (77),90 small things (78),Final Score
,,,,,,Manual Posting,,
    Points Possible,,,,,,10.00,2.30,(read only)
"Arendt, Ann",101,s-1,ann@example.org,One,,N/A,,90
"Li, Ming",102,s-2,lm@example.org,One,,,,
"Li, Ming",103,s-3,ming3@example.org,Two,,,,
"Zhou, Zoe",104,s-4,zoe@example.org,Two,,,,
"""


@pytest.fixture
def canvas(tmp_path):
    path = tmp_path / "export.csv"
    path.write_text(CANVAS, encoding="utf-8-sig")
    return path


def canvas_marks(learner, roster):
    """Who got the points: the row's ID, or its name where there is no ID."""
    header, _, *students = csv.reader(io.StringIO(canvas_csv([graded(learner)], roster).files["gradebook.csv"], newline=""))
    return [row[1] or row[0] for row in students if row[-1] == "0.1"]


@pytest.mark.parametrize(
    ("learner", "who"),
    [
        ("arendtann", "101"), ("Ann Arendt", "101"), ("Arendt, Ann", "101"), ("ann", "101"), ("ANN@example.org", "101"),
        ("s-1", "101"), ("101", "101"), ("arendtann-101", "101"), ("liming-103", "103"), ("lm", "102"),
        ("liming-104", "liming-104"),
        ("liming", "liming"), ("stranger", "stranger"), ("=cmd", "'=cmd"),
    ],
)  # fmt: skip
def test_canvas_finds_the_student_or_asks(learner, who, canvas):
    assert canvas_marks(learner, canvas) == [who]


def test_canvas_gets_the_columns_it_takes(canvas):
    book = canvas_csv([graded("ann"), graded("zoe", states=(PASSED, PASSED))], canvas)
    table = list(csv.reader(io.StringIO(book.files["gradebook.csv"], newline="")))
    assert table == [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "90 small things (78)"],
        ["    Points Possible", "", "", "", "", "2.30"],
        ["Arendt, Ann", "101", "s-1", "ann@example.org", "One", "0.1"],
        ["Li, Ming", "102", "s-2", "lm@example.org", "One", ""],
        ["Li, Ming", "103", "s-3", "ming3@example.org", "Two", ""],
        ["Zhou, Zoe", "104", "s-4", "zoe@example.org", "Two", "0.3"],
    ]
    assert [note[:30] for note in book.notes] == ["2 answers in words have no poi", "2 of the roster handed in noth"]


def test_a_grade_that_a_teacher_gave_in_canvas_stays_where_nothing_was_handed_in(canvas):
    title = "90 small things (78)"
    header, *lines = csv.reader(io.StringIO(CANVAS, newline=""))
    for line in lines:
        if line[1:2] in (["101"], ["102"]):
            line[header.index(title)] = "7"
    with canvas.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *lines])
    found = rows(canvas_csv([graded("ann")], canvas).files["gradebook.csv"])
    assert {row["ID"]: row[title] for row in found if row["ID"]} == {"101": "0.1", "102": "7", "103": "", "104": ""}


@pytest.mark.parametrize("title", ["4 Dot Product (77)", "04_dot_product", "dot product (5)", "4. Dot product (77)"])
def test_canvas_finds_the_assignment_by_the_lessons_name(title, canvas):
    canvas.write_text(CANVAS.replace("4 Dot Product (77)", title), encoding="utf-8")
    marks = rows(canvas_csv([graded("ann", lesson="04_dot_product")], canvas).files["gradebook.csv"])
    assert [row[title] for row in marks[:2]] == ["10.00", "0.1"]


def test_canvas_hears_of_what_does_not_fit(canvas):
    canvas.write_text(CANVAS.replace("2.30", "100").replace("4 Dot", "5 Dot"), encoding="utf-8")
    batch = [graded("ann"), graded("ann", lesson="04_dot_product"), graded("arendtann"), graded("=x")]
    book = canvas_csv(batch, canvas)
    assert rows(book.files["gradebook.csv"])[0]["04_dot_product"] == "2.3"
    assert [note for note in book.notes if "words" not in note and "handed in" not in note] == [
        "not found in the roster, or not for certain; Canvas asks who it is: =x, arendtann",
        "04_dot_product: no assignment of that name, so Canvas offers to make one",
        f"{LESSON}: the exercises give 2.3 points, Canvas has 100: change it there",
    ]


def test_canvas_reads_first_and_last_names_apart_and_semicolons(tmp_path):
    path = tmp_path / "export.csv"
    header = "LastName;FirstName;ID;SIS Login ID;Section;Small Things (9)\n    Points Possible;;;;;2,30\n"
    path.write_text(header + "Arendt;Ann;101;aa1;One;\n", encoding="utf-8")
    book = canvas_csv([graded("annarendt")], path)
    assert rows(book.files["gradebook.csv"])[1]["Small Things (9)"] == "0.1"
    assert not [note for note in book.notes if "Canvas" in note]


def test_canvas_finds_a_name_written_without_its_accents(canvas):
    canvas.write_text(CANVAS.replace("Arendt, Ann", "Müller, Zoë").replace("Zhou", "Žižek"), encoding="utf-8")
    marks = rows(canvas_csv([graded("mullerzoe"), graded("zižekzoe")], canvas).files["gradebook.csv"])
    assert [row["Student"] for row in marks if row["90 small things (78)"] == "0.1"] == ["Müller, Zoë", "Žižek, Zoe"]


def test_canvas_asks_where_two_names_differ_by_an_accent_alone(canvas):
    canvas.write_text(CANVAS.replace("Arendt, Ann", "Müller, Zoe").replace("Zhou, Zoe", "Muller, Zoe"), encoding="utf-8")
    notes = canvas_csv([graded("mullerzoe")], canvas).notes
    assert any("Canvas asks who it is: mullerzoe" in note for note in notes)


def test_canvas_without_a_roster_has_names_and_says_so():
    book = canvas_csv([graded("ann")])
    assert rows(book.files["gradebook.csv"]) == [
        {"Student": "    Points Possible", "ID": "", "SIS Login ID": "", "Section": "", LESSON: "2.3"},
        {"Student": "ann", "ID": "", "SIS Login ID": "", "Section": "", LESSON: "0.1"},
    ]
    assert "names only" in book.notes[-1]


def test_a_notebook_of_an_unknown_lesson_has_no_column(canvas):
    lost = Graded("zoe", "", "x.ipynb", (), problem="nothing tells which lesson this is")
    assert rows(canvas_csv([graded("ann"), lost], canvas).files["gradebook.csv"]) == rows(
        canvas_csv([graded("ann")], canvas).files["gradebook.csv"]
    )
    assert [row["student_id"] for row in rows(nbgrader_csv([graded("ann"), lost]).files["grades.csv"])] == ["ann"]


def test_another_table_is_no_export_of_canvas(tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("name,points\nann,3\n")
    with pytest.raises(tables.TableError, match="no export of Canvas's gradebook .* Export Entire Gradebook"):
        canvas_csv([graded()], path)
