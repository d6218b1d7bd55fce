"""Is what the user liked near the top of the list?  Each metric gives one number per user; its mean goes into a table."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from course_lib.evaluation.inputs import array


def top_k(scores, k: int) -> np.ndarray:
    """Indices of the k best items of each user, best first; equal scores: the lower index first.

    scores (users, items) → (users, k) int. A score of −∞ means "not on offer" and leaves −1 in the list, which is never a
    hit. Raises ValueError for NaN, and for a k that is not between 1 and the number of items.
    """
    scores = array(scores, name="scores", ndim=2, dtype=float)
    if not 1 <= k <= scores.shape[1]:
        raise ValueError(f"k must lie between 1 and the number of items ({scores.shape[1]}), not {k}")
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.where(np.isneginf(np.take_along_axis(scores, best, axis=1)), -1, best)


def hits(recommended, relevant) -> np.ndarray:
    """Which places of the lists hold a relevant item.

    recommended (users, k) item indices, −1 for an empty place → booleans (users, k).
    relevant: one item per user (users,), or a set, list or array of items per user, or a sparse matrix (users, items).
    Raises ValueError where the numbers of users differ.
    """
    recommended = array(recommended, name="recommended", ndim=2).astype(np.int64)
    user, item, n_users = _pairs(relevant)
    if n_users != len(recommended):
        raise ValueError(f"recommended has lists for {len(recommended)} users, relevant has {n_users}: give one for each")
    width = 1 + max(recommended.max(initial=0), item.max(initial=0))
    found = np.isin(recommended + width * np.arange(n_users)[:, None], item + width * user)
    return found & (recommended >= 0)


def hit_rate(hits) -> np.ndarray:
    """1 where the list holds a relevant item at all, else 0.  hits (users, k) → (users,)."""
    return _lists(hits).max(axis=1)


def reciprocal_rank(hits) -> np.ndarray:
    """One over the place of the first relevant item; 0 where there is none.  hits (users, k) → (users,)."""
    hits = _lists(hits)
    return (hits / np.arange(1, hits.shape[1] + 1)).max(axis=1)


def ndcg(hits, n_relevant) -> np.ndarray:
    """Normalised discounted cumulative gain, gains 0 or 1.

    NDCG@k = Σ_{r ≤ k} hit_r / log₂(r + 1)  ÷  Σ_{r ≤ min(k, n)} 1 / log₂(r + 1)

    hits (users, k), n_relevant (users,) or one number: relevant items of each user, in the list or not → (users,).
    NaN for a user without relevant items: nothing can be measured, so leave such users out.
    Source: Järvelin and Kekäläinen (2002).
    """
    hits, n_relevant = _with_counts(hits, n_relevant)
    discount = 1 / np.log2(np.arange(2, hits.shape[1] + 2))
    ideal = np.append(np.nan, np.cumsum(discount))[np.minimum(n_relevant, len(discount))]
    return hits @ discount / ideal


def average_precision(hits, n_relevant) -> np.ndarray:
    """Precision at the place of each relevant item, averaged; a relevant item that is not in the list counts 0.

    AP@k = Σ_{r ≤ k} hit_r · (hits up to r) / r  ÷  min(k, n)

    hits (users, k), n_relevant (users,) or one number → (users,); NaN for a user without relevant items.
    """
    hits, n_relevant = _with_counts(hits, n_relevant)
    places = np.arange(1, hits.shape[1] + 1)
    possible = np.append(np.nan, places)[np.minimum(n_relevant, len(places))]
    return (hits * np.cumsum(hits, axis=1) / places).sum(axis=1) / possible


def _lists(hits) -> np.ndarray:
    hits = array(hits, name="hits", ndim=2, dtype=float)
    if hits.shape[1] == 0:
        raise ValueError("hits has lists of length 0: recommend at least one item")
    if not np.isin(hits, (0, 1)).all():
        raise ValueError("hits must hold only true and false (or 1 and 0): make it with evaluation.hits")
    return hits


def _with_counts(hits, n_relevant) -> tuple[np.ndarray, np.ndarray]:
    hits, n_relevant = _lists(hits), array(n_relevant, name="n_relevant").astype(np.int64)
    if n_relevant.shape not in ((), (len(hits),)):
        raise ValueError(f"n_relevant must be one number, or one for each of the {len(hits)} users, got {n_relevant.shape}")
    n_relevant = np.broadcast_to(n_relevant, len(hits))
    short = np.flatnonzero(hits.sum(axis=1) > n_relevant)
    if len(short):
        raise ValueError(f"user {short[0]} has more hits than relevant items: n_relevant counts all items the user liked")
    return hits, n_relevant


def _pairs(relevant) -> tuple[np.ndarray, np.ndarray, int]:
    """Relevant items as pairs: users (n,), items (n,), and the number of users."""
    if sparse.issparse(relevant):
        user, item = relevant.nonzero()
        return user.astype(np.int64), item.astype(np.int64), relevant.shape[0]
    if hasattr(relevant, "detach"):
        relevant = array(relevant, name="relevant")
    if len(relevant) and all(np.ndim(items) == 0 and not isinstance(items, set | frozenset) for items in relevant):
        item = array(relevant, name="relevant", ndim=1).astype(np.int64)
        return np.arange(len(item)), item, len(item)
    sizes = [len(items) for items in relevant]
    item = np.fromiter((i for items in relevant for i in items), dtype=np.int64, count=sum(sizes))
    return np.repeat(np.arange(len(sizes)), sizes), item, len(sizes)
