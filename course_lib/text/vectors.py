"""Vectors on disk, each under the digest of its text, in one file per set of weights."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing

import numpy as np

from course_lib.config import settings

_CHUNK = 500  # keys per query
_CHECK = 8  # bytes of a digest that vouch for an entry


class VectorCache:
    """text → vector (size,) float32, in <cache>/vectors/<name>.sqlite.

    An entry that does not match its own digest counts as missing, a file that is no data base is begun anew, and where
    nothing can be read or written the cache is simply empty: it saves time and decides nothing.
    """

    def __init__(self, name: str, size: int):
        self.path, self.size = settings().cache / "vectors" / f"{name}.sqlite", size

    def read(self, texts: list[str]) -> dict[str, np.ndarray]:
        """The vectors that are there and intact."""
        keys = {_key(text): text for text in texts}
        try:
            with closing(self._open()) as base:
                rows = [row for part in _parts(list(keys)) for row in base.execute(_select(len(part)), part)]
        except (sqlite3.Error, OSError) as error:
            self._begin_anew(error)
            return {}
        intact = {key: blob[:-_CHECK] for key, blob in rows if self._vouched(key, blob)}
        return {keys[key]: np.frombuffer(data, dtype="<f4") for key, data in intact.items()}

    def write(self, vectors: dict[str, np.ndarray]) -> None:
        """Store them; what is there already is replaced."""
        blobs = ((_key(text), np.asarray(vector, dtype="<f4").tobytes()) for text, vector in vectors.items())
        rows = [(key, data + _seal(key, data)) for key, data in blobs]
        try:
            with closing(self._open()) as base, base:
                base.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
        except (sqlite3.Error, OSError):
            return

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        base = sqlite3.connect(self.path, timeout=10)
        try:
            base.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID")
        except sqlite3.Error:
            base.close()
            raise
        return base

    def _vouched(self, key: bytes, blob) -> bool:
        whole = isinstance(blob, bytes) and len(blob) == 4 * self.size + _CHECK
        return whole and blob[-_CHECK:] == _seal(key, blob[:-_CHECK])

    def _begin_anew(self, error: Exception) -> None:
        """Remove a damaged file; one that is only busy or not ours to write stays."""
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            self.path.unlink(missing_ok=True)


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _seal(key: bytes, data: bytes) -> bytes:
    return hashlib.sha256(key + data).digest()[:_CHECK]


def _parts(keys: list[bytes]) -> list[list[bytes]]:
    return [keys[start : start + _CHUNK] for start in range(0, len(keys), _CHUNK)]


def _select(count: int) -> str:
    return f"SELECT key, vector FROM vectors WHERE key IN ({', '.join('?' * count)})"
