"""The rule of the Kubernetes HorizontalPodAutoscaler: how many replicas, given how busy those are that run."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """How fast the number of replicas may change: by `value` within any `period` seconds.

    kind: "replicas" (value is a number of them) or "percent" (of those that ran when the period began).
    Raises ValueError for another kind, a value that is not positive, or a period outside (0, 1800].
    """

    kind: str
    value: float
    period: float = 15.0

    def __post_init__(self):
        if self.kind not in ("replicas", "percent"):
            raise ValueError(f'a policy counts "replicas" or "percent", not {self.kind!r}')
        if not (self.value > 0 and 0 < self.period <= 1800):
            raise ValueError(f"a policy needs a positive value and a period of 0 to 1800 s: {self.value}, {self.period}")

    def limit(self, start: int, direction: int) -> int:
        """Furthest number of replicas that may be reached from `start`; direction +1 (up) or −1 (down)."""
        if self.kind == "replicas":
            return start + direction * int(self.value)
        moved = start * (1 + direction * self.value / 100)
        return math.ceil(moved) if direction > 0 else int(max(moved, 0))


DOUBLE_OR_FOUR = (Policy("percent", 100), Policy("replicas", 4))
ALL = (Policy("percent", 100),)


class HorizontalPodAutoscaler:
    """desired = ⌈replicas · metric / target⌉, or the present number where |metric / target − 1| ≤ tolerance.

    target, metric: mean over the replicas that are ready, both in one unit: share of a core in use, requests in flight …
    minimum, maximum: bounds of the number of replicas.
    up_stabilisation, down_stabilisation: seconds; growth goes to the lowest, shrinking to the highest of the numbers desired
    within that time, so one quiet moment takes nobody away.
    startup: seconds from the start of a replica until it serves. One that does not serve yet counts as idle when the rule
    would grow, and not at all when it would shrink.
    interval: seconds between two decisions. up_policies, down_policies: of several, the one that allows most holds.
    The defaults are Kubernetes's own, but for `startup`, which belongs to the container.
    Raises ValueError for options out of range.
    Source: Kubernetes documentation, Horizontal Pod Autoscaling, "Algorithm details" and "Configurable scaling behavior".
    """

    def __init__(
        self,
        *,
        target: float,
        minimum: int = 1,
        maximum: int = 10,
        tolerance: float = 0.1,
        up_stabilisation: float = 0.0,
        down_stabilisation: float = 300.0,
        startup: float = 0.0,
        interval: float = 15.0,
        up_policies: tuple[Policy, ...] = DOUBLE_OR_FOUR,
        down_policies: tuple[Policy, ...] = ALL,
    ):
        if not target > 0:
            raise ValueError(f"target must be positive, not {target}: it is the metric of a replica that is busy enough")
        if not 1 <= minimum <= maximum:
            raise ValueError(f"1 ≤ minimum ≤ maximum must hold, but they are {minimum} and {maximum}")
        if not (tolerance >= 0 and up_stabilisation >= 0 and down_stabilisation >= 0 and startup >= 0 and interval > 0):
            raise ValueError("tolerance, stabilisation and startup start at 0, and interval is positive")
        if not (up_policies and down_policies):
            raise ValueError("one policy at least is needed for each direction")
        self.target, self.minimum, self.maximum, self.tolerance = target, minimum, maximum, tolerance
        self.up_stabilisation, self.down_stabilisation = up_stabilisation, down_stabilisation
        self.startup, self.interval = startup, interval
        self.up_policies, self.down_policies = tuple(up_policies), tuple(down_policies)
        self.reset()

    def reset(self) -> None:
        """Forget every earlier decision: time may begin again."""
        self._desired: list[tuple[float, int]] = []  # (time, desired)
        self._changes: list[tuple[float, int]] = []  # (time, replicas added; below zero: taken away)
        self._now = -math.inf

    def desired(self, replicas: int, metric: float, *, ready: int | None = None) -> int:
        """What the formula alone says, before stabilisation, policies and bounds.

        metric: mean over the `ready` replicas (all of them when None); without a ready one or with NaN nothing is known, and
        the number stays.
        """
        ready = replicas if ready is None else min(ready, replicas)
        if ready < 1 or math.isnan(metric):
            return replicas
        ratio, counted = metric / self.target, ready
        if ratio > 1 and ready < replicas:
            ratio, counted = ratio * ready / replicas, replicas
            if ratio < 1:  # those that are on their way suffice
                return replicas
        if abs(ratio - 1) <= self.tolerance + 1e-9:
            return replicas
        return math.ceil(ratio * counted - 1e-9)  # 0.4 / 0.6 · 9 is 6.000000000000001, and means 6

    def decide(self, t: float, replicas: int, metric: float, *, ready: int | None = None) -> int:
        """Number of replicas from now on.

        t: seconds on any clock that does not run backwards; replicas: started, ready or not; ready: those that serve, by
        default all but what was added in the last `startup` seconds.
        Raises ValueError for a time before the last one, or a number of replicas below zero.
        """
        if t < self._now or replicas < 0:
            raise ValueError(f"decide needs t ≥ {self._now} and replicas ≥ 0, not {t} and {replicas}; reset() starts anew")
        self._now = t
        if not self.minimum <= replicas <= self.maximum:
            return self._change(t, replicas, min(max(replicas, self.minimum), self.maximum))
        wanted = self.desired(replicas, metric, ready=self._ready(t, replicas) if ready is None else ready)
        wanted = self._limited(t, replicas, self._stabilised(t, replicas, wanted))
        return self._change(t, replicas, min(max(wanted, self.minimum), self.maximum))

    def _ready(self, t: float, replicas: int) -> int:
        starting = 0
        for when, added in self._changes:
            if when > t - self.startup:
                starting = max(0, starting + added)  # the newest are the first to go
        return max(0, replicas - starting)

    def _stabilised(self, t: float, replicas: int, wanted: int) -> int:
        longest = max(self.up_stabilisation, self.down_stabilisation)
        self._desired = [(when, n) for when, n in self._desired if when > t - longest] + [(t, wanted)]
        lowest = min([wanted, *(n for when, n in self._desired if when > t - self.up_stabilisation)])
        highest = max([wanted, *(n for when, n in self._desired if when > t - self.down_stabilisation)])
        return min(max(replicas, lowest), highest)

    def _limited(self, t: float, replicas: int, wanted: int) -> int:
        if wanted == replicas:
            return replicas
        direction, policies = (1, self.up_policies) if wanted > replicas else (-1, self.down_policies)
        starts = [replicas - sum(n for when, n in self._changes if when > t - policy.period) for policy in policies]
        limits = [policy.limit(start, direction) for policy, start in zip(policies, starts, strict=True)]
        return min(wanted, max(replicas, *limits)) if direction > 0 else max(wanted, min(replicas, *limits))

    def _change(self, t: float, replicas: int, decided: int) -> int:
        longest = max(self.startup, *(policy.period for policy in self.up_policies + self.down_policies))
        self._changes = [(when, n) for when, n in self._changes if when > t - longest]
        if decided != replicas:
            self._changes.append((t, decided - replicas))
        return decided
