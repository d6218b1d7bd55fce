"""The table that every lesson starts from, and the check at its border."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

COLUMNS = ["user_id", "item_id", "rating", "timestamp"]


class DataError(RuntimeError):
    """Data that cannot be used: says what is wrong, in which file, and what to do."""


@dataclass(frozen=True)
class Ratings:
    """Ratings of one data set, in their original row order.

    table: user_id, item_id, rating (stars), timestamp (seconds since 1970), user, item; `user` and `item` are row positions in
    `users` and `items`. items: item_id, title, year, genres (list of str). users: user_id and what is known of the person.
    scale: lowest and highest rating possible.
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
        """Share of the user × item cells that hold a rating."""
        return len(self.table) / (self.n_users * self.n_items)


def build_ratings(
    name: str, table: pd.DataFrame, items: pd.DataFrame, users: pd.DataFrame, *, scale: tuple[float, float], source: str
) -> Ratings:
    """Check raw rows and number users and items from 0: the one way into `Ratings`.

    table: at least the columns user_id, item_id, rating, timestamp. source names the file in error messages.
    Raises DataError for missing columns, no rows, NaN, a rating outside `scale`, a pair rated twice, an unknown user or item.
    """
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise DataError(f"{source}: column {', '.join(missing)} is missing; found {', '.join(map(str, table.columns))}")
    if table.empty:
        raise DataError(f"{source}: no rating in it; is the file complete?")
    table = table[COLUMNS].reset_index(drop=True)
    for column in COLUMNS:
        if table[column].isna().any():
            row = int(table[column].isna().to_numpy().argmax())
            raise DataError(f"{source}: {column} is missing (NaN) in data row {row + 1}; remove or complete that row")
    low, high = scale
    outside = ~table.rating.between(low, high).to_numpy()
    if outside.any():
        row = int(outside.argmax())
        raise DataError(
            f"{source}: rating {table.rating.iloc[row]:g} in data row {row + 1} is outside {low:g} to {high:g}; "
            f"{int(outside.sum())} such rows"
        )
    twice = table.duplicated(["user_id", "item_id"]).to_numpy()
    if twice.any():
        row = table.iloc[int(twice.argmax())]
        raise DataError(f"{source}: user {row.user_id} rated item {row.item_id} twice; keep one of the rows")
    users = users.sort_values("user_id", ignore_index=True)
    items = items.reset_index(drop=True)
    table["user"] = _positions(users.user_id, table.user_id, f"{source}: user")
    table["item"] = _positions(items.item_id, table.item_id, f"{source}: item")
    table = table.astype({"rating": np.float64, "timestamp": np.int64})
    return Ratings(name=name, table=table, items=items, users=users, scale=scale)


def _positions(known: pd.Series, wanted: pd.Series, what: str) -> np.ndarray:
    """Row position of each wanted id among the known ones; DataError for an id that is not there."""
    if known.duplicated().any():
        raise DataError(f"{what} {known[known.duplicated()].iloc[0]} is described twice; keep one of the rows")
    positions = pd.Index(known).get_indexer(wanted)
    if (positions < 0).any():
        raise DataError(f"{what} {wanted.iloc[int((positions < 0).argmax())]} has ratings but no description")
    return positions
