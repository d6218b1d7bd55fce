"""A process in which a learner's code can do no harm: limits, files, system calls, processes and network, each a layer.

Made for a fork of a process that has loaded everything already, so nothing is executed anew: all is done by system calls.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import platform
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from course_lib.classroom.grading import bare, system_calls
from course_lib.config import settings

try:
    import resource
except ImportError:  # Windows
    resource = None

LAYERS = {
    "limits": "time of computing, memory, threads, size of files and open files",
    "files": "nothing is read but Python, the course's library and its data; nothing is written but one folder",
    "calls": "no other programs, no sockets, no signals to others, no change to what files are allowed",
    "processes": "other processes are out of reach, and none is left",
    "network": "no network",
}
NAMESPACES = {"processes": ("user", "pid", "ipc", "uts"), "network": ("user", "pid", "net")}
SHARED = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/usr/share/fonts",
    "/usr/share/locale", "/usr/share/i18n", "/etc/ld.so.cache", "/etc/localtime", "/etc/fonts", "/dev/null", "/dev/zero",
    "/dev/random", "/dev/urandom", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu",
)  # fmt: skip
OF_PYTHON = ("bin", "include", "lib", "lib64", "share")  # folders of an environment
LOST = 99  # exit status of a process that could not enter
ENDLESS = 1 << 62  # bytes of a folder that cannot be looked through
PAGE = 4096  # bytes that a name takes at least


class SandboxError(RuntimeError):
    """A layer that was asked for and cannot be had."""


@dataclass(frozen=True)
class Limits:
    """What the code may use: seconds of computing, bytes of memory beyond what the process had, bytes of one file.

    folder_size: bytes of all files, for whoever watches the folder; threads: counted only where the user is not root and
    the kernel counts for each user namespace (Linux 5.14), elsewhere memory bounds them.
    """

    cpu_seconds: float = 60
    memory: int = 1 << 30
    file_size: int = 16 << 20
    folder_size: int = 64 << 20
    open_files: int = 64
    threads: int = 128


def spawn(
    target: Callable[[], None],
    *,
    folder: Path,
    readable: Sequence[Path],
    limits: Limits,
    keep: Sequence[int] = (),
    layers: Sequence[str] = tuple(LAYERS),
) -> int:
    """Fork a process that enters the sandbox and runs `target`; the id of a child to wait for, or to kill by SIGKILL.

    That child ends when the target does, and takes all processes of the target with it. Its wait status: the target's 0, 1
    after an exception; after the end by signal n either that signal or 128 + n. keep: descriptors that stay open. With
    "processes" or "network" the target runs in namespaces of its own; where the system allows none, the filter of "calls"
    stands in for them. To be called where one thread runs. Raises SandboxError for a layer that cannot be had.
    """
    told, tell = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if not child:
        os.close(told)
        enter_it = functools.partial(enter, folder, readable=readable, limits=limits, layers=layers)
        _begin(target, enter_it, keep, tell, layers, limits, parent)
    os.close(tell)
    with open(told, "rb") as stream:
        said = stream.read().decode(errors="replace").splitlines()
    for line in said:
        if line.startswith("keeper "):
            os.waitpid(child, 0)
            child = int(line.split()[1])
    for line in said:
        if line.startswith("lost "):
            os.waitpid(child, 0)
            raise SandboxError(line.removeprefix("lost "))
    return child


def enter(folder: Path, *, readable: Sequence[Path], limits: Limits, keep: Sequence[int] = (), layers: Sequence[str]) -> None:
    """Shut this process in, for good; what namespaces do is `spawn`'s. Raises SandboxError for a layer that fails."""
    os.chdir(folder)
    os.umask(0o077)
    bare.signals()
    bare.environment(folder)
    bare.descriptors(keep)
    steps = {
        "limits": lambda: _limit(limits),
        "files": lambda: system_calls.restrict_files(readable, [folder, Path("/dev/null")]),
        "processes": system_calls.forbid_looking,
        "calls": lambda: (system_calls.drop_capabilities(), system_calls.filter_calls()),
    }
    for layer, step in steps.items():
        if layer in layers:
            problem = _missing(layer)
            if problem:
                raise SandboxError(f"{layer}: {problem}")
            try:
                step()
            except (OSError, ValueError) as error:
                raise SandboxError(f"{layer}: {getattr(error, 'strerror', None) or error}") from None


@functools.cache
def available() -> dict[str, str]:
    """Layer → "" where it works on this system, else why not. Each is tried once, in a process that ends."""
    found = {layer: _missing(layer) or _tried(layer) for layer in LAYERS}
    return {layer: "" if layer in NAMESPACES and not found["calls"] else why for layer, why in found.items()}


