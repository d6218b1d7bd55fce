"""The masters as a course for nbgrader: source/LESSON/LESSON.ipynb with its marks left in, and a configuration."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from course_lib.classroom import masters
from course_lib.classroom.build import notebook, select
from course_lib.classroom.kernel import BuildError
from course_lib.config import settings

CONFIG = '''"""Written by `course build --nbgrader`; change it as you like, it is not written again."""

import os

c = get_config()
c.CourseDirectory.course_id = "course_lib"
# Seconds for a cell. The 30 that nbgrader allows are short on a busy computer; many more are wasted where its client misses
# the reply of a cell with a slider: it waits all of them out, finds the reply and goes on. No points are lost.
c.Execute.timeout = 120
os.environ["COURSE_GRADING"] = "1"  # a check that does not pass raises: nbgrader looks for errors
os.environ["COURSE_PROGRESS"] = "off"
'''


def course(names: Iterable[str], folder: Path, *, force: bool = False, root: Path | None = None) -> int:
    """Write the lessons, say what was written, and return an exit status: 0 or 1."""
    try:
        written = write_course(names, folder, force=force, root=root)
    except (BuildError, masters.MasterError) as error:
        print(f"course build: {error}", file=sys.stderr)
        return 1
    for path in written:
        print(f"wrote {path}")
    print(f"Go on there: cd {folder} && nbgrader generate_assignment LESSON")
    return 0


def write_course(names: Iterable[str], folder: Path, *, force: bool = False, root: Path | None = None) -> list[Path]:
    """Write source/LESSON/LESSON.ipynb for each lesson, and nbgrader_config.py where there is none; the files written.

    names: lessons as "04", "4" or "04_dot_product", all when empty; force: also over a notebook that somebody changed;
    root: folder of solutions/. Raises BuildError, and writes nothing, where a changed notebook would be lost.
    """
    root = Path(root or settings().project)
    wanted = {folder / "nbgrader_config.py": CONFIG}
    for path in select(list(names), root):
        wanted[folder / "source" / path.stem / f"{path.stem}.ipynb"] = _source(masters.load(path))
    try:
        missing = {path: text for path, text in wanted.items() if not path.exists()}
        changed = [p for p in wanted.keys() - missing.keys() if p.suffix == ".ipynb" and p.read_text("utf-8") != wanted[p]]
        if changed and not force:
            raise BuildError(
                f"{', '.join(map(str, sorted(changed)))}: not what the master gives, because one of the two was changed; "
                "--force writes the master's"
            )
        missing |= {path: wanted[path] for path in changed}
        for path, text in missing.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BuildError(f"{error.filename or folder}: {error.strerror}; choose another folder") from None
    return sorted(missing)


def _source(master: masters.Master) -> str:
    """The notebook that nbgrader starts from: everything but the wrong answers, solutions and hidden tests marked."""
    import nbformat

    made = notebook([(cell, cell.source) for cell in master.cells if not cell.is_wrong])
    return nbformat.writes(made, indent=1).rstrip("\n") + "\n"
