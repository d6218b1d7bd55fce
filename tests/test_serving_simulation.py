import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.datasets import load_movielens
from course_lib.serving.scaling import HorizontalPodAutoscaler, Policy, arrivals, erlang_c, hour_profile, simulate


def brute_force(arrivals, services, servers: int) -> list[float]:
    """Waits by looking at every server for every request."""
    free, waits = [0.0] * servers, []
    for come, work in zip(arrivals, services, strict=True):
        first = min(range(servers), key=lambda n: free[n])
        start = max(come, free[first])
        free[first] = start + work
        waits.append(start - come)
    return waits


class Scripted(HorizontalPodAutoscaler):
    """Says what the script says, and remembers what it was told."""

    def __init__(self, script, **options):
        super().__init__(target=1.0, maximum=100, **options)
        self.script, self.told = list(script), []

    def decide(self, t, replicas, metric, *, ready=None):
        self.told.append((t, replicas, metric, ready))
        return self.script.pop(0) if self.script else replicas


def test_two_servers_by_hand():
    result = simulate([0, 1, 2, 3], [4, 4, 1, 1], servers=2)
    assert result.waits.tolist() == [0, 0, 2, 2]  # free again at 4 and 5
    assert result.latencies.tolist() == [4, 4, 3, 3]
    assert result.mean_wait == 1 and result.wait_probability == 0.5 and result.percentile(1) == 4
    assert result.replica_hours == pytest.approx(2 * 6 / 3600) and result.changes == 0


@given(
    st.lists(st.tuples(st.floats(0, 3), st.floats(0, 5)), min_size=1, max_size=60),
    st.integers(1, 5),
    st.floats(0.5, 7),
)
def test_equals_brute_force_and_so_does_an_autoscaler_that_does_nothing(requests, servers, interval):
    times, work = np.cumsum([gap for gap, _ in requests]), [seconds for _, seconds in requests]
    expected = brute_force(times, work, servers)
    assert simulate(times, work, servers=servers).waits == pytest.approx(expected)
    still = simulate(times, work, servers=servers, autoscaler=Scripted([], interval=interval))
    assert still.waits == pytest.approx(expected) and still.changes == 0


@pytest.mark.parametrize(("servers", "rho"), [(1, 0.7), (6, 0.72), (20, 0.9)])
def test_agrees_with_erlang(servers, rho):
    rng, n = np.random.default_rng(0), 300_000
    rate = rho * servers / 0.15
    result = simulate(np.cumsum(rng.exponential(1 / rate, n)), rng.exponential(0.15, n), servers=servers)
    queue = erlang_c(rate, 0.15, servers)
    assert result.mean_wait == pytest.approx(queue.mean_wait, rel=0.06)
    assert result.wait_probability == pytest.approx(queue.wait_probability, rel=0.03)
    assert result.percentile(0.99) == pytest.approx(queue.response_percentile(0.99), rel=0.05)


def test_a_new_replica_takes_waiting_requests_once_it_serves():
    scaler = Scripted([2], interval=10, startup=5)
    result = simulate([0, 1, 2, 3], 20, servers=1, autoscaler=scaler)
    assert (result.arrivals + result.waits).tolist() == [0, 15, 20, 35]  # the second replica serves from 15
    assert result.history["replicas"].tolist() == [2, 2, 2, 2]
    assert result.history["ready"].tolist() == [1, 2, 2, 2]


def test_metric_is_the_share_of_busy_time():
    scaler = Scripted([2], interval=10, startup=5)
    simulate([0, 1, 2, 3, 41], [4, 0, 12, 14, 1], servers=1, autoscaler=scaler)
    metrics = [metric for _, _, metric, _ in scaler.told]
    # one replica: busy 0–4, 4–16; two from 15 on: 15 till 29 the other. 10–20: (6 + 5) of (10 + 5) s; 20–30: 9 of 20 s
    assert metrics == pytest.approx([1.0, 11 / 15, 9 / 20, 0.0, 1 / 20])


