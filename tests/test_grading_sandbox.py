"""What a process in the sandbox cannot do, and what it still can."""

import asyncio
import ctypes
import errno
import fcntl
import os
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from sandbox_doors import HOME, MASTER, NAMES, PROJECT, tried
from sandboxed import WALLS, both, inside, library, linux

from course_lib.classroom.grading import sandbox, system_calls
from course_lib.classroom.grading.sandbox import LAYERS
from course_lib.datasets import load_movielens

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


@pytest.fixture(scope="module")
def doors_tried():
    """Without the sandbox, in the whole of it, and where no namespaces are allowed."""
    return {"open": tried(()), "all": tried(tuple(LAYERS)), "walls": tried(WALLS)}


@linux
@pytest.mark.parametrize("name", NAMES)
def test_a_door_that_is_open_to_others_is_shut(doors_tried, name):
    assert doors_tried["open"][name] == [], "the test tries what cannot be done anyway"
    for layers in ("all", "walls"):
        kind, number = doors_tried[layers][name]
        assert number in (errno.EPERM, errno.EACCES, errno.EXDEV), f"{layers}: {kind} {number}"


@linux
def test_every_layer_works_on_this_system():
    assert sandbox.available() == dict.fromkeys(LAYERS, "")


@linux
def test_another_program_cannot_take_its_place():
    found = inside(lambda: os.execv(sys.executable, [sys.executable, "-c", "pass"]))
    assert (found.error, found.number, found.status) == ("PermissionError", errno.EPERM, 0)


@linux
def test_root_has_no_special_rights_inside():
    def work():
        data = (ctypes.c_uint32 * 6)()
        library("capget", (ctypes.c_uint32 * 2)(0x20080522, 0), data)
        return list(data)

    assert inside(work).value == inside(work, layers=WALLS).value == [0] * 6


@linux
@both
def test_nobody_else_may_look_into_it(layers):
    seen = inside(lambda: library("prctl", 3, *(ctypes.c_ulong(0),) * 4), layers=layers)  # PR_GET_DUMPABLE
    assert seen.value == (1 if layers == WALLS else 0)


@linux
def test_a_newer_kernel_closes_the_network_and_others_with_the_files():
    parent, ear = os.getpid(), socket.create_server(("127.0.0.1", 0))
    address = ear.getsockname()

    def work():
        found = []
        for action in (lambda: socket.create_connection(address).close(), lambda: os.kill(parent, 0)):
            try:
                found.append(action())
            except PermissionError:
                found.append("refused")
        return found

    version = system_calls.landlock_version()
    expected = ["refused" if version >= since else None for since in (4, 6)]
    assert inside(work, layers=("files",)).value == expected
    ear.close()


@linux
def test_the_library_is_all_that_can_be_read_of_the_project():
    paths = sandbox.readable_paths()
    for secret in (
        MASTER,
        PROJECT / "lessons",
        PROJECT / "tests",
        HOME / ".ssh",
        Path(tempfile.gettempdir(), "x"),
        Path("/proc/1"),
    ):
        assert [p for p in paths if secret.is_relative_to(p)] == []


def test_an_environment_around_the_project_is_readable_in_parts(monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(PROJECT.parent))
    monkeypatch.setattr(sys, "base_prefix", str(PROJECT))
    assert [p for p in sandbox.readable_paths() if MASTER.is_relative_to(p)] == []


def files():
    os.mkdir("a")
    Path("a/b").write_text("x")
    os.rename("a/b", "c")
    os.mkfifo("pipe")
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"x")
    os.unlink("pipe")
    os.rmdir("a")
    return os.listdir("."), Path.home() == Path.cwd()


def threads():
    found = []
    several = [threading.Thread(target=found.append, args=(n,)) for n in range(8)]
    for thread in several:
        thread.start()
    for thread in several:
        thread.join()
    return sorted(found)


def interrupt():
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        return "interrupted"


def coroutine():
    async def later():
        return await asyncio.sleep(0.01, "later")

    return asyncio.run(later())


def learning():
    a = torch.randn(64, 64, requires_grad=True)
    (a @ a.T).trace().backward()
    return bool(torch.allclose(a.grad, 2 * a, atol=1e-4))


def figure():
    fig, axes = plt.subplots()
    axes.plot([1, 2])
    axes.set_title("title")
    fig.savefig("figure.png")
    return Path("figure.png").read_bytes()[1:4].decode()


def fresh_imports():
    import colorsys  # noqa: F401
    import sqlite3

    with sqlite3.connect("base.sqlite") as base:
        return base.execute("SELECT 6 * 7").fetchone()[0]


WORK = {
    "files in the folder": (files, [["c"], True]),
    "threads": (threads, list(range(8))),
    "an interrupt": (interrupt, "interrupted"),
    "async": (coroutine, "later"),
    "print": (lambda: print("x" * 10_000), None),
    "arrays": (lambda: float(np.linalg.inv(np.eye(3) * 2).sum()), 1.5),
    "tensors and gradients": (learning, True),
    "tables": (lambda: pd.DataFrame({"a": [1, 1, 2]}).groupby("a").size().tolist(), [2, 1]),
    "figures": (figure, "PNG"),
    "data": (lambda: len(load_movielens().table), 100_000),
    "modules that were not loaded": (fresh_imports, 42),
    "its own signals": (lambda: os.kill(os.getpid(), signal.SIGWINCH), None),
}


@linux
@both
def test_an_answer_works_as_usual(layers):
    def work():
        found = {}
        for name, (action, _) in WORK.items():
            try:
                found[name] = action()
            except Exception as error:
                found[name] = f"{type(error).__name__}: {error}"
        return found

    assert inside(work, layers=layers).value == {name: expected for name, (_, expected) in WORK.items()}


@linux
def test_an_interrupt_reaches_an_answer_though_the_grader_ignores_it():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell's background jobs do
    try:
        assert inside(interrupt).value == "interrupted"
    finally:
        signal.signal(signal.SIGINT, before)


@linux
def test_nothing_of_the_environment_is_left(monkeypatch):
    monkeypatch.setenv("TOKEN_OF_THE_TEACHER", "secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def work():
        getenv = ctypes.CDLL(None).getenv
        getenv.restype = ctypes.c_char_p
        copies = [os.environ, map(os.fsdecode, sys.modules["posix"].environ)]
        return [getenv(b"TOKEN_OF_THE_TEACHER"), *("TOKEN_OF_THE_TEACHER" in c for c in copies), os.environ["OMP_NUM_THREADS"]]

    assert inside(work).value == [None, False, False, "1"]
    assert os.environ["TOKEN_OF_THE_TEACHER"] == "secret"


@linux
def test_descriptors_are_closed_but_those_that_are_kept():
    secret = os.open(MASTER, os.O_RDONLY)
    far = fcntl.fcntl(secret, fcntl.F_DUPFD, 900)

    def work():
        found = []
        for number in range(1024):
            try:
                os.fstat(number)
                found.append(number)
            except OSError:
                continue
        return found, [os.readlink(f"/proc/self/fd/{n}") for n in range(3)]

    numbers, first = inside(work).value
    os.close(secret), os.close(far)
    assert numbers[:3] == [0, 1, 2] and len(numbers) == 4 and not {secret, far} & {*numbers}
    assert first == ["/dev/null"] * 3
