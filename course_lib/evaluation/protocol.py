"""A model and a split → a report, by one set of rules for all models."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import sparse

from course_lib.evaluation import catalogue, ranking
from course_lib.evaluation.inputs import array
from course_lib.evaluation.intervals import Interval, bootstrap

BATCH = 256  # users scored at once


@dataclass(frozen=True, eq=False)
class RatingReport:
    """Errors of rating prediction: `errors` = ŷ − y in stars, and `users`, one each per test row (n,)."""

    errors: np.ndarray
    users: np.ndarray

    @property
    def rmse(self) -> float:
        """√(mean error²) over rows, in stars."""
        return float(np.sqrt(np.mean(self.errors**2)))

    @property
    def mae(self) -> float:
        """Mean |error| over rows, in stars."""
        return float(np.mean(np.abs(self.errors)))

    @cached_property
    def by_user(self) -> pd.DataFrame:
        """One row per test user: user, ratings (how many), mse (stars²), mae (stars)."""
        rows = pd.DataFrame({"user": self.users, "mse": self.errors**2, "mae": np.abs(self.errors)})
        groups = rows.groupby("user")
        return groups.size().rename("ratings").to_frame().join(groups.mean()).reset_index()

    @cached_property
    def interval(self) -> Interval:
        """RMSE with its 95 % interval, users resampled (rows of one user are not independent)."""
        square = bootstrap(self.by_user["mse"], weights=self.by_user["ratings"])
        return Interval(*(math.sqrt(value) for value in (square.mean, square.low, square.high)))

    def __repr__(self) -> str:
        return f"RatingReport(rmse={self.rmse:.4f}, mae={self.mae:.4f}, rows={len(self.errors)})"


@dataclass(frozen=True, eq=False)
class RankingReport:
    """Rankings of the test users.

    `per_user`: user, hit_rate, ndcg, average_precision (cut at k) and reciprocal_rank (over the whole ranking);
    `recommended`: (test users, k) item indices in the order of `per_user`; `popularity`: (n_items,) share of the users
    with the item in train, smoothed as (count + 1) / (users + 1).
    """

    k: int
    per_user: pd.DataFrame
    recommended: np.ndarray
    popularity: np.ndarray

    def summary(self) -> pd.DataFrame:
        """One row per metric: mean, low, high (95 %, users resampled)."""
        names = {"hit_rate": f"HR@{self.k}", "ndcg": f"NDCG@{self.k}", "reciprocal_rank": "MRR"}
        names["average_precision"] = f"MAP@{self.k}"
        intervals = [bootstrap(self.per_user[column]) for column in names]
        rows = [(interval.mean, interval.low, interval.high) for interval in intervals]
        return pd.DataFrame(rows, columns=["mean", "low", "high"], index=pd.Index(names.values(), name="metric"))

    @property
    def coverage(self) -> float:
        """Share of the catalogue in at least one list."""
        return catalogue.coverage(self.recommended, len(self.popularity))

    @property
    def novelty(self) -> float:
        """Mean −log₂ share of users who know a recommended item, in bits."""
        return catalogue.novelty(self.recommended, self.popularity)

    def __repr__(self) -> str:
        means = self.per_user.drop(columns="user").mean()
        return (
            f"RankingReport(k={self.k}, users={len(self.per_user)}, "
            + ", ".join(f"{n}={v:.4f}" for n, v in means.items())
            + ")"
        )


def evaluate_ratings(model, split, *, clip: tuple[float, float] | None = (1, 5), part: str = "test") -> RatingReport:
    """Predict each row of `part` and compare: error = ŷ − y, ŷ clipped to the scale of the stars.

    Raises ValueError for an empty part, and where the model returns NaN or the wrong number of predictions.
    """
    table = _rows(split, part)
    users, items = table["user"].to_numpy(), table["item"].to_numpy()
    y_hat = array(model.score(users, items), name=f"the predictions of {type(model).__name__}", dtype=float)
    if y_hat.shape != users.shape:
        raise ValueError(f"{type(model).__name__}.score gave shape {y_hat.shape} for {len(users)} pairs of user and item")
    y_hat = y_hat if clip is None else np.clip(y_hat, *clip)
    return RatingReport(errors=y_hat - table["rating"].to_numpy(dtype=float), users=users)


def evaluate_ranking(
    model, split, *, k: int = 10, negatives: int | None = None, items=None, min_rating=None, part: str = "test", seed: int = 0
) -> RankingReport:
    """Rank the items that a user has not met in train, and look where the items of `part` come out.

    The full catalogue is ranked; `negatives=99` ranks the relevant items against 99 random others only (an easier task,
    with other winners: Krichene and Rendle, 2020), drawn with `seed`. `items`: rank only these item indices.
    `min_rating`: only rows with that many stars or more are relevant. Users without a relevant item are left out; a
    relevant item that is also in train is not counted, as it is never shown.
    Raises ValueError for no user left, a k beyond the catalogue, and scores that are NaN or of the wrong shape.
    """
    seen = split.matrix("train", values="binary") > 0
    offered = _offered(items, split.n_items)
    relevant = _relevant(_rows(split, part), split, seen, offered, min_rating)
    users = np.flatnonzero(relevant.getnnz(axis=1))
    if len(users) == 0:
        raise ValueError(f"no user of split {split.name!r} has a relevant item in {part} that is new to them")
    if not 1 <= k <= split.n_items:
        raise ValueError(f"k must lie between 1 and the number of items ({split.n_items}), not {k}")
    rng, parts = np.random.default_rng(seed), []
    for start in range(0, len(users), BATCH):
        batch = users[start : start + BATCH]
        open_to = offered & ~seen[batch].toarray()
        if negatives is not None:
            open_to = _sample(open_to, relevant[batch].toarray(), negatives, rng)
        scores = np.where(open_to, _scores(model, batch, split.n_items), -np.inf)
        parts.append(_measure(scores, relevant[batch], k))
    columns = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    popularity = (np.asarray(seen.sum(axis=0)).ravel() + 1) / (split.n_users + 1)
    recommended = columns.pop("recommended")
    return RankingReport(k=k, per_user=pd.DataFrame({"user": users} | columns), recommended=recommended, popularity=popularity)


def cross_validate(make_model, folds, *, clip: tuple[float, float] | None = (1, 5)) -> pd.DataFrame:
    """Fit a fresh model on each fold and test it there: one row per fold with fold, rmse, mae and CPU seconds.

    make_model: called without arguments, returns an unfitted model. Raises ValueError for no folds.
    """
    rows = []
    for split in folds:
        start = time.process_time()
        report = evaluate_ratings(make_model().fit(split), split, clip=clip)
        rows.append((split.name, report.rmse, report.mae, time.process_time() - start))
    if not rows:
        raise ValueError("cross_validate got no folds: make them with splitting.k_fold")
    return pd.DataFrame(rows, columns=["fold", "rmse", "mae", "seconds"])


def _rows(split, part: str) -> pd.DataFrame:
    table = split.part(part)
    if len(table) == 0:
        raise ValueError(f"the {part} part of split {split.name!r} is empty: choose another part or another split")
    return table


def _offered(items, n_items: int) -> np.ndarray:
    """Booleans (n_items,): which items may be ranked at all."""
    if items is None:
        return np.ones(n_items, dtype=bool)
    items = array(items, name="items", ndim=1).astype(np.int64)
    if len(items) == 0 or items.min() < 0 or items.max() >= n_items:
        raise ValueError(f"items must hold at least one item index between 0 and {n_items - 1}")
    return np.isin(np.arange(n_items), items)


def _relevant(table: pd.DataFrame, split, seen, offered: np.ndarray, min_rating) -> sparse.csr_matrix:
    """Booleans (n_users, n_items): what should be found."""
    table = table if min_rating is None else table[table["rating"] >= min_rating]
    table = table[offered[table["item"].to_numpy()]].drop_duplicates(["user", "item"])
    user, item = table["user"].to_numpy(), table["item"].to_numpy()
    new = ~np.isin(user * split.n_items + item, np.ravel_multi_index(seen.nonzero(), seen.shape))
    where = user[new], item[new]
    return sparse.csr_matrix((np.ones(new.sum(), dtype=bool), where), shape=(split.n_users, split.n_items))


def _sample(open_to: np.ndarray, relevant: np.ndarray, negatives: int, rng: np.random.Generator) -> np.ndarray:
    """Keep the relevant items and `negatives` random others of each user (all, where there are fewer)."""
    if negatives < 1:
        raise ValueError(f"negatives must be at least 1, or None for the full ranking, not {negatives}")
    key = np.where(open_to & ~relevant, rng.random(open_to.shape), 2.0)
    place = np.argsort(np.argsort(key, axis=1), axis=1)
    return (open_to & relevant) | ((place < negatives) & (key < 2))


def _scores(model, users: np.ndarray, n_items: int) -> np.ndarray:
    scores = array(model.score(users), name=f"the scores of {type(model).__name__}", dtype=float)
    if scores.shape != (len(users), n_items):
        raise ValueError(f"{type(model).__name__}.score gave shape {scores.shape}, expected ({len(users)}, {n_items})")
    return scores


def _measure(scores: np.ndarray, relevant: sparse.csr_matrix, k: int) -> dict[str, np.ndarray]:
    full = ranking.top_k(scores, scores.shape[1])
    found, n_relevant = ranking.hits(full, relevant), relevant.getnnz(axis=1)
    return {
        "hit_rate": ranking.hit_rate(found[:, :k]),
        "ndcg": ranking.ndcg(found[:, :k], n_relevant),
        "reciprocal_rank": ranking.reciprocal_rank(found),
        "average_precision": ranking.average_precision(found[:, :k], n_relevant),
        "recommended": full[:, :k],
    }
