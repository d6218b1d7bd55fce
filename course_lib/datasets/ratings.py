"""What every loader of ratings returns, and the checks at the border."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

KEYS = ("user_id", "item_id", "rating", "timestamp")


class DataError(RuntimeError):
    """A data set is missing, damaged or not what its name says: the message says which file and what to do."""


@dataclass(frozen=True, eq=False)
class Ratings:
    """Who rated what, when and how.

    name: of the data set; table: one row per rating in the file's order, columns user_id, item_id, rating (float64, stars),
    timestamp (int64, seconds since 1970), user and item (indices into `users` and `items`, from 0); items: the whole
    catalogue, columns item_id, title, year (<NA> if unknown), genres (list of str), row = item index; users: columns
    user_id, age (years), gender, occupation, zip_code (<NA> if unknown), row = user index; scale: lowest and highest rating.
    """

    name: str
    table: pd.DataFrame
    items: pd.DataFrame
    users: pd.DataFrame
    scale: tuple[float, float]

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.users)

    @property
    def n_items(self) -> int:
        """Number of items in the catalogue, rated or not."""
        return len(self.items)

    @property
    def density(self) -> float:
        """Share of the user × item pairs that have a rating: |R| / (n_users · n_items)."""
        return len(self.table) / (self.n_users * self.n_items)

    def __repr__(self) -> str:
        sizes = f"{len(self.table):,} ratings, {self.n_users:,} users, {self.n_items:,} items"
        return f"Ratings({self.name}: {sizes}, density {self.density:.1%})"


def build_ratings(
    name: str, table: pd.DataFrame, items: pd.DataFrame, users: pd.DataFrame, *, scale: tuple[float, float], source: str
) -> Ratings:
    """Check raw rows and number users and items from 0: the one way into `Ratings`. An error names the file `source`.

    table: columns user_id, item_id, rating, timestamp; items and users: as in `Ratings`, in any order of rows.
    Raises DataError for a missing column, no rows, NaN, a rating outside `scale`, an id described or a pair rated twice, and
    an item or user without a row of its own.
    """
    where = source
    require_columns(table, KEYS, where)
    for rows, what in ((table, "ratings"), (items, "items"), (users, "users")):
        if rows.empty:
            raise DataError(f"{where}: there are no {what} in it; fetch or unpack the data set again")
    items = _by_id(items, "item_id", where)
    users = _by_id(users, "user_id", where)
    if items.title.isna().any():
        raise DataError(f"{where}: item {items.item_id[items.title.isna()].iloc[0]} has no title; the file of items is damaged")
    table = table.reset_index(drop=True)
    table = to_numbers(table, ("rating", "timestamp"), where)
    _check_values(table, where, scale)
    table = table.assign(
        rating=table.rating.astype(np.float64),
        timestamp=table.timestamp.astype(np.int64),
        user=_indices(table.user_id, users.user_id, where, "user"),
        item=_indices(table.item_id, items.item_id, where, "item"),
    )
    twice = table.duplicated(["user", "item"])
    if twice.any():
        row = int(np.flatnonzero(twice)[0])
        problem = (
            f"a pair is rated twice, first user {table.user_id[row]} on item {table.item_id[row]}, {int(twice.sum())} in all"
        )
        raise DataError(f"{where}: {problem}; keep one rating per user and item")
    return Ratings(name=name, table=table[[*KEYS, "user", "item"]], items=items, users=users, scale=scale)


def to_numbers(table: pd.DataFrame, columns: tuple[str, ...], where: str, *, first_line: int = 0) -> pd.DataFrame:
    """The same table with finite numbers in `columns`; raises DataError that points at the first that is none.

    first_line: number of the first row's line in the file; 0 if unknown, then the error counts data rows.
    """
    numbers = {}
    for column in columns:
        values = pd.to_numeric(table[column], errors="coerce")
        bad = ~np.isfinite(values.to_numpy(dtype=np.float64, na_value=np.nan))
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            seen = table[column].iloc[row]
            seen = "nothing" if pd.isna(seen) else repr(str(seen))
            place = f"line {row + first_line}" if first_line else f"data row {row + 1}"
            problem = f"{where}, {place}: column {column} holds {seen}, a number is needed"
            raise DataError(f"{problem}; {int(bad.sum())} such rows; fetch or unpack the data set again")
        numbers[column] = values
    return table.assign(**numbers)


def require_columns(table: pd.DataFrame, columns: tuple[str, ...], where: str) -> None:
    """Raises DataError that names the columns which `table` lacks."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise DataError(f"{where}: no column {', '.join(missing)}; found {', '.join(map(str, table.columns))}")


def _by_id(rows: pd.DataFrame, key: str, where: str) -> pd.DataFrame:
    twice = rows[key][rows[key].duplicated()]
    if len(twice):
        raise DataError(
            f"{where}: {key} {twice.iloc[0]} stands in {int((rows[key] == twice.iloc[0]).sum())} rows; each may stand once"
        )
    return rows.sort_values(key, kind="stable", ignore_index=True)


def _check_values(table: pd.DataFrame, where: str, scale: tuple[float, float]) -> None:
    low, high = scale
    outside = ~table.rating.between(low, high).to_numpy()  # a NaN is outside too
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        problem = f"rating {table.rating.iloc[row]} of row {row + 1} is outside {low:g} to {high:g}"
        raise DataError(f"{where}: {problem}, as are {int(outside.sum())} in all; is it the file of another data set?")


def _indices(ids: pd.Series, known: pd.Series, where: str, kind: str) -> np.ndarray:
    index = pd.Index(known).get_indexer(ids)
    if (index < 0).any():
        stranger = ids.iloc[int(np.flatnonzero(index < 0)[0])]
        raise DataError(f"{where}: {kind} {stranger} is rated but not in the table of {kind}s; the files are of two versions")
    return index.astype(np.int64)
