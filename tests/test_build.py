"""Masters become two notebooks: what is dropped, what stands in for it, and what makes a notebook stale."""

import asyncio
import json
import time
from pathlib import Path
from queue import Empty

import pytest

from course_lib.classroom import kernel, masters
from course_lib.classroom.build import build, differences, rebuild, select, stale, targets_of
from course_lib.config import settings

ANSWER = '# %% nbgrader={"schema_version": 3, "grade_id": "04-1-a", "solution": true, "grade": false, "locked": false}\n'
CHECKED = (
    '# %% nbgrader={"schema_version": 3, "grade_id": "04-1-check", "points": 2, "solution": false, "grade": true, '
    '"locked": true}\n'
)
SMALL = f"""# %% [markdown]
# # 4 · Small

# %%
from course_lib.classroom import check

{ANSWER}def double(x):
    \"\"\"Twice x.\"\"\"
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION


{CHECKED}with check("4.1", points=2):
    assert double(2) == 4, "twice two"
    ### BEGIN HIDDEN TESTS
    assert double(0) == 0, "zero stays"
    ### END HIDDEN TESTS

# %% tags=["wrong"]
def double(x):
    return x**2

# %%
print("same")

# %% tags=["nbval-ignore-output"]
print("same")

# %%
print("same")
"""


def write(folder: Path, text: str = SMALL) -> Path:
    """A project with one master."""
    (folder / "solutions").mkdir(exist_ok=True)
    path = folder / "solutions" / "04_small.py"
    path.write_text(text, encoding="utf-8")
    return path


def sources(target) -> str:
    return "\n".join(cell["source"] for cell in target.notebook["cells"])


def test_solved_and_unsolved_sources(tmp_path):
    solved, lesson = targets_of(masters.load(write(tmp_path)), tmp_path)
    assert "return 2 * x" in sources(solved) and "zero stays" in sources(solved)
    assert "###" not in sources(solved) + sources(lesson)
    assert "x**2" not in sources(solved) + sources(lesson)
    assert "2 * x" not in sources(lesson) and "zero stays" not in sources(lesson)
    assert '    raise NotImplementedError("exercise 4.1")' in sources(lesson)
    assert '"""Twice x."""' in sources(lesson) and 'assert double(2) == 4, "twice two"' in sources(lesson)


def test_ids_are_fixed_by_content_and_unique(tmp_path):
    first, second = (targets_of(masters.load(write(tmp_path)), tmp_path)[0].notebook["cells"] for _ in range(2))
    ids = [cell["id"] for cell in first]
    assert ids == [cell["id"] for cell in second] and len(set(ids)) == len(ids)
    assert [i[8:] for i in ids[-3:]] == ["", "-2", "-3"] and len({i[:8] for i in ids[-3:]}) == 1


def test_metadata_hold_only_tags_and_nbgrader(tmp_path):
    for target in targets_of(masters.load(write(tmp_path)), tmp_path):
        assert target.notebook["metadata"]["kernelspec"]["language"] == "python"
        assert {key for cell in target.notebook["cells"] for key in cell["metadata"]} == {"tags", "nbgrader"}


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("a, b = 1, 2\nc = 3", "a = ...\nb = ...\nc = ..."),
        ("def f(x):\n    y = x\n    return y", "f = ..."),
        ("total: float = 0\nfor i in [1]:\n    total += i", "total = ...\ni = ..."),
    ],
)
def test_a_solution_outside_of_functions_becomes_dots(block, expected):
    cell = masters.Cell("code", f"### BEGIN SOLUTION\n{block}\n### END SOLUTION", (), {"solution": True})
    assert masters.unsolved(cell, "4.1") == expected


def test_a_solution_in_a_method_raises_with_its_own_indent():
    source = "class A:\n    def f(self):\n        x = 1\n        ### BEGIN SOLUTION\n        return x\n        ### END SOLUTION"
    cell = masters.Cell("code", source, (), {"solution": True})
    assert masters.unsolved(cell, "4.3").splitlines()[2:] == [
        "        x = 1",
        '        raise NotImplementedError("exercise 4.3")',
    ]


def test_free_text_keeps_its_rubric_only_in_the_solution():
    cell = masters.Cell("markdown", "### BEGIN SOLUTION\nOne point for each reason.\n### END SOLUTION", (), {"solution": True})
    assert masters.solved(cell) == "One point for each reason."
    assert masters.unsolved(cell) == masters.FREE_TEXT


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    ### END SOLUTION\n", "", "no partner|never closed"),
        ('"grade_id": "04-1-check"', '"grade_id": "04-1-a"', "used twice"),
        ("with check(", "with chek(", "a check cell holds"),
        (CHECKED, "# %%\n", "hidden tests belong into a check cell"),
        (ANSWER, "# %%\n", "solution: true"),
    ],
)
def test_a_faulty_master_is_refused(tmp_path, old, new, message):
    assert old in SMALL
    with pytest.raises(masters.MasterError, match=message):
        masters.load(write(tmp_path, SMALL.replace(old, new)))


