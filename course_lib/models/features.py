"""What is known of an item or a user before anyone has rated: columns of zeros and ones."""

from __future__ import annotations

import numpy as np
import pandas as pd

AGE_BUCKETS = (0, 18, 25, 35, 45, 50, 56, 200)  # the buckets of MovieLens-1M, left edge included


def item_features(ratings) -> tuple[np.ndarray, list[str]]:
    """Genres and decade of every item of the catalogue.

    → (n_items, f) float64 of 0 and 1, and the f names ("genre=Drama", "decade=1990"). An unknown year sets no decade.
    `ratings` is a Ratings, or its table of items (columns `genres`, `year`).
    """
    items = ratings if isinstance(ratings, pd.DataFrame) else getattr(ratings, "items", None)
    if not isinstance(items, pd.DataFrame) or not {"genres", "year"} <= set(items.columns):
        raise ValueError("item_features needs a Ratings, or its table of items with the columns genres and year")
    genres = [set(g) if isinstance(g, list | tuple | np.ndarray) else set() for g in items.genres]
    names = sorted(set().union(*genres))
    of_genre = np.array([[name in g for name in names] for g in genres], dtype=np.float64).reshape(len(items), len(names))
    decade = pd.to_numeric(items.year, errors="coerce") // 10 * 10
    of_decade, decades = _one_hot(decade)
    return np.hstack([of_genre, of_decade]), [f"genre={n}" for n in names] + [f"decade={int(d)}" for d in decades]


def user_features(ratings) -> tuple[np.ndarray, list[str]]:
    """Age bucket, gender and occupation of every user.

    → (n_users, f) float64 of 0 and 1, and the f names ("age=25-34", "gender=F", "occupation=artist"). What is unknown is
    0 everywhere. `ratings` is a Ratings, or its table of users (columns `age`, `gender`, `occupation`).
    """
    users = ratings if isinstance(ratings, pd.DataFrame) else getattr(ratings, "users", None)
    if not isinstance(users, pd.DataFrame) or not {"age", "gender", "occupation"} <= set(users.columns):
        raise ValueError("user_features needs a Ratings, or its table of users with the columns age, gender, occupation")
    labels = [f"{low}-{high - 1}" for low, high in zip(AGE_BUCKETS, AGE_BUCKETS[1:], strict=False)]
    age = pd.cut(pd.to_numeric(users.age, errors="coerce"), AGE_BUCKETS, right=False, labels=labels).astype(object)
    blocks, names = [], []
    for column, values in (("age", age), ("gender", users.gender), ("occupation", users.occupation)):
        block, levels = _one_hot(values)
        blocks.append(block)
        names += [f"{column}={level}" for level in levels]
    return np.hstack(blocks), names


def _one_hot(values: pd.Series) -> tuple[np.ndarray, list]:
    """(n,) with gaps → (n, levels) of 0 and 1, and the levels in order."""
    codes, levels = pd.factorize(values, sort=True)
    return (codes[:, None] == np.arange(len(levels))).astype(np.float64), list(levels)
