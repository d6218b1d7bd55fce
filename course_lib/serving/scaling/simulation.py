"""A queue in front of replicas, event by event: a fixed number of them, or as many as an autoscaler asks for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from heapq import heapify, heappush, heapreplace

import numpy as np
import pandas as pd

from course_lib.serving.scaling.autoscaler import HorizontalPodAutoscaler


@dataclass(frozen=True)
class Result:
    """What happened to every request, and how many replicas there were.

    arrivals, waits, services: (n,) seconds; history: one row per decision of the autoscaler, columns time (s), replicas
    (from then on), ready, metric (share of the time that a ready replica was busy since the last decision); empty for a fixed
    number. replica_hours: paid for, from the start of a replica until it has left.
    """

    arrivals: np.ndarray
    waits: np.ndarray
    services: np.ndarray
    history: pd.DataFrame
    replica_hours: float

    @property
    def latencies(self) -> np.ndarray:
        """(n,) seconds from arrival to answer."""
        return self.waits + self.services

    @property
    def mean_wait(self) -> float:
        """Seconds, over all requests."""
        return float(self.waits.mean())

    @property
    def wait_probability(self) -> float:
        """Share of the requests that found every replica busy."""
        return float((self.waits > 0).mean())

    @property
    def changes(self) -> int:
        """How often the number of replicas changed from one decision to the next."""
        return int((self.history["replicas"].diff().fillna(0) != 0).sum())

    def percentile(self, q: float) -> float:
        """Latency in seconds that a share q of the requests kept to; q = 0.99 is the p99."""
        return float(np.quantile(self.latencies, q))


def simulate(arrivals, services, *, servers: int | None = None, autoscaler: HorizontalPodAutoscaler | None = None) -> Result:
    """First come, first served, one request at a time on each replica.

    arrivals (n,): seconds, in order, from 0; services (n,) or one number: seconds of work of each request.
    servers: the fixed number of replicas or, with an autoscaler, the number at the start (its minimum by default).
    autoscaler: decides every `interval` seconds on the share of busy time; a new replica takes requests after `startup`
    seconds. Replicas that do not serve yet go first, then idle ones, and a busy one ends its request before it leaves.
    Raises ValueError for times out of order or negative, sizes that do not fit, or no replica at all.
    """
    arrivals, services = _checked(arrivals, services)
    if autoscaler is None:
        if servers is None:
            raise ValueError("simulate needs servers=…, autoscaler=…, or both (then servers is the number at the start)")
        return _fixed(arrivals, services, _count(servers))
    return _scaled(arrivals, services, autoscaler, _count(autoscaler.minimum if servers is None else servers))


def _fixed(arrivals, services, servers: int) -> Result:
    starts, free = [], [0.0] * servers
    _serve(arrivals.tolist(), services.tolist(), starts, free, math.inf)
    history = pd.DataFrame(columns=["time", "replicas", "ready", "metric"])
    return Result(arrivals, np.array(starts) - arrivals, services, history, servers * max(free) / 3600)


def _serve(arrivals: list, services: list, starts: list, free: list, until: float) -> None:
    """Start every request that can be started by `until`: the next one, as soon as the first replica is free.

    starts: grows by one time per request; free: heap of the times at which the replicas are free (both changed in place).
    In the order of arrival the starts never go back, so nothing before `until` is left out. Source: Kiefer and Wolfowitz
    (1955), On the theory of queues with many servers.
    """
    for i in range(len(starts), len(arrivals)):
        start = free[0]
        if start < arrivals[i]:
            start = arrivals[i]
        if start > until:
            return
        heapreplace(free, start + services[i])
        starts.append(start)


class _Replicas:
    """The replicas of a simulation: those that serve, those that start, and what those that leave still have to do."""

    def __init__(self, count: int):
        self.free = [0.0] * count
        self.starting: list[float] = []  # times at which they will be ready; each stands in `free` as well
        self.work = 0.0  # seconds begun so far by replicas that are still here
        self.leaving = 0.0  # seconds that replicas stayed on after the decision to take them away
        self._busy = 0.0

    def observe(self, t: float, interval: float) -> tuple[int, float]:
        """Ready replicas at t, and the share of the last `interval` that they were busy."""
        fresh = [ready for ready in self.starting if ready <= t]
        self.starting = [ready for ready in self.starting if ready > t]
        ready = len(self.free) - len(self.starting)
        ahead = sum(time - t for time in self.free if time > t) - sum(time - t for time in self.starting)
        busy, self._busy = self.work - ahead - self._busy, self.work - ahead
        seconds = ready * interval - sum(max(0.0, when - (t - interval)) for when in fresh)
        return ready, busy / seconds if seconds > 0 else math.nan

    def resize(self, t: float, count: int, startup: float) -> None:
        """Add replicas that serve from t + startup, or take some away."""
        for _ in range(count - len(self.free)):
            heappush(self.free, t + startup)
            if startup > 0:
                self.starting.append(t + startup)
        gone = len(self.free) - count
        if gone <= 0:
            return
        coming = sorted(self.starting)[len(self.starting) - min(gone, len(self.starting)) :]
        for when in coming:
            self.starting.remove(when)
            self.free.remove(when)
        self.free.sort()  # idle ones first
        for when in self.free[: gone - len(coming)]:
            left = max(0.0, when - t)
            self.leaving += left
            self.work -= left
        self.free = self.free[gone - len(coming) :]
        heapify(self.free)


def _scaled(arrivals, services, autoscaler: HorizontalPodAutoscaler, first: int) -> Result:
    autoscaler.reset()
    come, work, starts = arrivals.tolist(), services.tolist(), []
    replicas, interval, t, paid, rows = _Replicas(first), autoscaler.interval, 0.0, 0.0, []
    total = np.concatenate([[0.0], np.cumsum(services)])
    while len(starts) < len(come):
        before, t = len(starts), t + interval
        _serve(come, work, starts, replicas.free, t)
        replicas.work += total[len(starts)] - total[before]
        paid += len(replicas.free) * interval
        ready, metric = replicas.observe(t, interval)
        count = autoscaler.decide(t, len(replicas.free), metric, ready=ready)
        replicas.resize(t, count, autoscaler.startup)
        rows.append((t, count, ready, metric))
    history = pd.DataFrame(rows, columns=["time", "replicas", "ready", "metric"])
    return Result(arrivals, np.array(starts) - arrivals, services, history, (paid + replicas.leaving) / 3600)


def _checked(arrivals, services) -> tuple[np.ndarray, np.ndarray]:
    arrivals = np.asarray(arrivals, dtype=np.float64)
    services = np.asarray(services, dtype=np.float64)
    if arrivals.ndim != 1 or len(arrivals) == 0 or services.shape not in ((), arrivals.shape):
        raise ValueError(f"arrivals (n,) and services (n,) or one number are needed, not {arrivals.shape}, {services.shape}")
    if not (np.all(np.diff(arrivals) >= 0) and arrivals[0] >= 0 and np.isfinite(arrivals[-1])):
        raise ValueError("arrivals are seconds from 0, each no earlier than the one before; sort them first")
    if not (np.all(services >= 0) and np.all(np.isfinite(services))):
        raise ValueError("services are seconds of work: finite, none below 0")
    return arrivals, np.broadcast_to(services, arrivals.shape)


def _count(servers: int) -> int:
    if servers != int(servers) or servers < 1:
        raise ValueError(f"servers is the number of replicas, 1 or more, not {servers}")
    return int(servers)
