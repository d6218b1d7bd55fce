"""Catalogue metrics and intervals."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from course_lib.evaluation import Interval, bootstrap, coverage, gini, mean_interval, mean_popularity, novelty, paired

few = settings(max_examples=40, deadline=None)
counts = st.lists(st.integers(0, 50), min_size=1, max_size=20).filter(any)


def test_catalogue_by_hand():
    recommended = [[0, 1], [0, -1]]
    assert coverage(recommended, 4) == 0.5
    assert mean_popularity(recommended, [9, 3, 1, 1]) == pytest.approx(7)
    assert novelty(recommended, [0.5, 0.25, 0, 0]) == pytest.approx((1 + 2 + 1) / 3)


def test_gini_by_hand():
    assert gini([2, 2, 2]) == pytest.approx(0)
    assert gini([0, 0, 0, 8]) == pytest.approx(3 / 4)
    assert gini([3, 1]) == pytest.approx(1 / 4)


@few
@given(counts)
def test_gini_is_half_the_relative_mean_difference_of_all_pairs(values):
    differences = sum(abs(a - b) for a in values for b in values)
    assert gini(values) == pytest.approx(differences / (2 * len(values) * sum(values)), abs=1e-12)


@few
@given(st.lists(st.lists(st.integers(-1, 6), min_size=3, max_size=3), min_size=1, max_size=6))
def test_catalogue_against_loops(lists):
    shown = [item for row in lists for item in row if item >= 0]
    share = np.array([0.9, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05])
    if not shown:
        with pytest.raises(ValueError, match="every list is empty"):
            coverage(lists, 7)
        return
    assert coverage(lists, 7) == len(set(shown)) / 7
    assert mean_popularity(lists, share) == pytest.approx(sum(share[i] for i in shown) / len(shown))
    assert novelty(lists, share) == pytest.approx(sum(-math.log2(share[i]) for i in shown) / len(shown))


def test_catalogue_refuses_bad_input():
    with pytest.raises(ValueError, match="item 4, but the catalogue has the items 0 … 3"):
        coverage([[4]], 4)
    with pytest.raises(ValueError, match="shares of users"):
        novelty([[0]], [0.0, 0.5])
    with pytest.raises(ValueError, match="shares of users"):
        novelty([[0]], [120, 3])
    for bad in ([], [0, 0], [-1, 2]):
        with pytest.raises(ValueError, match="counts must not be negative"):
            gini(bad)


def test_interval_reads_well():
    assert str(Interval(0.0751, 0.0661, 0.0839)) == "0.075 [0.066, 0.084]"


def test_bootstrap_agrees_with_the_normal_approximation():
    values = np.random.default_rng(0).normal(2, 3, 900)
    interval = bootstrap(values, seed=1)
    half = 1.96 * values.std() / 30
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.03)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.03)


def test_bootstrap_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(3)
    intervals = [bootstrap(rng.exponential(size=200), level=0.8, repeats=300, seed=s) for s in range(200)]
    assert 140 <= sum(i.low <= 1 <= i.high for i in intervals) <= 178  # 160 expected


def test_bootstrap_repeats_with_its_seed_and_narrows_with_its_level():
    values = np.arange(50.0)
    assert bootstrap(values, seed=4) == bootstrap(values, seed=4) != bootstrap(values, seed=5)
    wide, narrow = bootstrap(values), bootstrap(values, level=0.5)
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high


def test_weights_count_like_repeated_rows():
    assert bootstrap([1.0, 4.0], weights=[2, 1]).mean == pytest.approx(2.0)
    only = bootstrap([1.0, 4.0], weights=[1, 0])
    assert (only.mean, only.low, only.high) == (1.0, 1.0, 1.0)


def test_paired_is_narrower_than_apart_when_users_differ():
    rng = np.random.default_rng(0)
    ease = rng.normal(0, 5, 300)
    a, b = ease + 0.5 + rng.normal(0, 0.5, 300), ease + rng.normal(0, 0.5, 300)
    difference, apart = paired(a, b), bootstrap(a)
    assert difference.mean == pytest.approx((a - b).mean())
    assert 0 < difference.low < 0.5 < difference.high
    assert difference.high - difference.low < (apart.high - apart.low) / 4


def test_intervals_refuse_bad_input():
    for values, message in (([], "empty"), ([1, math.nan], "NaN"), ([[1, 2]], "1 dimension")):
        with pytest.raises(ValueError, match=message):
            bootstrap(values)
    with pytest.raises(ValueError, match="a has 2 values and b has 1"):
        paired([1, 2], [1])
    with pytest.raises(ValueError, match="level=95"):
        bootstrap([1, 2], level=95)
    with pytest.raises(ValueError, match="repeats=0"):
        bootstrap([1, 2], repeats=0)
    with pytest.raises(ValueError, match="weights must not be negative"):
        bootstrap([1, 2], weights=[0, 0])


def test_mean_interval_is_students():
    values = [0.1, 0.4, 0.2, 0.35, -0.1]
    found = mean_interval(values)
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high)) and found.mean == pytest.approx(0.19)
    assert math.isnan(mean_interval([1.0]).low) and mean_interval([1.0]).mean == 1
    with pytest.raises(ValueError):
        mean_interval([])
