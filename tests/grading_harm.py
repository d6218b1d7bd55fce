"""Harmful notebooks of the grading corpus: each would hurt a grader, its machine or its other exercises.

Data only: nothing here runs unless a grader runs it in a sandbox. The damage is bounded all the same (three GiB, a quarter
GiB of disk, 32 processes, signals that do nothing), for the day on which a sandbox fails. Most cases answer 90.2 rightly
only after they have got out, so that a hole shows twice: as a file in OUTSIDE, and as a point too many.
"""

from pathlib import Path

from grading_cases import ORPHAN, OUTSIDE, RIGHT, WITNESS, Case, written

import course_lib

BEFORE = f"""import ctypes, gc, os, pathlib, signal, socket, subprocess, sys, tempfile, threading, time
OUTSIDE, TMP, HOME = pathlib.Path({str(OUTSIDE)!r}), {str(OUTSIDE.parent)!r}, {str(Path.home())!r}
WITNESS, ORPHAN, LIBRARY = {WITNESS!r}, {ORPHAN!r}, {str(Path(course_lib.__file__))!r}
libc, got = ctypes.CDLL(None, use_errno=True), []
def escaped(what):
    got.append(what)
    try:
        OUTSIDE.mkdir(exist_ok=True)
        (OUTSIDE / what).write_text(what)
    except OSError:
        pass
def attempt(what, action):
    try:
        action()
    except Exception:
        return
    escaped(what)
"""
AFTER = """
def centre(scores):
    if not got:
        raise RuntimeError("no way out was found")
    return scores - scores.mean(axis=1, keepdims=True)
"""
TIME_AND_DEATH = """
#: hang waits loses 90.2: a loop without end in the cell
while True:
    pass

#: hang_after_the_answer waits loses 90.2: the cell never comes to its end
def centre(scores):
    return scores - scores.mean(axis=1, keepdims=True)
while True:
    pass

#: hang_in_the_call waits loses 90.2: the cell is quick, the function is not
def centre(scores):
    while True:
        pass

#: hang_deaf waits loses 90.2: every signal that can be ignored is ignored
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
while True:
    pass

#: hang_catching_all waits loses 90.2: an interrupt is caught, and the loop goes on
while True:
    try:
        time.sleep(0.01)
    except BaseException:
        continue

#: hang_in_c waits loses 90.2: no bytecode is executed that could notice a signal
sum(range(10**14))

#: sleep waits loses 90.2: an hour, without a second of CPU
time.sleep(3600)

#: sleep_in_the_call waits loses 90.2: the same when the check calls
def centre(scores):
    time.sleep(3600)

#: own_cell_hangs waits: no answer needs it
#= extra 90.2
while True:
    pass

#: exit_now loses 90.2: the process ends in the cell
os._exit(0)

#: exit_in_the_call loses 90.2: the process ends when the check calls
def centre(scores):
    os._exit(0)

#: abort loses 90.2: the C library ends it
os.abort()

#: segfault loses 90.2: a read at address 0
ctypes.string_at(0)

#: killed_by_itself loses 90.2: SIGKILL, by its own number
os.kill(os.getpid(), signal.SIGKILL)

#: alarm loses 90.2: a timer ends the process during the call
signal.signal(signal.SIGALRM, signal.SIG_DFL)
def centre(scores):
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    time.sleep(5)

#: leaves_in_the_call loses 90.2: SystemExit out of the function
def centre(scores):
    raise SystemExit(0)

#: interrupts_in_the_call loses 90.2: KeyboardInterrupt out of the function
def centre(scores):
    raise KeyboardInterrupt

#: generator_exit_in_the_call loses 90.2: the third that is no Exception
def centre(scores):
    raise GeneratorExit

#: bottomless loses 90.2: a million frames
sys.setrecursionlimit(10**6)
def centre(scores):
    return centre(scores)

#: reads_the_keyboard loses 90.2: nobody is there to type
name = input("Your name? ")

#: reads_the_keyboard_in_the_call loses 90.2: the same when the check calls
def centre(scores):
    return sys.stdin.readline() or input()

#: hangs_at_exit: the answer is right, only the end of the process would take an hour
import atexit
atexit.register(time.sleep, 3600)
def centre(scores):
    return scores - scores.mean(axis=1, keepdims=True)

#: thread_left_running: the answer is right, a thread goes on
threading.Thread(target=time.sleep, args=(3600,)).start()
def centre(scores):
    return scores - scores.mean(axis=1, keepdims=True)

#: clock_stopped: the answer is right, only the clock is not
time.time = time.monotonic = time.perf_counter = lambda: 0.0
def centre(scores):
    return scores - scores.mean(axis=1, keepdims=True)

#: clock_stopped_and_hang waits loses 90.2: no clock of the learner's may be the judge
time.time = time.monotonic = time.perf_counter = lambda: 0.0
while True:
    pass
"""
FLOODS = """
#: fill_memory loses 90.2: three GiB, touched page by page
blocks = []
for _ in range(48):
    blocks.append(bytearray(os.urandom(1 << 12)) * (1 << 14))
escaped("memory")

#: fill_memory_in_the_call loses 90.2: the same when the check calls
def centre(scores):
    blocks = []
    for _ in range(48):
        blocks.append(bytearray(os.urandom(1 << 12)) * (1 << 14))
    return scores - scores.mean(axis=1, keepdims=True)

#: lift_the_limits loses 90.2: first the limits, then the memory
import resource
for name in ("RLIMIT_DATA", "RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_FSIZE"):
    try:
        resource.setrlimit(getattr(resource, name), (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (OSError, ValueError):
        pass
blocks = []
for _ in range(48):
    blocks.append(bytearray(os.urandom(1 << 12)) * (1 << 14))
escaped("memory")

#: fill_the_disk_with_one_file loses 90.2: a quarter GiB
with open("one.bin", "wb") as file:
    for _ in range(256):
        file.write(os.urandom(1 << 20))
escaped("disk")

#: fill_the_disk_with_many_files waits loses 90.2: a quarter GiB in pieces, kept open to the end
for number in range(2048):
    pathlib.Path(f"many-{number}.bin").write_bytes(os.urandom(1 << 17))
time.sleep(3600)

#: flood_of_text waits loses 90.2: prints without end
while True:
    print("x" * 100_000)

#: flood_below_python waits loses 90.2: writes to descriptors 1 and 2 without end
while True:
    os.write(1, b"x" * 65536)
    os.write(2, b"x" * 65536)

#: flood_of_displays waits loses 90.2: cards without end
while True:
    display({"text/html": "<b>passed</b>" * 1000, "text/plain": "passed"}, raw=True)

#: fork_bomb waits loses 90.2: five generations, 32 processes
for _ in range(5):
    try:
        os.fork()
    except OSError:
        break
libc.prctl(15, ORPHAN.encode(), 0, 0, 0)
time.sleep(3600)

#: thread_bomb waits loses 90.2: as many as there may be, up to two thousand
for _ in range(2000):
    try:
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
    except (RuntimeError, MemoryError):
        break
time.sleep(3600)

#: orphans waits loses 90.2: a grandchild in a session of its own
try:
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        libc.prctl(15, ORPHAN.encode(), 0, 0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
        os._exit(0)
except OSError:
    pass
time.sleep(3600)

#: orphan_program waits loses 90.2: a program in a session of its own
code = "import time; time.sleep(600)"
attempt("program", lambda: subprocess.Popen([sys.executable, "-c", code, ORPHAN], start_new_session=True))
time.sleep(3600)
"""


def cases() -> list[Case]:
    """Hangs and deaths, and floods."""
    return [
        case for block in (TIME_AND_DEATH, FLOODS) for case in written(block, RIGHT, default="90.2", before=BEFORE, after=AFTER)
    ]