def test_a_busy_replica_ends_its_request_before_it_leaves():
    result = simulate([0, 0, 12], [15, 30, 1], servers=2, autoscaler=Scripted([1], interval=10))
    assert (result.arrivals + result.waits).tolist() == [0, 0, 30]  # the one that is free first leaves, at 15
    paid = 2 * 10 + 5 + 20
    assert result.replica_hours == pytest.approx(paid / 3600)


def test_those_that_do_not_serve_leave_first_and_then_the_idle_ones():
    scaler = Scripted([4, 2, 1], interval=10, startup=15)
    result = simulate([0, 22, 31], [28, 30, 1], servers=2, autoscaler=scaler)
    assert [ready for *_, ready in scaler.told][:3] == [2, 2, 2]
    assert result.history["replicas"].tolist()[:3] == [4, 2, 1]
    assert result.waits.tolist() == [0, 0, 52 - 31]  # at 30 the idle one goes, the other is busy from 22 to 52


def test_a_wait_ends_between_decisions_and_hours_are_those_of_the_replicas():
    result = simulate(np.arange(0, 600, 1.0), 0.5, servers=3, autoscaler=Scripted([5, 1], interval=15))
    assert result.replica_hours == pytest.approx((3 * 15 + 5 * 15 + 1 * (result.history["time"].iloc[-1] - 30)) / 3600)
    assert result.changes == 1 and result.waits.max() == 0  # from the first decision (5) to the second (1)


def day(seed: int = 0, share: float = 1 / 24):
    """MovieLens's hours, one day run through in an hour; requests that vary as Gamma(4) around 150 ms."""
    rng = np.random.default_rng(seed)
    times = arrivals(hour_profile(load_movielens()), rate=14.35, seconds=86_400 * share, rng=rng, day=86_400 * share)
    return times, rng.gamma(4, 0.15 / 4, len(times))


def test_flapping_is_visible_and_repaired_on_the_real_day():
    times, work = day()
    options = {"target": 0.6, "maximum": 12, "startup": 5, "interval": 5}
    flapping = simulate(times, work, autoscaler=HorizontalPodAutoscaler(**options, down_stabilisation=0))
    steady = simulate(times, work, autoscaler=HorizontalPodAutoscaler(**options, down_stabilisation=60))
    assert flapping.changes > 5 * steady.changes > 0
    assert steady.percentile(0.99) < flapping.percentile(0.99)


def test_fewer_hours_than_a_fixed_pool():
    times, work = day(seed=1)
    scaler = HorizontalPodAutoscaler(
        target=0.6, maximum=12, startup=2, interval=5, down_stabilisation=60, up_policies=(Policy("percent", 100, 5),)
    )
    elastic, fixed = simulate(times, work, servers=5, autoscaler=scaler), simulate(times, work, servers=6)
    assert elastic.replica_hours < 0.85 * fixed.replica_hours
    assert elastic.percentile(0.99) < 1.25 * fixed.percentile(0.99)


def test_the_same_autoscaler_may_be_used_again():
    times, work = day(share=1 / 200)
    scaler = HorizontalPodAutoscaler(target=0.6, interval=5)
    first, second = (simulate(times, work, autoscaler=scaler) for _ in range(2))
    assert first.history.equals(second.history) and first.waits.tolist() == second.waits.tolist()


@pytest.mark.parametrize(
    ("times", "work", "options", "message"),
    [
        ([0, 2, 1], 1, {"servers": 1}, "sort them"),
        ([-1, 2], 1, {"servers": 1}, "from 0"),
        ([0, math.inf], 1, {"servers": 1}, "from 0"),
        ([], 1, {"servers": 1}, r"\(n,\)"),
        ([0, 1], [1], {"servers": 1}, "one number"),
        ([0, 1], -1, {"servers": 1}, "none below 0"),
        ([0, 1], math.nan, {"servers": 1}, "finite"),
        ([0, 1], 1, {"servers": 0}, "1 or more"),
        ([0, 1], 1, {}, "servers=…, autoscaler=…"),
    ],
)
def test_errors(times, work, options, message):
    with pytest.raises(ValueError, match=message):
        simulate(times, work, **options)