def test_lessons_are_chosen_by_number_or_name(tmp_path):
    path = write(tmp_path)
    assert select(["4"], tmp_path) == select(["04"], tmp_path) == select(["04_small"], tmp_path) == [path]
    with pytest.raises(kernel.BuildError, match="no lesson '7'"):
        select(["7"], tmp_path)


@pytest.mark.slow
def test_build_executes_then_leaves_alone_what_did_not_change(tmp_path, capsys):
    path = write(tmp_path)
    assert len(stale([], root=tmp_path)) == 2
    assert build(root=tmp_path, jobs=1) == 0
    lesson = tmp_path / "lessons" / "04_small.ipynb"
    cells = json.loads(lesson.read_text())["cells"]
    assert "not attempted yet" in json.dumps(cells) and "passed" in (tmp_path / "solutions" / "04_small.ipynb").read_text()
    code = [c for c in cells if c["cell_type"] == "code"]
    assert [c["execution_count"] for c in code] == list(range(1, len(code) + 1))
    assert all(set(c["metadata"]) <= {"tags", "nbgrader"} for c in cells)
    before = lesson.read_bytes()
    assert rebuild([], jobs=1, force=False, root=tmp_path) == []
    assert build(root=tmp_path, check=True) == 0
    path.write_text(SMALL.replace("zero stays", "zero stays zero"))
    assert stale([], root=tmp_path) == ["solutions/04_small.ipynb: cell 4 differs in source, id"]
    assert rebuild([], jobs=1, force=False, root=tmp_path) == ["solutions/04_small.ipynb"]
    assert lesson.read_bytes() == before
    path.rename(tmp_path / "solutions" / "05_other.py")
    assert build(root=tmp_path, check=True) == 1
    assert "lessons/04_small.ipynb: has no master" in capsys.readouterr().err


FIGURE = """

# %% [markdown]
# Two points and a line.

# %%
from course_lib import plots

fig, ax = plots.figure()
ax.plot([0, 1], [0, 1])
plots.show(fig, alt="Line chart of two points, joined by a line that rises from the lower left to the upper right.")
"""


@pytest.mark.slow
def test_a_rebuild_is_the_same_to_the_byte(tmp_path):
    write(tmp_path).write_text(SMALL + FIGURE)
    assert build(root=tmp_path, jobs=1) == 0
    paths = sorted(tmp_path.glob("*/*.ipynb"))
    before = [path.read_bytes() for path in paths]
    assert len(paths) == 2 and all(b"image/png" in content for content in before)
    assert build(root=tmp_path, jobs=2, force=True) == 0
    assert [path.read_bytes() for path in paths] == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("import sys; print('oh', file=sys.stderr)", "writes to stderr"),
        ("1 / 0", "ZeroDivisionError"),
        ("import random; print([random.random() for _ in range(20_000)])", "bytes; at most"),
    ],
)
def test_build_refuses(tmp_path, capsys, line, message):
    write(tmp_path, f"# %%\n{line}\n")
    assert build(root=tmp_path, jobs=1) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("*/*.ipynb")) and not list(tmp_path.glob("*/.build-*"))


def test_tidy_drops_live_widgets_and_joins_streams():
    view = {"output_type": "display_data", "data": {kernel.WIDGET: {}, "text/plain": "interactive()"}, "metadata": {}}
    returned = {"output_type": "execute_result", "data": {"text/plain": "<function f>"}, "metadata": {}}
    streams = [{"output_type": "stream", "name": "stdout", "text": t} for t in ("a\n", "b\n")]
    assert kernel.tidy([*streams, view, returned], "x", 1) == [{"output_type": "stream", "name": "stdout", "text": "a\nb\n"}]
    assert len(kernel.tidy([returned], "x", 1)) == 1


def test_a_reply_that_the_client_was_not_told_of_is_found_by_looking_again():
    asked = []

    async def untold(timeout):
        asked.append(timeout)
        if len(asked) < 3:
            raise Empty
        return "the reply"

    async def silent(timeout):
        await asyncio.sleep(timeout)
        raise Empty

    assert asyncio.run(kernel.looking_again(untold)(timeout=300)) == "the reply" and asked == [kernel.LOOK] * 3
    asked.clear()
    assert asyncio.run(kernel.looking_again(untold)()) == "the reply"
    start = time.monotonic()
    with pytest.raises(Empty):
        asyncio.run(kernel.looking_again(silent)(timeout=1.2 * kernel.LOOK))
    assert 1.2 * kernel.LOOK <= time.monotonic() - start < 10


def test_every_notebook_is_the_one_that_its_master_asks_for():
    assert stale([], root=settings().project) == []


def test_differences_sees_a_notebook_that_was_not_executed(tmp_path):
    import nbformat

    target = targets_of(masters.load(write(tmp_path)), tmp_path)[0]
    nbformat.write(nbformat.from_dict(target.notebook), target.path)
    assert differences(target) == ["solutions/04_small.ipynb: not executed from top to bottom"]
