"""The task that the experiments share: items that nobody has rated, held out with all of their ratings."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.stats import rankdata

from course_lib.datasets import load_movielens
from course_lib.evaluation import evaluate_ratings, hits, ndcg, top_k
from course_lib.splitting import Split, cold_item_split
from course_lib.text import item_texts

SHARE = 0.2  # of the items, held out
LIKED = 4.0  # stars


@lru_cache(maxsize=1)
def movielens():
    """The ratings, read once."""
    return load_movielens()


@lru_cache(maxsize=1)
def texts() -> list[str]:
    """One text per item: title, year, genres."""
    return item_texts(movielens().items)


@lru_cache(maxsize=4)
def split(draw: int) -> Split:
    """A fifth of the items is held out; which ones, the draw says."""
    return cold_item_split(movielens(), share=SHARE, seed=draw)


def cold(part: Split) -> np.ndarray:
    """The held-out items, in order."""
    return np.unique(part.test["item"].to_numpy())


def ranking(scores: np.ndarray, part: Split, *, k: int = 10) -> dict[str, float]:
    """Mean AUC and NDCG@k of the users who like a held-out item, the held-out items ranked among themselves.

    scores (n_users, n_items) → {"auc", "ndcg"}. AUC of a user: the chance that an item that was liked stands before one of
    the other held-out items; ties count half. In the list of k, ties are broken by chance, as the catalogue's own order would
    help: its first items are the popular ones.
    """
    items = np.random.default_rng(0).permutation(cold(part))
    relevant = (part.matrix("test") >= LIKED)[:, items].toarray()
    users = np.flatnonzero(relevant.any(axis=1) & ~relevant.all(axis=1))
    relevant, scores = relevant[users], np.asarray(scores)[np.ix_(users, items)]
    gain = ndcg(hits(top_k(scores, min(k, len(items))), [np.flatnonzero(row) for row in relevant]), relevant.sum(axis=1))
    return {"auc": float(np.mean(_auc(scores, relevant))), "ndcg": float(np.mean(gain))}


def _auc(scores: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Of each user: (users, items), booleans (users, items) → (users,), by the sum of the ranks of what is relevant."""
    positive = relevant.sum(axis=1)
    ranks = (rankdata(scores, axis=1) * relevant).sum(axis=1)
    return (ranks - positive * (positive + 1) / 2) / (positive * (relevant.shape[1] - positive))


def everything(model, part: Split, *, stars: bool) -> dict[str, float]:
    """Metrics of a fitted model on the held-out items: rmse (NaN where it does not predict stars), auc, ndcg."""
    found = ranking(model.score(np.arange(part.n_users)), part)
    return {"rmse": evaluate_ratings(model, part).rmse if stars else float("nan")} | found
