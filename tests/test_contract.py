"""The exercise contract, held against every master: unsolved, solved, and each wrong answer that learners give."""

import re
from collections import Counter

import pytest
from lesson_runner import run

from course_lib.classroom import masters

pytestmark = pytest.mark.timeout(1800)  # the first test of a lesson runs it, with all its wrong answers and mutants
LESSONS = [pytest.param(path, id=path.stem) for path in masters.masters()]
BARE = ("", "This condition does not hold.", "A condition of this check does not hold.")
PARTS = ("<summary>Hint 1</summary>", "<summary>Hint 2</summary>", "<summary>I pass some checks but not all</summary>")
HEADING = re.compile(r"^### Exercise (\d+\.\d+) · \S.*\n\d+ min · difficulty [1-3] of 3 · (\d+) points?$", re.MULTILINE)


@pytest.fixture(params=LESSONS)
def path(request):
    """A master; the results of running it are kept for the other tests of the same process."""
    return request.param


def faults(path, case: str, accept) -> list:
    """Results of a case that are not acceptable."""
    return [r for r in run(path) if r.get("case", "").startswith(case) and not accept(r)]


def test_structure(path):
    master = masters.load(path)
    number = str(int(path.stem[:2]))
    text = "\n".join(c.source for c in master.cells if c.kind == "markdown")
    headings = dict(HEADING.findall(text))
    assert 3 <= len(headings) <= 5, f"{len(headings)} exercises; 3 to 5 a lesson"
    assert len(master.exercises) >= 3 or number == "0", "at least three exercises are checked"
    assert len(re.findall(r"^### Exercise", text, re.MULTILINE)) == len(headings), "heading or its line of minutes is malformed"
    for exercise in master.exercises:
        assert exercise.number.split(".")[0] == number
        assert float(headings[exercise.number]) == exercise.points == exercise.check_points, exercise.number
        assert len(exercise.wrong) >= 3, f"{exercise.number}: {len(exercise.wrong)} wrong answers; at least three"
    listed = sum(len(e.wrong) for e in master.exercises)
    assert listed == sum(c.is_wrong for c in master.cells), "a wrong cell stands elsewhere than right after a check cell"


def test_two_hints_and_the_usual_mistake(path):
    master = masters.load(path)
    for exercise in master.exercises:
        position = next(i for i, c in enumerate(master.cells) if c is exercise.answers[0])
        texts = [c.source for c in master.cells[:position] if c.kind == "markdown"]
        task = next(t for t in reversed(texts) if f"### Exercise {exercise.number} " in t)
        assert [p for p in PARTS if p not in task] == [], f"exercise {exercise.number}"


def test_no_solution_in_the_unsolved_lesson(path):
    master = masters.load(path)
    for exercise in master.exercises:
        for cell in [*exercise.answers, exercise.check]:
            left = masters.unsolved(cell, exercise.number)
            inside, hidden = False, []
            for line in cell.source.splitlines():
                if marker := masters.MARKER.match(line):
                    inside = marker.group(1) == "BEGIN"
                elif inside and line.strip():
                    hidden.append(line)
            assert hidden or cell.is_check, f"{exercise.number}: an empty solution"
            kept = Counter(left.splitlines()) - (Counter(cell.source.splitlines()) - Counter(hidden))
            assert not set(kept) & set(hidden), f"{exercise.number}: solution lines remain"


def test_unsolved_is_not_attempted(path):
    assert faults(path, "unsolved", lambda r: r["state"] == "not attempted yet") == []


def test_unsolved_raises_when_grading(path):
    assert faults(path, "unsolved, graded", lambda r: r["raised"] == "ExerciseFailed") == []


def test_solution_passes(path):
    assert faults(path, "solution", lambda r: r["state"] == "passed" and not r["raised"]) == []


def test_hidden_tests_know_the_truth_whatever_an_answer_does_to_its_arguments(path):
    assert faults(path, "spoiling", lambda r: r["state"] != "passed" or not r["spoiled"]) == []


def test_wrong_answers_are_rejected_with_words(path):
    accept = lambda r: r["state"] == "not passed" and r["message"] not in BARE and len(r["message"]) >= 15  # noqa: E731
    assert faults(path, "wrong", accept) == []


def test_each_wrong_answer_has_its_own_message(path):
    wrong = [r for r in run(path) if r.get("case", "").startswith("wrong")]
    counts = Counter((r["exercise"], r["message"]) for r in wrong)
    assert {key: n for key, n in counts.items() if n > 1} == {}
