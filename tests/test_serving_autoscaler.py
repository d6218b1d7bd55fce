import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.serving.scaling import HorizontalPodAutoscaler, Policy

FREE = (Policy("percent", 1e6),)


def autoscaler(**options) -> HorizontalPodAutoscaler:
    """Target 0.6, 1 to 100 replicas, and nothing that damps, but for what the test asks for."""
    free = {"down_stabilisation": 0, "up_policies": FREE}
    return HorizontalPodAutoscaler(**{"target": 0.6, "minimum": 1, "maximum": 100} | free | options)


@pytest.mark.parametrize(
    ("replicas", "metric", "expected"),
    [
        (4, 0.9, 6),  # 4 · 1.5
        (4, 0.91, 7),  # 6.07, rounded up
        (2, 0.9, 3),  # 0.9 / 0.6 · 2 is 3.0000000000000004 in floating point
        (4, 0.3, 2),
        (5, 0.3, 3),  # 2.5, rounded up
        (4, 0.0, 0),
        (4, 0.65, 4),  # 8 % above: inside the tolerance
        (4, 0.55, 4),  # 8 % below
        (10, 0.66, 10),  # exactly at the edge of it
        (10, 0.67, 12),  # beyond: 11.17
        (10, 0.54, 10),
        (10, 0.53, 9),  # 8.83
        (3, math.nan, 3),
    ],
)
def test_formula_by_hand(replicas, metric, expected):
    assert autoscaler().desired(replicas, metric) == expected


@pytest.mark.parametrize(
    ("replicas", "ready", "metric", "expected"),
    [
        (4, 2, 1.2, 4),  # two ready ones at twice the target and two idle ones: just enough
        (4, 2, 1.8, 6),  # ratio 3 over two of four is 1.5
        (4, 2, 0.9, 4),  # would turn from growing to shrinking: stays
        (4, 2, 0.3, 1),  # when it shrinks, those that do not serve yet are left out: 2 · 0.5
        (4, 0, 0.9, 4),  # nobody to measure
        (2, 5, 0.9, 3),  # no more can be ready than there are
    ],
)
def test_replicas_that_start_are_set_aside(replicas, ready, metric, expected):
    assert autoscaler().desired(replicas, metric, ready=ready) == expected


def test_startup_is_counted_without_being_told():
    scaler = autoscaler(startup=30)
    assert scaler.decide(0, 2, 1.2) == 4
    assert scaler.decide(15, 4, 1.2) == 4  # the two new ones count as idle
    assert scaler.decide(31, 4, 1.2) == 8  # now they serve, and are as busy


def test_a_long_startup_is_remembered_and_so_is_the_order_of_changes():
    scaler = autoscaler(startup=60)
    assert scaler.decide(0, 4, 0.3) == 2  # two leave …
    assert scaler.decide(20, 2, 1.2) == 4  # … and two others come: these do not serve yet
    assert [scaler.decide(t, 4, 1.2) for t in (40, 79)] == [4, 4]
    assert scaler.decide(81, 4, 1.2) == 8


def test_bounds():
    scaler = autoscaler(minimum=2, maximum=5)
    assert [scaler.decide(0, 4, m) for m in (6.0, 0.01)] == [5, 2]
    assert [scaler.decide(1, n, 0.6) for n in (0, 1, 9)] == [2, 2, 5]  # from outside straight to the bound


def test_one_quiet_moment_takes_nobody_away():
    scaler = autoscaler(down_stabilisation=300)
    assert scaler.decide(0, 6, 0.6) == 6
    assert [scaler.decide(t, 6, 0.1) for t in (15, 150, 299)] == [6, 6, 6]
    assert scaler.decide(300, 6, 0.1) == 1  # the wish for 6 is 300 s old


def test_shrinking_goes_to_the_highest_wish_of_the_window():
    scaler = autoscaler(down_stabilisation=60)
    wishes = {0: 0.1, 20: 0.4, 40: 0.1}  # of 6 replicas: 1, 4, 1
    decided = [scaler.decide(t, 6, m) for t, m in wishes.items()]
    assert decided == [1, 4, 4]


