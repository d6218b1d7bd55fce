"""What a forked process still has of the one it was forked from, and how it lets go: signals, environment, descriptors."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

KEPT = (
    "PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "MPLBACKEND", "OMP_NUM_THREADS", "HF_HUB_OFFLINE",
    "COURSE_PROGRESS", "COURSE_PROFILE", "COURSE_SEED", "COURSE_DATA",
)  # fmt: skip


def signals() -> None:
    """Handlers set by the parent's code give way to the system's own; an interrupt is Python's; nothing is held back."""
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def environment(folder: Path) -> None:
    """No variables but KEPT, and `folder` as home and as the place for temporary files."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    os.environ.clear()
    os.environ.update(kept, HOME=str(folder), TMPDIR=str(folder), USER="learner", LOGNAME="learner")
    tempfile.tempdir = str(folder)


def descriptors(keep: Collection[int]) -> None:
    """Only `keep` stays open; of the first three, those that are not kept lead nowhere. Python's streams begin anew."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if number not in keep:
            os.dup2(nothing, number)
        stream = open(number, mode, encoding="utf-8", errors="replace", closefd=False)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    close_all_but({0, 1, 2, *keep})


def close_all_but(kept: Collection[int]) -> None:
    """Close every descriptor that is open and not among `kept`."""
    for name in os.listdir("/dev/fd"):
        if int(name) not in kept:
            with contextlib.suppress(OSError):  # the one that listed them is closed already
                os.close(int(name))
