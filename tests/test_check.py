"""What a learner and a grader see after a check cell."""

import linecache

import numpy as np
import pytest
import torch

from course_lib.classroom import ExerciseFailed
from course_lib.classroom import check as make_check
from course_lib.classroom.check import FAILED, NOT_ATTEMPTED, NOT_RUN, PASSED, describe
from course_lib.config import settings

CHECK = """with check("4.1", points=2) as outcome:
    assert abs(predict([1, 2], [3, 4], 0.5) - 11.5) < 1e-9, "multiply in pairs, then add b once"
    assert predict([], [], 0.5) == 0.5, "with no factors only the bias is left"
"""
_cells = iter(range(10_000))


def run(*cells, names=None):
    """Execute sources as notebook cells do: one namespace, one file name a cell, source in linecache."""
    space = {"check": make_check, **(names or {})}
    for source in cells:
        name = f"<cell {next(_cells)}>"
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        exec(compile(source, name, "exec"), space)
    return space["outcome"].card


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_STATE", str(tmp_path))
    monkeypatch.delenv("COURSE_GRADING", raising=False)
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def grading(monkeypatch, _state):
    monkeypatch.setenv("COURSE_GRADING", "1")
    settings.cache_clear()


SOLVED = "def predict(x_u, v_i, b):\n    return sum(p * q for p, q in zip(x_u, v_i)) + b\n"
NO_BIAS = "def predict(x_u, v_i, b):\n    print('noise')\n    return sum(p * q for p, q in zip(x_u, v_i))\n"
UNSOLVED = 'def predict(x_u, v_i, b):\n    raise NotImplementedError("exercise 4.1")\n'


def test_a_right_answer_passes_and_prints_its_points(capsys):
    assert run(SOLVED, CHECK).state == PASSED
    assert capsys.readouterr().out == "✔ Exercise 4.1: passed (2 points)\n"


def test_a_wrong_answer_shows_message_value_and_condition(capsys):
    card = run(NO_BIAS, CHECK)
    assert card.state == FAILED
    assert card.message == "multiply in pairs, then add b once"
    assert dict(card.details) == {"Seen": "11", "Check, line 2": "abs(predict([1, 2], [3, 4], 0.5) - 11.5) < 1e-09"}
    assert capsys.readouterr().out.count("noise") == 1  # the value seen is evaluated quietly


def test_the_html_says_the_same_words_as_the_text_and_escapes_the_learners():
    card = run(
        'def predict(x_u, v_i, b):\n    return "<b>"\n', 'with check("1.1") as outcome:\n    assert predict(1, 2, 3) == 1'
    )
    assert "&lt;b&gt;" in card.html and "<b>" not in card.html
    assert card.state in card.html and "Exercise 1.1" in card.html and card.message in card.html
    assert 'aria-hidden="true"' in card.html  # the symbol is not read aloud, the word is


@pytest.mark.parametrize(
    ("condition", "seen"),
    [
        ("x == 3", "2"),
        ("0 < x < 1", "2"),
        ("abs(x - 3) < .1", "2"),
        ("np.allclose(v, [1.0, 3.0])", "shape (2,): array([1., 2.])"),
        ("isinstance(x, str)", "2"),
        ("not v.all()", "True"),
        ("x == 2 and v[0] == 2", "True"),
        ("f is None", "<function f>"),
    ],
)
def test_the_value_seen_is_the_learners_side_of_the_condition(condition, seen):
    card = run(
        f'with check("1.1") as outcome:\n    assert {condition}', names={"np": np, "x": 2, "v": np.array([1.0, 2.0]), "f": _f()}
    )
    assert dict(card.details)["Seen"] == seen


def _f():
    space = {}
    exec("def f(): ...", space)
    return space["f"]


def test_a_value_that_cannot_be_evaluated_again_is_left_out():
    card = run('with check("1.1") as outcome:\n    assert next(once) == 2, "no"', names={"once": iter([1])})
    assert card.message == "no" and "Seen" not in dict(card.details)


def test_unsolved_function_is_not_attempted():
    assert run(UNSOLVED, CHECK).state == NOT_ATTEMPTED


@pytest.mark.parametrize("condition", ["answer == 3", "answer != 3", "answer + 1 == 4"])
def test_unsolved_name_is_not_attempted_whatever_the_condition(condition):
    card = run("answer = ...", f'with check("1.1") as outcome:\n    assert {condition}')
    assert card.state == NOT_ATTEMPTED and "answer = ..." in card.message


def test_a_library_that_lacks_something_is_a_failure_not_an_untried_exercise():
    def library():
        raise NotImplementedError("'kernel' not implemented for 'Long'")

    assert run("def predict(*_):\n    return library()\n", CHECK, names={"library": library}).state == FAILED


def test_a_missing_name_asks_for_the_answer_cell():
    card = run(CHECK)
    assert card.state == NOT_RUN and "predict" in card.message


def test_a_name_missing_inside_the_answer_is_the_learners_error():
    card = run("def predict(x_u, v_i, b):\n    return total + b\n", CHECK)
    assert card.state == FAILED
    assert "NameError: name 'total' is not defined" in card.message
    assert dict(card.details)["Where"] == "predict, line 2 of your cell: return total + b"


def test_an_assertion_inside_the_answer_is_not_taken_for_the_checks():
    card = run("def predict(*_):\n    assert False, 'mine'\n", CHECK)
    assert "AssertionError: mine" in card.message and "your cell" in dict(card.details)["Where"]


def test_numpy_testing_counts_as_the_checks_own_assertion():
    card = run('with check("1.1") as outcome:\n    np.testing.assert_allclose(x, 1.0)', names={"np": np, "x": 2.0})
    assert card.state == FAILED and "Not equal to tolerance" in card.message


def test_interrupting_goes_through():
    with pytest.raises(KeyboardInterrupt):
        run("def predict(*_):\n    raise KeyboardInterrupt\n", CHECK)


@pytest.mark.parametrize(
    ("answer", "state"),
    [(NO_BIAS, FAILED), (UNSOLVED, NOT_ATTEMPTED), ("predict = ...", NOT_ATTEMPTED), ("", NOT_RUN), ("predict = len", FAILED)],
)
def test_grading_raises_in_every_state_but_passed(grading, answer, state):
    with pytest.raises(ExerciseFailed) as caught:
        run(answer, CHECK)
    assert (caught.value.exercise, caught.value.state) == ("4.1", state)
    assert "Exercise 4.1: " + state in str(caught.value)


def test_grading_lets_a_right_answer_pass(grading):
    assert run(SOLVED, CHECK).state == PASSED


@pytest.mark.parametrize("bad", ["", 4.2, None])
def test_a_check_without_its_number_is_refused(bad):
    with pytest.raises(ValueError, match="number as text"):
        make_check(bad)


def test_a_check_without_points_is_refused():
    with pytest.raises(ValueError, match="above 0"):
        make_check("1.1", points=0)


def test_values_are_short_and_free_of_addresses():
    assert describe(object()) == "<object object>"
    assert describe(1 / 3) == describe(np.float64(1 / 3)) == describe(torch.tensor(1 / 3, dtype=torch.float64)) == "0.333333"
    assert len(describe("x" * 5000)) == 240
