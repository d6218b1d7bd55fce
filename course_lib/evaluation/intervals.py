"""How sure is a mean over users, or over a few runs?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from course_lib.evaluation.inputs import array, same_length


@dataclass(frozen=True)
class Interval:
    """A mean, and the range in which it would likely be found again."""

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


def mean_interval(values, *, level: float = 0.95) -> Interval:
    """Mean of a few runs with Student's interval, v̄ ± t_(n−1) s / √n: with a handful the bootstrap would be too narrow.

    values (n,), one for each seed or draw → Interval in their unit; its limits are NaN for n = 1. For a comparison, give the
    differences within the runs. Raises ValueError for no values or NaN. Source: Student (1908), The probable error of a mean.
    """
    values = array(values, name="values", ndim=1, dtype=float)
    if not len(values):
        raise ValueError("values is empty: a mean needs at least one run")
    mean, n = float(values.mean()), len(values)
    half = student.ppf((1 + level) / 2, n - 1) * values.std(ddof=1) / math.sqrt(n) if n > 1 else math.nan
    return Interval(mean, mean - half, mean + half)
