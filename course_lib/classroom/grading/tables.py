"""Tables and files of a report: cells that no spreadsheet runs, numbers without noise, files that are never half written."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"  # controls, turned text, halves of pairs
)
FORMULA = tuple("=+-@＝＋－＠")
LONGEST_CELL = 32_000  # characters; a spreadsheet breaks a cell above 32,767


class TableError(ValueError):
    """A table that cannot be read: which file, why, what to do."""


def clean(text: str) -> str:
    """The text with � for every character that XML forbids or that would turn its neighbours around; one kind of line end."""
    return UNPRINTABLE.sub("�", text.replace("\r\n", "\n").replace("\r", "\n"))


def cell(text: str) -> str:
    """The text as a cell: clean, of a length that spreadsheets hold, and with a leading ' where it looks like a formula."""
    text = clean(text)
    text = f"'{text}" if text.lstrip().startswith(FORMULA) or text.startswith("\t") else text
    return text if len(text) <= LONGEST_CELL else f"{text[: LONGEST_CELL - 1]}…"


def number(value: float) -> str:
    """Points or seconds in ten digits at most: 0.1 + 0.2 is 0.3, and 2.0 is 2."""
    return f"{value:.10g}"


def csv_text(header: Sequence[str], rows: Iterable[Sequence[str | float]]) -> str:
    """A comma-separated table: texts go through `cell`, numbers through `number`."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(header)
    writer.writerows([cell(value) if isinstance(value, str) else number(value) for value in row] for row in rows)
    return file.getvalue()


def read_table(path: Path) -> list[list[str]]:
    """Rows that are not blank, as a spreadsheet, Canvas or nbgrader saved them: UTF-8 or UTF-16; comma, semicolon or tab.

    Raises TableError where the file cannot be read.
    """
    try:
        data = Path(path).read_bytes()
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
        delimiter = max(",;\t", key=text.split("\n", 1)[0].count)
        return [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if any(map(str.strip, row))]
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeError:
        raise TableError(f"{path} is not in UTF-8: save it again as 'CSV UTF-8 (comma delimited)'") from None
    except csv.Error as error:
        raise TableError(f"{path} is no CSV table ({error}): export it again") from None


def read_records(path: Path, *needed: str) -> list[dict[str, str]]:
    """Rows by the names in the first row, short rows filled up; TableError where a needed column is missing."""
    header, *rows = read_table(path) or [[]]
    names = [name.strip() for name in header]
    missing = [name for name in needed if name not in names]
    if missing:
        raise TableError(f"{path} has no column {', '.join(missing)}; its first row names the columns: {', '.join(needed)}")
    return [dict(zip(names, row + [""] * (len(names) - len(row)), strict=False)) for row in rows]


def write(path: Path, text: str, *, encoding: str = "utf-8") -> None:
    """Write beside the file and rename, so that a reader never meets half a file; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        beside.write_bytes(text.encode(encoding, errors="backslashreplace"))
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
