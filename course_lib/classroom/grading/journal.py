"""Verdicts on disk as they fall, one line each: what a batch that was interrupted need not do again."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from course_lib.classroom.grading.results import Verdict

Key = tuple[str, str, str]  # learner, digest of notebook and master, exercise


class JournalError(RuntimeError):
    """A verdict that could not be kept: where, why, what to do."""


class Journal:
    """Append-only JSON lines. `done`: the verdicts that are kept; a line that was cut off by an interruption is dropped."""

    def __init__(self, path: Path):
        self.path, self.done = path, {}
        whole = b""
        if path.exists():
            data = path.read_bytes()
            whole = data[: data.rfind(b"\n") + 1]
            for line in whole.splitlines():
                entry = json.loads(line)
                self.done[tuple(entry["key"])] = _verdict(entry["verdict"])
        self._file = open(path, "ab")
        self._file.truncate(len(whole))

    def add(self, key: Key, verdict: Verdict) -> None:
        """Keep a verdict: when this returns it is on the disk. JournalError, and nothing kept, where it is full."""
        line = json.dumps({"key": list(key), "verdict": asdict(verdict)}) + "\n"
        kept = os.fstat(self._file.fileno()).st_size
        try:
            data = line.encode()
            while data:
                data = data[os.write(self._file.fileno(), data) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(kept)
            raise JournalError(
                f"{self.path}: {error.strerror}. Nothing is lost: make room and run the same command with --resume"
            ) from None
        self.done[key] = verdict

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _verdict(entry: dict) -> Verdict:
    return Verdict(**entry | {"details": tuple((label, value) for label, value in entry["details"])})
