"""The commands of the course, and `course check` from the notebook to the score card."""

import sys
from types import ModuleType
from xml.etree import ElementTree

import nbformat
import pytest
from typer.testing import CliRunner

from course_lib import datasets
from course_lib.classroom.check import FAILED, NOT_ATTEMPTED, NOT_RUN, PASSED
from course_lib.classroom.cli import app
from course_lib.classroom.nbval_check import NOT_REACHED, NotebookError, _outcomes, check_notebook
from course_lib.config import settings

IMPORT = "from course_lib.classroom import check"
DOUBLE = "def double(x):\n    return 2 * x"
CHECK_1 = 'with check("1.1", points=2):\n    assert double(3) == 6, "twice three is six"'
CHECK_2 = 'with check("1.2"):\n    assert answer == 4, "two and two"'


def write(path, *sources, tags=()):
    cells = [nbformat.v4.new_markdown_cell("# 1 · test"), *(nbformat.v4.new_code_cell(s) for s in sources)]
    for cell in cells[1:]:
        cell.metadata["tags"] = list(tags)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """One run of nbval over every state that an exercise can be in."""
    folder = tmp_path_factory.mktemp("mixed")
    wrong = 'with check("1.3", points=3):\n    assert double(4) == 9, "not nine"'
    path = write(
        folder / "01_x.ipynb", IMPORT, DOUBLE, CHECK_1, "answer = ...", CHECK_2, wrong, "1 / 0",
        'with check("1.4"):\n    assert triple(1) == 3', 'with check("1.5"):\n    assert double(0) == 0',
    )  # fmt: skip
    return *check_notebook(path, junit=folder / "out.xml"), folder


def test_each_state_of_an_exercise_is_told_apart(mixed):
    outcomes, passed, _ = mixed
    assert not passed
    assert [(o.exercise, o.state, o.earned, o.points) for o in outcomes] == [
        ("1.1", PASSED, 2, 2),
        ("1.2", NOT_ATTEMPTED, 0, 1),
        ("1.3", FAILED, 0, 3),
        ("", "code cell 7 stopped", 0, 0),
        ("1.4", NOT_RUN, 0, 1),
        ("1.5", PASSED, 1, 1),
    ]
    messages = [o.message for o in outcomes]
    assert messages[2] == "not nine" and "ZeroDivisionError" in messages[3]


def test_the_xml_report_is_written_where_asked(mixed):
    suite = ElementTree.parse(mixed[2] / "out.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("9", "4")


@pytest.fixture
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")


def test_the_command_exits_0_when_all_passed(tmp_path, monkeypatch, _wide):
    monkeypatch.chdir(write(tmp_path / "01_x.ipynb", IMPORT, DOUBLE, CHECK_1).parent)
    (tmp_path / "conftest.py").write_text("raise RuntimeError('not to be imported')")
    result = CliRunner().invoke(app, ["check", "01_x.ipynb"])
    assert result.exit_code == 0, result.output
    assert "1.1" in result.output and "2 of 2 points" in result.output


def test_a_tag_that_hides_a_wrong_answer_does_not_help(tmp_path, _wide):
    path = write(tmp_path / "01_x.ipynb", IMPORT + "\ndouble = len\n" + CHECK_1, tags=["raises-exception"])
    result = CliRunner().invoke(app, ["check", str(path)])
    assert result.exit_code == 1 and "0 of 2 points" in result.output and "raises-exception" in result.output


def test_exercises_after_a_time_out_are_not_taken_for_passed(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite><testcase name="Cell 0"><failure message="x">Timeout of 2 seconds</failure></testcase>'
        '<testcase name="Cell 1"><skipped message="y"/></testcase></testsuite></testsuites>'
    )
    cells = [nbformat.v4.new_code_cell(source) for source in (CHECK_1, CHECK_2, 'with check("1.3"):\n    assert True')]
    assert [o.state for o in _outcomes(cells, report)] == [FAILED, NOT_REACHED, NOT_REACHED]


def test_what_cannot_be_judged_is_said_with_status_2(tmp_path):
    (tmp_path / "broken.ipynb").write_text("{")
    write(tmp_path / "empty.ipynb", "1 + 1")
    for name, reason in [("none.ipynb", "no such file"), ("broken.ipynb", "cannot be read"), ("empty.ipynb", "no check cell")]:
        result = CliRunner().invoke(app, ["check", str(tmp_path / name)])
        assert result.exit_code == 2 and reason in result.stderr
    with pytest.raises(NotebookError, match="no such file"):
        check_notebook(tmp_path / "none.ipynb")


def test_data_reports_the_folder_or_the_reason(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "fetch_movielens", lambda *, progress: tmp_path)
    result = CliRunner().invoke(app, ["data"])
    assert result.exit_code == 0 and str(tmp_path) in result.stdout

    def broken(*, progress):
        raise datasets.DataError("no network and no file")

    monkeypatch.setattr(datasets, "fetch_movielens", broken)
    result = CliRunner().invoke(app, ["data"])
    assert result.exit_code == 1 and "course data: no network and no file" in result.stderr


def test_build_hands_its_options_on(monkeypatch):
    calls = []
    module = ModuleType("build")
    module.build = lambda names, **options: calls.append((names, options)) or 3
    monkeypatch.setitem(sys.modules, "course_lib.classroom.build", module)
    result = CliRunner().invoke(app, ["build", "04", "05", "--check", "--jobs", "4"])
    assert result.exit_code == 3
    assert calls == [(["04", "05"], {"check": True, "jobs": 4, "force": False})]


def test_progress_and_version(monkeypatch, tmp_path, _wide):
    monkeypatch.setenv("COURSE_STATE", str(tmp_path))
    settings.cache_clear()
    result = CliRunner().invoke(app, ["progress"])
    assert result.exit_code == 0 and ("progress.json" in result.output or "No lessons" in result.output)
    assert CliRunner().invoke(app, ["version"]).stdout.strip() == "0.1.0"
    settings.cache_clear()
