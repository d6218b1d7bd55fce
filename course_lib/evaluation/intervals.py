"""How sure is a mean over users?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from course_lib.evaluation.inputs import array, same_length


@dataclass(frozen=True)
class Interval:
    """A mean with the range that resampled users give."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(values, *, weights=None, level: float = 0.95, repeats: int = 2000, seed: int = 0) -> Interval:
    """Mean of one value per user, and how much it moves when the users are drawn again with replacement.

    values (users,), weights (users,) or None (all equal) → Interval in the unit of the values: Σ w·v / Σ w, and the
    percentiles (1 − level)/2 and (1 + level)/2 of `repeats` resampled means.
    Raises ValueError for no values or NaN. Source: Efron and Tibshirani (1993), chapter 13.
    """
    values = array(values, name="values", ndim=1, dtype=float)
    values, weights = same_length(values, np.ones(len(values)) if weights is None else weights, names=("values", "weights"))
    if not 0 < level < 1 or repeats < 1:
        raise ValueError(f"level={level} must lie between 0 and 1, and repeats={repeats} must be at least 1")
    if weights.min() < 0 or weights.sum() == 0:
        raise ValueError("weights must not be negative, and not all zero")
    rng, n = np.random.default_rng(seed), len(values)
    means = np.empty(repeats)
    for r in range(repeats):
        drawn = rng.integers(n, size=n)
        total = weights[drawn].sum()
        means[r] = weights[drawn] @ values[drawn] / total if total else np.nan
    low, high = np.nanquantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(weights @ values / weights.sum()), float(low), float(high))


def paired(a, b, *, level: float = 0.95, repeats: int = 2000, seed: int = 0) -> Interval:
    """Bootstrap of mean(a − b) over the same users: an interval that keeps off zero tells two models apart.

    a, b (users,), in one order of users → Interval. Much narrower than two separate intervals, because users who are hard
    for one model are hard for the other.
    """
    a, b = same_length(a, b, names=("a", "b"))
    return bootstrap(a - b, level=level, repeats=repeats, seed=seed)