def readable_paths() -> list[Path]:
    """What an answer may read: the interpreter, its packages and libraries, the course's library and its data."""
    project = settings().project
    schemes = [sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    python = [part for path in (sys.prefix, sys.base_prefix, *schemes) for part in _apart(Path(path), project)]
    course = [project / "course_lib", project / "data", settings().cache]
    paths = dict.fromkeys([*python, *map(Path, SHARED), *course])
    return [path for path in paths if os.path.exists(path)]


def folder_bytes(folder: Path, *, enough: int = ENDLESS) -> int:
    """Bytes on the disk that a folder takes, at least a page for each name in it; counting ends at `enough`.

    A folder that cannot be listed (no rights, nested beyond the longest path) counts as endless: nobody knows what it holds.
    """
    total, waiting = 0, [os.fspath(folder)]
    while waiting and total < enough:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                        total += max(PAGE, entry.stat(follow_symlinks=False).st_blocks * 512)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    if total >= enough:
                        break
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            return ENDLESS
    return total


def remove_folder(folder: Path) -> None:
    """Remove a folder whatever lies in it: nested beyond the longest path, or without rights. OSError if something stays."""
    with contextlib.suppress(OSError):
        return os.rmdir(folder)  # most are empty
    subprocess.run(["chmod", "-R", "u+rwx", "--", folder], stderr=subprocess.DEVNULL)
    if subprocess.run(["rm", "-rf", "--", folder], stderr=subprocess.DEVNULL).returncode:
        raise OSError(f"{folder} cannot be removed; remove it by hand")


def _begin(target, enter_it, keep: Sequence[int], tell: int, layers: Sequence[str], limits: Limits, parent: int) -> NoReturn:
    """In the first child: go into namespaces, enter, run. The parent hears through `tell`, until it is closed."""
    try:
        os.setsid()
        if system_calls.LINUX and layers:
            system_calls.die_with_parent()
            if os.getppid() != parent:
                os._exit(LOST)
        if "limits" in layers:
            _volunteer()
        _separate(tell, layers, limits)
        enter_it(keep=[*keep, tell])
        os.close(tell)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(tell, f"lost {error}\n".encode())
        os._exit(LOST)
    try:
        target()
    except BaseException:
        os._exit(1)
    os._exit(0)


def _separate(tell: int, layers: Sequence[str], limits: Limits) -> None:
    """Return in a process of new namespaces, whose first process is a keeper: with it, all others end."""
    names = {name for layer in layers for name in NAMESPACES.get(layer, ())}
    if not names:
        return
    try:
        if not system_calls.LINUX:
            raise OSError(f"only Linux has namespaces, and this is {sys.platform}")
        keeper = system_calls.sibling(sorted(names))
    except OSError as error:
        if "calls" in layers:
            return
        raise SandboxError(error.strerror or str(error)) from None
    if keeper:
        os.write(tell, f"keeper {keeper}\n".encode())
        os._exit(0)
    system_calls.die_with_parent()
    system_calls.forbid_looking()
    os.write(tell, b"\n")  # fails where the parent has ended before it was listened to
    learner = os.fork()
    if learner:
        _keep(learner)
    if "limits" in layers and _version() >= (5, 14):
        count = limits.threads + 2
        resource.setrlimit(resource.RLIMIT_NPROC, (count, count))


def _keep(learner: int) -> NoReturn:
    """As the first process of the namespace: wait for the target's, and end as it ended; the kernel ends what is left."""
    try:
        bare.signals()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        bare.close_all_but(())
        ended, status = os.wait()
        while ended != learner:
            ended, status = os.wait()
        code = os.waitstatus_to_exitcode(status)
        os._exit(code if code >= 0 else 128 - code)
    finally:
        os._exit(LOST)


def _limit(limits: Limits) -> None:
    seconds = math.ceil(limits.cpu_seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    for kind, value in {"FSIZE": limits.file_size, "NOFILE": limits.open_files, "CORE": 0}.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{kind}"), (value, value))
    if not system_calls.LINUX:  # memory is not limited there: the system takes the number and ignores it
        return
    size, *_, data, _ = (int(pages) * resource.getpagesize() for pages in Path("/proc/self/statm").read_text().split())
    resource.setrlimit(resource.RLIMIT_DATA, (data + limits.memory,) * 2)
    resource.setrlimit(resource.RLIMIT_AS, (size + 2 * limits.memory,) * 2)  # for what RLIMIT_DATA does not count


def _volunteer() -> None:
    """Where the machine's memory is short, this process ends first."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _missing(layer: str) -> str:
    """Why this system cannot have a layer, as far as its name tells."""
    if not hasattr(os, "fork"):
        return f"it needs processes that fork, and {sys.platform} has none"
    return "" if layer == "limits" or system_calls.LINUX else f"only Linux has it, and this is {sys.platform}"


def _tried(layer: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        try:
            child = spawn(lambda: None, folder=Path(folder), readable=readable_paths(), limits=Limits(), layers=[layer])
        except (OSError, SandboxError) as error:
            return str(error).removeprefix(f"{layer}: ")
        status = os.waitpid(child, 0)[1]
    return "" if status == 0 else f"a process that entered it ended with status {status}"


def _apart(path: Path, project: Path) -> list[Path]:
    """A folder of the interpreter's; one that holds the project, and with it the solutions, is given in parts."""
    return [path / name for name in OF_PYTHON] if project.is_relative_to(path) else [path]


def _version() -> tuple[int, int]:
    major, minor, *_ = platform.release().split(".")
    return int(major), int(minor.split("-")[0])
