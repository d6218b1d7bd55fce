"""What lists do to the catalogue: how much of it they show, and how well known it was before."""

from __future__ import annotations

import numpy as np

from course_lib.evaluation.inputs import array


def coverage(recommended, n_items: int) -> float:
    """Share of the catalogue that is in at least one list.  recommended (users, k), −1 for an empty place → 0 … 1."""
    return len(np.unique(_shown(recommended, n_items))) / n_items


def mean_popularity(recommended, popularity) -> float:
    """Popularity of a recommended item, averaged over all places of all lists.

    recommended (users, k), popularity (n_items,) in any unit (ratings, share of users) → float in the same unit.
    """
    popularity = array(popularity, name="popularity", ndim=1, dtype=float)
    return float(popularity[_shown(recommended, len(popularity))].mean())


def novelty(recommended, popularity) -> float:
    """Surprise at a recommended item: mean of −log₂(share of users who know it), over all places of all lists.

    recommended (users, k), popularity (n_items,) as shares in (0, 1] → float, in bits. Raises ValueError for shares out
    of this range: an item that nobody knows would be infinitely novel, so smooth: (count + 1) / (users + 1).
    Source: Vargas and Castells (2011).
    """
    popularity = array(popularity, name="popularity", ndim=1, dtype=float)
    share = popularity[_shown(recommended, len(popularity))]
    if (share <= 0).any() or (share > 1).any():
        raise ValueError("popularity must hold shares of users, above 0 and at most 1: use (count + 1) / (users + 1)")
    return float(-np.log2(share).mean())


def gini(counts) -> float:
    """Inequality of exposure: 0 where all items are shown equally often, near 1 where one item takes all.

    G = Σ_i (2i − n − 1) c_(i) / (n Σ c), c sorted upwards, i = 1 … n

    counts (n_items,), not negative, not all zero → float.
    """
    counts = np.sort(array(counts, name="counts", ndim=1, dtype=float))
    n, total = len(counts), counts.sum()
    if n == 0 or total == 0 or counts[0] < 0:
        raise ValueError("counts must not be negative, and not all zero: count how often each item is shown")
    return float((2 * np.arange(1, n + 1) - n - 1) @ counts / (n * total))


def _shown(recommended, n_items: int) -> np.ndarray:
    """Item indices of all filled places (n,)."""
    items = array(recommended, name="recommended").astype(np.int64).ravel()
    items = items[items != -1]
    if len(items) == 0:
        raise ValueError("recommended holds no item at all: every list is empty")
    if items.min() < 0 or items.max() >= n_items:
        raise ValueError(f"recommended holds item {items.max()}, but the catalogue has the items 0 … {n_items - 1}")
    return items
