"""Erlang's formula: how long requests wait for one of c servers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.optimize import brentq


@dataclass(frozen=True)
class Queue:
    """M/M/c in equilibrium: requests arrive at random, each takes an exponential time, first come, first served.

    arrivals λ: requests per second; service 1/μ: mean seconds of one; servers c; wait_probability: share that must wait.
    """

    arrivals: float
    service: float
    servers: int
    wait_probability: float

    @property
    def load(self) -> float:
        """Servers that are busy on average, a = λ/μ, in erlangs."""
        return self.arrivals * self.service

    @property
    def utilisation(self) -> float:
        """Share of the time that a server is busy, ρ = a / c."""
        return self.load / self.servers

    @property
    def drain(self) -> float:
        """How fast a queue shrinks, cμ − λ, in requests per second."""
        return self.servers / self.service - self.arrivals

    @property
    def mean_wait(self) -> float:
        """Seconds, E W = C / (cμ − λ), over all requests, those that need not wait too."""
        return self.wait_probability / self.drain

    @property
    def mean_waiting(self) -> float:
        """Requests that wait, on average, E L = λ E W (Little)."""
        return self.arrivals * self.mean_wait

    def wait_percentile(self, q: float) -> float:
        """Seconds that a share q of the requests waits at most: P(W > t) = C exp(−(cμ − λ) t)."""
        _check_share(q)
        return max(0.0, math.log(self.wait_probability / (1 - q)) / self.drain) if self.wait_probability else 0.0

    def response_tail(self, t: float) -> float:
        """Share of the requests whose wait and service take more than t seconds, P(W + S > t)."""
        mu, rate, c = 1 / self.service, self.drain, self.wait_probability
        served = math.exp(-mu * t)
        if math.isclose(rate, mu, rel_tol=1e-9):
            return (1 - c) * served + c * (1 + mu * t) * served
        return (1 - c) * served + c * (rate * served - mu * math.exp(-rate * t)) / (rate - mu)

    def response_percentile(self, q: float) -> float:
        """Seconds from arrival to answer that a share q of the requests needs at most."""
        _check_share(q)
        longest = 60 * (self.service + 1 / self.drain)  # the tail there is below e⁻³⁰
        return float(brentq(lambda t: self.response_tail(t) - (1 - q), 0.0, longest, xtol=1e-12))


def erlang_c(arrivals: float, service: float, servers: int) -> Queue:
    """Wait of M/M/c, with C = B / (1 − ρ (1 − B)) and Erlang's loss B by its recursion B(k) = a B(k−1) / (k + a B(k−1)).

    arrivals λ: per second; service 1/μ: mean seconds; servers c. Raises ValueError for numbers out of range, and where
    λ/μ ≥ c: that queue grows for ever.
    Source: Erlang (1917), Solution of some problems in the theory of probabilities; Kleinrock (1975), Queueing Systems, 3.5.
    """
    if not (arrivals >= 0 and service > 0 and servers >= 1 and servers == int(servers)):
        raise ValueError(f"erlang_c needs arrivals ≥ 0, service > 0, whole servers ≥ 1: {arrivals}, {service}, {servers}")
    load = arrivals * service
    if load >= servers:
        raise ValueError(f"{load:g} servers' worth of work arrive for {servers}: the queue grows without end; add servers")
    loss = 1.0
    for k in range(1, int(servers) + 1):
        loss = load * loss / (k + load * loss)
    rho = load / servers
    return Queue(arrivals, service, int(servers), loss / (1 - rho * (1 - loss)))


def servers_for(arrivals: float, service: float, *, wait: float, q: float = 0.99) -> int:
    """Fewest servers with which a share q of the requests waits at most `wait` seconds."""
    _check_share(q)
    if wait < 0:
        raise ValueError(f"wait is a time in seconds, 0 or longer, not {wait}")
    servers = math.floor(arrivals * service) + 1
    while erlang_c(arrivals, service, servers).wait_percentile(q) > wait:
        servers += 1
    return servers


def _check_share(q: float) -> None:
    if not 0 <= q < 1:
        raise ValueError(f"q is a share of the requests, from 0 to below 1 (0.99 for the 99th percentile), not {q}")
