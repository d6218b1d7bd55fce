"""MovieLens-100K: from the verified cache, or from GroupLens's own archive."""

import io
import zipfile
from pathlib import Path

import pandas as pd

from course_lib.datasets.fetch import fetch_movielens
from course_lib.datasets.ratings import DataError, Ratings, build_ratings

GENRES = (
    "unknown Action Adventure Animation Children's Comedy Crime Documentary Drama Fantasy Film-Noir Horror Musical Mystery "
    "Romance Sci-Fi Thriller War Western"
).split()
USER_COLUMNS = ["user_id", "age", "gender", "occupation", "zip_code"]


def load_movielens(source: Path | str | None = None) -> Ratings:
    """MovieLens-100K: 100,000 ratings of 1,682 films by 943 people, 1 to 5 stars, 1997–1998.

    source: None for the course's cache (fetched on the first call), or the path of GroupLens's `ml-100k.zip` or folder.
    Raises DataError for anything missing, damaged or out of range. Source: Harper and Konstan 2015, doi 10.1145/2827872.
    """
    if source is not None:
        return _from_grouplens(Path(source))
    folder = fetch_movielens()
    table = _recbole(folder / "ml-100k.inter")
    items = _recbole(folder / "ml-100k.item").rename(
        columns={"movie_title": "title", "release_year": "year", "class": "genres"}
    )
    users = _recbole(folder / "ml-100k.user")
    items["genres"] = items.genres.fillna("").str.split()
    items["year"] = pd.to_numeric(items.year, errors="coerce")
    users["zip_code"] = users.zip_code.astype(str)
    return build_ratings("movielens-100k", table, items, users, scale=(1, 5), source="ml-100k.inter")


def _recbole(path: Path) -> pd.DataFrame:
    """Tab-separated table whose headers read `name:type`."""
    frame = pd.read_csv(path, sep="\t", quoting=3, dtype={"zip_code:token": str}, keep_default_na=False, na_values=[""])
    return frame.rename(columns=lambda column: column.split(":")[0])


def _from_grouplens(source: Path) -> Ratings:
    """The same tables from `u.data`, `u.item` and `u.user`, in a folder or a zip archive."""
    table = _read(source, "u.data", sep="\t", names=["user_id", "item_id", "rating", "timestamp"], encoding="utf-8")
    columns = ["item_id", "title", "release", "video", "url", *GENRES]
    raw = _read(source, "u.item", sep="|", names=columns, encoding="latin-1")
    users = _read(source, "u.user", sep="|", names=USER_COLUMNS, encoding="utf-8", dtype={"zip_code": str})
    title = raw.title.str.extract(r"^(?P<title>.*?)\s*(?:\((?P<year>\d{4})\))?$")
    items = pd.DataFrame({"item_id": raw.item_id, "title": title.title, "year": pd.to_numeric(title.year)})
    items["genres"] = [[genre for genre in GENRES if row[genre] == 1] for row in raw[GENRES].to_dict("records")]
    return build_ratings("movielens-100k", table, items, users, scale=(1, 5), source=f"{source.name}/u.data")


def _read(source: Path, name: str, *, names: list[str], encoding: str, **options) -> pd.DataFrame:
    """One file without a header; DataError when it is absent, empty, or not text in this encoding."""
    try:
        if source.is_dir():
            text = (source / name).read_bytes()
        else:
            with zipfile.ZipFile(source) as archive:
                text = archive.read(next(member for member in archive.namelist() if member.split("/")[-1] == name))
        decoded = text.decode(encoding)
        frame = pd.read_csv(io.StringIO(decoded), names=names, quoting=3, index_col=False, **options)
    except (FileNotFoundError, StopIteration) as error:
        raise DataError(f"{source} holds no {name}; give the folder or zip archive of MovieLens-100K as published") from error
    except zipfile.BadZipFile as error:
        raise DataError(f"{source} is not a complete zip archive; download it again") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{source}/{name} is not {encoding} text (byte {error.start}); take the file as published") from error
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{source}/{name} is empty; download the archive again") from error
    except pd.errors.ParserError as error:
        raise DataError(f"{source}/{name} has a line of the wrong form: {error}") from error
    if frame[names[-1]].isna().all():
        raise DataError(f"{source}/{name} has fewer columns than the {len(names)} expected: {', '.join(names)}")
    return frame
