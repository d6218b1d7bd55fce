"""Every notebook of the corpus gets its fair score, in time, and nothing of it is left."""

import os
import tempfile
import threading
import time

import grading_cases
import psutil
import pytest
from grading_corpus import OUTSIDE, cases
from grading_sheet import NAME, master

from course_lib.classroom.check import PASSED
from course_lib.classroom.grading.attempts import PATIENCE, Rules
from course_lib.classroom.grading.batch import grade
from course_lib.classroom.grading.journal import Journal
from course_lib.classroom.grading.servers import PROGRAM
from course_lib.classroom.grading.submissions import Submission

CASES = {case.name: case for case in cases()}
RULES = Rules(seconds=2, memory=300 << 20)
LONGEST = 3 * PATIENCE * RULES.seconds + 10  # seconds for a notebook: an exercise may be tried again without a broken cell
MOST = 3 << 30  # bytes of all processes together


class Watch(threading.Thread):
    """Looks at this process and all below it while a batch runs."""

    def __init__(self):
        super().__init__(daemon=True)
        self.most, self.over = 0, threading.Event()

    def run(self):
        """Until `over`, remember the largest sum of private memory."""
        while not self.over.wait(0.5):
            total = 0
            for process in psutil.Process().children(recursive=True):
                try:
                    total += process.memory_full_info().uss
                except psutil.Error:
                    continue
            self.most = max(self.most, total)


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """All cases in one batch: name → what was found; with the files, processes and memory that it took."""
    os.environ[grading_cases.WITNESS] = "seen"
    watch, folders, usual = Watch(), tmp_path_factory.mktemp("answers"), tempfile.tempdir
    tempfile.tempdir = str(folders)  # where answers get their folders
    watch.start()
    submissions = [Submission(learner=name, lesson=NAME, source=name, data=case.notebook) for name, case in CASES.items()]
    journal = Journal(tmp_path_factory.mktemp("grading") / "journal.jsonl")
    found = grade(submissions, masters={NAME: master()}, journal=journal, rules=RULES, jobs=2)
    journal.close()
    watch.over.set()
    watch.join()
    tempfile.tempdir = usual
    del os.environ[grading_cases.WITNESS]
    return {g.learner: g for g in found}, watch.most, folders


@pytest.mark.parametrize("name", CASES)
def test_the_score_is_fair(graded, name):
    case, found = CASES[name], graded[0][name]
    passed = tuple(v.exercise for v in found.verdicts if v.state == PASSED)
    told = [(v.exercise, v.state, v.message, v.details) for v in found.verdicts]
    assert passed == case.passed, f"{case.why}: {told}"
    assert found.earned == case.points and case.notes in " ".join(found.notes)
    assert bool(found.problem) != case.readable


def test_no_notebook_takes_longer_than_its_limits(graded):
    took = {name: sum(v.seconds for v in found.verdicts) for name, found in graded[0].items()}
    slow = {name: seconds for name, seconds in took.items() if seconds > LONGEST}
    assert not slow


def test_nothing_was_written_outside(graded):
    assert not OUTSIDE.exists()
    assert not list(graded[2].iterdir())


def test_no_process_is_left(graded):
    assert graded[0]
    marks = []
    for process in psutil.process_iter(["name", "cmdline"]):
        words = [process.info["name"] or "", *(process.info["cmdline"] or [])]
        marks += [process.pid for word in words if grading_cases.ORPHAN in word]
    assert not marks
    time.sleep(0.2)
    assert not [c for c in psutil.Process().children(recursive=True) if PROGRAM in c.cmdline()]


def test_memory_was_bounded(graded):
    assert graded[1] < MOST
