"""Drift: may two samples come from one distribution? By PSI and by Kolmogorov and Smirnov, at a stated false-alarm rate.

The thresholds hold for independent draws. The ten items of one list are not independent, nor are ten lists of one person:
compare one number per list or per person, or expect more alarms than alpha.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats


def psi(expected, observed, *, bins: int = 10) -> float:
    """Population stability index of two samples of numbers: PSI = Σ_b (q_b − p_b) ln(q_b / p_b).

    p, q: shares of `expected` (n,) and `observed` (m,) in bins that are the quantiles of `expected`; where values repeat,
    equal quantiles become one bin. 0 for equal shares, symmetric in p and q, without a unit.
    Raises ValueError for an empty sample, values that are not finite, or fewer than two bins.
    """
    edges = quantile_edges(expected, bins)
    return psi_counts(bin_counts(expected, edges), bin_counts(observed, edges))


def psi_counts(expected, observed) -> float:
    """PSI of two histograms over the same bins, counts (bins,) each: the form in which a monitoring system holds them.

    Half an observation is added to every bin, so that an empty one does not make PSI infinite.
    """
    p, q = _counts(expected), _counts(observed)
    if len(p) != len(q) or len(p) < 2:
        raise ValueError(f"psi_counts compares two histograms over the same two or more bins, not {len(p)} and {len(q)}")
    if not (p.sum() and q.sum()):
        raise ValueError("psi_counts: a histogram is empty; wait until both hold observations")
    p, q = ((counts + 0.5) / (counts + 0.5).sum() for counts in (p, q))
    return float(((q - p) * np.log(q / p)).sum())


def psi_threshold(n: float, m: float, bins: int, alpha: float = 0.01) -> float:
    """What PSI exceeds with probability alpha when nothing has drifted: (1/n + 1/m) χ²_{1−α}(bins − 1).

    n, m: sizes of the samples. PSI is, to second order, Pearson's statistic of the two-sample table times (1/n + 1/m).
    Source: Yurdakul and Naranjo (2020), Statistical properties of the population stability index, J. Risk Model Validation.
    """
    _sizes(n, m, alpha)
    if bins < 2:
        raise ValueError(f"PSI needs two bins or more, not {bins}")
    return float((1 / n + 1 / m) * stats.chi2.ppf(1 - alpha, bins - 1))


def ks(a, b) -> float:
    """Kolmogorov and Smirnov's distance of two samples: D = max_x |F_a(x) − F_b(x)|, between 0 and 1."""
    a, b = np.sort(_sample(a)), np.sort(_sample(b))
    x = np.concatenate([a, b])
    return float(np.abs(np.searchsorted(a, x, side="right") / len(a) - np.searchsorted(b, x, side="right") / len(b)).max())


def ks_threshold(n: float, m: float, alpha: float = 0.01) -> float:
    """What D exceeds with probability alpha when nothing has drifted: √(1/n + 1/m) K⁻¹(1 − α), K Kolmogorov's distribution.

    For samples of continuous values; with ties D alarms less often than alpha.
    Source: Smirnov (1948), Table for estimating the goodness of fit of empirical distributions.
    """
    _sizes(n, m, alpha)
    return float(np.sqrt(1 / n + 1 / m) * stats.kstwobign.isf(alpha))


def quantile_edges(sample, bins: int = 10) -> np.ndarray:
    """Inner edges of bins that hold about equally many values of the sample → (bins − 1,), fewer where values repeat."""
    if bins < 2:
        raise ValueError(f"PSI needs two bins or more, not {bins}")
    return np.unique(np.quantile(_sample(sample), np.arange(1, bins) / bins))


def bin_counts(sample, edges: np.ndarray) -> np.ndarray:
    """How many values fall into each bin, an edge belonging to the bin on its left: (n,), (e,) → (e + 1,)."""
    return np.bincount(np.searchsorted(edges, _sample(sample), side="left"), minlength=len(edges) + 1)


@dataclass(frozen=True, eq=False)
class DriftReport:
    """Every column of two tables compared. Make it with `DriftReport.compare(reference, current)`.

    table: one row a test, with column, test ("psi" or "ks"), statistic, threshold, drifted. alpha: the chance that a report
    on tables without drift names any column at all, about: each of the tests runs at alpha / number of tests.
    """

    table: pd.DataFrame
    alpha: float

    @classmethod
    def compare(cls, reference: pd.DataFrame, current: pd.DataFrame, *, alpha: float = 0.01, bins: int = 10) -> DriftReport:
        """Numbers are compared by PSI and KS, everything else by PSI over its categories.

        Raises ValueError for other columns in one table than in the other, no columns, missing values or an empty table.
        """
        if set(reference.columns) != set(current.columns) or not len(reference.columns):
            raise ValueError(
                f"the tables must have the same columns, but have {list(reference.columns)} and {list(current.columns)}"
            )
        tests = [test for name in reference.columns for test in _tests(name, reference[name], current[name], bins)]
        n, m, share = len(reference), len(current), alpha / len(tests)
        limits = [psi_threshold(n, m, places, share) if places else ks_threshold(n, m, share) for *_, places in tests]
        table = pd.DataFrame([test[:3] for test in tests], columns=["column", "test", "statistic"]).assign(threshold=limits)
        return cls(table.assign(drifted=table["statistic"] > table["threshold"]), alpha)

    @property
    def drifted(self) -> list[str]:
        """The columns that a test names, in the order of the table."""
        return list(dict.fromkeys(self.table.loc[self.table["drifted"], "column"]))

    def __str__(self) -> str:
        found = ", ".join(self.drifted) or "none"
        return f"drifted: {found} (alpha {self.alpha:g} for the whole report)\n{self.table.to_string(index=False)}"


def _tests(name: str, expected: pd.Series, observed: pd.Series, bins: int) -> list[tuple]:
    """Rows (column, test, statistic, bins), bins None for KS."""
    if not (len(expected) and len(observed)):
        raise ValueError(f"column {name!r} has no rows in one of the tables; wait until both hold some")
    if expected.isna().any() or observed.isna().any():
        raise ValueError(f"column {name!r} has missing values: drop them, or compare how many there are as a column of its own")
    if pd.api.types.is_numeric_dtype(expected) and not pd.api.types.is_bool_dtype(expected):
        edges = quantile_edges(expected, bins)
        p, q = bin_counts(expected, edges), bin_counts(observed, edges)
        return [(name, "psi", psi_counts(p, q), len(p)), (name, "ks", ks(expected, observed), None)]
    values = pd.Index(pd.concat([expected, observed]).unique())
    p, q = (np.bincount(values.get_indexer(column), minlength=max(len(values), 2)) for column in (expected, observed))
    return [(name, "psi", psi_counts(p, q), len(p))]


def _sample(values) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        raise ValueError(f"a sample is one row of finite numbers, at least one; got shape {array.shape}")
    return array


def _counts(values) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or (array < 0).any() or not np.isfinite(array).all():
        raise ValueError(f"a histogram is one row of counts, none negative; got {array!r}")
    return array


def _sizes(n: float, m: float, alpha: float) -> None:
    if not (n >= 1 and m >= 1 and 0 < alpha < 1):
        raise ValueError(f"sizes start at 1 and alpha lies between 0 and 1, but n={n}, m={m}, alpha={alpha}")
