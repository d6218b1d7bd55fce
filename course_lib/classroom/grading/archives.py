"""Notebooks in folders and zip files, read without trust: nothing is unpacked, no link followed, every byte counted."""

from __future__ import annotations

import calendar
import io
import mmap
import os
import re
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO

from course_lib.classroom.grading.notebooks import Unreadable, chinese

NOTEBOOK = 20_000_000  # bytes of one notebook
ARCHIVE = 60_000_000  # bytes of a zip file that lies within a folder or another zip file
LEARNER = 120_000_000  # bytes read for one learner
NOTEBOOKS = 500  # read for one learner
ENTRIES = 200_000  # names in one zip file
RATIO, SMALL = 200, 20_000_000  # a zip file that unfolds to more than SMALL bytes stays below RATIO times its size
PLAIN = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # others may ask for gigabytes to unfold a few bytes
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError, MemoryError)
UTF8_NAME, LOCKED = 0x800, 0x1  # flag bits of an entry


@dataclass(frozen=True)
class Entry:
    """A notebook or zip file that was met. parts: folders and name; key: what its box reads it by; modified: seconds."""

    parts: tuple[str, ...]
    key: Path | zipfile.ZipInfo
    modified: float

    @property
    def is_archive(self) -> bool:
        """Whether it is a zip file."""
        return self.parts[-1].lower().endswith(".zip")


@dataclass
class Allowance:
    """What may still be read for one learner."""

    bytes: int = field(default_factory=lambda: LEARNER)
    notebooks: int = field(default_factory=lambda: NOTEBOOKS)

    def read(self, file: IO[bytes], most: int) -> bytes:
        """All of a file, counted while reading; Unreadable where it is larger than `most` or than what is left."""
        if self.notebooks <= 0:
            raise Unreadable(f"is one of more than {NOTEBOOKS} files of this learner's; hand in fewer")
        data = file.read(min(most, self.bytes) + 1)
        self.notebooks -= 1
        self.bytes -= min(len(data), self.bytes)
        if len(data) > most:
            raise Unreadable(f"is larger than {most // 1_000_000} MB; clear its outputs and hand it in again")
        if self.bytes <= 0:
            raise Unreadable(f"is beyond the {LEARNER // 1_000_000} MB read for one learner; hand in the notebooks alone")
        return data


