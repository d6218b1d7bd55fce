"""The learner's progress file: small, local, never half written, and harmless when broken."""

import dataclasses
import json
import sys

import nbformat
import pytest

import course_lib.classroom as classroom
from course_lib.classroom.progress import enabled, exercises, load, location, progress, record
from course_lib.config import settings

MODULE = sys.modules["course_lib.classroom.progress"]  # the package's attribute of that name is the function


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_STATE", str(tmp_path / "state"))
    for name in ("COURSE_GRADING", "COURSE_PROGRESS"):
        monkeypatch.delenv(name, raising=False)
    settings.cache_clear()
    yield tmp_path / "state"
    settings.cache_clear()


def test_what_was_solved_once_stays_solved():
    assert load() == ({}, "")
    record("4.1", False, 2)
    assert load()[0]["4.1"] == {"passed": False, "points": 2.0}
    record("4.1", True, 2)
    record("4.1", False, 2)
    assert load()[0]["4.1"] == {"passed": True, "points": 2.0}


def test_no_unfinished_file_is_left_beside_it(state):
    record("4.1", True, 2)
    record("4.2", True, 1)
    assert [path.name for path in state.iterdir()] == ["progress.json"]


def test_a_write_that_breaks_off_leaves_the_old_file_whole(state, monkeypatch):
    record("4.1", True, 2)

    def breaks(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(MODULE.os, "replace", breaks)
    assert "was not saved" in record("4.2", True, 1) and "No space left" in record("4.2", True, 1)
    assert list(load()[0]) == ["4.1"]
    assert [path.name for path in state.iterdir()] == ["progress.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"exercises": 3}', '{"exercises": {"4.1": {"points": "x"}}}', "\xff"])
def test_a_corrupted_file_is_reported_and_replaced(state, content):
    state.mkdir()
    location().write_bytes(content.encode("latin-1"))
    entries, message = load()
    assert entries == {} and str(location()) in message
    assert "starts afresh" in record("4.1", True, 2)
    assert load() == ({"4.1": {"passed": True, "points": 2.0}}, "")


@pytest.mark.parametrize(("name", "value"), [("COURSE_GRADING", "1"), ("COURSE_PROGRESS", "off")])
def test_nothing_is_kept_while_grading_or_when_switched_off(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    settings.cache_clear()
    assert not enabled()
    assert record("4.1", True, 2) == "" and not location().exists()


def test_what_was_kept_earlier_is_not_shown_while_switched_off(monkeypatch):
    record("4.1", True, 2)
    assert load()[0]
    monkeypatch.setenv("COURSE_PROGRESS", "off")
    assert load() == ({}, "")


def test_check_cells_record_their_outcome():
    with classroom.check("9.1", points=3):
        assert 1 + 1 == 2
    with classroom.check("9.2", points=1):
        assert 1 + 1 == 3, "no"
    assert json.loads(location().read_text())["exercises"] == {
        "9.1": {"passed": True, "points": 3.0},
        "9.2": {"passed": False, "points": 1.0},
    }


def test_progress_counts_solved_exercises_by_lesson(tmp_path, monkeypatch):
    (tmp_path / "lessons").mkdir()
    cells = [
        nbformat.v4.new_markdown_cell('with check("9.9"):'),
        nbformat.v4.new_code_cell('with check("4.1", points=2):\n    assert True'),
        nbformat.v4.new_code_cell("with check('4.2'):\n    assert True"),
    ]
    path = tmp_path / "lessons" / "04_dot_product.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    (tmp_path / "lessons" / "05_broken.ipynb").write_text("{")
    assert exercises(path) == [("4.1", 2.0), ("4.2", 1.0)]
    here = dataclasses.replace(settings(), project=tmp_path)
    monkeypatch.setattr(MODULE, "settings", lambda: here)
    record("4.1", True, 2)
    table = progress()
    assert table.reset_index().to_dict("records") == [
        {"lesson": "04_dot_product", "solved": 1, "exercises": 2, "points": 2.0, "of": 3.0}
    ]
