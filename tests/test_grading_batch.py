"""A batch: every score exactly once, whatever ends in between."""

import collections
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pandas as pd
import psutil
import pytest
from grading_cases import POINTS, RIGHT, WRONG, as_bytes, filled
from grading_sheet import NAME, SHEET
from typer.testing import CliRunner

from course_lib.classroom import masters
from course_lib.classroom.cli import app
from course_lib.classroom.grading import command, servers
from course_lib.classroom.grading.journal import Journal, JournalError
from course_lib.classroom.grading.results import Verdict
from course_lib.config import PROJECT

CLASS = 500
DRIVER = """
import resource, signal, sys
from pathlib import Path
from course_lib.classroom.grading.command import BatchError, grade_class

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored
submissions, out, folder, largest = sys.argv[1:]
if int(largest):
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest), hard))
try:
    grade_class([Path(submissions)], Path(out), folder=Path(folder), resume=True, jobs=2)
except BatchError as error:
    sys.exit(f"stopped: {error}")
"""


def points_of(number: int) -> float:
    """Points of learner `number`: who they are says which exercises they have right. The last builds on their own first."""
    right = {exercise for place, exercise in enumerate(POINTS) if number >> place & 1}
    return sum(POINTS[exercise] for exercise in right if exercise != "90.5" or "90.1" in right)


def handed_in(number: int) -> bytes:
    """Answers right and wrong as the binary digits of the number say."""
    answers = {exercise: (RIGHT if number >> place & 1 else WRONG)[exercise] for place, exercise in enumerate(POINTS)}
    answers["90.1"] += f"\n# handed in by {number % 2}"
    return as_bytes(filled(answers))


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A folder of one master."""
    folder = tmp_path_factory.mktemp("course")
    (folder / f"{NAME}.py").write_text(SHEET, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def handed(tmp_path_factory):
    """Notebooks of a large class."""
    folder = tmp_path_factory.mktemp("handed")
    for number in range(CLASS):
        (folder / f"learner{number:03}__{NAME}.ipynb").write_bytes(handed_in(number))
    return folder


def started(handed: Path, out: Path, course: Path, largest: int = 0) -> subprocess.Popen:
    """A grader in a process of its own."""
    arguments = [str(handed), str(out), str(course), str(largest)]
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def lines(out: Path) -> int:
    """Verdicts that are kept."""
    path = out / "journal.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def until(condition, seconds: float = 120):
    """Wait for something to hold, and fail where it does not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def warm(grader: psutil.Process) -> list[psutil.Process]:
    """The warm processes below a grader."""
    return [p for p in grader.children(recursive=True) if servers.PROGRAM in p.cmdline()]


def test_every_score_exactly_once_through_killed_workers_a_killed_grader_and_a_full_disk(handed, course, tmp_path):
    out, exercises = tmp_path / "marks", CLASS * len(POINTS)
    first = started(handed, out, course)
    until(lambda: lines(out) > CLASS + 40)
    for worker in warm(psutil.Process(first.pid))[:2]:
        worker.kill()
    reached = lines(out)
    until(lambda: lines(out) > reached + 40)
    below = psutil.Process(first.pid).children(recursive=True)
    first.send_signal(signal.SIGKILL)
    first.wait()
    first.stderr.close()
    assert lines(out) < exercises, "the grader was to be killed on its way"
    assert not psutil.wait_procs(below, timeout=20)[1], "who worked for a killed grader must end"
    kept = lines(out)

    full = started(handed, out, course, largest=(out / "journal.jsonl").stat().st_size + 9_000)
    told = full.communicate()[1]
    assert full.returncode == 1 and "stopped: " in told and "--resume" in told
    assert kept < lines(out) < exercises

    last = started(handed, out, course)
    assert last.wait() == 0, last.communicate()[1]
    last.stderr.close()
    keys = [tuple(json.loads(line)["key"]) for line in (out / "journal.jsonl").read_text().splitlines()]
    assert len(keys) == exercises and max(collections.Counter(keys).values()) == 1
    grades = pd.read_csv(out / "grades.csv").set_index("learner").earned
    assert grades.to_dict() == {f"learner{n:03}": points_of(n) for n in range(CLASS)}


