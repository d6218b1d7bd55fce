"""nbgrader takes the masters as they are: its releases hold no solution, and its marks are those that the checks give."""

import csv
import json
import subprocess

import nbformat
import nbgrader_environment as environment
import pytest
from graded_batch import graded
from typer.testing import CliRunner

from course_lib.classroom import masters
from course_lib.classroom.cli import app
from course_lib.classroom.grading.gradebook import nbgrader_csv
from course_lib.classroom.kernel import BuildError
from course_lib.classroom.nbgrader import write_course
from course_lib.config import PROJECT

NAMES = [path.stem for path in masters.masters()]
GRADED = NAMES[:2]  # the two that run shortest
HALF = 2  # exercises of the first that its learner has solved
RELEASE = """
import json, sys
from nbgrader.apps import NbGraderAPI
from traitlets.config import Config

made = NbGraderAPI(config=Config({"CourseDirectory": {"root": sys.argv[1]}}))
print(json.dumps({name: made.generate_assignment(name) for name in sys.argv[2:]}))
"""


def load(name: str) -> masters.Master:
    return masters.load(PROJECT / "solutions" / f"{name}.py")


def by_hand(master: masters.Master) -> float:
    """Points that a person gives."""
    return sum(cell.nbgrader["points"] for cell in master.cells if cell.kind == "markdown" and cell.nbgrader)


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course folder with all lessons, as the command line makes it."""
    folder = tmp_path_factory.mktemp("nbgrader") / "course"
    result = CliRunner().invoke(app, ["build", "--nbgrader", str(folder)])
    assert result.exit_code == 0 and result.output.count("wrote ") == len(NAMES) + 1, result.output
    return folder


@pytest.fixture(scope="module")
def run(course):
    """Runs a command of nbgrader's environment in the course folder, and gives its standard output."""
    python = environment.find()
    if python is None:
        environment.missing()

    def command(*arguments) -> str:
        done = subprocess.run(
            [python, *arguments], cwd=course, env=environment.variables(course.parent), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=500,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return command


@pytest.fixture(scope="module")
def released(course, run):
    """What nbgrader says of each lesson: the first by its command, the others in one process."""
    run("-m", "nbgrader", "generate_assignment", NAMES[0])
    return json.loads(run("-c", RELEASE, str(course), *NAMES[1:]).splitlines()[-1])


def handed_in(course, name: str, count: int) -> str:
    """The release with the first `count` exercises solved."""
    notebook = nbformat.read(course / "release" / name / f"{name}.ipynb", as_version=4)
    solved = {a.nbgrader["grade_id"]: masters.solved(a) for e in load(name).exercises[:count] for a in e.answers}
    for cell in notebook.cells:
        cell.source = solved.get(cell.metadata.get("nbgrader", {}).get("grade_id"), cell.source)
    return nbformat.writes(notebook)


@pytest.fixture(scope="module")
def marks(course, run, released):
    """(learner, lesson) → the row of nbgrader's own gradebook: the first lesson half, the second solved and untouched."""
    count = {("half", GRADED[0]): HALF, ("solved", GRADED[1]): 99, ("untouched", GRADED[1]): 0}
    for (learner, name), exercises in count.items():
        path = course / "submitted" / learner / name / f"{name}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(handed_in(course, name, exercises), encoding="utf-8")
    for name in GRADED:
        run("-m", "nbgrader", "autograde", name, "--Execute.timeout=60")  # a wait for nothing ends, see its configuration
    run("-m", "nbgrader", "export", "--to", "grades.csv")
    with open(course / "grades.csv", encoding="utf-8", newline="") as file:
        return {(row["student_id"], row["assignment"]): row for row in csv.DictReader(file)}


def test_a_source_keeps_the_marks_and_leaves_out_the_wrong_answers(course):
    for name in NAMES:
        master, found = load(name), nbformat.read(course / "source" / name / f"{name}.ipynb", as_version=4)
        assert [cell.source for cell in found.cells] == [cell.source for cell in master.cells if not cell.is_wrong]
        graded = [cell.metadata.nbgrader for cell in found.cells if "nbgrader" in cell.metadata]
        assert graded == [cell.nbgrader for cell in master.cells if cell.nbgrader]


@pytest.mark.parametrize("name", NAMES)
def test_nbgrader_releases_every_lesson_without_its_solutions(course, released, name):
    assert name == NAMES[0] or released[name]["success"], released[name]["error"]
    found = nbformat.read(course / "release" / name / f"{name}.ipynb", as_version=4)
    cells = {cell.metadata.nbgrader.grade_id: cell for cell in found.cells if "nbgrader" in cell.metadata}
    for exercise in load(name).exercises:
        answer, check = (cells[cell.nbgrader["grade_id"]] for cell in (exercise.answers[0], exercise.check))
        assert "raise NotImplementedError" in answer.source and check.metadata.nbgrader.points == exercise.points
        assert f'check("{exercise.number}"' in check.source
    text = "\n".join(cell.source for cell in found.cells)
    assert "SOLUTION" not in text and "HIDDEN TESTS" not in text


@pytest.mark.slow
def test_nbgrader_gives_the_points_that_were_earned(marks):
    first, second = ([exercise.points for exercise in load(name).exercises] for name in GRADED)
    earned = {("half", GRADED[0]): sum(first[:HALF]), ("solved", GRADED[1]): sum(second), ("untouched", GRADED[1]): 0}
    assert {key: float(marks[key]["score"]) for key in earned} == earned and sum(first) > sum(first[:HALF]) > 0
    most = {name: sum(points) + by_hand(load(name)) for name, points in zip(GRADED, (first, second), strict=True)}
    assert {key: float(marks[key]["max_score"]) for key in earned} == {key: most[key[1]] for key in earned}


@pytest.mark.slow
def test_nbgrader_imports_the_tables_of_a_graded_class(course, run, marks):
    book = nbgrader_csv([graded("ana", lesson="90_new"), graded("李明", lesson="90_new")])
    for file, text in book.files.items():
        (course / file).write_text(text, encoding="utf-8")
    run("-m", "nbgrader", "db", "student", "import", "students.csv")
    run("-m", "nbgrader", "db", "assignment", "import", "assignments.csv")
    listed = run("-m", "nbgrader", "db", "student", "list") + run("-m", "nbgrader", "db", "assignment", "list")
    assert all(name in listed for name in ("ana", "李明", "90_new"))
    rows = csv.DictReader(book.files["grades.csv"].splitlines())
    assert rows.fieldnames == list(next(iter(marks.values()))), "the columns of nbgrader's own export"


def test_a_notebook_that_a_teacher_changed_is_not_overwritten(tmp_path):
    first = write_course(["00"], tmp_path)
    assert [path.name for path in first] == ["nbgrader_config.py", "00_start_here.ipynb"]
    config, notebook = first
    config.write_text("c = get_config()\n", encoding="utf-8")
    assert write_course(["0"], tmp_path) == []
    made = notebook.read_text(encoding="utf-8")
    notebook.write_text(made.replace("Exercise 0.1", "Exercise nought"), encoding="utf-8")
    with pytest.raises(BuildError, match="00_start_here.ipynb: not what the master gives.*--force"):
        write_course(["00", "01"], tmp_path)
    assert "Exercise nought" in notebook.read_text(encoding="utf-8") and not (tmp_path / "source" / "01_interactions").exists()
    assert write_course(["00"], tmp_path, force=True) == [notebook] and notebook.read_text(encoding="utf-8") == made
    assert config.read_text(encoding="utf-8") == "c = get_config()\n"


def test_what_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    for arguments, reason in [(["99"], "no lesson '99'"), (["00"], "choose another folder")]:
        result = CliRunner().invoke(app, ["build", *arguments, "--nbgrader", str(tmp_path / "file")])
        assert result.exit_code == 1 and reason in result.stderr


def test_an_old_environment_is_not_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "FOLDER", tmp_path)
    assert environment.find() is None
    (tmp_path / ".made-from").write_text(environment.recipe(), encoding="utf-8")
    assert environment.find() == environment.programs() / "python"
    (tmp_path / ".made-from").write_text(environment.recipe().replace("nbgrader==0", "nbgrader==1"), encoding="utf-8")
    assert environment.find() is None


def test_the_environment_is_refused_with_a_reason_where_it_cannot_be_had(monkeypatch, capsys):
    def no_network(*command):
        raise environment.NoNbgrader("pip found no network")

    monkeypatch.setattr(environment, "find", lambda: None)
    monkeypatch.setattr(environment, "_run", no_network)
    monkeypatch.delenv("CI", raising=False)
    assert environment.main() == 0
    monkeypatch.setenv("CI", "1")
    assert environment.main() == 1
    assert capsys.readouterr().err.count("pip found no network") == 2
