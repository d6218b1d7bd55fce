"""Notebooks of the grading corpus that look for a way out: files, processes, the network, the grader's own descriptors.

Each only tries the door: it opens without writing, sends SIGCONT in place of SIGKILL, sets what is set already. Who may do
that may do the rest.
"""

from grading_cases import RIGHT, Case, written
from grading_harm import AFTER, BEFORE

FILES = """
#: write_outside loses 90.2: files without a name, in folders that others use
for place in (TMP, "/dev/shm", "/var/tmp", HOME, os.path.dirname(LIBRARY)):
    attempt("write", lambda: tempfile.TemporaryFile(dir=place))

#: write_where_the_corpus_looks loses 90.2: nothing but the mark itself
OUTSIDE.mkdir(exist_ok=True)
got.append((OUTSIDE / "mark").write_text("mark"))

#: open_the_library_for_writing loses 90.2: nothing is written, it would be possible
attempt("library", lambda: open(LIBRARY, "r+b").close())

#: change_modes_outside loses 90.2: mode and times of a file of the library, set to what they are
there = os.stat(LIBRARY)
attempt("mode", lambda: os.chmod(LIBRARY, there.st_mode & 0o7777))
attempt("times", lambda: os.utime(LIBRARY, ns=(there.st_atime_ns, there.st_mtime_ns)))

#: links_out_of_the_folder loses 90.2: a symbolic link to the home folder, a hard one to the library
attempt("hard", lambda: os.link(LIBRARY, "library.py"))
os.symlink(HOME, "home")
attempt("soft", lambda: os.listdir("home"))

#: read_home loses 90.2: the names in the home folder of whoever grades
attempt("home", lambda: os.listdir(HOME))

#: read_the_neighbours loses 90.2: the folder in which other learners' folders lie
attempt("neighbours", lambda: os.listdir(".."))

#: read_the_environment loses 90.2: a variable that the grader may have
libc.getenv.restype = ctypes.c_char_p
if WITNESS in os.environ or libc.getenv(WITNESS.encode()):
    escaped("environment")
attempt("block", lambda: open("/proc/self/environ", "rb").read().index(WITNESS.encode()))

#: read_other_processes loses 90.2: one byte of what the system tells about the grader
try:
    seen = {int(name) for name in os.listdir("/proc") if name.isdigit()}
except OSError:
    seen = set()
for pid in seen | {os.getppid()}:
    if pid not in (0, os.getpid()):
        attempt("environ", lambda: open(f"/proc/{pid}/environ", "rb").read(1)[0])
        attempt("maps", lambda: open(f"/proc/{pid}/maps", "rb").read(1)[0])
        attempt("memory", lambda: open(f"/proc/{pid}/mem", "r+b").close())

#: files_for_the_grader: the answer is right, and files lie about that a careless grader would run
code = f"import os; os.makedirs({str(OUTSIDE)!r}, exist_ok=True); open({str(OUTSIDE / 'ran')!r}, 'w').close()"
os.makedirs("course_lib", exist_ok=True)
for name in ("conftest.py", "sitecustomize.py", "usercustomize.py", "numpy.py", "json.py", "course_lib/__init__.py"):
    pathlib.Path(name).write_text(code)
pathlib.Path("start.pth").write_text(code)
def centre(scores):
    return scores - scores.mean(axis=1, keepdims=True)

#: folder_hard_to_remove: the answer is right; folders in folders, one that cannot be changed, a pipe that nobody feeds
here = os.getcwd()
os.mkfifo("90_sheet.ipynb")
os.mkdir("locked", 0o500)
for _ in range(100):
    os.mkdir("deeper")
    os.chdir("deeper")
os.chdir(here)
def centre(scores):
    return scores - scores.mean(axis=1, keepdims=True)
"""
PROCESSES = """
#: signal_the_parent loses 90.2: by number, and by descriptor
if os.getppid() > 1:
    attempt("kill", lambda: os.kill(os.getppid(), signal.SIGCONT))
    attempt("pidfd", lambda: signal.pidfd_send_signal(os.pidfd_open(os.getppid()), signal.SIGCONT))

#: signal_everybody loses 90.2: all processes at once, and a group that is not its own
attempt("all", lambda: os.kill(-1, signal.SIGCONT))
if os.getpgrp() != os.getpid():
    attempt("group", lambda: os.kill(0, signal.SIGCONT))

#: settings_of_the_parent loses 90.2: priority, cores and limits, set to what they are
import resource
parent = os.getppid()
if parent > 1:
    attempt("priority", lambda: os.setpriority(os.PRIO_PROCESS, parent, os.getpriority(os.PRIO_PROCESS, parent)))
    attempt("cores", lambda: os.sched_setaffinity(parent, os.sched_getaffinity(parent)))
    core = resource.RLIMIT_CORE
    attempt("limits", lambda: resource.prlimit(parent, core, resource.prlimit(parent, core)))

#: trace_the_parent loses 90.2: as a debugger would
if os.getppid() > 1 and libc.ptrace(0x4206, os.getppid(), None, None) == 0:
    escaped("ptrace")

#: fork loses 90.2: one child, which ends at once
def child():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
attempt("fork", child)

#: fork_below_python loses 90.2: through the C library
pid = libc.fork()
if pid == 0:
    libc._exit(0)
if pid > 0:
    os.waitpid(pid, 0)
    escaped("fork")

#: programs loses 90.2: five ways to start one
def demand(code):
    if code != 0:
        raise OSError("it did not run")
attempt("run", lambda: demand(subprocess.run(["true"], capture_output=True).returncode))
attempt("system", lambda: demand(os.system("true")))
attempt("libc", lambda: demand(libc.system(b"true")))
attempt("spawn", lambda: demand(os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)[1]))
attempt("popen", lambda: demand(os.popen("true").close() or 0))

#: become_another_program loses 90.2: one without the filter would be free
code = f"import os; os.makedirs({str(OUTSIDE)!r}, exist_ok=True); open({str(OUTSIDE / 'exec')!r}, 'w').close()"
os.execv(sys.executable, [sys.executable, "-c", code])

#: worker_processes loses 90.2: a pool, as a library would start it
import multiprocessing
def work():
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.map(abs, [1])
attempt("pool", work)

#: new_namespaces loses 90.2: whoever is root in one of their own may mount
if libc.unshare(0x10000000) == 0:
    escaped("unshare")
"""
NETWORK = """
#: network loses 90.2: a connection to itself, by TCP
def meet(family, address):
    with socket.socket(family) as ear, socket.socket(family) as mouth:
        ear.bind((address, 0))
        ear.listen()
        mouth.settimeout(2)
        mouth.connect(ear.getsockname())
attempt("tcp", lambda: meet(socket.AF_INET, "127.0.0.1"))
attempt("tcp6", lambda: meet(socket.AF_INET6, "::1"))

#: network_by_datagram loses 90.2: a letter to itself, by UDP
def post():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as box:
        box.bind(("127.0.0.1", 0))
        box.settimeout(2)
        box.sendto(b"hello", box.getsockname())
        box.recv(5)
attempt("udp", post)

#: network_below_python loses 90.2: the same connection through the C library
def meet():
    ear, mouth = (socket.socket(fileno=libc.socket(2, 1, 0)) for _ in range(2))
    ear.bind(("127.0.0.1", 0))
    ear.listen()
    mouth.connect(ear.getsockname())
attempt("tcp", meet)
"""
DESCRIPTORS = """
#: junk_to_descriptors loses 90.2: whoever listens there hears noise
def centre(scores):
    for number in (0, *range(3, 64)):
        try:
            os.write(number, b'{"state": "passed", "exercise": "90.2"}\\n' + b"\\xff\\x00" * 1000)
        except OSError:
            pass

#: claims_on_descriptors loses 90.2: four billion bytes are announced, as most protocols would
def centre(scores):
    for number in (0, *range(3, 64)):
        try:
            os.write(number, b"\\xff\\xff\\xff\\xff" * 4)
        except OSError:
            pass

#: listens_on_descriptors loses 90.2: takes what was meant for another
def centre(scores):
    for number in (0, *range(3, 64)):
        try:
            os.set_blocking(number, False)
            os.read(number, 1 << 20)
        except OSError:
            pass

#: closes_descriptors loses 90.2: all of them, during the call
def centre(scores):
    os.closerange(0, 4096)
    return scores - scores.mean(axis=1, keepdims=True)

#: closes_descriptors_in_the_cell loses 90.2: all of them, before any call
os.closerange(0, 4096)

#: shuts_sockets loses 90.2: for whoever else holds them, too
def centre(scores):
    for thing in gc.get_objects():
        if isinstance(thing, socket.socket):
            try:
                thing.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
    return scores - scores.mean(axis=1, keepdims=True)
"""


def cases() -> list[Case]:
    """Every door, one after the other."""
    blocks = (FILES, PROCESSES, NETWORK, DESCRIPTORS)
    return [case for block in blocks for case in written(block, RIGHT, default="90.2", before=BEFORE, after=AFTER)]