def test_a_batch_is_not_mixed_with_another(course, tmp_path, handed):
    out = tmp_path / "marks"
    one = tmp_path / f"ana__{NAME}.ipynb"
    one.write_bytes(handed_in(31))
    summary = command.grade_class([one], out, folder=course, say=lambda line: None)
    assert summary.rows[0][:4] == ("ana", NAME, "10 of 10", "5 of 5") and summary.unread == 0
    with pytest.raises(command.BatchError, match="--resume"):
        command.grade_class([one], out, folder=course, say=lambda line: None)
    one.write_bytes(handed_in(0))
    summary = command.grade_class([one], out, folder=course, resume=True, say=lambda line: None)
    assert summary.rows[0][2] == "0 of 10", "a notebook that was handed in anew is judged anew"


def test_a_name_that_is_missing_in_the_learners_code_is_said_with_its_line(course, tmp_path):
    centre = "def centre(scores):\n    return centred(scores)"
    right, wrong = ("def centred(scores):\n    return scores" + end for end in (" - scores.mean(axis=1, keepdims=True)", ""))
    helpers = {"none": None, "right": right, "wrong": wrong}
    for name, helper in helpers.items():
        notebook = filled({"90.2": centre})
        place = next(n for n, cell in enumerate(notebook["cells"]) if cell["source"] == centre)
        if helper:
            notebook["cells"].insert(place, {"cell_type": "code", "metadata": {}, "source": helper, "outputs": []})
        (tmp_path / f"{name}__{NAME}.ipynb").write_bytes(as_bytes(notebook))
    command.grade_class([tmp_path], tmp_path / "marks", folder=course, say=lambda line: None)
    table = pd.read_csv(tmp_path / "marks" / "exercises.csv", dtype={"exercise": str})
    found = table[table.exercise == "90.2"].set_index("learner")
    assert found.state.to_dict() == {"none": "not passed", "right": "passed", "wrong": "not passed"}
    assert found.message["none"] == "Your code stopped with NameError: name 'centred' is not defined"
    assert "NameError" not in found.message["wrong"], "the helper is there, and wrong"


def test_what_cannot_be_read_is_said_before_anything_is_judged(course, tmp_path, handed):
    one, out = handed / f"learner031__{NAME}.ipynb", tmp_path / "marks"
    with pytest.raises(command.BatchError, match="nosuch.csv cannot be read"):
        command.grade_class([one], out, folder=course, roster=tmp_path / "nosuch.csv", say=lambda line: None)
    assert not (out / "journal.jsonl").exists()
    out.mkdir()
    (out / "journal.jsonl").touch()  # a batch that ended before its first verdict is none
    (out / "texts.csv").write_bytes("Größe;1\n".encode("cp1252"))
    with pytest.raises(command.BatchError, match="texts.csv is not in UTF-8"):
        command.grade_class([one], out, folder=course, say=lambda line: None)
    (out / "texts.csv").unlink()
    assert command.grade_class([one], out, folder=course, say=lambda line: None).rows[0][2] == "10 of 10"
    with pytest.raises(command.BatchError, match="it is a file; choose another folder"):
        command.grade_class([one], one, folder=course, say=lambda line: None)


def test_who_handed_in_no_notebook_is_named(course, tmp_path):
    moodle = "{}_12_assignsubmission_file/{}".format
    files = {"ana/x.ipynb": handed_in(0), "ana/data/x.csv": b"", "petra/answers.docx": b"", f"{NAME}.ipynb.txt": b""}
    for name, data in files.items():
        (tmp_path / "class" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "class" / name).write_bytes(data)
    with zipfile.ZipFile(tmp_path / "moodle.zip", "w") as archive:
        archive.writestr(moodle("Mei Lin", f"{NAME}.ipynb"), handed_in(0))
        archive.writestr(moodle("Jun Ito", "answers.py"), "")
    said = []
    paths = [tmp_path / "class", tmp_path / "moodle.zip"]
    summary = command.grade_class(paths, tmp_path / "marks", folder=course, say=said.append)
    named = [line for line in said if "no notebook by" in line]
    assert [row[0] for row in summary.rows] == ["Mei Lin", "ana"] and len(named) == 3
    for name, file in (("petra", "answers.docx"), ("Jun Ito", "answers.py"), ("", f"{NAME}.ipynb.txt")):
        assert any(f"no notebook by {name}" in line and line.endswith(f"there is {file}") for line in named), named


def test_an_interrupted_batch_ends_at_once_and_says_how_to_go_on(handed, course, tmp_path):
    grader = started(handed, tmp_path / "marks", course)
    until(lambda: lines(tmp_path / "marks") > CLASS)
    grader.send_signal(signal.SIGINT)
    clock = time.monotonic()
    told = grader.communicate()[1]
    assert "stopped: interrupted; what was judged is kept, and the same command with --resume goes on" in told
    assert grader.returncode == 1 and time.monotonic() - clock < 10


