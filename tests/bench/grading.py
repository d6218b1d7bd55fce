"""`course grade` beside `nbgrader autograde`: the same twenty notebooks of a small sheet that imports torch, in one run.

python tests/bench/grading.py → tests/bench/GRADING.md; nbgrader's environment: python tests/nbgrader_environment.py
"""

import csv
import datetime
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import psutil

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import nbgrader_environment  # noqa: E402
from grading_cases import POINTS, RIGHT, WRONG, as_bytes, filled  # noqa: E402
from grading_sheet import NAME, SHEET  # noqa: E402

from course_lib.classroom import masters  # noqa: E402
from course_lib.classroom.nbgrader import write_course  # noqa: E402

CLASS = [number for number in range(32) if number & 1 or number < 16][:20]  # 90.5 builds on 90.1: right only with it
NEEDED = 4.0
GLANCE = 2.0  # seconds between two looks at the memory, which hold up whoever forks
IMPORTS = "import pandas as pd\n"
TORCH = f"{IMPORTS}import torch\n"
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}


def earned(number):
    """Points of learner `number`; the binary digits say which exercises are right."""
    return sum(points for place, points in enumerate(POINTS.values()) if number >> place & 1)


def handed_in(number):
    """A learner's notebook; no two have the same cells, so that no verdict can be taken from another's."""
    answers = {exercise: (RIGHT if number >> place & 1 else WRONG)[exercise] for place, exercise in enumerate(POINTS)}
    notebook = filled({exercise: f"{source}\n# {number}" for exercise, source in answers.items()})
    for cell in notebook["cells"]:
        cell["source"] = cell["source"].replace(IMPORTS, TORCH)
    return as_bytes(notebook)


def prepare(folder):
    """A course folder of nbgrader's with what the class handed in; the master beside it."""
    (folder / "solutions").mkdir()
    (folder / "solutions" / f"{NAME}.py").write_text(SHEET.replace(IMPORTS, TORCH), encoding="utf-8")
    write_course([], folder, root=folder)
    for number in CLASS:
        path = folder / "submitted" / f"learner{number}" / NAME / f"{NAME}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_bytes(handed_in(number))
    nbgrader(folder, "generate_assignment", NAME)


def nbgrader(folder, *arguments):
    """The command line for a command of nbgrader, run to its end."""
    _, _, _, done = watched([nbgrader_environment.find(), "-m", "nbgrader", *arguments], folder)
    return done


def ours(folder, jobs):
    """The batch that `course grade` runs, in this process: learner → points, as JSON."""
    from course_lib.classroom.grading.attempts import Rules
    from course_lib.classroom.grading.batch import grade
    from course_lib.classroom.grading.journal import Journal
    from course_lib.classroom.grading.submissions import collect

    known = {NAME: masters.load(folder / "solutions" / f"{NAME}.py")}
    journal = Journal(folder / "journal.jsonl")
    graded = grade(collect([folder / "submitted"], lessons=[NAME]), masters=known, journal=journal, rules=Rules(), jobs=jobs)
    print(json.dumps({one.learner: one.earned for one in graded}))


