"""Runs a master's cells once in a process of its own, and judges many answers against each check cell.

All tests of one run share the results, whichever process of pytest-xdist asks first.

Every answer is judged in a fork, so that no answer can disturb the next, and one that hangs is stopped.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FunctionType

from filelock import FileLock
from IPython.core.interactiveshell import InteractiveShell
from spoiling import spoiler
from traitlets.config import Config

from course_lib.classroom import masters
from course_lib.classroom.grading import frames, system_calls, verdicts
from course_lib.classroom.grading.answers import defined
from course_lib.classroom.grading.host import Host
from course_lib.classroom.grading.verdicts import Question, run_check
from course_lib.classroom.grading.warm import Lesson

PATIENCE = 10.0  # seconds for one answer, at least
BUDGET = 60.0  # seconds for all mutants of one exercise; beyond it, every second, third, … is tried
SHARED = "COURSE_TEST_RESULTS"  # names the folder of one run's results


def run(path: Path) -> list[dict]:
    """Results of a master, one dict an answer: "case" names what the contract asks for, "mutant" a fault in the solution.

    AssertionError where the master does not run.
    """
    results = _kept(path)
    if isinstance(results, str):
        raise AssertionError(results)
    return results


def _kept(path: Path) -> list[dict] | str:
    """The results, or what went wrong; either is kept, so that a faulty lesson costs its time once."""
    folder = os.environ.get(SHARED)
    if not folder:
        return _ran(path)
    kept = Path(folder) / f"{path.stem}.json"
    with FileLock(f"{kept}.lock"):
        if not kept.exists():
            kept.write_text(json.dumps(_ran(path)))
    return json.loads(kept.read_text())


def _ran(path: Path) -> list[dict] | str:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "results.json"
        state = {"COURSE_STATE": folder, "COURSE_PROGRESS": "off", "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
        environment = {k: v for k, v in os.environ.items() if k != "COURSE_GRADING"} | state | {"HF_HUB_OFFLINE": "1"}
        command = [sys.executable, __file__, str(Path(path).resolve()), str(out)]
        done = subprocess.run(command, env=environment, cwd=Path(path).parent, capture_output=True, text=True)
        if done.returncode:
            return f"{Path(path).name} does not run to its end:\n{done.stderr[-3000:]}"
        return json.loads(out.read_text())


class Judged(Lesson):
    """A lesson whose answers are judged in forks of this process."""

    def judge(self, answers: list[str], check: str, *, grading: bool = False, patience: float = PATIENCE) -> dict:
        """State and message of the card after these cells and the check; "raised" names what came out of a cell."""
        return _heard(lambda out: os.write(out, json.dumps(self._outcome(answers, check, grading)).encode()), patience)

    def judge_spoiling(self, exercise: masters.Exercise) -> dict:
        """The same for the solution that empties its arguments wherever a hidden test calls it; "spoiled" names them."""
        check, seen = masters.solved(exercise.check), []
        solution = [masters.solved(a) for a in exercise.answers]
        names, hidden = set().union(*map(defined, solution)), set(masters.hidden_lines(exercise.check))

        def tell(out: int) -> None:
            for source in solution:
                self.execute(source)
            for name in names:
                if isinstance(self.names.get(name), FunctionType):
                    self.names[name] = spoiler(self.names[name], hidden, seen)
            os.write(out, json.dumps(self._outcome([], check, False) | {"spoiled": seen}).encode())

        return _heard(tell, PATIENCE)

    def judge_across(self, exercise: masters.Exercise, answers: list[str]) -> dict:
        """The same as `course grade` does it: the answers in a process of their own, which the check calls over a pipe."""
        ours, theirs = socket.socketpair()
        host = os.fork()
        if not host:
            try:
                ours.close()
                quiet = Config(HistoryManager={"enabled": False})
                Host(theirs, InteractiveShell(user_ns=self.names, config=quiet)).serve()
            finally:
                os._exit(0)
        theirs.close()
        try:
            frames.send(ours, {"cells": [(source, []) for source in answers]})
            names = sorted(set().union(*(defined(masters.solved(a)) for a in exercise.answers)))
            question = Question(masters.solved(exercise.check), [], names, 0)
            return _heard(lambda out: verdicts.judge(self, question, ours, out), PATIENCE)
        finally:
            ours.close()
            os.kill(host, signal.SIGKILL)
            os.waitpid(host, 0)

    def _outcome(self, answers: list[str], check: str, grading: bool) -> dict:
        try:
            for source in answers:
                self.execute(source)
        except BaseException as error:
            return {"state": "no verdict", "message": "", "raised": type(error).__name__}
        found = run_check(self, check, grading=grading)
        raised = type(found.raised).__name__ if found.raised else ""
        if not found.card:
            return {"state": "no verdict", "message": "", "raised": raised}
        return {"state": found.card.state, "message": found.card.message, "raised": raised}


def _heard(tell, patience: float) -> dict:
    """What a fork wrote last: `tell` gets the descriptor to write to."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            tell(write)
        finally:
            os._exit(0)
    os.close(write)
    try:
        ready = select.select([read], [], [], patience)[0]
        data = b"".join(iter(lambda: os.read(read, 65536), b"")) if ready else b""
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(read)
    if data:
        return json.loads(data.splitlines()[-1])
    return {"state": "no verdict", "message": "", "raised": "time" if not ready else "death"}


