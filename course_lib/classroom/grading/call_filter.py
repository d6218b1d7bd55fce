"""Which system calls an answer may make, as a program for Linux's seccomp filter (Linux's seccomp_filter.rst, seccomp(2)).

What is listed here is refused with EPERM, what is newer than the list with ENOSYS, and everything else is let through.
"""

from __future__ import annotations

import struct

AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # the kernel's names of the machines
NEWEST = 451  # higher numbers are of calls that nobody has judged yet; libraries do without them
SECOND_SET = 0x40000000  # x86_64's x32 numbers begin here

# name x86_64 aarch64; a machine without the call has "-" (asm/unistd_64.h and asm-generic/unistd.h of Linux 6)
PROGRAMS = "fork 57 -, vfork 58 -, execve 59 221, execveat 322 281"
OTHER_PROCESSES = """
ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271, kcmp 312 272, process_madvise 440 440,
process_mrelease 448 448, tkill 200 130, rt_sigqueueinfo 129 138, rt_tgsigqueueinfo 297 240, pidfd_open 434 434,
pidfd_send_signal 424 424, pidfd_getfd 438 438, setpriority 141 140, ioprio_set 251 30, sched_setscheduler 144 119,
sched_setparam 142 118, sched_setattr 314 274, sched_setaffinity 203 122, migrate_pages 256 238, move_pages 279 239,
setrlimit 160 164, shmget 29 194, shmat 30 196, shmctl 31 195, msgget 68 186, msgsnd 69 189, msgrcv 70 188, msgctl 71 187,
semget 64 190, semop 65 193, semtimedop 220 192, semctl 66 191, mq_open 240 180, mq_unlink 241 181
"""
NETWORK = "socket 41 198, connect 42 203, accept 43 202, accept4 288 242, bind 49 200, listen 50 201"
FILES_BY_NAME = """
truncate 76 45, chmod 90 -, fchmod 91 52, fchmodat 268 53, chown 92 -, fchown 93 55, lchown 94 -, fchownat 260 54,
setxattr 188 5, lsetxattr 189 6, fsetxattr 190 7, removexattr 197 14, lremovexattr 198 15, fremovexattr 199 16, utime 132 -,
utimes 235 -, futimesat 261 -, utimensat 280 88, name_to_handle_at 303 264,
open_by_handle_at 304 265, inotify_add_watch 254 27, fanotify_init 300 262, fanotify_mark 301 263, memfd_create 319 279,
memfd_secret 447 447
"""  # Landlock watches what is opened, made and removed, but not these
SYSTEM = """
mount 165 40, umount2 166 39, pivot_root 155 41, move_mount 429 429, open_tree 428 428, fsopen 430 430, fsconfig 431 431,
fsmount 432 432, fspick 433 433, mount_setattr 442 442, chroot 161 51, unshare 272 97, setns 308 268, bpf 321 280,
perf_event_open 298 241, userfaultfd 323 282, keyctl 250 219, add_key 248 217, request_key 249 218, io_uring_setup 425 425,
io_uring_enter 426 426, io_uring_register 427 427, personality 135 92, kexec_load 246 104, kexec_file_load 320 294,
init_module 175 105, finit_module 313 273, delete_module 176 106, reboot 169 142, swapon 167 224, swapoff 168 225,
acct 163 89, quotactl 179 60, quotactl_fd 443 443, syslog 103 116, settimeofday 164 170, clock_settime 227 112,
clock_adjtime 305 266, adjtimex 159 171, sethostname 170 161, setdomainname 171 162, vhangup 153 58, iopl 172 -,
ioperm 173 -, modify_ldt 154 -, uselib 134 -, lookup_dcookie 212 18
"""
REFUSED = ",".join((PROGRAMS, OTHER_PROCESSES, NETWORK, FILES_BY_NAME, SYSTEM))
CONDITIONAL = """
clone 56 220, clone3 435 435, socketpair 53 199, kill 62 129, tgkill 234 131, prlimit64 302 261, fcntl 72 25, ioctl 16 29,
prctl 157 167
"""

THREAD = 0x10000  # clone's flag for a thread of the same process
STREAM, KIND = 1, 0xF  # of a socket, and the bits that tell
OWNER_OF_SIGNALS = (8, 10, 15)  # fcntl: whom a descriptor signals, and with which signal
OWNER_OR_TERMINAL = (0x8901, 0x8902, 0x5412, 0x541C)  # ioctl: the same, and typing into a terminal
DEATH_SIGNAL, DUMPABLE, TRACER = 1, 4, 0x59616D61  # prctl: what makes a process outlive its parent, or be looked into

