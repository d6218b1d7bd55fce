"""When requests come, and a client that sends them: by its own clock, whatever the server does."""

from __future__ import annotations

import asyncio
import ipaddress
import threading
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

HOURS = 24
MOST_REQUESTS, MOST_SECONDS = 200_000, 600.0  # of one replay; larger loads belong into the simulator
COLUMNS = ["due", "latency", "status", "attempts", "lost", "error"]


def hour_profile(ratings) -> np.ndarray:
    """How busy each hour of the day is, beside the mean hour: from the times at which people rated.

    ratings: `Ratings`, timestamps in seconds since 1970 → (24,), hours in UTC, mean 1.
    """
    hours = ratings.table["timestamp"].to_numpy() % 86_400 // 3600
    counts = np.bincount(hours, minlength=HOURS)
    return counts / counts.mean()


def arrivals(profile, *, rate: float, seconds: float, rng: np.random.Generator, day: float = 86_400.0) -> np.ndarray:
    """Times of a Poisson process whose rate follows the day: λ(t) = rate · profile[part of the day at t], by thinning.

    profile (parts,): mean 1, for instance of `hour_profile`; rate: requests per second on average over a day; seconds: length
    of the record; day: seconds of one day, shorter than 86,400 to run through it faster → (n,) seconds, in order.
    Raises ValueError for a profile with negative or no numbers, or a rate or time that is not positive.
    Source: Lewis and Shedler (1979), Simulation of nonhomogeneous Poisson processes by thinning.
    """
    profile = np.asarray(profile, dtype=np.float64)
    if profile.ndim != 1 or profile.size == 0 or not np.all(profile >= 0) or not profile.any():
        raise ValueError("profile is one row of relative rates, none below 0 and not all 0")
    if not (rate > 0 and seconds > 0 and day > 0):
        raise ValueError(f"rate, seconds and day are positive, not {rate}, {seconds} and {day}")
    highest = rate * profile.max()
    times = np.sort(rng.uniform(0, seconds, rng.poisson(highest * seconds)))
    part = (times % day / day * len(profile)).astype(int) % len(profile)
    return times[rng.random(len(times)) < rate * profile[part] / highest]


class Replay:
    """Sends one GET at each of the given times, in a thread of its own: start(), in_flight, done, result().

    The clock is the schedule's (open loop): a request is due whether or not earlier ones were answered, and its latency
    counts from the moment it was due. So a slow server cannot slow down the load that measures it.
    url: http:// on a loopback address; times (n,): seconds from the start, in order; path: of every request, or a function of
    its number; timeout: seconds for one attempt; retries: how often a GET is sent again whose connection ended before the
    answer was complete, as proxies do (RFC 9110, 9.2.2); max_in_flight: connections at once, later ones wait their turn.
    Raises ValueError for another address, or more than 200,000 requests or 600 seconds.
    """

    def __init__(
        self,
        url: str,
        times: Sequence[float],
        *,
        path: str | Callable[[int], str] = "/",
        timeout: float = 10.0,
        retries: int = 1,
        max_in_flight: int = 200,
        headers: dict[str, str] | None = None,
    ):
        self.host, self.port = _loopback(url)
        self.times = np.asarray(times, dtype=np.float64)
        if len(self.times) > MOST_REQUESTS or (len(self.times) and self.times[-1] > MOST_SECONDS):
            raise ValueError(f"a replay is at most {MOST_REQUESTS:,} requests in {MOST_SECONDS:g} s; simulate() takes more")
        if len(self.times) and (self.times[0] < 0 or np.any(np.diff(self.times) < 0)):
            raise ValueError("times are seconds from the start, in order, none below 0")
        self._path = path if callable(path) else lambda number: path
        self.timeout, self.retries, self.max_in_flight = timeout, retries, max_in_flight
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        self._rows: list[tuple] = []
        self._lock, self._area, self._mark, self._count = threading.Lock(), 0.0, time.monotonic(), 0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> Replay:
        """Begin to send; returns self."""
        self._mark = time.monotonic()
        self._last = self._mark
        self._thread.start()
        return self

    @property
    def done(self) -> bool:
        """Whether every request has been answered or given up."""
        return self._thread.ident is not None and not self._thread.is_alive()

    @property
    def in_flight(self) -> int:
        """Requests that are due and not answered."""
        return self._count

    def concurrency(self) -> float:
        """Mean number of requests in flight since the last call: what a server would report as its concurrency."""
        with self._lock:
            self._move(0)
            now = self._mark
            mean = self._area / max(now - self._last, 1e-9)
            self._area, self._last = 0.0, now
        return mean

    def result(self) -> pd.DataFrame:
        """Wait for the end → one row per request, in order of due.

        due and latency: seconds; status: of the answer, 0 without one; attempts; lost: no complete answer at all; error.
        """
        self._thread.join()
        return pd.DataFrame(sorted(self._rows), columns=COLUMNS)

    async def _run(self) -> None:
        self._slots = asyncio.Semaphore(self.max_in_flight)
        begin, tasks = time.monotonic(), set()
        for number, due in enumerate(self.times):
            if (wait := begin + due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            task = asyncio.create_task(self._request(number, float(due), begin))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)

    async def _request(self, number: int, due: float, begin: float) -> None:
        self._step(1)
        status, error, attempts = 0, "", 0
        async with self._slots:
            while not status and attempts <= self.retries:
                attempts += 1
                try:
                    status = await asyncio.wait_for(self._get(self._path(number)), self.timeout)
                except (OSError, EOFError, ValueError, TimeoutError) as fault:
                    error = f"{type(fault).__name__}: {fault}"
        self._step(-1)
        latency = time.monotonic() - begin - due
        self._rows.append((due, latency, status, attempts, not status, "" if status else error))

    async def _get(self, path: str) -> int:
        """Status of a complete answer; EOFError for one that breaks off."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            head = f"GET {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n{self._headers}Connection: close\r\n\r\n"
            writer.write(head.encode("latin-1"))
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            body = await reader.read()
        finally:
            writer.close()
        for line in head.lower().split("\r\n"):
            if line.startswith("content-length:") and len(body) != int(line.split(":")[1]):
                raise EOFError(f"{len(body)} bytes came of {line}")
        return int(head.split()[1])

    def _step(self, change: int) -> None:
        with self._lock:
            self._move(change)

    def _move(self, change: int) -> None:
        now = time.monotonic()
        self._area += self._count * (now - self._mark)
        self._mark, self._count = now, self._count + change


def replay(url: str, times: Sequence[float], **options) -> pd.DataFrame:
    """`Replay(url, times, **options)` from start to end → its table."""
    return Replay(url, times, **options).start().result()


def _loopback(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if parts.scheme != "http" or not local:
        raise ValueError(f"a replay goes to http:// on this computer (127.0.0.1), not to {url!r}")
    return host, parts.port or 80
