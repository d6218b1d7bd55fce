"""What a learner has solved, kept in one small local file that may be deleted at any time."""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from course_lib.config import settings

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1
CHECK = re.compile(r"""^\s*with\s+check\(\s*["']([^"']+)["'](?:\s*,\s*points\s*=\s*([\d.]+))?""", re.MULTILINE)


def location() -> Path:
    """The progress file; nothing in it leaves the machine."""
    return settings().state / "progress.json"


def enabled() -> bool:
    """False while grading, and where COURSE_PROGRESS=off."""
    return not settings().grading and os.environ.get("COURSE_PROGRESS", "").lower() != "off"


def load() -> tuple[dict[str, dict], str]:
    """Read the file: exercise → {passed, points}, and a message where the file could not be understood (else "").

    Nothing is read where nothing is kept (see `enabled`), so that a build does not show the author's own progress.
    """
    if not enabled():
        return {}, ""
    path = location()
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        entries = {
            str(name): {"passed": bool(entry["passed"]), "points": float(entry["points"])}
            for name, entry in stored["exercises"].items()
        }
    except FileNotFoundError:
        return {}, ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return {}, f"The progress file {path} cannot be read ({type(error).__name__}); progress starts afresh."
    return entries, ""


def record(exercise: str, passed: bool, points: float) -> str:
    """Note the outcome of one check; what was solved once stays solved. Returns a message for the learner, or ""."""
    if not enabled():
        return ""
    entries, message = load()
    before = entries.get(exercise, {"passed": False})
    if message or not before["passed"]:
        entries[exercise] = {"passed": bool(passed), "points": float(points)}
        try:
            _write(entries)
        except OSError as error:
            return f"Progress was not saved: {location()}: {error.strerror or error}."
    return message


def _write(entries: dict[str, dict]) -> None:
    """Write beside the file and rename, so that a reader never meets half a file."""
    path = location()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=".progress-", suffix=".json")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"version": VERSION, "exercises": dict(sorted(entries.items()))}, file, indent=1)
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def exercises(notebook: Path) -> list[tuple[str, float]]:
    """Exercises of a notebook in order: (id, points), read from its check cells."""
    cells = json.loads(Path(notebook).read_text(encoding="utf-8")).get("cells", [])
    return [
        (name, float(points or 1))
        for cell in cells
        if cell.get("cell_type") == "code"
        for name, points in CHECK.findall("".join(cell.get("source", "")))
    ]


def progress() -> pd.DataFrame:
    """One row a lesson: exercises solved, points earned and points there are, by the local progress file."""
    import pandas as pd

    entries, message = load()
    if message:
        print(message)
    rows = []
    for notebook in sorted((settings().project / "lessons").glob("*.ipynb")):
        try:
            wanted = exercises(notebook)
        except (OSError, ValueError, AttributeError):
            print(f"{notebook.name} cannot be read as a notebook and is left out.")
            continue
        solved = [(name, points) for name, points in wanted if entries.get(name, {}).get("passed")]
        rows.append(
            {
                "lesson": notebook.stem,
                "solved": len(solved),
                "exercises": len(wanted),
                "points": sum(points for _, points in solved),
                "of": sum(points for _, points in wanted),
            }
        )
    table = pd.DataFrame(rows, columns=["lesson", "solved", "exercises", "points", "of"])
    return table.astype({"points": float, "of": float}).set_index("lesson")
