"""A real pool of workers on this computer, under uvicorn's supervisor: one signal adds a worker, another takes one away."""

from __future__ import annotations

import atexit
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pandas as pd
import psutil

from course_lib.serving.scaling.autoscaler import HorizontalPodAutoscaler

SUPERVISOR = Path(__file__).with_name("supervisor.py")
SERVICE = "course_lib.serving.app:create_app"
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}  # the workers share the cores
DIED = re.compile(r"Child process \[\d+\] died")
FEWEST = 2  # uvicorn starts no supervisor for one worker, and without it nobody takes the signals


class PoolError(RuntimeError):
    """The pool could not start or change its size; the message holds the end of the workers' log."""


class WorkerPool:
    """Worker processes that share one listening socket of the loopback address, so the kernel spreads the connections.

    target: a model package's folder, or the name of an ASGI application, "module:attribute" (with factory=True, of a function
    that makes one). minimum, maximum: bounds of `scale`. env: variables for the workers; folder: where "module" is found, by
    default the current one. start_seconds, stop_seconds: how long a worker may take to serve, and to finish what it has begun.

    with WorkerPool("shop:app", maximum=4) as pool: pool.url, pool.scale(3), pool.workers, pool.ready

    It starts with two workers, or `minimum`. POSIX only: SIGTTIN adds one, SIGTTOU takes one away. Raises PoolError where it
    cannot, ValueError for bounds out of range.
    """

    def __init__(
        self,
        target: str | Path,
        *,
        minimum: int = 1,
        maximum: int = 4,
        factory: bool = False,
        env: dict[str, str] | None = None,
        folder: str | Path | None = None,
        start_seconds: float = 60.0,
        stop_seconds: float = 10.0,
    ):
        if not 1 <= minimum <= maximum:
            raise ValueError(f"1 ≤ minimum ≤ maximum must hold, but they are {minimum} and {maximum}")
        self.minimum, self.maximum = minimum, maximum
        self.start_seconds, self.stop_seconds = start_seconds, stop_seconds
        package = not re.fullmatch(r"[\w.]+:\w+", str(target))
        self.app, self.factory = (SERVICE, True) if package else (str(target), factory)
        self.env = os.environ | ({"COURSE_PACKAGE": str(Path(target).resolve())} if package else {}) | (env or {})
        self.env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder or Path.cwd()), self.env.get("PYTHONPATH")]))
        self._process: psutil.Popen | None = None

    def __enter__(self) -> WorkerPool:
        if not hasattr(signal, "SIGTTIN"):
            raise PoolError("this system has no SIGTTIN and SIGTTOU (Windows): use the simulator, or WSL")
        self._folder = tempfile.TemporaryDirectory(prefix="course-pool-")
        self._log = Path(self._folder.name) / "log"
        command = [sys.executable, "-P", str(SUPERVISOR), self.app, str(max(FEWEST, self.minimum)), self._folder.name]
        env = ONE_THREAD | {"PROMETHEUS_MULTIPROC_DIR": self._folder.name} | self.env
        with self._log.open("wb") as log:
            self._process = psutil.Popen(
                command + ["--factory"] * self.factory, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        atexit.register(self.close)
        try:
            self._wait(self._started, self.start_seconds, "start")
            self.port = int(Path(self._folder.name, "port").read_text(encoding="utf-8"))
        except BaseException:
            self._kill(self._family())  # nothing to finish
            self.close()
            raise
        return self

    def __exit__(self, *error) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where the pool answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of the supervisor."""
        return self._process.pid

    @property
    def workers(self) -> list[int]:
        """Process ids of the workers, oldest first."""
        return [worker.pid for worker in self._children()]

    @property
    def ready(self) -> int:
        """Workers that serve: their application is loaded."""
        return sum(Path(self._folder.name, f"ready-{pid}").exists() for pid in self.workers)

    def log(self) -> str:
        """What supervisor and workers have written so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def scale(self, count: int) -> int:
        """Change the number of workers, one by one → the number now; new ones are not `ready` yet.

        Signals of one kind that wait together arrive as one, so each is sent when the last has been obeyed. A worker that
        leaves answers what it has accepted. Raises ValueError outside minimum … maximum, PoolError when nothing happens.
        """
        if not self.minimum <= count <= self.maximum:
            raise ValueError(f"this pool has {self.minimum} to {self.maximum} workers, not {count}")
        while (now := len(self.workers)) != count:
            self._process.send_signal(signal.SIGTTIN if now < count else signal.SIGTTOU)
            self._wait(lambda now=now: len(self.workers) != now, self.start_seconds, f"go from {now} to {count} workers")
        return now

    def close(self) -> None:
        """Stop gracefully, then hard; afterwards no process is left. May be called twice."""
        atexit.unregister(self.close)
        if self._process is None:
            return
        family = self._family()
        if self._process.is_running():
            self._process.terminate()
        _, alive = psutil.wait_procs(family, timeout=self.stop_seconds)
        self._kill(alive)
        self._process = None
        self._folder.cleanup()

    def _kill(self, processes: list[psutil.Process]) -> None:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=self.stop_seconds)

    def _family(self) -> list[psutil.Process]:
        """The supervisor and all its children, the helper of multiprocessing too."""
        with suppress(psutil.NoSuchProcess):
            return [self._process, *self._process.children()]
        return [self._process]

    def _children(self) -> list[psutil.Process]:
        """Living workers, oldest first."""
        found = []
        for child in self._family()[1:]:
            with suppress(psutil.NoSuchProcess):
                if child.status() != psutil.STATUS_ZOMBIE and any("spawn_main" in word for word in child.cmdline()):
                    found.append((child.create_time(), child.pid, child))
        return [child for *_, child in sorted(found)]

    def _started(self) -> bool:
        if DIED.search(self.log()) or any(_ended(child) for child in self._family()[1:]):
            raise PoolError(f"a worker of {self.app} ended before it served. The end of its log:\n{self.log()[-2000:]}")
        return self.ready >= max(FEWEST, self.minimum)

    def _wait(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        end = time.monotonic() + seconds
        while not condition():
            stopped = self._process.poll() is not None
            if stopped or time.monotonic() > end:
                why = f"ended with code {self._process.returncode}" if stopped else f"had {seconds:g} s"
                raise PoolError(f"the pool could not {what} ({self.app}; it {why}). The end of its log:\n{self.log()[-2000:]}")
            time.sleep(0.05)


def _ended(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE
    return False  # its parent has seen it, and says so in the log


class CpuUtilisation:
    """Mean share of a core that a ready worker used since the last call: a metric for `drive`; NaN at the first call."""

    def __init__(self):
        self._seen: dict[int, float] = {}
        self._time = math.nan

    def __call__(self, pool: WorkerPool) -> float:
        """Share of one core, averaged over the workers that were there at the last call as well."""
        now, used = time.monotonic(), {}
        for pid in pool.workers:
            try:
                times = psutil.Process(pid).cpu_times()
            except psutil.NoSuchProcess:
                continue
            used[pid] = times.user + times.system
        shares = [(used[pid] - self._seen[pid]) / (now - self._time) for pid in used if pid in self._seen]
        self._seen, self._time = used, now
        return sum(shares) / len(shares) if shares else math.nan


def drive(
    pool: WorkerPool,
    autoscaler: HorizontalPodAutoscaler,
    metric: Callable[[WorkerPool], float],
    *,
    seconds: float,
    until: Callable[[], bool] = lambda: False,
) -> pd.DataFrame:
    """The control loop: every `autoscaler.interval` seconds measure, decide, scale; until `until()` or the time is over.

    metric: mean over the ready workers, in the unit of the autoscaler's target → columns time (s), replicas (from then on),
    ready, metric. Raises ValueError for an autoscaler that may ask for more or fewer workers than the pool allows.
    """
    if autoscaler.minimum < pool.minimum or autoscaler.maximum > pool.maximum:
        asked, allowed = f"{autoscaler.minimum} to {autoscaler.maximum}", f"{pool.minimum} to {pool.maximum}"
        raise ValueError(f"the autoscaler may ask for {asked} workers, the pool has {allowed}: give both the same bounds")
    autoscaler.reset()
    begin, rows = time.monotonic(), []
    while (t := time.monotonic() - begin) < seconds and not until():
        value, size, ready = metric(pool), len(pool.workers), pool.ready
        count = autoscaler.decide(t, size, value, ready=ready)
        rows.append((t, pool.scale(count), ready, value))
        end = min(t + autoscaler.interval, seconds)
        while (left := begin + end - time.monotonic()) > 0 and not until():
            time.sleep(min(left, 0.05))
    return pd.DataFrame(rows, columns=["time", "replicas", "ready", "metric"])
