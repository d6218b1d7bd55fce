"""The teacher's guide says what is so: timings, days, exercises, commands, files."""

import re

import pytest
import typer

from course_lib.classroom import masters
from course_lib.classroom.cli import app
from course_lib.classroom.lesson_map import head
from course_lib.config import PROJECT

GUIDE = (PROJECT / "solutions" / "TEACHING.md").read_text(encoding="utf-8")
README = (PROJECT / "README.md").read_text(encoding="utf-8")
MASTERS = [masters.load(path) for path in masters.masters()]
CALL = re.compile(r"(?:^|`)course (\w+)([^`\n]*)", re.MULTILINE)


def rows(mark: str) -> list[list[str]]:
    """Cells of the table between two marks, without its head."""
    table = GUIDE.split(f"<!-- {mark} -->")[1].split(f"<!-- end of {mark} -->")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")][2:]


def in_words(master: masters.Master) -> list[float]:
    """Points of the answers that a person reads."""
    return [cell.nbgrader["points"] for cell in master.cells if cell.kind == "markdown" and cell.nbgrader]


def test_timings_and_points_are_those_of_the_masters():
    expected = []
    for master in MASTERS:
        lesson, words = head(master), in_words(master)
        counts = [*lesson.minutes, len(master.exercises) + len(words), sum(e.points for e in master.exercises), sum(words)]
        expected.append([f"[{lesson.title}]({lesson.name}.ipynb)", *(f"{count:g}" for count in counts)])
    assert rows("timings") == expected


def test_five_days_hold_every_lesson_once_and_add_up():
    minutes = {int(master.name[:2]): sum(head(master).minutes) for master in MASTERS}
    days = [([int(n) for n in lessons.split(",")], int(total)) for _, lessons, total, _ in rows("days")]
    assert len(days) == 5 and [n for lessons, _ in days for n in lessons] == list(minutes)
    assert [total for _, total in days] == [sum(minutes[n] for n in lessons) for lessons, _ in days]


def test_every_lesson_has_its_mistakes_and_every_exercise_exists():
    titles = re.findall(r"^\*\*(\d+ · [^*]+?)\.\*\*", GUIDE, re.MULTILINE)
    assert titles == [head(master).title for master in MASTERS]
    text = "\n".join(cell.source for master in MASTERS for cell in master.cells if cell.kind == "markdown")
    known = set(re.findall(r"^### Exercise (\d+\.\d+)", text, re.MULTILINE))
    section = GUIDE.split("## What learners get wrong")[1].split("\n## ")[0]
    named = set(re.findall(r"\b\d+\.\d\b(?!\.)", section.replace("copied 0.1", "")))
    routes = set(re.findall(r"\b\d+\.\d\b", GUIDE.split("## Three routes")[1].split("\n## ")[0]))
    assert named <= known and routes <= known, sorted((named | routes) - known)
    assert {e.number for master in MASTERS for e in master.exercises} - named == set(), "an exercise without its mistakes"


def test_sections_that_a_route_names_exist():
    routes = GUIDE.split("## Three routes")[1].split("\n## ")[0]
    text = "\n".join(cell.source for master in MASTERS for cell in master.cells if cell.kind == "markdown")
    for title in set(re.findall(r'"([^"]+)"', routes)) - {"You need"}:
        assert f"## {title}\n" in text, title


@pytest.mark.parametrize("text", [GUIDE, README], ids=["TEACHING.md", "README.md"])
def test_every_command_and_option_exists(text):
    commands = typer.main.get_command(app).commands
    for command, rest in CALL.findall(text):
        options = {o for p in commands[command].params for o in (*p.opts, *p.secondary_opts)}
        assert set(re.findall(r"(?<=\s)--[\w-]+", rest)) <= options, f"course {command}{rest}"
    bare = set(re.findall(r"`(--[\w-]+)", text.split("## Give marks")[-1])) - {"--force"}
    assert bare <= {o for p in commands["grade"].params for o in p.opts} or text == README


def test_links_and_paths_resolve():
    for link in re.findall(r"\]\(([^)\s#]+)\)", GUIDE):
        assert (PROJECT / "solutions" / link).exists(), link
    for path in re.findall(r"`((?:course_lib|tests)/[\w./-]+)`", GUIDE):
        assert (PROJECT / path).exists(), path
