"""MovieLens-100K: from the cache, or from GroupLens' own folder or zip archive. One table either way."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from course_lib.datasets.fetch import fetch_movielens
from course_lib.datasets.files import Source, read_table
from course_lib.datasets.ratings import KEYS, DataError, Ratings, build_ratings, to_numbers

NAME = "MovieLens-100K"
SCALE = (1.0, 5.0)
PERSON = ("user_id", "age", "gender", "occupation", "zip_code")
GENRES = (
    "unknown Action Adventure Animation Children's Comedy Crime Documentary Drama Fantasy Film-Noir Horror Musical "
    "Mystery Romance Sci-Fi Thriller War Western"
).split()


def load_movielens(source: Path | str | None = None) -> Ratings:
    """MovieLens-100K: 100,000 ratings (1 to 5 stars) of 1,682 films by 943 users, September 1997 to April 1998.

    source: None for the cache (fetched once, checksums verified), or GroupLens' `ml-100k.zip` or its unpacked folder; the
    tables are the same. Rows stand in the order of GroupLens' u.data, so the canonical folds are slices of 20,000 rows.
    Raises DataError if the data cannot be fetched or a file is not as it should be.
    Source: Harper & Konstan, The MovieLens Datasets: History and Context, ACM TiiS 5(4), 2015.
    """
    files = Source(fetch_movielens(progress=False) if source is None else source)
    if source is None or "ml-100k.inter" in files:
        return _from_atomic_files(files)
    return _from_grouplens(files)


def split_title(titles: pd.Series) -> tuple[pd.Series, pd.Series]:
    """The title "Toy Story (1995)" → "Toy Story" and 1995; without a year the title stays and the year is <NA>. Both (n,)."""
    parts = titles.str.extract(r"^(?P<title>.*?)\s*\((?P<year>\d{4})\)(?:\s*\(V\))?\s*$")
    return parts.title.where(parts.year.notna(), titles.str.strip()), pd.to_numeric(parts.year).astype("Int64")


def _from_atomic_files(files: Source) -> Ratings:
    """Tab separated .inter, .item and .user files with a heading of name:type."""
    table = read_table(files, "ml-100k.inter", KEYS, sep="\t")
    items = read_table(files, "ml-100k.item", ("item_id", "movie_title", "release_year", "class"), sep="\t")
    users = read_table(files, "ml-100k.user", PERSON, sep="\t")
    year = pd.to_numeric(items.release_year, errors="coerce").astype("Int64")
    title, year_in_title = split_title(items.movie_title)  # one title kept its year: "… (1995)", with year "V"
    items = items.assign(
        title=title.replace("unkonwn", "unknown"),  # the file's spelling of the one film without a title
        year=year.fillna(year_in_title),
        genres=items["class"].fillna("").str.split(),
    )
    return _assemble(table, items, users, files, "ml-100k.inter", "ml-100k.item", "ml-100k.user", first_line=2)


def _from_grouplens(files: Source) -> Ratings:
    """u.data (tabs), u.item and u.user (bars, Latin-1), without headings."""
    table = read_table(files, "u.data", KEYS, sep="\t", names=list(KEYS))
    names = ["item_id", "title_year", "released", "video", "address", *GENRES]
    items = read_table(files, "u.item", tuple(names), sep="|", names=names, encoding="latin-1")
    users = read_table(files, "u.user", PERSON, sep="|", names=list(PERSON), encoding="latin-1")
    title, year = split_title(items.title_year)
    if not items[GENRES].isin(["0", "1"]).all(axis=None):
        problem = f"{files.where('u.item')}: a genre's mark is neither 0 nor 1, or a line has fewer than {len(names)} fields"
        raise DataError(f"{problem}; unpack the archive again")
    marks = (items[GENRES] == "1").to_numpy()
    genres = [[genre for genre, mark in zip(GENRES, row, strict=True) if mark] for row in marks]
    items = items.assign(title=title, year=year, genres=genres)
    return _assemble(table, items, users, files, "u.data", "u.item", "u.user", first_line=1)


def _assemble(table, items, users, files: Source, data: str, item: str, user: str, *, first_line: int) -> Ratings:
    where = files.where(data)
    table = to_numbers(table, KEYS, where, first_line=first_line)
    items = to_numbers(items, ("item_id",), files.where(item), first_line=first_line)
    users = to_numbers(users, ("user_id", "age"), files.where(user), first_line=first_line)
    items = items[["item_id", "title", "year", "genres"]]
    return build_ratings(NAME, table, items, users[list(PERSON)], scale=SCALE, source=where)
