"""Larger public data sets from a file on this computer: MovieLens 1M to 32M, and Amazon reviews. Read in pieces."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

import pandas as pd

from course_lib.datasets.files import Source, read_lines, read_pieces, read_table
from course_lib.datasets.movielens import PERSON, split_title
from course_lib.datasets.ratings import KEYS, DataError, Ratings, build_ratings, to_numbers

VARIANTS = ("1m", "10m", "csv")
OCCUPATIONS = (
    "other,academic/educator,artist,clerical/admin,college/grad student,customer service,doctor/health care,"
    "executive/managerial,farmer,homemaker,K-12 student,lawyer,programmer,retired,sales/marketing,scientist,self-employed,"
    "technician/engineer,tradesman/craftsman,unemployed,writer"
).split(",")


def load_movielens_file(path: Path | str, *, variant: str | None = None) -> Ratings:
    """MovieLens 1M, 10M, 20M, 25M, 32M or latest-small from its folder, its zip archive, or its file of ratings.

    variant: "1m" and "10m" (files .dat, `::` between fields), "csv" (all others), or None to tell by the files.
    Ratings are read a million rows at a time. Ages are the lower edge of their group in 1M; the others tell nothing of users.
    Raises DataError for a missing, damaged or wrong file, ValueError for another variant.
    """
    if variant is not None and variant not in VARIANTS:
        raise ValueError(f"variant is {variant!r}; it must be None or one of {', '.join(VARIANTS)}")
    files = Source(path)
    if variant is None:
        variant = "csv" if "ratings.dat" not in files else "1m" if "users.dat" in files else "10m"
    if variant == "csv":
        name, scale = "ratings.csv", (0.5, 5.0)
        table = _numbers(files, name, ("userId", "movieId", "rating", "timestamp"), first_line=2, sep=",", quoting=0)
        items = _csv_items(files)
    else:
        name, scale = "ratings.dat", (1.0, 5.0) if variant == "1m" else (0.5, 5.0)
        names = ["user_id", "1", "item_id", "3", "rating", "5", "timestamp"]  # a `::` is two separators: one empty field
        table = _numbers(files, name, KEYS, first_line=1, sep=":", names=names)
        items = _dat_items(files, "latin-1" if variant == "1m" else "utf-8")
    users = _dat_users(files) if variant == "1m" else _unknown_users(table.user_id)
    title = {"1m": "MovieLens-1M", "10m": "MovieLens-10M", "csv": f"MovieLens ({files.path.stem})"}[variant]
    return build_ratings(title, table, items, users, scale=scale, source=files.where(name))


def load_amazon_reviews(path: Path | str, *, metadata: Path | str | None = None) -> Ratings:
    """Amazon reviews from JSON lines (.jsonl, .json, or one of them with .gz), the 2018 or the 2023 edition.

    metadata: the file of products, for titles and categories (as genres); without it a product's title is its id. Ids are
    text. Several reviews of a product by one user count once: the latest. Raises DataError with the line that is wrong.
    Source: Hou et al., Bridging Language and Items for Retrieval and Recommendation, arXiv:2403.03952, 2024.
    """
    path = Path(path).expanduser()
    rows = [_review(record, f"{path}, line {line}") for line, record in _json_lines(path)]
    if not rows:
        raise DataError(f"{path}: no review in it; download the file again")
    table = pd.DataFrame(rows, columns=list(KEYS))
    newest = table.sort_values("timestamp", kind="stable").drop_duplicates(["user_id", "item_id"], keep="last")
    table = newest.sort_index().reset_index(drop=True)
    ids = table.item_id.drop_duplicates()
    known = {} if metadata is None else _products(Path(metadata).expanduser(), set(ids))
    described = [known.get(item, (item, [])) for item in ids]
    items = pd.DataFrame({"item_id": ids.to_numpy(), "title": [title for title, _ in described]})
    items = items.assign(year=pd.array([pd.NA] * len(items), dtype="Int64"), genres=[genres for _, genres in described])
    name = path.name.split(".")[0]
    return build_ratings(name, table, items, _unknown_users(table.user_id), scale=(1.0, 5.0), source=str(path))


def _numbers(files: Source, name: str, columns: tuple[str, ...], *, first_line: int, **options) -> pd.DataFrame:
    """The number columns of a long file as KEYS; the text of one piece at a time is in memory."""
    parts, line = [], first_line
    for piece in read_pieces(files, name, columns, **options):
        parts.append(to_numbers(piece[list(columns)], columns, files.where(name), first_line=line))
        line += len(piece)
    return pd.concat(parts, ignore_index=True).set_axis(list(KEYS), axis=1)


def _csv_items(files: Source) -> pd.DataFrame:
    table = read_table(files, "movies.csv", ("movieId", "title", "genres"), sep=",", quoting=0)
    table = to_numbers(table, ("movieId",), files.where("movies.csv"), first_line=2)
    return _items(table.movieId, table.title, table.genres)


def _dat_items(files: Source, encoding: str) -> pd.DataFrame:
    table = _dat_rows(files, "movies.dat", ("item_id", "title", "genres"), encoding)
    table = to_numbers(table, ("item_id",), files.where("movies.dat"), first_line=1)
    return _items(table.item_id, table.title, table.genres)


def _dat_users(files: Source) -> pd.DataFrame:
    table = _dat_rows(files, "users.dat", ("user_id", "gender", "age", "occupation", "zip_code"), "latin-1")
    table = to_numbers(table, ("user_id", "age", "occupation"), files.where("users.dat"), first_line=1)
    return table.assign(occupation=table.occupation.map(dict(enumerate(OCCUPATIONS))))[list(PERSON)]


def _dat_rows(files: Source, name: str, columns: tuple[str, ...], encoding: str) -> pd.DataFrame:
    """Fields between `::`; a title may hold a single colon."""
    rows = [line.split("::") for line in read_lines(files, name, encoding=encoding)]
    for number, row in enumerate(rows, 1):
        if len(row) != len(columns):
            problem = f"{len(row)} fields where {len(columns)} are needed ({', '.join(columns)})"
            raise DataError(f"{files.where(name)}, line {number}: {problem}; download the data set again")
    return pd.DataFrame(rows, columns=list(columns))


def _items(ids: pd.Series, titles: pd.Series, genres: pd.Series) -> pd.DataFrame:
    title, year = split_title(titles)
    named = genres.fillna("").replace("(no genres listed)", "").str.split("|")
    lists = [[genre for genre in row if genre] for row in named]
    return pd.DataFrame({"item_id": ids, "title": title, "year": year, "genres": lists})


def _unknown_users(ids: pd.Series) -> pd.DataFrame:
    """A row per user of whom nothing but the id is known."""
    users = pd.DataFrame({"user_id": ids.drop_duplicates().to_numpy()})
    unknown = {name: pd.array([pd.NA] * len(users), dtype="str") for name in PERSON[2:]}
    return users.assign(age=pd.array([pd.NA] * len(users), dtype="Int64"), **unknown)


def _json_lines(path: Path):
    """Line number and record of each line; raises DataError for what is not JSON, not UTF-8, or cut off."""
    line = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8") as stream:
            for line, text in enumerate(stream, 1):
                if text.strip():
                    yield line, json.loads(text)
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file; give the path of the JSON lines") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}, after line {line}: not UTF-8 text ({error.reason}); download the file again") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {line}: not a JSON record ({error}); download the file again") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}, after line {line}: cannot be read ({error}); download the file again") from error


def _review(record, where: str) -> tuple[str, str, float, int]:
    """User, product, stars and second of one review."""
    named = record if isinstance(record, dict) else {}
    user, item = named.get("user_id") or named.get("reviewerID"), named.get("parent_asin") or named.get("asin")
    stars, moment = named.get("rating", named.get("overall")), named.get("timestamp", named.get("unixReviewTime"))
    if None in (user, item, stars, moment):
        fields = "user_id, asin, rating and timestamp, or reviewerID, asin, overall and unixReviewTime"
        raise DataError(f"{where}: a review needs {fields}; is this the file of reviews?")
    try:
        stars, moment = float(stars), float(moment)
        second = int(moment / 1000 if "timestamp" in named else moment)  # the 2023 edition counts milliseconds
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{where}: rating and timestamp must be numbers ({error}); download the file again") from error
    if not 1 <= stars <= 5:
        raise DataError(f"{where}: rating {stars} is outside 1 to 5; download the file again")
    return str(user), str(item), stars, second


def _products(path: Path, wanted: set[str]) -> dict[str, tuple[str, list[str]]]:
    """Title and categories of the wanted products."""
    known = {}
    for line, record in _json_lines(path):
        if not isinstance(record, dict) or not (record.get("parent_asin") or record.get("asin")):
            raise DataError(f"{path}, line {line}: a product needs parent_asin or asin; is this the file of products?")
        item = record.get("parent_asin") or record["asin"]
        if item in wanted:
            known[item] = (record.get("title") or item, list(record.get("categories") or record.get("category") or []))
    return known
