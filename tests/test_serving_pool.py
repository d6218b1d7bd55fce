import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress

import numpy as np
import psutil
import pytest
import uvicorn

from course_lib.serving.scaling import (
    CpuUtilisation,
    HorizontalPodAutoscaler,
    PoolError,
    Replay,
    WorkerPool,
    arrivals,
    drive,
    supervisor,
)

APP = """
import os, time

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = (await receive())["type"]
            await send({"type": event + ".complete"})
            if event == "lifespan.shutdown":
                return
    time.sleep(0.02)  # one request at a time, as a model without batches
    body = str(os.getpid()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})

def broken():
    raise RuntimeError("the shelf is empty")
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Folder of an application that takes 20 ms for a request."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop.py").write_text(APP)
    return folder


def gone(pids, *, seconds: float = 15.0) -> bool:
    """Whether the processes end within that time."""
    end = time.monotonic() + seconds
    while (left := [pid for pid in pids if alive(pid)]) and time.monotonic() < end:
        time.sleep(0.05)
    return not left


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition, *, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to be in time"
        time.sleep(0.05)


def answering(url: str) -> int:
    with urllib.request.urlopen(url, timeout=10) as reply:
        return int(reply.read())


def test_scaled_by_hand_under_load_without_losing_a_request_and_healed(shop):
    with WorkerPool("shop:app", folder=shop, maximum=4) as pool:
        family = {pool.pid, *pool.workers}
        assert len(pool.workers) == pool.ready == 2 and answering(pool.url) in pool.workers
        load = Replay(pool.url, arrivals([1.0], rate=60, seconds=4, rng=np.random.default_rng(0)), retries=0).start()
        for count in (3, 1, 2):
            assert pool.scale(count) == len(pool.workers) == count
            family.update(pool.workers)
            wait_until(lambda count=count: pool.ready == count)
        table = load.result()
        assert len(family) == 1 + 2 + 1 + 1 and all(alive(pid) for pid in (pool.pid, *pool.workers))
        with pytest.raises(ValueError, match="1 to 4 workers, not 5"):
            pool.scale(5)
        first = pool.workers[0]
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: first not in pool.workers and pool.ready == 2)  # the supervisor replaces it
        family.update(pool.workers)
    assert len(table) > 150 and set(table["status"]) == {200} and not table["lost"].any()
    assert gone(family, seconds=0), "the pool is closed only when its processes are gone"


def test_driven_by_the_autoscaler_up_and_down_again(shop):
    scaler = HorizontalPodAutoscaler(target=0.8, maximum=3, down_stabilisation=1.5, startup=1, interval=0.5)
    times = arrivals([0.2, 2.4, 0.4], rate=45, seconds=5, day=5, rng=np.random.default_rng(1))
    with WorkerPool("shop:app", folder=shop, maximum=3) as pool:
        load = Replay(pool.url, times, retries=0).start()
        history = drive(
            pool,
            scaler,
            lambda pool: load.concurrency() / max(pool.ready, 1),
            seconds=30,
            until=lambda: load.done and len(pool.workers) == 1,
        )
        table, family = load.result(), [pool.pid, *pool.workers]
    assert history["replicas"].max() == 3 and history["replicas"].iloc[-1] == 1
    assert history["time"].is_monotonic_increasing and history["ready"].max() >= 2
    assert set(table["status"]) == {200} and not table["lost"].any()
    assert gone(family, seconds=0)


def test_an_application_that_does_not_load_is_named(shop):
    pool = WorkerPool("shop:broken", factory=True, folder=shop)
    with pytest.raises(PoolError, match=r"(?s)a worker of shop:broken ended.*the shelf is empty"), pool:
        pass


def test_a_pool_ends_with_the_process_that_started_it(shop, tmp_path):
    code = (
        "from course_lib.serving.scaling import WorkerPool\n"
        f"pool = WorkerPool('shop:app', folder={str(shop)!r}).__enter__()\n"
        "print(pool.pid, *pool.workers, flush=True)\n"
        "input()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    parent = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"TMPDIR": str(tmp_path)}, **pipes)
    try:
        family = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(family) == 3 and all(map(alive, family))
    finally:
        parent.kill()
        parent.communicate()
    assert gone(family) and not list(tmp_path.iterdir())


def test_a_folder_is_a_package_of_the_course(tmp_path):
    pool = WorkerPool(tmp_path, env={"COURSE_TOKEN": "x"})
    assert (pool.app, pool.factory) == ("course_lib.serving.app:create_app", True)
    assert pool.env["COURSE_PACKAGE"] == str(tmp_path) and pool.env["COURSE_TOKEN"] == "x"


def leaves(http, *, port_of=lambda server: server.servers[0].sockets[0].getsockname()[1]) -> bytes:
    """What a client reads that has connected before a server begins to leave, and sends its request after that."""
    server = uvicorn.Server(uvicorn.Config(silent, port=0, http=http, lifespan="off", log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=10) as client:
        wait_until(lambda: server.server_state.connections)
        server.should_exit = True
        wait_until(lambda: not server.servers[0].is_serving())
        time.sleep(0.2)
        read = b""
        with suppress(ConnectionError):
            client.sendall(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
            while piece := client.recv(1000):
                read += piece
    thread.join(10)
    assert not thread.is_alive()
    return read


async def silent(scope, receive, send):
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


def test_a_request_on_its_way_is_answered_by_a_worker_that_leaves(monkeypatch):
    monkeypatch.setattr(supervisor, "GRACE", 2.0)
    assert leaves("auto") == b"", "uvicorn alone closes the connection; when it no longer does, Draining may go"
    assert leaves(supervisor.Draining).startswith(b"HTTP/1.1 204")


@pytest.mark.parametrize("bounds", [{"minimum": 0}, {"minimum": 3, "maximum": 2}])
def test_bounds_out_of_range(bounds):
    with pytest.raises(ValueError, match="minimum ≤ maximum"):
        WorkerPool("shop:app", **bounds)


class Still:
    """A pool of this very process."""

    minimum, maximum, workers, ready = 1, 3, [os.getpid()], 1

    def __init__(self):
        self.asked = []

    def scale(self, count):
        self.asked.append(count)
        self.workers = [os.getpid()] * count
        return count


def test_cpu_utilisation_is_a_share_of_a_core():
    used = CpuUtilisation()
    assert math.isnan(used(Still()))
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    busy = used(Still())
    time.sleep(0.3)
    assert 0.02 < busy < 1.5 and used(Still()) < busy


def test_drive_keeps_time_and_both_bounds():
    pool, scaler = Still(), HorizontalPodAutoscaler(target=1.0, maximum=3, interval=0.1, down_stabilisation=0)
    history = drive(pool, scaler, lambda pool: 5.0, seconds=0.35)
    assert pool.asked == [3] * len(history) and 2 <= len(history) <= 4
    assert list(history.columns) == ["time", "replicas", "ready", "metric"] and np.all(np.diff(history["time"]) > 0.05)
    assert drive(pool, scaler, lambda pool: 1.0, seconds=5, until=lambda: True).empty
    with pytest.raises(ValueError, match="1 to 4 workers, the pool has 1 to 3"):
        drive(pool, HorizontalPodAutoscaler(target=1.0, maximum=4), lambda pool: 1.0, seconds=1)
