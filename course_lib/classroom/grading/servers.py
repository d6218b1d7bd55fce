"""Two processes that hold a lesson warm, seen from outside: one for its learners' answers, one for its judge.

Both are forks of a stem, which has imported what lessons import and lives as long as the batch. What they do is in `warm`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading

from course_lib.classroom.grading import frames
from course_lib.config import settings

ENVIRONMENT = {
    "COURSE_PROFILE": "cpu",  # a graphics card's memory cannot be forked
    "COURSE_PROGRESS": "off", "MPLBACKEND": "Agg", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1",
}  # fmt: skip
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "TMPDIR", "COURSE_DATA")
PROGRAM = "course_lib.classroom.grading.warm"


class ServerGone(RuntimeError):
    """A warm process has ended."""


class LessonError(RuntimeError):
    """A cell of the lesson itself does not run, or a process for an answer does not begin."""


class _Channel:
    """Requests to a process that answers them one by one; ServerGone where it has ended."""

    def __init__(self, control: socket.socket):
        self.control, self.lock = control, threading.Lock()

    def ask(self, request: dict, descriptors: list[int] = ()) -> dict:
        """Its answer to a request; the descriptors are handed to it."""
        with self.lock:
            try:
                if descriptors:
                    socket.send_fds(self.control, [b"+"], list(descriptors))
                else:
                    self.control.sendall(b"-")
                frames.send(self.control, request)
                return frames.receive(self.control)[0]
            except (frames.Gone, OSError) as error:
                raise ServerGone(f"the warm process ended: {error}") from None


class Stem:
    """The process that all warm processes are forked from, seen from outside; where it has ended, it is begun anew."""

    def __init__(self):
        self.process, self.lock = None, threading.Lock()

    def __enter__(self) -> Stem:
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def close(self) -> None:
        """End it; the processes that it began end when their own channels are closed."""
        if self.process:
            self.channel.control.close()
            self.process.kill()
            self.process.wait()

    def begin(self, role: str, control: socket.socket) -> int:
        """Fork a warm process that is asked over `control`; its process id."""
        request = {"do": "begin", "role": role}
        with self.lock:
            with contextlib.suppress(ServerGone):
                if self.process:
                    return self.channel.ask(request, [control.fileno()])["pid"]
            self._start()
            return self.channel.ask(request, [control.fileno()])["pid"]

    def end(self, pid: int) -> None:
        """Kill a warm process; one whose stem has ended ends by itself."""
        with contextlib.suppress(ServerGone):
            self.channel.ask({"do": "end", "pid": pid})

    def _start(self) -> None:
        self.close()
        ours, theirs = socket.socketpair()
        environment = {k: v for k, v in os.environ.items() if k in PASSED_ON} | ENVIRONMENT
        self.process = subprocess.Popen(
            [sys.executable, "-m", PROGRAM, str(theirs.fileno())],
            pass_fds=[theirs.fileno()], env=environment, cwd=settings().project / "lessons",
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        theirs.close()
        self.channel = _Channel(ours)


class Server:
    """A warm process of a lesson, seen from outside. role: "learner" or "judge"."""

    def __init__(self, role: str, stem: Stem):
        ours, theirs = socket.socketpair()
        self.stem, self.channel = stem, _Channel(ours)
        self.pid = stem.begin(role, theirs)
        theirs.close()

    def run(self, source: str) -> None:
        """Run a cell of the lesson for all who come after; LessonError where it stops."""
        problem = self.channel.ask({"do": "run", "source": source})["problem"]
        if problem:
            raise LessonError(problem)

    def fork(self, request: dict, descriptors: list[int]) -> int:
        """Begin a child for one answer, the descriptors handed to it; its process id. LessonError where it cannot begin."""
        reply = self.channel.ask({"do": "fork", **request}, descriptors)
        if "problem" in reply:
            raise LessonError(reply["problem"])
        return reply["pid"]

    def end(self, pid: int) -> int:
        """Kill a child and all that it began; the wait status that it ended with."""
        return self.channel.ask({"do": "end", "pid": pid})["status"]

    def close(self) -> None:
        """End the process and whatever it has begun; who waits for its answer hears of it."""
        with contextlib.suppress(OSError):
            self.channel.control.shutdown(socket.SHUT_RDWR)
        self.channel.control.close()
        self.stem.end(self.pid)
