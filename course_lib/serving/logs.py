"""Logs as one JSON object a line, with routes, statuses and times; never ids, texts, addresses or bodies of users."""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime

import orjson

LOG = logging.getLogger("course_lib.serving")


class JsonLines(logging.Formatter):
    """time, level, event, then the fields of the record.

    Of an exception only its type and places in the code are kept: its message may quote what a client sent.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line = {"time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")}
        line |= {"level": record.levelname.lower(), "event": record.getMessage()} | getattr(record, "fields", {})
        if record.exc_info and record.exc_info[0]:
            frames = traceback.extract_tb(record.exc_info[2])
            line["error"] = record.exc_info[0].__name__
            line["where"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-5:]]
        return orjson.dumps(line, default=str).decode()


def configure(level: str) -> None:
    """Send the service's log and uvicorn's own messages to stderr from `level` on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in (LOG.name, "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level.upper())


def say(level: int, event: str, *, error: bool = False, **fields) -> None:
    """One line of the log; with `error`, the exception that is being handled."""
    if LOG.isEnabledFor(level):
        LOG.log(level, event, exc_info=error, extra={"fields": fields})
