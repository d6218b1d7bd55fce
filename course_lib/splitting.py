"""Ways to part a table of ratings into train, validation and test."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import sparse

PARTS = ("train", "test", "valid")


@dataclass(frozen=True, eq=False)
class Split:
    """Ratings parted into train, test and (perhaps empty) valid.

    The three frames have the columns of `Ratings.table`, keep its row order and its index, and share no row.
    `n_users`, `n_items`: size of the whole catalogue, so that matrices of all parts have one shape.
    """

    name: str
    train: pd.DataFrame
    test: pd.DataFrame
    valid: pd.DataFrame
    n_users: int
    n_items: int
    _matrices: dict = field(default_factory=dict, init=False, repr=False)

    def part(self, name: str) -> pd.DataFrame:
        """The frame of one part: "train", "test" or "valid"; ValueError for another name."""
        if name not in PARTS:
            raise ValueError(f'a split has the parts "train", "test" and "valid", not {name!r}')
        return getattr(self, name)

    def matrix(self, part: str = "train", *, values: str = "rating") -> sparse.csr_matrix:
        """One part as a sparse matrix (n_users, n_items): stars with values="rating", ones with values="binary".

        A pair that was rated more than once keeps its last row. Each call returns a copy of its own.
        """
        if values not in ("rating", "binary"):
            raise ValueError(f'values must be "rating" or "binary", not {values!r}')
        table = self.part(part)
        if (part, values) not in self._matrices:
            table = table.drop_duplicates(["user", "item"], keep="last")
            data = table["rating"].to_numpy(dtype=float) if values == "rating" else np.ones(len(table))
            where = table["user"].to_numpy(), table["item"].to_numpy()
            self._matrices[part, values] = sparse.csr_matrix((data, where), shape=(self.n_users, self.n_items))
        return self._matrices[part, values].copy()

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {len(getattr(self, name)):,}" for name in PARTS)
        return f"Split({self.name!r}: {sizes} ratings; {self.n_users:,} users, {self.n_items:,} items)"


def split_by_mask(ratings, test, *, valid=None, train=None, name: str = "mask") -> Split:
    """Rows where `test` is true are tested on, those where `valid` is true validated on; train is the rest, or `train`.

    test, valid, train: booleans, one per row of `ratings.table`. Raises ValueError for a wrong length, a row in two parts,
    an empty train or an empty test.
    """
    n = len(ratings.table)
    test, valid = _mask(test, n, "test"), _mask(np.zeros(n, dtype=bool) if valid is None else valid, n, "valid")
    train = ~(test | valid) if train is None else _mask(train, n, "train")
    if (test & valid).any() or (train & (test | valid)).any():
        raise ValueError(f"split {name!r}: a row lies in two parts; make the masks disjoint")
    for part, mask in (("train", train), ("test", test)):
        if not mask.any():
            raise ValueError(f"split {name!r}: no row is left for {part} out of {n}; change the sizes or the filter")
    frames = {part: ratings.table[mask] for part, mask in (("train", train), ("test", test), ("valid", valid))}
    return Split(name=name, n_users=ratings.n_users, n_items=ratings.n_items, **frames)


def random_split(ratings, *, test: float = 0.2, valid: float = 0.0, seed: int) -> Split:
    """Each row goes to test or valid by chance: round(test·n) and round(valid·n) rows, the rest is train."""
    if not (0 < test < 1 and 0 <= valid < 1 and test + valid < 1):
        raise ValueError(f"test={test} and valid={valid} are shares of the rows: 0 < test, 0 ≤ valid, together below 1")
    n = len(ratings.table)
    place = np.random.default_rng(seed).permutation(n)
    n_test, n_valid = round(test * n), round(valid * n)
    in_valid = (place >= n_test) & (place < n_test + n_valid)
    return split_by_mask(ratings, place < n_test, valid=in_valid, name=f"random, seed {seed}")


def k_fold(ratings, *, folds: int = 5, seed: int) -> list[Split]:
    """Shuffle the rows once, cut them into `folds` parts, and test on each in turn: every row is tested exactly once."""
    n = len(ratings.table)
    if not 2 <= folds <= n:
        raise ValueError(f"folds must lie between 2 and the number of ratings ({n}), not {folds}")
    fold = np.random.default_rng(seed).permutation(n) % folds
    return [split_by_mask(ratings, fold == k, name=f"fold {k + 1} of {folds}, seed {seed}") for k in range(folds)]


def canonical_fold(ratings, fold: int) -> Split:
    """One of the five folds u1 … u5 that MovieLens-100K comes with: fold k tests rows (k−1)·20,000 … k·20,000.

    Source: `mku.sh` of the data set. Raises ValueError for another fold or another number of rows.
    """
    n = len(ratings.table)
    if fold not in (1, 2, 3, 4, 5):
        raise ValueError(f"the canonical folds are 1 to 5, not {fold!r}")
    if n != 100_000:
        raise ValueError(f"the canonical folds belong to the 100,000 rows of MovieLens-100K, this table has {n:,}; use k_fold")
    return split_by_mask(ratings, np.arange(n) // 20_000 == fold - 1, name=f"u{fold}")


def leave_last_out(ratings, *, min_rating: float | None = None, min_history: int = 1, valid: bool = False, seed: int) -> Split:
    """Test on the last row of each user, train on those before it; with `valid`, the last but one is validated on.

    With `min_rating` only rows of that many stars or more exist, in train as in test. A user who would keep fewer than
    `min_history` rows in train stays in train whole. Rows of one user and one second have no order: a random key drawn
    with `seed` decides which is last, since the item's number would tell a model the catalogue's order.
    """
    if min_history < 0:
        raise ValueError(f"min_history counts rows and cannot be negative, got {min_history}")
    table = ratings.table
    user, n = table["user"].to_numpy(), len(table)
    key = np.random.default_rng(seed).permutation(n)
    kept = np.ones(n, dtype=bool) if min_rating is None else table["rating"].to_numpy() >= min_rating
    order = np.lexsort((key, table["timestamp"].to_numpy(), user))
    order = order[kept[order]]
    counts = np.bincount(user[order], minlength=ratings.n_users)
    from_end = np.cumsum(counts)[user[order]] - 1 - np.arange(len(order))  # 0 for a user's last row
    held = 2 if valid else 1
    enough = counts[user[order]] >= min_history + held
    in_test, in_valid = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    in_test[order[enough & (from_end == 0)]] = True
    in_valid[order[enough & (from_end == 1) & valid]] = True
    liked = "" if min_rating is None else f" of those rated {min_rating:g} or more"
    name = f"leave last out{liked}, seed {seed}"
    return split_by_mask(ratings, in_test, valid=in_valid, train=kept & ~in_test & ~in_valid, name=name)


def temporal_split(ratings, *, train: float = 0.8, valid: float = 0.1) -> Split:
    """Cut the whole table at two moments: train before the first, valid between them, test from the second on.

    The moments are those of the rows at the shares `train` and `train + valid`; rows of one second stay together, so the
    shares are met only about.
    """
    if not (0 < train < 1 and 0 <= valid < 1 and train + valid < 1 - 1e-12):
        raise ValueError(f"train={train} and valid={valid} are shares of the rows: 0 < train, 0 ≤ valid, together below 1")
    time = ratings.table["timestamp"].to_numpy()
    ordered, n = np.sort(time), len(time)
    first, second = (ordered[min(round(share * n), n - 1)] for share in (train, train + valid))
    in_valid = (time >= first) & (time < second)
    return split_by_mask(ratings, time >= second, valid=in_valid, name=f"temporal, {train:.0%} and {valid:.0%}")


def cold_item_split(ratings, *, share: float = 0.1, min_ratings: int = 0, seed: int) -> Split:
    """Hold out items: test is every rating of round(share·items) random items, none of which train has seen.

    Drawn among the items with `min_ratings` or more ratings (and at least one).
    """
    if not 0 < share < 1:
        raise ValueError(f"share={share} is the share of the items to hold out: between 0 and 1")
    item = ratings.table["item"].to_numpy()
    eligible = np.flatnonzero(np.bincount(item, minlength=ratings.n_items) >= max(min_ratings, 1))
    cold = np.random.default_rng(seed).permutation(eligible)[: round(share * len(eligible))]
    return split_by_mask(ratings, np.isin(item, cold), name=f"cold items, {share:.0%}, seed {seed}")


def _mask(values, n: int, name: str) -> np.ndarray:
    mask = np.asarray(values)
    if mask.dtype != bool or mask.shape != (n,):
        raise ValueError(f"{name} must hold one boolean for each of the {n} rows, got {mask.dtype} of shape {mask.shape}")
    return mask
