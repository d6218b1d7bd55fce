"""CPU time of the service for one /recommend, beside a bare ASGI application and LitServe that give the same answer.

python tests/bench/service.py [--peers .venv-bench/bin/python] → tests/bench/SERVICE.md
"""

import argparse
import datetime
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
import psutil

from course_lib.config import PROJECT
from course_lib.datasets import load_movielens
from course_lib.models import ALS
from course_lib.serving import Server, write_package
from course_lib.serving.server import THREADS
from course_lib.splitting import leave_last_out

HERE = Path(__file__).parent
GROUPS, ROUNDS, REQUESTS, AT_ONCE = 5, 10, 160, 16
LIMITS = {"bare ASGI": ("at most", 2.5), "LitServe": ("at most", 0.25)}  # CPU of the service as a multiple of theirs


class Client:
    """One kept connection; a request is written and its answer read to the last byte."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""

    def ask(self, request):
        self.send(request)
        return json.loads(self.read())

    def send(self, request):
        self.socket.sendall(request)

    def read(self):
        while b"\r\n\r\n" not in self.rest:
            self._read()
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        assert head.split()[1] == b"200", head + self.rest
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(self.rest) < length:
            self._read()
        body, self.rest = self.rest[:length], self.rest[length:]
        return body

    def _read(self):
        piece = self.socket.recv(65_536)
        if not piece:
            raise ConnectionError("the server closed the connection")
        self.rest += piece


def get(user):
    """Our service's request, and the bare application's."""
    return f"GET /recommend/{user}?k=10 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def post(user):
    """LitServe's."""
    body = json.dumps({"user": str(user), "k": 10}).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


@contextmanager
def process(command, port, environment, first):
    """A server's process once it answers `first`; at the end it and its children are gone."""
    started = subprocess.Popen(command, env=environment, cwd=HERE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    tree = psutil.Process(started.pid)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                Client(port).ask(first)
                break
            except (OSError, IndexError, AssertionError):
                if started.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"{' '.join(map(str, command))} did not start")
                time.sleep(0.2)
        yield lambda: sum(sum(p.cpu_times()[:2]) for p in [tree, *tree.children(recursive=True)])
    finally:
        everyone = [*tree.children(recursive=True), tree] if started.poll() is None else []
        for one in everyone:
            one.terminate()
        for one in psutil.wait_procs(everyone, timeout=10)[1]:
            one.kill()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main():
    """Start the three, ask them in turns, write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", default=".venv-bench/bin/python", help="interpreter that has requirements.txt installed")
    peers = Path(parser.parse_args().peers).absolute()
    if not peers.exists():
        sys.exit(f"{peers} does not exist: make the environment first (tests/bench/README.md), or name one with --peers")
    ratings = load_movielens()
    split = leave_last_out(ratings, min_rating=4, seed=0)
    model = ALS(feedback="implicit", embedding_size=32).fit(split)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        package = write_package(Path(folder, "package"), model, ratings, split=split, version="1", metrics={})
        environment = os.environ | THREADS | {"COURSE_PACKAGE": str(package), "PYTHONPATH": str(PROJECT)}
        uvicorn = [sys.executable, "-m", "uvicorn", "--no-access-log", "--no-server-header", "--log-level", "critical"]
        bare, lit = free_port(), free_port()
        ours = stack.enter_context(Server(package))
        sides = {
            "course_lib": (ours.port, get, ours.cpu_seconds),
            "bare ASGI": (bare, get, [*uvicorn, "--port", str(bare), "service_bare:app"]),
            "LitServe": (lit, post, [peers, "service_litserve.py", str(lit)]),
        }
        for name in ("bare ASGI", "LitServe"):
            port, request, command = sides[name]
            cpu = stack.enter_context(process(command, port, environment, request(1)))
            sides[name] = port, request, cpu
        users = ratings.users["user_id"].to_numpy()
        expected = Client(bare).ask(get(1))["items"]
        assert all(Client(port).ask(request(1))["items"] == expected for port, request, _ in sides.values())
        write(measure(sides, np.random.default_rng(0).choice(users, REQUESTS)))


def measure(sides, users):
    """Server → CPU µs of a request in each group of rounds, (GROUPS,)."""
    spent = {name: np.zeros(GROUPS) for name in sides}
    for group in range(-1, GROUPS):  # the first one warms up
        for _ in range(ROUNDS):  # in short turns, so that a busy moment hits everyone
            for name, (port, request, cpu) in sides.items():
                clients, start = [Client(port) for _ in range(AT_ONCE)], cpu()
                for first in range(0, len(users), AT_ONCE):
                    for client, user in zip(clients, users[first : first + AT_ONCE], strict=True):
                        client.send(request(user))
                    for client in clients:
                        client.read()
                if group >= 0:
                    spent[name][group] += cpu() - start
    return {name: seconds / (ROUNDS * len(users)) * 1e6 for name, seconds in spent.items()}


def write(found):
    """The table, with what was measured and where."""
    rows = []
    for name, micro in found.items():
        ratio = found["course_lib"] / micro
        spread = f"{np.median(ratio):.2f} ({ratio.min():.2f} to {ratio.max():.2f})"
        limit = "{} {}".format(*LIMITS[name]) if name in LIMITS else ""
        rows.append(f"| {name} | {np.median(micro):.0f} | {spread} | {limit} |")
        print(rows[-1])
    used = ", ".join(f"{name} {version(name)}" for name in ("fastapi", "uvicorn", "httptools", "numpy"))
    text = f"""# The service beside a bare ASGI application and LitServe

Top ten for a user of MovieLens-100K (ALS, 32 factors, items seen left out), {AT_ONCE} kept connections that ask at once, one
worker. CPU: of the server's processes together, per request; median over {GROUPS} groups of {ROUNDS} rounds of {REQUESTS}
requests, the servers in turns. *Ratio* is the service's CPU divided by that of the row, median and range over the groups. The
bare application (`service_bare.py`) makes the same answer with the same package and does nothing else; ours also checks, limits
and counts (15 observations a request).

Measured {datetime.date.today()} on {platform.machine()} {platform.system()}, Python {platform.python_version()}, {used}.
Command: `python tests/bench/service.py`

| server | CPU µs | ratio | must be |
|---|---|---|---|
"""
    (HERE / "SERVICE.md").write_text(text + "\n".join(rows) + "\n", encoding="utf-8")
    for name, (_, limit) in LIMITS.items():
        assert np.median(found["course_lib"] / found[name]) <= limit, f"{name}: the ratio is over {limit}"


if __name__ == "__main__":
    main()