def memory(tree):
    """MB of a process and all below it; pages that several share are counted once (PSS)."""
    total = 0
    for process in [tree, *tree.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except (psutil.Error, AttributeError):
            continue
    return total / 1e6


def watched(command, folder):
    """(CPU seconds of all processes, wall seconds, peak MB, standard output) of a command that ends well."""
    environment = nbgrader_environment.variables(folder) | ONE_THREAD
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        start = time.monotonic()
        started = subprocess.Popen(list(map(str, command)), cwd=folder, env=environment, stdout=out, stderr=errors)
        tree, peak, pid = psutil.Process(started.pid), 0.0, 0
        while not pid:
            time.sleep(GLANCE)
            pid, status, used = os.wait4(started.pid, os.WNOHANG)
            peak = max(peak, memory(tree) if not pid else 0.0)
        seconds, started.returncode = time.monotonic() - start, os.waitstatus_to_exitcode(status)
        out.seek(0), errors.seek(0)
        if started.returncode:
            sys.exit(f"{command[1:4]} ended with {started.returncode}:\n{errors.read().decode()[-2000:]}")
        return used.ru_utime + used.ru_stime, seconds, peak, out.read().decode()


def main():
    """Grade the class by both, hold the marks against each other, write the table."""
    if nbgrader_environment.find() is None:
        sys.exit("nbgrader's environment is missing or old: run `python tests/nbgrader_environment.py`")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        found = {}
        for jobs, name in ((1, "course grade, 1 job"), (2, "course grade, 2 jobs")):
            own = watched([sys.executable, Path(__file__).resolve(), "ours", folder, jobs], folder)
            (folder / "journal.jsonl").unlink()
            found[name] = own, json.loads(own[3].splitlines()[-1])
        theirs = watched([nbgrader_environment.find(), "-m", "nbgrader", "autograde", NAME], folder)
        nbgrader(folder, "export", "--to", "grades.csv")
        rows = csv.DictReader(io.StringIO((folder / "grades.csv").read_text(encoding="utf-8")))
        marks = {row["student_id"]: float(row["score"]) for row in rows}
    found["nbgrader autograde"] = theirs, marks
    expected = {f"learner{number}": earned(number) for number in CLASS}
    assert all(marks == expected for _, marks in found.values()), "a grader gives other points than the answers deserve"
    write(found, expected)


def write(found, expected):
    """GRADING.md, and an error where the ratio is too small."""
    (cpu, *_), _ = next(iter(found.values()))
    rows, largest = [], 0.0
    for name, ((spent, wall, peak, _), marks) in found.items():
        agree = sum(marks[learner] == points for learner, points in expected.items())
        largest = max(largest, spent / cpu)
        numbers = f"{spent / len(CLASS):.2f} | {wall / len(CLASS):.2f} | {spent / cpu:.1f} | {peak:.0f}"
        rows.append(f"| {name} | {numbers} | {agree} of {len(CLASS)} |")
        print(rows[-1], flush=True)
    pins = nbgrader_environment.PINS.read_text(encoding="utf-8")
    used = [f"{name} {version(name)}" for name in ("torch", "pandas", "nbclient", "ipykernel")]
    used.append(next(line.replace("==", " ") for line in pins.splitlines() if line.startswith("nbgrader==")))
    text = f"""# Grading beside nbgrader

{len(CLASS)} notebooks of one sheet (`tests/grading_sheet.py`: five checked exercises; its first cell imports numpy, pandas and
torch), no two alike, with many mixtures of right and wrong answers. `course grade` runs each exercise of each notebook in a
sandbox with all layers, and judges it in another process; `nbgrader autograde` runs each notebook once in a kernel, without a
sandbox. Both in one run, one after the other, start of Python and all imports included. *CPU* is core seconds of all processes;
*wall* depends on what else the machine does, and on the jobs. *Ratio*: CPU divided by the first row's, where, as in nbgrader's,
one notebook is graded after the other. *Memory*: largest sum over all processes, shared pages counted once, seen every
{GLANCE:g} s. *Marks*: learners whose points are what their answers deserve.

Measured {datetime.date.today()} on {platform.machine()} {platform.system()}, Python {platform.python_version()},
{", ".join(used)}. Command: `python tests/bench/grading.py`

| grader | CPU s a notebook | wall s a notebook | ratio (needed: ≥ {NEEDED:g}) | memory (MB) | marks |
|---|---|---|---|---|---|
"""
    (HERE / "GRADING.md").write_text(text + "\n".join(rows) + "\n", encoding="utf-8")
    assert largest >= NEEDED, f"nbgrader takes {largest:.1f} times as long; at least {NEEDED:g} times was wanted"


if __name__ == "__main__":
    ours(Path(sys.argv[2]), int(sys.argv[3])) if sys.argv[1:2] == ["ours"] else main()
