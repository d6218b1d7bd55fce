"""The map in both READMEs names every lesson, and the costs stand beside them."""

import pytest

from course_lib.classroom import lesson_map, masters
from course_lib.config import settings

LESSONS = [lesson_map.head(masters.load(path)) for path in masters.masters()]
ROOT = settings().project


def test_readme_has_the_map_that_the_masters_ask_for():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert lesson_map.table(LESSONS, folder="lessons/") in text, "run `course map`"


def test_costs_of_every_lesson_are_recorded_and_within_the_frame():
    text = (ROOT / "lessons" / "README.md").read_text(encoding="utf-8")
    for lesson in LESSONS:
        rows = [line for line in text.splitlines() if line.startswith(f"| {lesson.title} |")]
        assert len(rows) == 1, f"{len(rows)} costs of {lesson.name}; run `course map`"
        seconds, megabytes = (float(cell) for cell in rows[0].split("|")[2:4])
        assert 0 < seconds <= 45 and 0 < megabytes <= 2048, rows[0]


def test_only_the_named_lessons_are_measured(tmp_path, monkeypatch):
    for folder in ("solutions", "lessons"):
        (tmp_path / folder).mkdir()
    for name in ("00_start_here", "01_interactions"):
        source = ROOT / "solutions" / f"{name}.py"
        (tmp_path / "solutions" / source.name).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    for path in (tmp_path / "README.md", tmp_path / "lessons" / "README.md"):
        path.write_text(f"{lesson_map.BEGIN}\n{lesson_map.END}\n", encoding="utf-8")
    monkeypatch.setattr(lesson_map, "cost", lambda path: (7.0, 300.0))
    lesson_map.write(root=tmp_path)
    monkeypatch.setattr(lesson_map, "cost", lambda path: (8.0, 400.0))
    lesson_map.write(only=["01"], root=tmp_path)
    rows = (tmp_path / "lessons" / "README.md").read_text(encoding="utf-8")
    assert rows.count("| 7 | 300 |") == 1 and "| 1 · The interactions | 8 | 400 |" in rows
    with pytest.raises(ValueError, match="no lesson is called 99; there are 00_start_here, 01_interactions"):
        lesson_map.write(only=["99"], root=tmp_path)


def test_update_keeps_what_stands_around_the_marks(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"before\n{lesson_map.BEGIN}\nold\n{lesson_map.END}\nafter\n", encoding="utf-8")
    assert lesson_map.update(path, "new")
    assert path.read_text(encoding="utf-8") == f"before\n{lesson_map.BEGIN}\n\nnew\n\n{lesson_map.END}\nafter\n"
    assert not lesson_map.update(path, "new")


def test_update_refuses_a_file_without_marks(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("nothing here", encoding="utf-8")
    with pytest.raises(ValueError, match="lacks the marks"):
        lesson_map.update(path, "new")
    assert path.read_text(encoding="utf-8") == "nothing here"


def test_a_first_cell_without_its_frame_is_named(tmp_path):
    path = tmp_path / "05_other.py"
    path.write_text("# %% [markdown]\n# # 5 · Other\n", encoding="utf-8")
    with pytest.raises(masters.MasterError, match="05_other"):
        lesson_map.head(masters.load(path))
