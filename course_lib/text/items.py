"""An item as a line of text: title, year, genres."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

PARTS = ("title", "year", "genres")
GENRES = frozenset(
    "Action Adventure Animation Children's Comedy Crime Documentary Drama Fantasy Film-Noir Horror Musical Mystery Romance "
    "Sci-Fi Thriller War Western".split()
)
_ARTICLES = "The|An|A|L'|Les|Le|La|Il|Lo|Los|Las|El|Un|Une|Una|Der|Die|Das|Ein|Eine|Det|Den|De"
_INVERTED = re.compile(rf"(^|\()([^()]+?),\s+({_ARTICLES})(?=\s*(?:\(|\)|$))")


def natural_title(title: str) -> str:
    """The title as it is spoken: "Godfather, The" → "The Godfather", also within brackets."""
    return _INVERTED.sub(lambda m: f"{m[1]}{m[3]}{'' if m[3].endswith(chr(39)) else ' '}{m[2]}", title)


def item_texts(items: pd.DataFrame, *, parts: tuple[str, ...] = PARTS) -> list[str]:
    """One text per item: "Toy Story (1995). Animation, Children's, Comedy".

    items: columns title, year, genres, as in `Ratings.items`; parts: which of them to use. An unknown year or genre is left
    out. Raises ValueError for an unknown part or a column that is missing.
    """
    known = known_parts(items, parts)
    return [". ".join(filter(None, (head(title, year), ", ".join(genres)))) for title, year, genres in known]


def head(title: str, year: str) -> str:
    """Title and year: "Toy Story (1995)", or the one that is known."""
    return f"{title} ({year})" if title and year else title or year


def known_parts(items: pd.DataFrame, parts: tuple[str, ...] = PARTS) -> list[tuple[str, str, list[str]]]:
    """Title, year and genres of each item; "" or [] for what is unknown or not asked for."""
    parts = (parts,) if isinstance(parts, str) else tuple(parts)
    if not parts or set(parts) - set(PARTS):
        raise ValueError(f"parts are some of {', '.join(PARTS)}, but parts={parts!r}")
    if not isinstance(items, pd.DataFrame) or set(parts) - set(items.columns):
        raise ValueError(f"items must be a table with the columns {', '.join(parts)}: hand over `ratings.items`")
    empty = [None] * len(items)
    columns = [items[part] if part in parts else empty for part in PARTS]
    return [(_title(t), _year(y), _genres(g)) for t, y, g in zip(*columns, strict=True)]


def _title(title) -> str:
    return natural_title(title.strip()) if isinstance(title, str) else ""


def _year(year) -> str:
    return "" if year is None or pd.isna(year) else str(int(year))


def _genres(genres) -> list[str]:
    names = genres if isinstance(genres, list | tuple | np.ndarray) else ()
    return [name for name in names if name not in ("unknown", "(no genres listed)")]