LOAD, MASK, EQUAL, AT_LEAST, ANY_BIT, ANSWER = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL, NOT_PERMITTED, NO_SUCH_CALL = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
CALL, MACHINE, ARGUMENTS = 0, 4, 16  # places in the kernel's struct seccomp_data; an argument has 8 bytes, low half first

Line = tuple[int, int, int, int]  # code, lines to skip if true, lines to skip if false, value


def numbers(machine: str) -> tuple[dict[str, int], dict[str, int]]:
    """Name → number of the calls that are refused, and of those that depend on their arguments. KeyError: no such machine."""
    column = {"x86_64": 1, "aarch64": 2}[machine]
    tables = ([row.split() for row in table.split(",")] for table in (REFUSED, CONDITIONAL))
    refused, conditional = ({row[0]: int(row[column]) for row in rows if row[column] != "-"} for rows in tables)
    return refused, conditional


def program(machine: str, own: int) -> list[Line]:
    """Filter for a process with the id `own`, the only one that it may signal. Another machine's calls end the process."""
    refused, conditional = numbers(machine)
    lines = [(LOAD, 0, 0, MACHINE), (EQUAL, 1, 0, AUDIT[machine]), (ANSWER, 0, 0, KILL), (LOAD, 0, 0, CALL)]
    lines += [(AT_LEAST, 0, 1, SECOND_SET), (ANSWER, 0, 0, KILL)]
    lines += [(AT_LEAST, 0, 1, NEWEST + 1), (ANSWER, 0, 0, NO_SUCH_CALL)]
    for number in sorted(refused.values()):
        lines += [(EQUAL, 0, 1, number), (ANSWER, 0, 0, NOT_PERMITTED)]
    lines += [(EQUAL, 0, 1, conditional["clone3"]), (ANSWER, 0, 0, NO_SUCH_CALL)]  # its flags cannot be seen; clone is taken
    lines += _if_called(conditional["clone"], [(LOAD, 0, 0, _low(0)), *_only(ANY_BIT, THREAD)])
    domain_and_kind = [(LOAD, 0, 0, _low(0)), (EQUAL, 1, 0, 1), (ANSWER, 0, 0, NOT_PERMITTED)]
    domain_and_kind += [(LOAD, 0, 0, _low(1)), (MASK, 0, 0, KIND), *_only(EQUAL, STREAM)]  # a datagram could go elsewhere
    lines += _if_called(conditional["socketpair"], domain_and_kind)
    for name in ("kill", "tgkill"):
        lines += _if_called(conditional[name], [(LOAD, 0, 0, _low(0)), *_only(EQUAL, own)])
    no_new_limit = [(LOAD, 0, 0, _low(2)), (EQUAL, 1, 0, 0), (ANSWER, 0, 0, NOT_PERMITTED)]
    lines += _if_called(conditional["prlimit64"], [*no_new_limit, (LOAD, 0, 0, _low(2) + 4), *_only(EQUAL, 0)])
    lines += _if_called(conditional["fcntl"], [(LOAD, 0, 0, _low(1)), *_all_but(OWNER_OF_SIGNALS)])
    lines += _if_called(conditional["ioctl"], [(LOAD, 0, 0, _low(1)), *_all_but(OWNER_OR_TERMINAL)])
    lines += _if_called(conditional["prctl"], [(LOAD, 0, 0, _low(0)), *_all_but((DEATH_SIGNAL, DUMPABLE, TRACER))])
    return [*lines, (ANSWER, 0, 0, ALLOW)]


def packed(lines: list[Line]) -> bytes:
    """As the kernel reads it: struct sock_filter, one after the other."""
    return b"".join(struct.pack("HBBI", *line) for line in lines)


def _low(argument: int) -> int:
    """Place of an argument's lower 32 bits; both machines are little-endian."""
    return ARGUMENTS + 8 * argument


def _if_called(number: int, lines: list[Line]) -> list[Line]:
    """Lines for one call, which end in an answer; the call's number stays loaded for what follows."""
    return [(EQUAL, 0, len(lines), number), *lines]


def _only(test: int, value: int) -> list[Line]:
    return [(test, 1, 0, value), (ANSWER, 0, 0, NOT_PERMITTED), (ANSWER, 0, 0, ALLOW)]


def _all_but(values: tuple[int, ...]) -> list[Line]:
    refusals = [line for value in values for line in ((EQUAL, 0, 1, value), (ANSWER, 0, 0, NOT_PERMITTED))]
    return [*refusals, (ANSWER, 0, 0, ALLOW)]