def _contract(lesson: Judged, exercise: masters.Exercise) -> list[dict]:
    """The unsolved answer, the solution, and each wrong answer, as a learner and as a grader would see them."""
    solution = [masters.solved(a) for a in exercise.answers]
    empty = [masters.unsolved(a, exercise.number) for a in exercise.answers]
    seen, full = masters.unsolved(exercise.check), masters.solved(exercise.check)
    found = [
        {"case": "unsolved", **lesson.judge(empty, seen)},
        {"case": "unsolved, graded", **lesson.judge(empty, full, grading=True)},
        {"case": "solution", **lesson.judge(solution, seen)},
        {"case": "solution, graded", **lesson.judge(solution, full, grading=True)},
        {"case": "solution, across", "raised": "", **lesson.judge_across(exercise, solution)},
        {"case": "spoiling", **lesson.judge_spoiling(exercise)},
    ]
    for n, wrong in enumerate(exercise.wrong, start=1):
        found.append({"case": f"wrong {n}", **lesson.judge([*solution, masters.solved(wrong)], seen)})
    return [{"exercise": exercise.number, **f} for f in found]


def _mutation(lesson: Judged, exercise: masters.Exercise) -> list[dict]:
    """Each mutant of the solution, under the full check."""
    from mutation import mutants

    solution = [masters.solved(a) for a in exercise.answers]
    check = masters.solved(exercise.check)
    start = time.monotonic()
    verdict = lesson.judge(solution, check)
    if verdict["state"] != "passed":
        raise AssertionError(f"exercise {exercise.number}: its own solution is {verdict}")
    seconds = time.monotonic() - start
    tried = [(n, m) for n, answer in enumerate(exercise.answers) for m in mutants(answer)]
    stride = max(1, round(len(tried) * seconds / BUDGET))
    found = []
    for n, mutant in tried[::stride]:
        cells = [*solution[:n], mutant.source, *solution[n + 1 :]]
        verdict = lesson.judge(cells, check, patience=max(PATIENCE, 5 * seconds))
        found.append({"exercise": exercise.number, "mutant": mutant.change, "rejected": verdict["state"] != "passed"})
    return found


def main(path: str, out: str) -> None:
    """Run the cells in order; at each check cell judge the answers, then go on with the solution."""
    from course_lib import plots

    plots.show = lambda fig, *, alt: plots.plt.close(fig)
    master, lesson, results = masters.load(Path(path)), Judged(), []
    for cell in master.cells:
        if cell.kind != "code" or cell.is_wrong:
            continue
        for exercise in master.exercises:
            if exercise.check is cell:
                system_calls.use_huge_pages()  # hundreds of forks follow
                results += _contract(lesson, exercise) + _mutation(lesson, exercise)
        lesson.execute(masters.solved(cell))
    Path(out).write_text(json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
