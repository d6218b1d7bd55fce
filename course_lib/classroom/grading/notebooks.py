"""A notebook file that nobody vouches for, as cells: old formats, odd encodings and missing parts are put up with."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

NESTED = 1_000_000  # brackets and braces: more would fill the memory before the first cell is seen
RARE = 0xD8  # first byte from which GB2312 holds its rarer half, and Latin-1 its common letters such as "öß"
LONE = re.compile("[\ud800-\udfff]")  # halves of surrogate pairs, which no file can be written with
CONFLICT = re.compile(r"^(<{7}|>{7}) ", re.MULTILINE)


class Unreadable(ValueError):
    """A file that cannot be taken; its text is the reason, as a clause that follows the file's name."""


@dataclass(frozen=True)
class Cell:
    """One cell of a submission. kind: "code", "markdown" or "raw"; grade_id: nbgrader's, or ""; id: the notebook's own."""

    kind: str
    source: str
    grade_id: str = ""
    id: str = ""

    @property
    def text(self) -> str:
        """The source without blanks at the ends of its lines, for comparisons."""
        return plain(self.source)

    @property
    def untouched(self) -> bool:
        """Whether it is a cell of some edition of a lesson: `course build` makes an id from what a cell holds."""
        digest = hashlib.sha256((self.kind + self.source).encode("utf-8", "replace")).hexdigest()[:8]
        return bool(re.fullmatch(rf"{digest}(-\d+)?", self.id))


def plain(source: str) -> str:
    """A source without blanks at the ends of its lines and without blank lines around it."""
    return "\n".join(line.rstrip() for line in source.splitlines()).strip()


def decode(data: bytes) -> tuple[str, str]:
    """Text of a file, and its encoding: UTF-8, -16 or -32 with or without a mark, GB2312, or else Latin-1."""
    encoding = json.detect_encoding(data)
    try:
        return data.decode(encoding, "surrogatepass").removeprefix("\ufeff"), "utf"
    except UnicodeDecodeError:
        text = chinese(data)
    return (data.decode("latin-1"), "Latin-1") if text is None else (text, "GB2312")


def chinese(data: bytes) -> str | None:
    """Text in GB2312, None where the bytes are not likely to be that."""
    try:
        text = data.decode("gb2312")
    except UnicodeDecodeError:
        return None
    signs = [c.encode("gb2312")[0] < RARE for c in text if ord(c) > 127]
    return text if 2 * sum(signs) > len(signs) else None


def read(data: bytes) -> tuple[list[Cell], tuple[str, ...]]:
    """Cells of a notebook of format 2, 3 or 4, and notes on what was odd about the file; Unreadable says why not."""
    try:
        text, encoding = decode(data)
        notebook = _parse(text)
        cells = _upgraded(notebook) if "worksheets" in notebook else notebook["cells"]
        found = [_cell(cell) for cell in cells if isinstance(cell, dict)]
    except (RecursionError, MemoryError):
        raise Unreadable("is nested too deeply or too large to be a notebook") from None
    return found, () if encoding == "utf" else (f"The file is not in UTF-8; it was read as {encoding}.",)


def _parse(text: str) -> dict:
    """The notebook's top level, which holds a list of cells or of worksheets."""
    if not text.strip("\0 \t\r\n"):
        raise Unreadable("is empty")
    if text.count("[") + text.count("{") > NESTED:
        raise Unreadable(f"holds more than {NESTED:,} brackets, which no notebook does")
    try:
        notebook = json.loads(text, strict=False)
    except ValueError as error:
        if CONFLICT.search(text):
            raise Unreadable("holds an unsolved merge conflict (lines with <<<<<<<)") from None
        raise Unreadable(f"is no notebook (no JSON: {str(error)[:120]})") from None
    parts = [notebook.get(key) for key in ("cells", "worksheets")] if isinstance(notebook, dict) else []
    if not any(isinstance(part, list) for part in parts):
        raise Unreadable("is JSON, but no notebook: it holds no list of cells")
    if not isinstance(parts[0], list):
        return {"worksheets": parts[1], "nbformat": notebook.get("nbformat")}
    return {"cells": parts[0]}


def _upgraded(notebook: dict) -> list:
    """Cells of format 2 or 3 in format 4, by nbformat, which gets only the parts that it needs."""
    import nbformat  # takes two seconds, and hardly anybody hands in so old a format

    sheets = [sheet for sheet in notebook["worksheets"] if isinstance(sheet, dict)]
    cells = [_old_cell(cell) for sheet in sheets for cell in _listed(sheet.get("cells")) if isinstance(cell, dict)]
    version = 2 if notebook["nbformat"] == 2 else 3
    old = {"metadata": {}, "nbformat": version, "nbformat_minor": 0, "worksheets": [{"cells": cells, "metadata": {}}]}
    return nbformat.convert(nbformat.from_dict(old), 4)["cells"]


def _old_cell(cell: dict) -> dict:
    kind = cell.get("cell_type")
    metadata = cell["metadata"] if isinstance(cell.get("metadata"), dict) else {}
    if kind == "code":
        source = _source(cell.get("input", cell.get("source")))
        return {"cell_type": "code", "input": source, "language": "python", "metadata": metadata, "outputs": []}
    if kind == "heading":
        level = cell.get("level")
        level = level if isinstance(level, int) and 1 <= level <= 6 else 1
        return {"cell_type": "heading", "level": level, "metadata": metadata, "source": _source(cell.get("source"))}
    kind = kind if kind in ("markdown", "raw") else "markdown"
    return {"cell_type": kind, "metadata": metadata, "source": _source(cell.get("source"))}


def _listed(value) -> list:
    return value if isinstance(value, list) else []


def _source(value) -> str:
    """A source as text: a list of lines is joined, half a surrogate pair becomes a replacement mark."""
    text = value if isinstance(value, str) else "".join(line for line in _listed(value) if isinstance(line, str))
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if LONE.search(text) else text


def _cell(cell: dict) -> Cell:
    metadata = cell["metadata"] if isinstance(cell.get("metadata"), dict) else {}
    grading = metadata["nbgrader"] if isinstance(metadata.get("nbgrader"), dict) else {}
    kind = cell["cell_type"] if cell.get("cell_type") in ("code", "raw") else "markdown"
    names = [name if isinstance(name, str) else "" for name in (grading.get("grade_id"), cell.get("id"))]
    return Cell(kind, _source(cell.get("source", cell.get("input"))), *names)
