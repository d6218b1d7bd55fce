"""The map of the lessons, with what each costs when it is run here."""

from __future__ import annotations

import platform
import re
import resource
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from course_lib.classroom import masters
from course_lib.classroom.build import targets_of
from course_lib.classroom.kernel import execute
from course_lib.config import settings

BEGIN, END = "<!-- lessons: written by `course map` -->", "<!-- end of lessons -->"
ROW = re.compile(r"^\| \d+ · [^|]+ \| [\d.]+ \| [\d.]+ \| \d{4}-\d\d-\d\d \|$")  # the cost of a lesson
FRAME = re.compile(
    r"^# (?P<number>\d+) · (?P<title>.+?)\n.*?\*\*Question\.\*\*\s(?P<question>.+?)\n\n.*?"
    r"\*\*Time\*\*\s(?P<reading>\d+)\smin\sreading,\s(?P<exercises>\d+)\smin\sexercises",
    re.DOTALL,
)


@dataclass(frozen=True)
class Lesson:
    """Head of a lesson: file name without ending, number and title, question, minutes of reading and of exercises."""

    name: str
    title: str
    question: str
    minutes: tuple[int, int]


def head(master: masters.Master) -> Lesson:
    """What the first cell of a master says about its lesson; MasterError when the frame is incomplete."""
    found = FRAME.search(master.cells[0].source)
    if not found:
        raise masters.MasterError(
            f"{master.name}: the first cell needs a title, Question, You need and Time, as other lessons have"
        )
    question = " ".join(found["question"].split())
    return Lesson(
        master.name, f"{found['number']} · {found['title']}", question, (int(found["reading"]), int(found["exercises"]))
    )


def table(lessons: list[Lesson], *, folder: str = "") -> str:
    """Markdown table of the lessons; `folder` stands before each link."""
    rows = ["| lesson | question | reading + exercises | runs on |", "|---|---|---|---|"]
    for lesson in lessons:
        reading, exercises = lesson.minutes
        link = f"[{lesson.title}]({folder}{lesson.name}.ipynb)"
        rows.append(f"| {link} | {lesson.question} | {reading} + {exercises} min | CPU |")
    return "\n".join(rows)


def cost(path: Path) -> tuple[float, float]:
    """(CPU seconds, peak memory in MB) of the kernel that runs a solved lesson once."""
    command = [sys.executable, "-m", "course_lib.classroom.lesson_map", str(path)]
    seconds, memory = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()[-2:]
    return float(seconds), float(memory)


def _cost(path: Path) -> tuple[float, float]:
    master = masters.load(path)
    target = next(t for t in targets_of(master, path.parent.parent) if t.path.parent.name == "solutions")
    execute(target.notebook, path.parent, target.label)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime, used.ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


def update(path: Path, content: str) -> bool:
    """Put `content` between the two marks of a text file; whether anything changed. ValueError without the marks."""
    text = path.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise ValueError(f"{path.name} lacks the marks {BEGIN} and {END}")
    new = text.split(BEGIN)[0] + f"{BEGIN}\n\n{content}\n\n{END}" + text.split(END, 1)[1]
    path.write_text(new, encoding="utf-8")
    return new != text


def write(*, measure: bool = True, only: list[str] | None = None, root: Path | None = None) -> None:
    """Write the map into README.md and lessons/README.md, the latter with the cost of each lesson measured now.

    measure: leave the costs alone if false. only: measure the lessons with these numbers or names, and keep the rows of the
    others. Raises ValueError for a name that no lesson has.
    """
    root = Path(root or settings().project)
    paths = masters.masters(root / "solutions")
    lessons = [head(masters.load(path)) for path in paths]
    chosen = {lesson.name for lesson in lessons if not only or {lesson.name, lesson.name.split("_")[0]} & set(only)}
    unknown = set(only or ()) - chosen - {name.split("_")[0] for name in chosen}
    if unknown:
        raise ValueError(
            f"no lesson is called {', '.join(sorted(unknown))}; there are {', '.join(path.stem for path in paths)}"
        )
    update(root / "README.md", table(lessons, folder="lessons/"))
    if not measure:
        return
    costs = root / "lessons" / "README.md"
    stored = {line.split("|")[1].strip(): line for line in costs.read_text(encoding="utf-8").splitlines() if ROW.match(line)}
    rows = [table(lessons), "", "| lesson | CPU seconds | peak memory (MB) | measured |", "|---|---|---|---|"]
    for path, lesson in zip(paths, lessons, strict=True):
        if lesson.name in chosen or lesson.title not in stored:
            seconds, memory = cost(path)
            stored[lesson.title] = f"| {lesson.title} | {seconds:.0f} | {memory:.0f} | {date.today().isoformat()} |"
        rows.append(stored[lesson.title])
    rows.append("")
    rows.append(
        "By `course map`: CPU time and peak memory of the solved notebook's kernel, one thread, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}."
    )
    update(costs, "\n".join(rows))


if __name__ == "__main__":  # a process of its own: the operating system keeps the peak memory of all children together
    print(*_cost(Path(sys.argv[1]).resolve()))
