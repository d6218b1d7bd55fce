"""Doors that are open to every process, and shut to one in the sandbox. None of them does harm where it is open."""

import ctypes
import errno
import fcntl
import os
import resource
import socket
import subprocess
import tempfile
from pathlib import Path

from sandboxed import inside, library

from course_lib.classroom.grading import system_calls
from course_lib.config import settings

PROJECT, HOME = settings().project, Path.home()
MASTER = PROJECT / "solutions" / "04_dot_product.py"


def child_of(fork):
    """Fork, and let the child end at once."""
    pid = fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def demand(status):
    if status:
        raise PermissionError(errno.EPERM, "it did not run")


def own_memory():
    """Read four bytes of this process as those of another would be read."""
    data = ctypes.create_string_buffer(b"abcd", 4)
    into = ctypes.create_string_buffer(4)
    here, there = ((ctypes.c_void_p * 2)(ctypes.addressof(b), 4) for b in (into, data))
    library("process_vm_readv", os.getpid(), here, ctypes.c_ulong(1), there, ctypes.c_ulong(1), ctypes.c_ulong(0))


def doors(outside, parent):
    """Name → something that a process may do, and a sandboxed one may not. None of it does harm where it succeeds."""
    file, here = outside / "file", resource.RLIMIT_CORE
    return {
        "read a solution": lambda: open(MASTER).read(1),
        "list the tests": lambda: os.listdir(PROJECT / "tests"),
        "list the home folder": lambda: os.listdir(HOME),
        "list the folder with other learners' folders": lambda: os.listdir(".."),
        "read names of users": lambda: open("/etc/passwd").read(1),
        "list processes": lambda: os.listdir("/proc"),
        "read its own environment as it was": lambda: open("/proc/self/environ").read(1),
        "read another's environment": lambda: open(f"/proc/{parent}/environ").read(1),
        "write a file outside": lambda: open(outside / "new", "w").close(),
        "write in shared memory": lambda: tempfile.TemporaryFile(dir="/dev/shm").close(),
        "write a file of the library": lambda: open(PROJECT / "course_lib" / "__init__.py", "r+b").close(),
        "remove a file outside": lambda: os.unlink(outside / "victim"),
        "link a file from outside": lambda: os.link(file, "linked"),
        "move a file out": lambda: (open("mine", "w").close(), os.rename("mine", outside / "mine")),
        "follow a link out": lambda: (os.symlink(outside, "way"), os.listdir("way")),
        "cut a file by its name": lambda: os.truncate(file, 4),
        "change a mode": lambda: os.chmod(file, 0o600),
        "change an owner": lambda: os.chown(file, -1, -1),
        "change times": lambda: os.utime(file),
        "watch a folder": lambda: library("inotify_add_watch", library("inotify_init"), os.fsencode(outside), 2),
        "hold files in memory": lambda: os.close(os.memfd_create("x")),
        "open a socket": lambda: socket.socket(socket.AF_INET).close(),
        "open a socket for datagrams": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close(),
        "open a socket of this machine": lambda: socket.socket(socket.AF_UNIX).close(),
        "open a socket below Python": lambda: os.close(library("socket", 2, 1, 0)),
        "pair of sockets for datagrams": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM),
        "fork": lambda: child_of(os.fork),
        "fork below Python": lambda: child_of(lambda: library("fork")),
        "clone": lambda: child_of(lambda: library("syscall", *(ctypes.c_long(n) for n in (clone(), 17, 0, 0, 0, 0)))),
        "run a program": lambda: subprocess.run(["true"], check=True),
        "run a program in a shell": lambda: demand(os.system("true")),
        "spawn a program": lambda: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0),
        "signal the parent": lambda: os.kill(parent, 0),
        "signal its group": lambda: os.kill(0, 0),
        "signal everybody": lambda: os.kill(-1, 0),
        "open a process": lambda: os.close(os.pidfd_open(os.getpid())),
        "read a process's memory": own_memory,
        "let a descriptor send signals": lambda: fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, os.getpid()),
        "change limits": lambda: resource.prlimit(0, here, resource.prlimit(0, here)),
        "change a priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0)),
        "choose processors": lambda: os.sched_setaffinity(0, os.sched_getaffinity(0)),
        "outlive the parent": lambda: library("prctl", 1, *(ctypes.c_ulong(0),) * 4),
        "leave what it shares": lambda: library("unshare", 0x400),
        "change its personality": lambda: library("personality", ctypes.c_ulong(0xFFFFFFFF)),
    }


def clone():
    return system_calls.CLONE[os.uname().machine]


NAMES = list(doors(Path(), 0))


def tried(layers):
    """Name of a door → [] where it was open, else the error's type and number."""
    with tempfile.TemporaryDirectory() as place:
        outside, folder = Path(place, "outside"), Path(place, "folder")
        outside.mkdir(), folder.mkdir()
        (outside / "file").write_text("text"), (outside / "victim").touch()
        (outside / "file").chmod(0o600)
        parent = os.getpid()

        def work():
            found = {}
            for name, door in doors(outside, parent).items():
                try:
                    door()
                    found[name] = []
                except Exception as error:
                    found[name] = [type(error).__name__, getattr(error, "errno", None)]
            return found

        found = inside(work, folder=folder, layers=layers).value
        assert (outside / "file").read_text() == "text"
        return found
