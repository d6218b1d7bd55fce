"""Work done in a sandbox, or in a plain fork, for the tests: what came of it, and whether anything is left."""

import ctypes
import json
import os
import select
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from course_lib.classroom.grading import sandbox
from course_lib.classroom.grading.sandbox import LAYERS, Limits

PATIENCE = 60  # seconds
WALLS = ("limits", "files", "calls")  # what is left where the system allows no namespaces
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these layers")
both = pytest.mark.parametrize("layers", [tuple(LAYERS), WALLS], ids=["all", "walls"])


def inside(work, *, folder=None, layers=tuple(LAYERS), limits=None, leave=False):
    """Run `work` in a sandbox: its value (through JSON), or the error's type and number; wait status and process id.

    leave: do not wait for the end; whatever `work` has begun is waited for by whoever calls.
    """
    read, write = os.pipe()
    made = folder is None and tempfile.mkdtemp()

    def target():
        try:
            said = {"value": work()}
        except Exception as error:
            said = {"error": type(error).__name__, "number": getattr(error, "errno", None), "text": str(error)}
        os.write(write, json.dumps(said).encode() + b"\n")
        if leave:
            time.sleep(PATIENCE)

    options = {"limits": limits or Limits(), "readable": sandbox.readable_paths(), "layers": layers}
    pid = sandbox.spawn(target, folder=Path(folder or made), keep=[write], **options)
    os.close(write)
    with open(read, "rb", buffering=0) as stream:
        text = b""
        while not text.endswith(b"\n") and select.select([stream], [], [], PATIENCE)[0]:
            part = stream.read(1 << 16)
            text += part
            if not part:
                break
        found = SimpleNamespace(value=None, error=None, number=None, pid=pid, status=None)
        vars(found).update(json.loads(text) if text else {})
        if leave:
            return found, os.dup(stream.fileno())
    found.status = os.waitpid(pid, 0)[1]
    if made:
        sandbox.remove_folder(Path(made))
    return found


def elsewhere(work, *, before=lambda: None):
    """The value of `work` in a plain fork of this process, for what cannot be undone."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            before()
            os.write(write, json.dumps(work()).encode())
        except BaseException as error:
            os.write(write, json.dumps(f"{type(error).__name__}: {error}").encode())
        os._exit(0)
    os.close(write)
    with open(read, "rb") as stream:
        text = stream.read()
    os.waitpid(child, 0)
    return json.loads(text)


def become_nobody():
    """Give up root's rights, where they are there; needs no privileges afterwards."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)


def library(name, *values):
    """A function of the C library; its error as Python would raise it."""
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    result = function(*values)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def gone(descriptor, seconds=5):
    """Whether nobody holds the other end of a pipe any more."""
    with open(descriptor, "rb", buffering=0) as stream:
        return bool(select.select([stream], [], [], seconds)[0]) and stream.read(1) == b""