def test_a_missing_layer_is_named_where_the_sandbox_is_required(monkeypatch, course, tmp_path, handed):
    monkeypatch.setattr(command.protection, "available", lambda: {"files": "no Landlock", "limits": ""})
    with pytest.raises(command.BatchError, match="lacks a layer of the sandbox .files: no Landlock"):
        command.grade_class([handed], tmp_path / "a", folder=course, say=lambda line: None)
    with pytest.raises(command.BatchError, match="--sandbox=maybe: it is one of require, auto, off"):
        command.grade_class([handed], tmp_path / "b", folder=course, sandbox="maybe", say=lambda line: None)


def test_a_lesson_that_does_not_run_is_named(tmp_path, handed):
    folder = tmp_path / "course"
    folder.mkdir()
    (folder / f"{NAME}.py").write_text(SHEET.replace("import pandas as pd", "import no_such_package", 1), encoding="utf-8")
    with pytest.raises(command.BatchError, match=f"{NAME}, cell .* does not run here: ModuleNotFoundError"):
        command.grade_class([handed / f"learner031__{NAME}.ipynb"], tmp_path / "out", folder=folder, say=lambda line: None)


def test_the_journal_forgets_a_line_that_was_cut_off(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.add(("ana", "d", "1.1"), Verdict("1.1", "passed", 2.0, "", (("Where", "line 1"),)))
    journal.close()
    with open(path, "ab") as file:
        file.write(b'{"key": ["ana", "d", "1.2"], "verd')
    journal = Journal(path)
    assert journal.done == {("ana", "d", "1.1"): Verdict("1.1", "passed", 2.0, "", (("Where", "line 1"),))}
    journal.add(("ana", "d", "1.2"), Verdict("1.2", "not passed", 1.0, "\ud800"))
    journal.close()
    assert len(Journal(path).done) == 2


def test_a_full_disk_is_said_and_nothing_is_half_kept(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "journal.jsonl")
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(JournalError, match="No space left on device.*--resume"):
        journal.add(("ana", "d", "1.1"), Verdict("1.1", "passed", 2.0))
    assert not journal.done and (tmp_path / "journal.jsonl").stat().st_size == 0


def test_the_command_line_says_what_is_wrong(tmp_path):
    run = CliRunner().invoke(app, ["grade", str(tmp_path), "--out", str(tmp_path / "out")])
    assert run.exit_code == 2 and "course grade: " in run.output


def test_the_worked_example_of_the_readme(tmp_path):
    master = masters.load(PROJECT / "solutions" / "00_start_here.py")
    exercises = {exercise.number: exercise for exercise in master.exercises}
    answers = {a.label: masters.solved(a) for number in ("0.1", "0.2") for a in exercises[number].answers}
    answers[exercises["0.4"].answers[0].label] = exercises["0.4"].wrong[0].source
    half = json.loads((PROJECT / "lessons" / "00_start_here.ipynb").read_text(encoding="utf-8"))
    for cell in half["cells"]:
        cell["source"] = answers.get(cell["metadata"].get("nbgrader", {}).get("grade_id"), cell["source"])
    class_of = {
        "ana/00_start_here.ipynb": (PROJECT / "solutions" / "00_start_here.ipynb").read_bytes(),
        "ben/00_start_here.ipynb": json.dumps(half).encode(),
        "李明/00_start_here (1).ipynb": (PROJECT / "lessons" / "00_start_here.ipynb").read_bytes(),
    }
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    for name, data in class_of.items():
        assert f"─ {name}\n" in readme
        (tmp_path / "class" / name).parent.mkdir(parents=True)
        (tmp_path / "class" / name).write_bytes(data)
    run = CliRunner().invoke(app, ["grade", str(tmp_path / "class"), "--out", str(tmp_path / "marks")])
    assert run.exit_code == 0 and "3 notebooks in" in run.output, run.output
    rows = [line for line in run.output.splitlines() if line.startswith(("┃", "│"))]
    assert len(rows) == 4 and all(f"\n{row}\n" in readme for row in rows), run.output
    assert (tmp_path / "marks" / "feedback" / "李明" / "00_start_here.html").exists()


def test_hidden_lines_are_those_between_the_marks():
    check = next(e.check for e in masters.parse(SHEET, Path(f"{NAME}.py")).exercises if "HIDDEN" in e.check.source)
    text = masters.solved(check).splitlines()
    hidden = masters.hidden_lines(check)
    assert hidden and [line for n, line in enumerate(text, start=1) if n not in hidden] == masters.unsolved(check).splitlines()
