import math

import pytest
from scipy.integrate import quad

from course_lib.serving.scaling import erlang_c, servers_for


def textbook(load: float, servers: int) -> float:
    """Erlang's C as the sum of its definition."""
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    return last / (sum(load**k / math.factorial(k) for k in range(servers)) + last)


@pytest.mark.parametrize(("load", "servers"), [(0.5, 1), (1.5, 2), (4.0, 5), (4.305, 6), (9.9, 10), (0.0, 3)])
def test_wait_probability_is_the_textbook_sum(load, servers):
    assert erlang_c(load / 0.2, 0.2, servers).wait_probability == pytest.approx(textbook(load, servers), rel=1e-12)


def test_one_server_is_known_in_closed_form():
    queue = erlang_c(0.8, 1.0, 1)
    assert queue.wait_probability == pytest.approx(0.8)
    assert queue.mean_wait == pytest.approx(4.0)  # ρ / (μ − λ)
    assert queue.mean_waiting == pytest.approx(3.2)  # ρ² / (1 − ρ)
    assert (queue.load, queue.utilisation) == pytest.approx((0.8, 0.8))
    assert queue.response_percentile(0.9) == pytest.approx(math.log(10) / 0.2)  # the time in the system is Exp(μ − λ)


def test_many_servers_do_not_overflow():
    queue = erlang_c(9_900, 0.1, 1_000)
    assert 0 < queue.wait_probability < 1 and queue.utilisation == pytest.approx(0.99)


@pytest.mark.parametrize(("arrivals", "servers"), [(4.0, 2), (9.0, 5), (1.0, 2), (8.0, 5)])
def test_mean_response_is_the_integral_of_its_tail(arrivals, servers):
    queue = erlang_c(arrivals, 0.4, servers)  # (1.0 → cμ − λ = 4) and (… 10 − 7.5): beside μ = 2.5
    assert quad(queue.response_tail, 0, 60)[0] == pytest.approx(queue.mean_wait + 0.4, rel=1e-6)


def test_tail_where_both_rates_are_equal():
    queue = erlang_c(2.5, 0.4, 2)  # cμ − λ = μ = 2.5
    near = erlang_c(2.5 + 1e-6, 0.4, 2)
    assert queue.response_tail(1.0) == pytest.approx(near.response_tail(1.0), rel=1e-5)


@pytest.mark.parametrize("q", [0.3, 0.9, 0.99])
def test_percentiles_invert_their_tails(q):
    queue = erlang_c(9.0, 0.4, 5)
    assert queue.response_tail(queue.response_percentile(q)) == pytest.approx(1 - q)
    wait = queue.wait_percentile(q)
    assert queue.wait_probability * math.exp(-queue.drain * wait) <= 1 - q + 1e-12
    assert (wait == 0) == (q <= 1 - queue.wait_probability)


def test_nobody_waits_where_nobody_comes():
    queue = erlang_c(0.0, 0.2, 1)
    assert queue.wait_probability == queue.mean_wait == queue.wait_percentile(0.99) == 0


def test_servers_for_is_the_smallest_number():
    found = servers_for(25.0, 0.15, wait=0.2)
    assert erlang_c(25.0, 0.15, found).wait_percentile(0.99) <= 0.2 < erlang_c(25.0, 0.15, found - 1).wait_percentile(0.99)
    assert servers_for(10.0, 0.1, wait=1e6) == 2  # one erlang of work needs more than one server, however long they wait


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((10, 0.5, 5), "grows without end"), ((-1, 1, 1), "arrivals ≥ 0"), ((1, 0, 1), "service > 0"), ((1, 1, 2.5), "whole")],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        erlang_c(*arguments)


def test_a_percentile_is_a_share():
    with pytest.raises(ValueError, match="0.99 for the 99th"):
        erlang_c(1, 0.5, 1).wait_percentile(99)
    with pytest.raises(ValueError, match="0 or longer"):
        servers_for(1, 0.5, wait=-1)
