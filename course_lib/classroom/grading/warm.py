"""What the warm processes of a lesson do: import and run it once, and fork for each answer and each verdict."""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib
import io
import linecache
import os
import signal
import socket
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from course_lib.classroom.grading import frames, system_calls

IMPORTS = ("course_lib.plots", "course_lib.classroom.grading.host", "course_lib.classroom.grading.sandbox",
           "course_lib.classroom.grading.verdicts", "IPython.core.interactiveshell", "pandas", "torch")  # fmt: skip
LONG = 100_000  # characters of a cell


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


class _Learner:
    """Runs the unsolved lesson in IPython's shell; forks for each answer."""

    def __init__(self):
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets.config import Config

        quiet = Config(HistoryManager={"enabled": False})  # neither a file in the teacher's home nor a thread
        self.shell = InteractiveShell.instance(colors="NoColor", config=quiet)
        self.shell.enable_gui = lambda *names, **options: None
        # lines such as !ls, %pip install and exit() do nothing
        for name in ("system", "system_raw", "system_piped", "ask_exit"):
            setattr(self.shell, name, lambda *words: None)
        self.shell.getoutput = lambda *words, **options: []
        read = self.shell.transform_cell  # several times over each line: seconds for a cell of megabytes
        self.shell.transform_cell = lambda source: source if len(source) > LONG and _is_python(source) else read(source)

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


def _is_python(source: str) -> bool:
    """Whether a cell is plain Python, which IPython would leave as it is."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are given when the cell runs
            ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


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
    """Answer a warm process's requests until the other side hangs up."""
    plots = importlib.import_module("course_lib.plots")
    plots.show = lambda fig, *, alt: plots.plt.close(fig)
    server = {"learner": _Learner, "judge": _Judge}[role]()
    for request, descriptors in _requests(control):
        frames.send(control, _done(server, request, descriptors))
        for descriptor in descriptors:
            os.close(descriptor)


def _requests(control: socket.socket) -> Iterator[tuple[dict, list[int]]]:
    """Each request and the descriptors that came with it."""
    with contextlib.suppress(frames.Gone):
        while True:
            mark, descriptors, _, _ = socket.recv_fds(control, 1, 4)
            if not mark:
                return
            yield frames.receive(control)[0], descriptors


def _done(server, request: dict, descriptors: list[int]) -> dict:
    do = request.pop("do")
    if do == "run":
        return {"problem": server.run(request["source"])}
    if do == "fork":
        gc.freeze()  # the child's collector passes over what is there, so that the pages stay shared
        try:
            return {"pid": server.fork(request, descriptors)}
        except RuntimeError as error:  # the sandbox's
            return {"problem": str(error)}
    return _ended(request["pid"])


def _ended(pid: int) -> dict:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return {"status": os.waitpid(pid, 0)[1]}


def grow(control: socket.socket) -> None:
    """The stem: import what lessons import, and fork warm processes until the other side hangs up."""
    for name in IMPORTS:
        importlib.import_module(name)
    gc.freeze()
    system_calls.use_huge_pages()  # here only: warm processes that did the same would share less with each other
    for request, descriptors in _requests(control):
        if request["do"] == "end":
            frames.send(control, _ended(request["pid"]))
            continue
        (channel,) = descriptors
        child = os.fork()
        if not child:
            try:
                control.close()
                os.setsid()
                serve(request["role"], socket.socket(fileno=channel))
            finally:
                os._exit(0)
        os.close(channel)
        frames.send(control, {"pid": child})


if __name__ == "__main__":
    grow(socket.socket(fileno=int(sys.argv[1])))
