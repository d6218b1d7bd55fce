"""Reading the files of a data set from a folder or a zip archive, with errors that name the file."""

from __future__ import annotations

import io
import warnings
import zipfile
import zlib
from pathlib import Path

import pandas as pd

from course_lib.datasets.ratings import DataError, require_columns

PIECE = 1_000_000  # rows held as text at a time


class Source:
    """The files of one data set: a folder, one file of it, or a zip archive (with or without a top folder)."""

    def __init__(self, path: Path | str):
        path = Path(path).expanduser()
        if not path.exists():
            raise DataError(f"{path}: there is no such file or folder; give the folder or zip archive of the data set")
        self.archive = path if path.is_file() and zipfile.is_zipfile(path) else None
        if self.archive is None and path.suffix == ".zip" and path.is_file():
            raise DataError(f"{path}: the archive is damaged or cut off; download it again")
        self.path = path.parent if path.is_file() and self.archive is None else path
        self._names = self._members()

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def where(self, name: str) -> str:
        """What an error message calls the file."""
        return f"{self.path}/{self._names.get(name, name)}"

    def open(self, name: str):
        """The file as a binary stream; raises DataError if it is missing, unreadable or empty."""
        if name not in self:
            found = ", ".join(sorted(self._names)[:8]) or "nothing"
            raise DataError(f"{self.path}: no file {name} in it (found {found}); unpack the whole data set there")
        try:
            if self.archive is None:
                stream = open(self.path / self._names[name], "rb")
            else:
                stream = _Member(zipfile.ZipFile(self.archive), self._names[name])
            empty = not stream.peek(1)
        except (OSError, zipfile.BadZipFile, EOFError) as error:
            raise DataError(f"{self.where(name)}: cannot be read ({error}); download the data set again") from error
        if empty:
            stream.close()
            raise DataError(f"{self.where(name)}: the file is empty; download the data set again")
        return stream

    def _members(self) -> dict[str, str]:
        if self.archive is None:
            return {file.name: file.name for file in self.path.iterdir() if file.is_file()}
        try:
            with zipfile.ZipFile(self.archive) as archive:
                return {Path(name).name: name for name in archive.namelist() if not name.endswith("/")}
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{self.archive}: the archive is damaged ({error}); download it again") from error


class _Member(io.BufferedReader):
    """A file inside an archive; closing it closes the archive, and reading it checks its sum."""

    def __init__(self, archive: zipfile.ZipFile, name: str):
        self._archive = archive
        super().__init__(archive.open(name), buffer_size=1 << 20)

    def close(self) -> None:
        super().close()
        self._archive.close()


def read_pieces(source: Source, name: str, columns: tuple[str, ...], *, encoding: str = "utf-8", **options):
    """Frames of text columns, a million rows of a delimited file each; `options` go to `pandas.read_csv`.

    Without `names` in the options the first line is the heading; `:type` suffixes of its names are dropped.
    Raises DataError if the file is missing, empty, in another encoding, without one of `columns`, or has ragged lines.
    """
    where = source.where(name)
    options = {"dtype": str, "keep_default_na": False, "na_values": [""], "quoting": 3, "index_col": False, **options}
    with source.open(name) as stream:
        try:
            reader = pd.read_csv(stream, encoding=encoding, chunksize=PIECE, **options)
            while (piece := _next(reader)) is not None:
                piece.columns = [str(column).split(":")[0] for column in piece.columns]
                require_columns(piece, columns, where)
                yield piece
        except UnicodeDecodeError as error:
            raise DataError(
                f"{where}: not {encoding} text ({error.reason} at byte {error.start}); do not re-save it"
            ) from error
        except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError) as error:
            raise DataError(f"{where}: not the table expected ({error}); download the data set again") from error
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise DataError(f"{where}: cannot be read ({error}); download the data set again") from error


def _next(reader) -> pd.DataFrame | None:
    """The next piece, None after the last; a line with too many fields raises instead of being cut with a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return next(reader, None)


def read_table(source: Source, name: str, columns: tuple[str, ...], *, encoding: str = "utf-8", **options) -> pd.DataFrame:
    """The whole of `read_pieces` as one frame."""
    return pd.concat(read_pieces(source, name, columns, encoding=encoding, **options), ignore_index=True)


def read_lines(source: Source, name: str, *, encoding: str = "utf-8") -> list[str]:
    """The lines of a text file, line ends and empty lines left out; raises DataError as `read_pieces` does."""
    with source.open(name) as stream:
        try:
            return [line for line in stream.read().decode(encoding).splitlines() if line]
        except UnicodeDecodeError as error:
            problem = f"{source.where(name)}: not {encoding} text ({error.reason} at byte {error.start})"
            raise DataError(f"{problem}; do not re-save it") from error
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise DataError(f"{source.where(name)}: cannot be read ({error}); download the data set again") from error
