"""What people did with a recommendation, appended to a file: an event is acknowledged when it is on the disk."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import orjson
import pandas as pd
from filelock import FileLock

from course_lib.serving import metrics

MOST_AT_ONCE = 1_000  # lines of one write


class FeedbackError(RuntimeError):
    """Events cannot be stored or read; the message says which file and why."""


class FeedbackLog:
    """An append-only file of JSON lines that several workers may share.

    The events that arrive while one write runs go into the next one together, so that one fsync serves all of them. A write
    holds a lock, starts on a line of its own even after a kill in the middle of one, and is taken back whole if it fails.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path).absolute()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(f"{self.path}.lock", thread_local=False)
        self._waiting: list[tuple[bytes, asyncio.Future]] = []
        self._writer: asyncio.Task | None = None
        self._write([])  # the file can be written, or the service does not start

    async def append(self, event: dict) -> None:
        """Return when the event is on the disk. Raises FeedbackError if it is not."""
        stored = asyncio.get_running_loop().create_future()
        self._waiting.append((orjson.dumps(event) + b"\n", stored))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_waiting())
        start = time.perf_counter()
        await stored
        metrics.FEEDBACK_SECONDS.observe(time.perf_counter() - start)

    async def close(self) -> None:
        """Wait for what is being written."""
        if self._writer is not None:
            await self._writer

    async def _write_waiting(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
            error = None
            try:
                await asyncio.to_thread(self._write, [line for line, _ in batch])
            except OSError as reason:
                error = reason
                metrics.FEEDBACK_FAILURES.inc(len(batch))
            for _, stored in batch:
                if stored.done():  # nobody waits any more
                    continue
                if error is None:
                    stored.set_result(None)
                else:
                    stored.set_exception(FeedbackError(f"feedback could not be stored ({error.strerror}); send it again later"))

    def _write(self, lines: list[bytes]) -> None:
        with self._lock, open(self.path, "a+b", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            data = b"".join(lines)
            if end:
                file.seek(end - 1)
                data = data if file.read(1) == b"\n" else b"\n" + data
            try:
                while data:
                    data = data[file.write(data) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise
        if not end and lines:
            _sync_folder(self.path.parent)


def read_feedback(path: Path | str) -> pd.DataFrame:
    """The stored events, one row each, in order; of events with the same `event_id` the first.

    A line that a kill cut short was never acknowledged and is left out. Raises FeedbackError where there is no such file, or
    a line that is whole holds no event.
    """
    path = Path(path)
    if not path.is_file():
        raise FeedbackError(f"{path} does not exist: start the service with feedback={path.name!r} and send it events")
    rows = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        try:
            row = orjson.loads(line) if line else None
        except orjson.JSONDecodeError:
            row = None
        if row is not None and not (isinstance(row, dict) and "event_id" in row):
            raise FeedbackError(f"{path}, line {number}: not an event of this service; is it another file?")
        if row is not None:
            rows.append(row)
    table = pd.DataFrame(rows)
    return table if table.empty else table.drop_duplicates("event_id", ignore_index=True)


def _sync_folder(folder: Path) -> None:
    """The name of a new file reaches the disk too; where folders cannot be synced, the system sees to it."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