class Folder:
    """A folder, or one notebook in it."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *error) -> None:
        return None

    def entries(self) -> list[Entry]:
        """Notebooks and zip files below, in order of their names, and folders that cannot be looked into.

        Links, hidden files and all others are passed over.
        """
        if not self.path.is_dir():
            alone = Entry((self.path.name,), self.path, self.path.lstat().st_mtime)
            return [alone] if is_wanted(alone.parts) else []
        found, closed = [], []
        for folder, names, files in os.walk(self.path, onerror=closed.append):
            names[:] = sorted(name for name in names if not _hidden(name))
            below = Path(folder).relative_to(self.path).parts
            paths = [Path(folder, name) for name in sorted(files) if is_wanted((name,))]
            found += [Entry(_clean((*below, p.name)), p, p.lstat().st_mtime) for p in paths if not p.is_symlink()]
        closed = [Path(error.filename) for error in closed]
        return found + [Entry((*_clean(p.relative_to(self.path).parts), ""), p, 0.0) for p in closed]

    def files(self) -> list[tuple[str, ...]]:
        """Names of all files below but the hidden ones, as folders and name."""
        below = (Path(folder, name) for folder, _, files in os.walk(self.path) for name in files)
        parts = (_clean(path.relative_to(self.path).parts) for path in below)
        return sorted(p for p in parts if not any(map(_hidden, p)))

    def read(self, entry: Entry, most: int, allowance: Allowance) -> bytes:
        """Bytes of an entry; Unreadable says why not."""
        if entry.key.is_symlink():
            raise Unreadable("is a link to another file; hand in the file itself")
        options = ("O_BINARY", "O_NONBLOCK", "O_NOFOLLOW")  # a pipe is not waited for, a late link not followed
        try:
            handle = os.open(entry.key, sum(getattr(os, option, 0) for option in options) | os.O_RDONLY)
            with os.fdopen(handle, "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise Unreadable("is no ordinary file")
                return allowance.read(file, most)
        except OSError as error:
            raise Unreadable(f"cannot be opened ({error.strerror or error})") from None


class Archive:
    """A zip file: one on disk that was asked for, or the bytes of one that was found."""

    def __init__(self, path: Path | bytes):
        self.path, self.unfolded = path, 0

    def __enter__(self) -> Archive:
        """Open it; Unreadable where it is damaged."""
        self.file = io.BytesIO(self.path) if isinstance(self.path, bytes) else open(self.path, "rb")
        try:
            self.packed = self.file.seek(0, os.SEEK_END)
            if self._names() > ENTRIES:
                raise Unreadable(f"is a zip file with more than {ENTRIES:,} names")
            self.zip = zipfile.ZipFile(self.file)
        except BROKEN as error:
            self.file.close()
            raise error if isinstance(error, Unreadable) else Unreadable("is no zip file, or a damaged one") from None
        return self

    def __exit__(self, *error) -> None:
        self.zip.close()
        self.file.close()

    def _names(self) -> int:
        """Entries of its directory, counted before each one costs memory."""
        if isinstance(self.path, bytes):
            return self.path.count(b"PK\x01\x02")
        if not self.packed:
            return 0
        with mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            return sum(1 for _ in islice(re.finditer(rb"PK\x01\x02", view), ENTRIES + 1))

    def entries(self) -> list[Entry]:
        """Notebooks and zip files inside, in the archive's order; links, hidden files and all others are passed over."""
        return list(self._entries())

    def _entries(self) -> Iterator[Entry]:
        for info in self.zip.infolist():
            parts = _clean(re.split(r"[/\\]", _name(info)))
            if is_wanted(parts) and not info.is_dir() and not stat.S_ISLNK(info.external_attr >> 16):
                yield Entry(parts, info, _modified(info))

    def files(self) -> list[tuple[str, ...]]:
        """Names of all files inside but the hidden ones, as folders and name."""
        parts = (_clean(re.split(r"[/\\]", _name(info))) for info in self.zip.infolist() if not info.is_dir())
        return sorted(p for p in parts if p and not any(map(_hidden, p)))

    def read(self, entry: Entry, most: int, allowance: Allowance) -> bytes:
        """Bytes of an entry; Unreadable says why not."""
        if entry.key.flag_bits & LOCKED:
            raise Unreadable("is locked with a password; hand it in without one")
        if entry.key.compress_type not in PLAIN:
            raise Unreadable("is packed in an unusual way; hand in the notebook itself, or an ordinary zip file")
        try:
            with self.zip.open(entry.key) as file:
                data = allowance.read(file, most)
        except BROKEN as error:
            raise error if isinstance(error, Unreadable) else Unreadable("is damaged inside its zip file") from None
        self.unfolded += len(data)
        if self.unfolded > max(SMALL, RATIO * self.packed):
            raise Unreadable(f"unfolds to more than {RATIO} times the size of its zip file")
        return data


def box(path: Path | bytes) -> Folder | Archive:
    """What holds the notebooks of a path, to be used in a `with` statement."""
    if isinstance(path, bytes):
        return Archive(path)
    return Archive(path) if path.suffix.lower() == ".zip" and path.is_file() and not path.is_symlink() else Folder(path)


def is_wanted(parts: tuple[str, ...]) -> bool:
    """Whether a name is a notebook's or a zip file's, and nothing on the way to it is hidden."""
    return bool(parts) and parts[-1].lower().endswith((".ipynb", ".zip")) and not any(_hidden(part) for part in parts)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _clean(parts) -> tuple[str, ...]:
    """Names only ever serve as labels: steps upwards, drives and empty parts say nothing and are left out."""
    composed = (unicodedata.normalize("NFC", part) for part in parts)
    return tuple(part for part in composed if part not in ("", ".", "..") and not re.fullmatch(r"[A-Za-z]:", part))


def _name(info: zipfile.ZipInfo) -> str:
    """An entry's name: zip files made on a Mac or on a Chinese Windows do not say in which encoding it is."""
    if info.flag_bits & UTF8_NAME:
        return info.filename
    raw = info.orig_filename.split("\0")[0].encode("cp437", "replace")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return chinese(raw) or raw.decode("cp437")


def _modified(info: zipfile.ZipInfo) -> float:
    try:
        return float(calendar.timegm((*info.date_time, 0, 0, 0)))
    except ValueError:
        return 0.0  # some tools leave the date out
