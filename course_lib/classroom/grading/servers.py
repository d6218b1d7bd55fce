"""Two processes that hold a lesson warm: one for its learners' answers, one for its judge. Each answer is run in a fork."""

from __future__ import annotations

import contextlib
import io
import linecache
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

from course_lib.classroom.grading import frames
from course_lib.config import settings

ENVIRONMENT = {"COURSE_PROGRESS": "off", "MPLBACKEND": "Agg", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "TMPDIR", "COURSE_DATA")


class ServerGone(RuntimeError):
    """A warm process has ended."""


class LessonError(RuntimeError):
    """A cell of the lesson itself does not run, or a process for an answer does not begin."""


class Lesson:
    """The namespace of a lesson, as a kernel would hold it."""

    def __init__(self):
        self.names = {"__name__": "__main__", "display": lambda *objects, **options: None}
        self.cells = 0

    def execute(self, source: str) -> None:
        """Run one cell; its text is known to linecache, as in a kernel, so that cards can quote it."""
        self.cells += 1
        file = f"<cell {self.cells}>"
        linecache.cache[file] = (len(source), None, [line + "\n" for line in source.splitlines()], file)
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(source, file, "exec"), self.names)


class Server:
    """A warm process, seen from outside. role: "learner" or "judge"."""

    def __init__(self, role: str):
        ours, theirs = socket.socketpair()
        environment = {k: v for k, v in os.environ.items() if k in PASSED_ON} | ENVIRONMENT
        command = [sys.executable, "-m", __name__, role, str(theirs.fileno())]
        self.process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], env=environment, cwd=settings().project / "lessons",
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        theirs.close()
        self.control, self.lock = ours, threading.Lock()

    def run(self, source: str) -> None:
        """Run a cell of the lesson for all who come after; LessonError where it stops."""
        problem = self._ask({"do": "run", "source": source})["problem"]
        if problem:
            raise LessonError(problem)

    def fork(self, request: dict, descriptors: list[int]) -> int:
        """Begin a child for one answer, the descriptors handed to it; its process id. LessonError where it cannot begin."""
        reply = self._ask({"do": "fork", **request}, descriptors)
        if "problem" in reply:
            raise LessonError(reply["problem"])
        return reply["pid"]

    def end(self, pid: int) -> int:
        """Kill a child and all that it began; the wait status that it ended with."""
        return self._ask({"do": "end", "pid": pid})["status"]

    def close(self) -> None:
        """End the process and whatever it has begun."""
        self.control.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _ask(self, request: dict, descriptors: list[int] = ()) -> dict:
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


class _Learner:
    """Runs the unsolved lesson in IPython's shell; forks for each answer."""

    def __init__(self):
        from IPython.core.interactiveshell import InteractiveShell

        self.shell = InteractiveShell.instance(colors="NoColor", history_load_length=0)
        self.shell.history_manager.enabled = False
        self.shell.enable_gui = lambda *names, **options: None

    def run(self, source: str) -> str:
        """Why the cell stopped, or empty."""
        result = self.shell.run_cell(source, store_history=False)
        error = result.error_before_exec or result.error_in_exec
        return f"{type(error).__name__}: {error}" if error else ""

    def fork(self, request: dict, descriptors: list[int]) -> int:
        """A sandboxed child that runs a learner's cells and answers a judge's questions on the descriptor."""
        from course_lib.classroom.grading import sandbox
        from course_lib.classroom.grading.host import Host

        (channel,) = descriptors
        folder = Path(request["folder"])

        def serve() -> None:  # the cells come over the channel: nothing of one learner is ever in this process
            Host(socket.socket(fileno=channel), self.shell).serve()

        return sandbox.spawn(
            serve, folder=folder, readable=sandbox.readable_paths(), keep=[channel], layers=request["layers"],
            limits=sandbox.Limits(**request["limits"]),
        )  # fmt: skip


class _Judge:
    """Runs the solved lesson; forks for each verdict."""

    def __init__(self):
        self.lesson = Lesson()

    def run(self, source: str) -> str:
        """Why the cell stopped, or empty."""
        try:
            self.lesson.execute(source)
        except BaseException as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def fork(self, request: dict, descriptors: list[int]) -> int:
        """A child that executes a check against a learner's process."""
        from course_lib.classroom.grading.verdicts import Question, judge

        channel, out = descriptors
        child = os.fork()
        if not child:
            try:
                judge(self.lesson, Question(**request), socket.socket(fileno=channel), out)
            finally:
                os._exit(0)
        return child


def serve(role: str, control: socket.socket) -> None:
    """Answer requests until the other side hangs up."""
    from course_lib import plots

    plots.show = lambda fig, *, alt: plots.plt.close(fig)
    server = {"learner": _Learner, "judge": _Judge}[role]()
    while True:
        try:
            mark, descriptors, _, _ = socket.recv_fds(control, 1, 4)
            if not mark:
                return
            request, _ = frames.receive(control)
        except frames.Gone:
            return
        frames.send(control, _done(server, request, descriptors))
        for descriptor in descriptors:
            os.close(descriptor)


def _done(server, request: dict, descriptors: list[int]) -> dict:
    do = request.pop("do")
    if do == "run":
        return {"problem": server.run(request["source"])}
    if do == "fork":
        try:
            return {"pid": server.fork(request, descriptors)}
        except RuntimeError as error:  # the sandbox's
            return {"problem": str(error)}
    with contextlib.suppress(ProcessLookupError):
        os.kill(request["pid"], signal.SIGKILL)
    return {"status": os.waitpid(request["pid"], 0)[1]}


def main(role: str, descriptor: str) -> None:
    """Entry of a warm process."""
    os.environ |= {k: ENVIRONMENT[k] for k in ENVIRONMENT}
    serve(role, socket.socket(fileno=int(descriptor)))


if __name__ == "__main__":
    main(*sys.argv[1:])