def test_growth_waits_for_the_lowest_wish_of_its_window():
    scaler = autoscaler(up_stabilisation=60)
    assert scaler.decide(0, 2, 0.6) == 2
    assert scaler.decide(30, 2, 1.8) == 2
    assert scaler.decide(59, 2, 1.2) == 2
    assert scaler.decide(60, 2, 3.0) == 4  # wishes of the last minute: 6, 4, 10


def test_flapping_is_repaired_by_the_window():
    metrics = [0.9, 0.35] * 20
    changes = {}
    for window in (0, 300):
        scaler, replicas, seen = autoscaler(down_stabilisation=window), 4, []
        for step, metric in enumerate(metrics):
            replicas = scaler.decide(15 * step, replicas, metric * 4 / replicas)
            seen.append(replicas)
        changes[window] = sum(a != b for a, b in zip([4, *seen], seen, strict=False))
    assert changes == {0: 40, 300: 1}


def test_default_policies_double_or_add_four():
    scaler = HorizontalPodAutoscaler(target=0.5, maximum=1000)
    assert [scaler.decide(100 * i, n, 50.0) for i, n in enumerate((1, 3, 4, 10))] == [5, 7, 8, 20]


def test_a_policy_counts_what_its_period_already_saw():
    scaler = autoscaler(up_policies=(Policy("replicas", 4, 60),))
    assert scaler.decide(0, 10, 6.0) == 14
    assert scaler.decide(30, 14, 6.0) == 14  # four within a minute, no more
    assert scaler.decide(61, 14, 6.0) == 18


def test_down_policy_limits_the_fall():
    scaler = autoscaler(down_policies=(Policy("percent", 20, 60), Policy("replicas", 1, 60)))
    assert scaler.decide(0, 10, 0.01) == 8
    assert scaler.decide(30, 8, 0.01) == 8
    assert scaler.decide(61, 8, 0.01) == 6  # 8 · 0.8 = 6.4, down to 6
    assert scaler.decide(122, 3, 0.01) == 2


def test_reset_forgets():
    scaler = autoscaler(down_stabilisation=300)
    assert [scaler.decide(t, 6, m) for t, m in ((50, 0.6), (60, 0.1))] == [6, 6]
    with pytest.raises(ValueError, match="reset"):
        scaler.decide(0, 6, 0.1)
    scaler.reset()
    assert scaler.decide(0, 6, 0.1) == 1


@given(
    st.lists(st.tuples(st.floats(0, 5), st.integers(0, 12)), min_size=1, max_size=40),
    st.integers(1, 4),
    st.integers(0, 6),
    st.sampled_from([0, 30, 300]),
)
def test_always_within_bounds_and_never_against_the_metric(steps, minimum, room, window):
    scaler = HorizontalPodAutoscaler(target=1.0, minimum=minimum, maximum=minimum + room, down_stabilisation=window)
    replicas = minimum
    for step, (metric, ready) in enumerate(steps):
        decided = scaler.decide(15.0 * step, replicas, metric, ready=min(ready, replicas))
        assert minimum <= decided <= minimum + room
        assert not (metric > 1.1 and decided < replicas) and not (metric < 0.9 and decided > replicas)
        replicas = decided


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": 0}, "target must be positive"),
        ({"minimum": 0}, "minimum ≤ maximum"),
        ({"minimum": 5, "maximum": 4}, "5 and 4"),
        ({"tolerance": -0.1}, "start at 0"),
        ({"interval": 0}, "interval is positive"),
        ({"up_policies": ()}, "one policy at least"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        autoscaler(**options)


@pytest.mark.parametrize(("kind", "value", "period"), [("pods", 1, 15), ("replicas", 0, 15), ("percent", 10, 1801)])
def test_policies_out_of_range(kind, value, period):
    with pytest.raises(ValueError, match="a policy"):
        Policy(kind, value, period)
