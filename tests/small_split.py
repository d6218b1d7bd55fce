"""Splits small enough to work out by hand, for the tests of the models."""

import numpy as np
import pandas as pd

from course_lib.splitting import Split

COLUMNS = ["user", "item", "rating", "timestamp"]


def split_of(rows, *, n_users, n_items, test=()) -> Split:
    """rows, test: (user, item, rating, timestamp) each."""
    parts = {}
    for name, part in (("train", rows), ("test", test), ("valid", ())):
        table = pd.DataFrame(list(part), columns=COLUMNS)
        table = table.astype({"user": int, "item": int, "rating": float, "timestamp": int})
        parts[name] = table.assign(user_id=table["user"], item_id=table["item"])
    return Split(name="small", n_users=n_users, n_items=n_items, **parts)


def random_split_of(*, n_users=7, n_items=9, share=0.5, seed=0) -> Split:
    """Every user and item but the last of each has ratings; the times of a user may tie."""
    rng = np.random.default_rng(seed)
    present = rng.random((n_users, n_items)) < share
    present[:-1, 0] = present[0, :-1] = True
    present[-1, :] = present[:, -1] = False
    rows = [(u, i, rng.integers(1, 6), rng.integers(0, 5)) for u, i in np.argwhere(present)]
    return split_of(rows, n_users=n_users, n_items=n_items)


def small_items(n_items=9) -> pd.DataFrame:
    titles = ["Blue Sky", "Blue Moon", "Red Sky", "The Moon", "Alone", "Red Moon", "Sky", "Stand by Me", "Blue Red"]
    genres = "Drama|Comedy Drama|Action||Drama|Action Comedy|Action|Drama|Comedy".split("|")
    years = [1994, 1995, 1988, np.nan, 1942, 1985, 1991, 1986, 1999]
    items = pd.DataFrame(
        {"item_id": range(1, 10), "title": titles, "year": years, "genres": [names.split() for names in genres]}
    )
    return items.iloc[:n_items].reset_index(drop=True)
