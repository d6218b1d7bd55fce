"""Faults put into the solutions: the checks notice at least 95 % of them, and what is called equivalent survives."""

import pytest
from lesson_runner import run
from mutation import equivalent, mutants

from course_lib.classroom import masters

TARGET = 0.95
KNOWN = {(e["exercise"], e["mutant"]): e["why"] for e in equivalent()}


def test_mutants_of_a_small_function():
    source = "def f(x):\n    y = x[1:n]\n    ### BEGIN SOLUTION\n    return x.sum(axis=1) < 2 - len(x)\n    ### END SOLUTION"
    cell = masters.Cell("code", source, (), {"solution": True})
    found = {m.change.split(" => ")[1] for m in mutants(cell)}
    assert found == {
        "return x.sum(axis=1) <= 2 - len(x)", "return x.sum(axis=1) > 2 - len(x)", "return x.sum(axis=1) < 2 + len(x)",
        "return x.sum(axis=1) < 2", "return x.sum(axis=1) < len(x)", "return x.sum(axis=2) < 2 - len(x)",
        "return x.sum(axis=0) < 2 - len(x)", "return x.sum() < 2 - len(x)", "return x.sum(axis=1) < 3 - len(x)",
        "return x.sum(axis=1) < 1 - len(x)", "return x.sum(axis=1) < 2 - x",
    }  # fmt: skip


def test_mutants_of_ranges_slices_and_calls():
    source = "### BEGIN SOLUTION\na = [f(i, n) for i in range(n) if i]\nb = x[:n]\n### END SOLUTION"
    found = {m.change.split(" => ")[1] for m in mutants(masters.Cell("code", source, (), {"solution": True}))}
    assert found == {
        "a = [f(n, i) for i in range(n) if i]", "a = [f(i, n) for i in range(n + 1) if i]",
        "a = [f(i, n) for i in range(n - 1) if i]", "a = [f(i, n) for i in range(n)]", "b = x[:n + 1]", "b = x[:n - 1]",
        "a = [f(i, n) for i in n if i]",
    }  # fmt: skip


def test_every_equivalent_mutant_has_a_reason():
    assert all(len(why.split()) >= 5 for why in KNOWN.values())


def test_every_equivalent_mutant_is_one_of_a_solution():
    exercises = [e for path in masters.masters() for e in masters.load(path).exercises]
    there = {(e.number, m.change) for e in exercises for answer in e.answers for m in mutants(answer)}
    assert sorted(set(KNOWN) - there) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_checks_notice_faults():
    backwards = reversed(masters.masters())  # the contract's tests begin at the other end; each lesson is run once
    results = [r for path in backwards for r in run(path) if "mutant" in r]
    survivors = {(r["exercise"], r["mutant"]) for r in results if not r["rejected"]}
    tried = {(r["exercise"], r["mutant"]) for r in results}
    rejected = sorted(key for key in KNOWN if key in tried and key not in survivors)
    assert not rejected, f"called equivalent, but a check rejects it: {rejected}"
    real = [r for r in results if (r["exercise"], r["mutant"]) not in KNOWN]
    share = sum(r["rejected"] for r in real) / len(real)
    assert share >= TARGET, f"{share:.1%} of {len(real)} faults noticed; survivors: {sorted(survivors - set(KNOWN))}"
