"""Linux's own fences, by system call: Landlock, the filter of calls, namespaces. All of them work without privileges.

Sources: landlock(7), seccomp(2), clone(2), capabilities(7), prctl(2), madvise(2).
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

from course_lib.classroom.grading import call_filter

LINUX = sys.platform == "linux"
# a call through PyDLL keeps Python's lock, so that a process copied in the middle of it is whole
LIBC = ctypes.PyDLL(None, use_errno=True) if LINUX else None
SET_DEATH_SIGNAL, SET_DUMPABLE, SET_SECCOMP, SET_NO_NEW_PRIVS = 1, 4, 22, 38
CLONE = {"x86_64": 56, "aarch64": 220}
SAME_PARENT = 0x8000  # clone's flag: the new process is a sibling
NEW = {"user": 0x10000000, "pid": 0x20000000, "net": 0x40000000, "ipc": 0x08000000, "uts": 0x04000000}
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
CAPABILITIES = 0x20080522  # version of capset's header
COLLAPSE, HUGE = 25, 2 << 20  # madvise's advice, and bytes of a huge page

EXECUTE, WRITE, READ_FILE, READ_FOLDER = 1 << 0, 1 << 1, 1 << 2, 1 << 3  # Landlock's rights
REMOVE = 1 << 4 | 1 << 5
MAKE = 1 << 7 | 1 << 8 | 1 << 10 | 1 << 12  # folders, files, named pipes, symbolic links; no devices, no sockets
MOVE, TRUNCATE, CONTROL_DEVICE = 1 << 13, 1 << 14, 1 << 15
READ = READ_FILE | READ_FOLDER
CHANGE = READ | WRITE | REMOVE | MAKE | MOVE | TRUNCATE
ON_A_FILE = EXECUTE | WRITE | READ_FILE | TRUNCATE | CONTROL_DEVICE
RIGHTS = {1: (1 << 13) - 1, 2: MOVE, 3: TRUNCATE, 5: CONTROL_DEVICE}  # version → the rights that came with it
TCP, TCP_SINCE = 0b11, 4
ABSTRACT_SOCKETS_AND_SIGNALS, SCOPES_SINCE = 0b11, 6


def die_with_parent() -> None:
    """The system kills this process as soon as its parent has ended."""
    _control(SET_DEATH_SIGNAL, signal.SIGKILL)


def forbid_looking() -> None:
    """No other process of the same user can trace this one or read its memory; no core file either."""
    _control(SET_DUMPABLE, 0)


def drop_capabilities() -> None:
    """Whatever root, or the owner of a new user namespace, may do beyond others, this process no longer may."""
    header, nothing = struct.pack("Ii", CAPABILITIES, 0), bytes(24)
    if LIBC.capset(header, nothing):
        raise _error("capset")


def sibling(names: Iterable[str]) -> int:
    """Copy this process into new namespaces of these names, as another child of its parent; 0 in the copy, else its id.

    To be called by a process of one thread that has been forked for this and does little else: handlers that libraries
    have registered for a fork do not run, and the copy should fork once more for real work. Raises OSError.
    """
    flags = SAME_PARENT | signal.SIGCHLD
    for name in names:
        flags |= NEW[name]
    number = CLONE.get(platform.machine())
    if number is None:
        raise OSError(f"namespaces are not known for {platform.machine()}")
    pid = LIBC.syscall(*map(ctypes.c_long, (number, flags, 0, 0, 0, 0)))
    if pid < 0:
        raise _error("the system allows no new user namespace")
    return pid


def use_huge_pages() -> None:
    """Gather this process's memory into pages of 2 MB, so that a fork copies hundreds of entries and not tens of thousands.

    Measured with torch imported: 33 ms a fork, then 14 ms, for 0.4 s once. A kernel that cannot (before Linux 6.1) or will
    not leaves all as it was.
    """
    if not LINUX:
        return
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, rights, _, _, inode, *_ = line.split()
        if rights == "rw-p" and inode == "0":  # of no file
            start, end = (int(number, 16) for number in place.split("-"))
            start, end = -(-start // HUGE) * HUGE, end // HUGE * HUGE
            if start < end:
                LIBC.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), ctypes.c_int(COLLAPSE))


def landlock_version() -> int:
    """0 where the kernel has no Landlock."""
    return max(0, LIBC.syscall(ctypes.c_long(LANDLOCK_CREATE), None, ctypes.c_size_t(0), ctypes.c_uint32(1)))


def restrict_files(readable: Iterable[Path], writable: Iterable[Path]) -> None:
    """From now on only `readable` can be read, and only `writable` changed; what is not there is passed over.

    Newer kernels also refuse TCP (since version 4 of Landlock), signals to processes outside and connections to their
    abstract sockets (since 6). Raises OSError.
    """
    version = landlock_version()
    if not version:
        raise OSError("the kernel has no Landlock, or it is switched off; Linux 5.13 and newer have it")
    handled = sum(rights for since, rights in RIGHTS.items() if since <= version)
    attributes = struct.pack("Q", handled)
    attributes += struct.pack("Q", TCP) if version >= TCP_SINCE else b""
    attributes += struct.pack("Q", ABSTRACT_SOCKETS_AND_SIGNALS) if version >= SCOPES_SINCE else b""
    rules = LIBC.syscall(ctypes.c_long(LANDLOCK_CREATE), attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    if rules < 0:
        raise _error("landlock_create_ruleset")
    for path in readable:
        _allow(rules, path, READ & handled)
    for path in writable:
        _allow(rules, path, CHANGE & handled)
    _control(SET_NO_NEW_PRIVS, 1)
    failed = LIBC.syscall(ctypes.c_long(LANDLOCK_RESTRICT), ctypes.c_int(rules), ctypes.c_uint32(0))
    os.close(rules)
    if failed:
        raise _error("landlock_restrict_self")


def _allow(rules: int, path: Path, rights: int) -> None:
    """Add a rule; a path that is missing or that this user cannot reach gets none, which allows nothing."""
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError, NotADirectoryError):
        return
    rights &= -1 if os.path.isdir(path) else ON_A_FILE
    rule = struct.pack("=Qi", rights, place)
    failed = LIBC.syscall(ctypes.c_long(LANDLOCK_ADD), ctypes.c_int(rules), ctypes.c_int(1), rule, ctypes.c_uint32(0))
    os.close(place)
    if failed:
        raise _error(f"landlock_add_rule for {path}")


def filter_calls() -> None:
    """From now on the calls of `call_filter` are refused, and signals reach this process alone. Raises OSError."""
    machine = platform.machine()
    if machine not in call_filter.AUDIT:
        raise OSError(f"there is no filter for {machine}, only for {' and '.join(call_filter.AUDIT)}")
    lines = call_filter.program(machine, os.getpid())
    data = call_filter.packed(lines)
    buffer = ctypes.create_string_buffer(data, len(data))
    header = struct.pack("HxxxxxxQ", len(lines), ctypes.addressof(buffer))
    _control(SET_NO_NEW_PRIVS, 1)
    if LIBC.prctl(ctypes.c_int(SET_SECCOMP), ctypes.c_ulong(2), header):
        raise _error("the kernel takes no filter of system calls")


def _control(option: int, value: int) -> None:
    if LIBC.prctl(ctypes.c_int(option), *map(ctypes.c_ulong, (value, 0, 0, 0))):
        raise _error(f"prctl {option}")


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what} ({os.strerror(number)})")
