import socket
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from course_lib.datasets import load_movielens
from course_lib.serving.scaling import Replay, arrivals, hour_profile, replay

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


@contextmanager
def server(answer):
    """A socket that answers each connection with answer(number, request), in a thread of its own; None: no answer."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=200)
    seen = []

    def serve(connection, number):
        with connection:
            request = connection.recv(65_536).decode()
            seen.append(request)
            reply = answer(number, request)
            if reply:
                connection.sendall(reply)

    def accept():
        number = 0
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection, number), daemon=True).start()
            number += 1

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", seen
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def test_hour_profile_by_hand():
    hours = [0, 0, 0, 23, 5, 5]
    table = pd.DataFrame({"timestamp": [86_400 * day + 3600 * hour + 59 for day, hour in enumerate(hours)]})
    profile = hour_profile(SimpleNamespace(table=table))
    assert profile.shape == (24,) and profile.mean() == pytest.approx(1)
    assert (profile[[0, 5, 23]] * 6 / 24).tolist() == pytest.approx([3, 2, 1]) and np.count_nonzero(profile) == 3


def test_movielens_sleeps_and_wakes():
    profile = hour_profile(load_movielens())
    assert profile.argmax() == 21 and profile.argmin() == 11  # hours in UTC: evening and night in Minnesota
    assert profile.max() / profile.min() > 10


def test_arrivals_follow_the_profile():
    profile = np.array([0.0, 0.5, 2.5])
    times = arrivals(profile, rate=20, seconds=6_000, day=300, rng=np.random.default_rng(0))
    assert np.all(np.diff(times) >= 0) and 0 <= times[0] and times[-1] < 6_000
    counts = np.bincount((times % 300 // 100).astype(int), minlength=3)
    expected = profile * 20 * 2_000
    assert counts[0] == 0 and np.all(np.abs(counts - expected)[1:] < 4 * np.sqrt(expected[1:]))


def test_a_flat_profile_is_a_poisson_process():
    gaps = np.diff(arrivals([1.0], rate=5, seconds=2_000, rng=np.random.default_rng(1)))
    assert stats.kstest(gaps, "expon", args=(0, 1 / 5)).pvalue > 0.01


@pytest.mark.parametrize(("profile", "rate"), [([], 1), ([-1, 2], 1), ([0, 0], 1), ([1], 0), ([[1.0]], 1)])
def test_arrivals_out_of_range(profile, rate):
    with pytest.raises(ValueError, match="profile is one row|are positive"):
        arrivals(profile, rate=rate, seconds=10, rng=np.random.default_rng(0))


def test_each_request_is_sent_once_when_it_is_due():
    with server(lambda number, request: OK) as (url, seen):
        times = np.linspace(0, 0.5, 21)
        table = replay(url, times, path=lambda n: f"/recommend/{n}?k=5", headers={"Authorization": "Bearer x"})
    assert table["due"].tolist() == times.tolist() and table["status"].tolist() == [200] * 21
    assert not table["lost"].any() and set(table["attempts"]) == {1} and table["latency"].between(0, 5).all()
    paths = sorted(int(request.split("/recommend/")[1].split("?")[0]) for request in seen)
    assert paths == list(range(21)) and all("Authorization: Bearer x\r\n" in request for request in seen)


def test_latency_counts_from_the_due_time():
    """Ten requests at once, one connection, 30 ms each: the last has waited for all others."""

    def slow(number, request):
        time.sleep(0.03)
        return OK

    with server(slow) as (url, _):
        latency = replay(url, [0.0] * 10, max_in_flight=1)["latency"].sort_values().to_numpy()
    assert latency[-1] >= 10 * 0.03 and np.all(np.diff(latency) >= 0.025)


def test_refusals_are_answers_and_broken_connections_are_tried_again():
    broken = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"
    replies = [b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", None, OK, broken, broken]
    with server(lambda number, request: replies[number]) as (url, _):
        table = replay(url, [0.0, 0.2, 0.4], retries=1)
    assert table["status"].tolist() == [503, 200, 0]
    assert table["attempts"].tolist() == [1, 2, 2] and table["lost"].tolist() == [False, False, True]
    assert table["error"].tolist()[:2] == ["", ""] and "2 bytes" in table["error"][2]


def test_without_retries_and_without_a_server():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    table = replay(f"http://localhost:{port}", [0.0], retries=0)
    assert table["lost"].tolist() == [True] and table["attempts"].tolist() == [1]


def test_time_out():
    release = threading.Event()
    with server(lambda number, request: release.wait(5) and None) as (url, _):
        begin = time.monotonic()
        table = replay(url, [0.0], timeout=0.1, retries=1)
        assert time.monotonic() - begin < 4
        release.set()
    assert table["lost"].tolist() == [True] and "TimeoutError" in table["error"][0]


def test_requests_in_flight_are_counted():
    release = threading.Event()
    with server(lambda number, request: release.wait(10) and OK) as (url, _):
        load = Replay(url, [0.0] * 4).start()
        while load.in_flight < 4:
            time.sleep(0.01)
        load.concurrency()
        time.sleep(0.2)
        assert load.concurrency() == pytest.approx(4) and not load.done
        release.set()
        assert not load.result()["lost"].any()
    assert load.done and load.in_flight == 0
    load.concurrency()
    assert load.concurrency() == 0


def test_an_empty_schedule():
    assert replay("http://127.0.0.1:9", []).empty


@pytest.mark.parametrize("url", ["http://192.0.2.1:80", "https://127.0.0.1", "http://example.org/", "127.0.0.1:80"])
def test_no_load_on_other_computers(url):
    with pytest.raises(ValueError, match="on this computer"):
        Replay(url, [0.0])


@pytest.mark.parametrize("times", [np.zeros(200_001), [0.0, 601.0], [1.0, 0.5], [-1.0]])
def test_a_replay_is_bounded_and_ordered(times):
    with pytest.raises(ValueError, match="at most|in order"):
        Replay("http://127.0.0.1:9", times)
