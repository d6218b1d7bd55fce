"""Whose notebook is it, and for which lesson: what platforms hand out, what goes wrong, and what is done on purpose."""

import io
import json
import os
import stat
import time
import unicodedata
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.classroom import masters
from course_lib.classroom.grading import archives, names
from course_lib.classroom.grading.submissions import Submission, SubmissionError, collect

LESSONS = [path.stem for path in masters.masters()]
DOT, TEXT = "04_dot_product", "05_text_features"


def notebook(*grade_ids, source="") -> bytes:
    """A notebook with one code cell an id."""
    cells = [{"cell_type": "code", "source": source, "metadata": {"nbgrader": {"grade_id": g}}} for g in grade_ids]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}).encode()


EMPTY, OF_DOT = notebook(), notebook("04-1-predict", "04-1-check", "05-1-pieces")


def zipped(files, *, links=()) -> bytes:
    """A zip file: name → bytes, or (date, bytes); `links` are names of symbolic links to their contents."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items() if isinstance(files, dict) else files:
            date, content = content if isinstance(content, tuple) else ((2026, 1, 2, 3, 4, 6), content)
            info = zipfile.ZipInfo(name, date)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = ((stat.S_IFLNK if name in links else stat.S_IFREG) | 0o644) << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def put(folder, files) -> Path:
    """Write files below a folder: name → bytes."""
    for name, content in files.items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return Path(folder)


def found(*paths, lessons=LESSONS) -> list[tuple[str, str]]:
    """Learner and lesson of what is collected, all of it readable."""
    result = collect(paths, lessons=lessons)
    assert [s for s in result if s.problem] == []
    return [(s.learner, s.lesson) for s in result]


# layouts


@pytest.mark.parametrize(
    ("file", "learner"),
    [
        ("Mei Wang__04_dot_product.ipynb", "Mei Wang"),
        ("04_dot_product__mei.ipynb", "mei"),
        ("04_dot_product_mei.ipynb", "mei"),
        ("mei - dot product (2).ipynb", "mei"),
        ("王美__4.ipynb", "王美"),
        ("王美/04_dot_product.ipynb", "王美"),
        ("mei/lessons/04_dot_product.ipynb", "mei"),
        ("mei/04_dot_product (1).ipynb", "mei"),
        ("mei/04_dot_product-2.ipynb", "mei"),
        ("mei/04_dot_product-Copy1.ipynb", "mei"),
        ("mei/Lesson 4.ipynb", "mei"),
        ("mei/lesson-4.ipynb", "mei"),
        ("mei/Dot-Product FINAL.IPYNB", "mei"),
        ("04-dot-product-mei/lessons/04_dot_product.ipynb", "mei"),
        ("04-dot-product-submissions/04-dot-product-mei-main/lessons/04_dot_product.ipynb", "mei"),
        ("04_dot_product/mei/homework.ipynb", "mei"),
        ("submitted/mei/04_dot_product/anything.ipynb", "mei"),
        ("Mei Wang_12345_assignsubmission_file_/dot product.ipynb", "Mei Wang"),
        ("Mei Wang_12345_assignsubmission_file_dot product.ipynb", "Mei Wang"),
        ("wangmei_12345_67890_04_dot_product.ipynb", "wangmei"),
        ("wangmei_LATE_12345_67890_04_dot_product-1.ipynb", "wangmei"),
        ("04_dot_product.ipynb", "class of 2026"),
        ("04_dot_product_final_v2.ipynb", "class of 2026"),
    ],
)
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_a_layout_says_who_and_what(tmp_path, file, learner, packed):
    if packed:
        path = tmp_path / "class of 2026.zip"
        path.write_bytes(zipped({file: EMPTY}))
    else:
        path = put(tmp_path / "class of 2026", {file: EMPTY})
    assert found(path) == [(learner, DOT)]


def test_what_is_no_submission_is_passed_over(tmp_path):
    junk = [
        "mei/.ipynb_checkpoints/05_text_features-checkpoint.ipynb", "__MACOSX/mei/05_text_features.ipynb", ".git/x.ipynb",
        "mei/._05_text_features.ipynb", "mei/conftest.py", "mei/05_text_features.py", "mei/05_text_features.ipynb.bak",
    ]  # fmt: skip
    files = {"mei/04_dot_product.ipynb": EMPTY, **dict.fromkeys(junk, b"import os; os._exit(3)")}
    (tmp_path / "class.zip").write_bytes(zipped(files))
    assert found(put(tmp_path / "class", files)) == found(tmp_path / "class.zip") == [("mei", DOT)]


@pytest.mark.parametrize(
    ("content", "lesson"),
    [
        (OF_DOT, DOT),
        (notebook("05-1-pieces", "05-1-check", "04-1-check"), TEXT),
        (notebook("", source='with check("5.2", points=3):\n    pass'), TEXT),
        (notebook("04-1-predict").decode().encode("utf-16"), DOT),
    ],
)
def test_a_lesson_without_its_name_is_known_by_what_it_asks(tmp_path, content, lesson):
    assert found(put(tmp_path, {"mei/work.ipynb": content})) == [("mei", lesson)]


def test_flat_files_called_after_their_learners(tmp_path):
    put(tmp_path, {"mei.ipynb": OF_DOT, "jun.ipynb": OF_DOT})
    assert found(tmp_path) == found(*tmp_path.iterdir()) == [("jun", DOT), ("mei", DOT)]


def test_files_of_one_name_from_several_folders_are_their_folders(tmp_path):
    put(tmp_path, {"mei/homework.ipynb": OF_DOT, "jun/homework.ipynb": OF_DOT, "kai/lessons/04_dot_product.ipynb": EMPTY})
    assert found(*tmp_path.rglob("*.ipynb")) == found(*tmp_path.iterdir()) == [("jun", DOT), ("kai", DOT), ("mei", DOT)]


@pytest.mark.parametrize("before", ["Copy of ", "Copy of Copy of ", "Kopie von ", "copie de "])
def test_copy_of_is_nobodys_name(tmp_path, before):
    for name in ("mei", "jun"):
        (tmp_path / f"{name}.zip").write_bytes(zipped({f"{before}04_dot_product.ipynb": EMPTY}))
        put(tmp_path / "folders" / name, {f"{before}04_dot_product (1).ipynb": EMPTY})
    assert found(*tmp_path.glob("*.zip")) == found(*(tmp_path / "folders").iterdir()) == [("jun", DOT), ("mei", DOT)]
    put(tmp_path / "flat", {f"{before}04_dot_product - Dana.ipynb": EMPTY, f"{before}mei__04_dot_product.ipynb": EMPTY})
    assert found(tmp_path / "flat") == [("Dana", DOT), ("mei", DOT)]


def test_a_folder_around_the_whole_class_is_nobody(tmp_path):
    put(tmp_path / "given", {"autumn/mei/04_dot_product.ipynb": EMPTY, "autumn/jun/04_dot_product.ipynb": EMPTY})
    assert found(tmp_path / "given") == [("jun", DOT), ("mei", DOT)]


def test_zip_files_that_hold_the_same_folder_stay_apart(tmp_path):
    for name in ("mei", "jun"):
        (tmp_path / f"{name}.zip").write_bytes(zipped({"our-course/04_dot_product.ipynb": EMPTY}))
    assert found(*tmp_path.iterdir()) == [("jun", DOT), ("mei", DOT)]
    assert found(tmp_path) == [("jun", DOT), ("mei", DOT)]  # as zip files in a folder, too


def test_a_path_may_be_given_from_where_one_stands_and_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(put(tmp_path / "mei", {"04_dot_product.ipynb": EMPTY}))
    (only,) = collect([Path("."), tmp_path / "mei", Path("../mei")], lessons=LESSONS)
    assert only.learner == "mei" and "passed over" not in only.source
    assert collect([Path("04_dot_product.ipynb")], lessons=LESSONS)[0].source == "04_dot_product.ipynb"


@pytest.mark.parametrize(("ids", "lesson"), [(("05-1-pieces", "05-2-df"), TEXT), (("05-1-pieces", "04-1-predict"), DOT)])
def test_a_name_counts_unless_all_cells_are_of_another_lesson(tmp_path, ids, lesson):
    put(tmp_path, {"mei/04_dot_product.ipynb": notebook(*ids)})
    assert found(tmp_path) == [("mei", lesson)]


def test_two_weeks_of_one_learner(tmp_path):
    put(tmp_path, {"four/mei/04_dot_product.ipynb": EMPTY, "five/mei/05_text_features.ipynb": EMPTY})
    assert found(tmp_path / "four", tmp_path / "five") == [("mei", DOT), ("mei", TEXT)]


def test_only_lessons_asked_for_are_taken(tmp_path):
    put(tmp_path, {"mei/04_dot_product.ipynb": EMPTY, "mei/05_text_features.ipynb": notebook("05-1-pieces")})
    assert found(tmp_path, lessons=[DOT]) == [("mei", DOT)]


def test_nbgraders_other_folders_are_not_submissions(tmp_path):
    kept = {f"{f}/mei/{DOT}/{DOT}.ipynb": EMPTY for f in ("submitted", "autograded", "feedback")}
    put(tmp_path / "course", {**kept, f"source/{DOT}/{DOT}.ipynb": EMPTY})
    (only,) = collect([tmp_path / "course"], lessons=LESSONS)
    assert only.learner == "mei" and "submitted" in only.source and "passed over" not in only.source


# which of several


def chosen(path, learner="mei") -> Submission:
    """The one submission of a learner."""
    (only,) = [s for s in collect([path], lessons=LESSONS) if s.learner == learner]
    return only


def test_the_last_changed_of_two_files_is_taken_and_said(tmp_path):
    put(tmp_path / "c", {"mei/a/04_dot_product.ipynb": b"old", "mei/b/04_dot_product.ipynb": b"new"})
    put(tmp_path / "c", {"jun/04_dot_product.ipynb": b"jun"})
    os.utime(tmp_path / "c/mei/a/04_dot_product.ipynb", (time.time() - 9999,) * 2)
    only = chosen(tmp_path / "c")
    assert only.data == b"new" and "newest of 2" in only.source and str(Path("mei", "a")) in only.source
    os.utime(tmp_path / "c/mei/b/04_dot_product.ipynb", (time.time() - 99999,) * 2)
    assert chosen(tmp_path / "c").data == b"old"


def test_canvas_numbers_its_attempts(tmp_path):
    early, late = (2026, 1, 1, 0, 0, 0), (2026, 9, 9, 0, 0, 0)
    files = {"mei_7_30_04_dot_product.ipynb": (late, b"1"), "mei_LATE_7_31_04_dot_product-1.ipynb": (early, b"2")}
    (tmp_path / "class.zip").write_bytes(zipped(files))
    assert chosen(tmp_path / "class.zip").data == b"2"


def test_a_browsers_copy_counts_where_dates_do_not_tell(tmp_path):
    (tmp_path / "c.zip").write_bytes(zipped({"mei/04_dot_product (1).ipynb": b"2", "mei/04_dot_product.ipynb": b"1"}))
    assert chosen(tmp_path / "c.zip").data == b"2"


def test_a_clone_of_the_course_hands_in_its_lessons_not_its_solutions(tmp_path):
    files = [("mei/lessons/04_dot_product.ipynb", b"own"), ("mei/solutions/04_dot_product.ipynb", b"not")]
    (tmp_path / "c.zip").write_bytes(zipped(files))
    assert chosen(tmp_path / "c.zip").data == b"own"


def test_a_scratch_notebook_does_not_replace_the_named_one(tmp_path):
    put(tmp_path / "c", {"04-dot-product-mei/04_dot_product.ipynb": b"own", "04-dot-product-mei/scratch.ipynb": EMPTY})
    os.utime(tmp_path / "c/04-dot-product-mei/04_dot_product.ipynb", (1e9, 1e9))
    assert chosen(tmp_path / "c").data == b"own"


def test_a_readable_file_is_preferred_to_a_newer_one_that_is_not(tmp_path):
    good, bad = ((2026, 1, 1, 0, 0, 0), b"good"), ((2026, 2, 2, 0, 0, 0), b"not a zip file")
    (tmp_path / "c.zip").write_bytes(zipped({"mei/04_dot_product.ipynb": good, "mei/04_dot_product.zip": bad}))
    only = chosen(tmp_path / "c.zip")
    assert only.data == b"good" and "04_dot_product.zip" in only.source


# learners stay apart


def test_one_name_and_two_people(tmp_path):
    moodle = {f"Mei Wang_{n}_assignsubmission_file_/04_dot_product.ipynb": b"x" for n in (1, 2)}
    (tmp_path / "moodle.zip").write_bytes(zipped(moodle))
    assert found(tmp_path / "moodle.zip") == [("Mei Wang-1", DOT), ("Mei Wang-2", DOT)]
    canvas = {f"wangmei_{n}_9{n}_04_dot_product.ipynb": b"x" for n in (1, 2)}
    (tmp_path / "canvas.zip").write_bytes(zipped(canvas))
    assert found(tmp_path / "canvas.zip") == [("wangmei-1", DOT), ("wangmei-2", DOT)]


def test_moodle_counts_each_assignment_anew_and_the_learner_stays_one(tmp_path):
    for number, lesson in ((1, DOT), (2, TEXT)):
        files = {f"Mei_{number}_assignsubmission_file_/{lesson}.ipynb": EMPTY}
        (tmp_path / f"{lesson}.zip").write_bytes(zipped(files))
    assert found(*tmp_path.iterdir()) == [("Mei", DOT), ("Mei", TEXT)]


def test_names_that_become_the_same_file_name_stay_apart(tmp_path):
    files = {
        f"{name}__04_dot_product.ipynb": name.encode() for name in ("mei?", "mei*", "Mei_", "x" * 90 + "a", "x" * 90 + "b")
    }
    (tmp_path / "class.zip").write_bytes(zipped(files))
    result = collect([tmp_path / "class.zip"], lessons=LESSONS)
    assert sorted(s.data for s in result) == sorted(files.values())
    assert len({s.learner.casefold() for s in result}) == 5 and max(len(s.learner) for s in result) <= 80


def test_somebody_called_like_a_name_made_here():
    owners = [names.Owner("mei", "1", "c"), names.Owner("mei", "2", "c"), names.Owner("mei-1")]
    assert len(set(names.told_apart(owners).values())) == 3


@given(st.lists(st.text(max_size=120), min_size=1, max_size=6))
def test_any_text_becomes_a_name_that_files_can_have(texts):
    named = names.told_apart(names.Owner(text) for text in texts)
    for name in named.values():
        assert name and len(name) <= 80 and len(name.encode()) <= 240
        assert not set(name) & set('<>:"/\\|?*') and name not in (".", "..") and name == name.strip(" .")
        assert not any(unicodedata.category(c).startswith("C") for c in name)
    spellings = {unicodedata.normalize("NFC", text) for text in texts}
    assert len({name.casefold() for name in named.values()}) == len(spellings)


@pytest.mark.parametrize(
    ("name", "safe"),
    [("../../etc", "_.._etc"), ("..", "unnamed"), ("", "unnamed"), ("王美", "王美"), ("CON", "CON_"), ("-rf", "rf"),
     ("a\u202eb\x00c\n d", "abc d"), ("C:\\x", "C__x"), ("e\u0301", "é")],
)  # fmt: skip
def test_safe_names(name, safe):
    assert names.safe(name) == safe


# on purpose


@pytest.mark.parametrize(
    "inside", ["jun__04_dot_product.ipynb", "jun/04_dot_product.ipynb", "submitted/jun/04_dot_product.ipynb"]
)
def test_nobody_hands_in_for_another(tmp_path, inside):
    forged = {f"mei/{inside}": b"forged"}
    put(tmp_path / "a", {"jun/04_dot_product.ipynb": b"own", **forged})
    put(tmp_path / "b", {"jun/04_dot_product.ipynb": b"own", "mei.zip": zipped({inside: b"forged"})})
    moodle = "jun_1_assignsubmission_file_/04_dot_product.ipynb"
    put(tmp_path / "c", {"jun/04_dot_product.ipynb": b"own", "mei.zip": zipped({moodle: b"forged"})})
    for folder in ("a", "b", "c"):
        os.utime(tmp_path / folder / "jun/04_dot_product.ipynb", (1e9, 1e9))
        assert {s.learner: s.data for s in collect([tmp_path / folder], lessons=LESSONS)} == {"jun": b"own", "mei": b"forged"}
        assert chosen(tmp_path / folder, "jun").data == b"own"
    apart = {s.learner: s.data for s in collect(list((tmp_path / "a").iterdir()), lessons=LESSONS)}
    assert apart["jun"] == b"own"


@pytest.mark.parametrize(
    "name", ["../../../evil/04_dot_product.ipynb", "/evil/04_dot_product.ipynb", "C:\\evil\\04_dot_product.ipynb"]
)
def test_names_that_lead_out_of_an_archive_are_labels_only(tmp_path, name):
    put(tmp_path / "in" / "c", {"mei.zip": zipped({name: EMPTY})})
    before = sorted(tmp_path.rglob("*"))
    assert found(tmp_path / "in" / "c") == [("mei", DOT)]
    assert sorted(tmp_path.rglob("*")) == before and not Path("/evil").exists()


def test_links_are_not_followed(tmp_path):
    secret = put(tmp_path / "secret", {"04_dot_product.ipynb": b"secret"})
    put(tmp_path / "c", {"jun/05_text_features.ipynb": EMPTY, "mei/05_text_features.ipynb": EMPTY})
    (tmp_path / "c/mei/04_dot_product.ipynb").symlink_to(secret / "04_dot_product.ipynb")
    (tmp_path / "c/mei/more").symlink_to(secret)
    (tmp_path / "c/kai.zip").write_bytes(zipped({"04_dot_product.ipynb": b"/secret"}, links=["04_dot_product.ipynb"]))
    assert found(tmp_path / "c") == [("jun", TEXT), ("mei", TEXT)]
    (only,) = collect([tmp_path / "c/mei/04_dot_product.ipynb"], lessons=LESSONS)
    assert "is a link" in only.problem and only.data == b""


def test_a_folder_that_cannot_be_looked_into_is_not_forgotten(tmp_path, monkeypatch):
    put(tmp_path, {"mei/04_dot_product.ipynb": EMPTY, "jun/04_dot_product.ipynb": EMPTY})
    original = os.scandir

    def refused(path):
        if Path(path).name == "mei":
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert [(s.learner, bool(s.problem)) for s in collect([tmp_path], lessons=LESSONS)] == [("jun", False), ("mei", True)]


def test_a_pipe_is_not_waited_for(tmp_path):
    (tmp_path / "mei").mkdir()
    os.mkfifo(tmp_path / "mei" / "04_dot_product.ipynb")
    assert "no ordinary file" in chosen(tmp_path).problem


def problem(tmp_path, content, file="mei.zip") -> str:
    """Why the submission of mei, beside a healthy one of jun's, cannot be read."""
    put(tmp_path / "c", {"jun/04_dot_product.ipynb": b"own", file: content})
    result = {s.learner: s for s in collect([tmp_path / "c"], lessons=LESSONS)}
    assert result["jun"].data == b"own" and not result["jun"].problem
    assert result["mei"].data == b""
    return result["mei"].problem


def flagged(packed: bytes, bit: int) -> bytes:
    """The same zip file, with a bit set in the flags of its first entry."""
    data, central = bytearray(packed), packed.index(b"PK\x01\x02")
    data[6] |= bit
    data[central + 8] |= bit
    return bytes(data)


def test_locked_broken_and_odd_zip_files_cost_one_learner_only(tmp_path):
    whole = zipped({"04_dot_product.ipynb": OF_DOT})
    assert "password" in problem(tmp_path, flagged(whole, 1))
    assert "damaged" in problem(tmp_path, whole[:-30])
    assert "damaged" in problem(tmp_path, whole.replace(whole[60:70], b"0123456789"))
    assert "no zip file" in problem(tmp_path, b"")
    assert "no zip file" in problem(tmp_path, b"Rar!\x1a\x07")
    assert "unusual way" in problem(tmp_path, whole.replace(b"\x08\x00", b"\x0e\x00"))  # LZMA
    assert "in a zip file in a zip file" in problem(tmp_path / "new", zipped({"a.zip": zipped({"b.zip": whole})}), "mei/x.zip")


def test_zips_within_zips_one_level(tmp_path):
    inner = zipped({"work/04_dot_product.ipynb": b"inner"})
    (tmp_path / "moodle.zip").write_bytes(zipped({"Mei_1_assignsubmission_file_/work.zip": inner}))
    assert chosen(tmp_path / "moodle.zip", "Mei").data == b"inner"


def test_a_damaged_zip_file_that_was_given_is_one_submission(tmp_path):
    (tmp_path / "mei.zip").write_bytes(b"PK")
    (only,) = collect([tmp_path / "mei.zip"], lessons=LESSONS)
    assert only.learner == "mei" and "damaged" in only.problem


def test_bombs_are_counted_while_they_are_read(tmp_path, monkeypatch):
    big = zipped({"04_dot_product.ipynb": b"0" * 3_000_000})
    monkeypatch.setattr(archives, "NOTEBOOK", 2_000_000)
    assert "larger than 2 MB" in problem(tmp_path, big)
    size = (3_000_000).to_bytes(4, "little")
    assert size in big and "damaged" in problem(tmp_path, big.replace(size, (100).to_bytes(4, "little")))  # a lying header
    assert "larger than 2 MB" in problem(tmp_path, b"0" * 3_000_000, "mei/04_dot_product.ipynb")


def test_many_small_files_are_a_bomb_too(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "SMALL", 100_000)
    swarm = {f"{n}/x.ipynb": b"0" * 90_000 for n in range(9)}
    put(tmp_path / "c", {"mei.zip": zipped({**swarm, "z/04_dot_product.ipynb": b"0" * 90_000})})
    assert "times the size" in chosen(tmp_path / "c").problem
    monkeypatch.setattr(archives, "NOTEBOOKS", 5)
    assert "more than 5 files" in chosen(tmp_path / "c").problem
    monkeypatch.setattr(archives, "NOTEBOOKS", 500)
    monkeypatch.setattr(archives, "LEARNER", 50_000)
    assert "beyond the" in chosen(tmp_path / "c").problem
    monkeypatch.setattr(archives, "ENTRIES", 4)
    assert "more than 4 names" in chosen(tmp_path / "c").problem
    (only,) = collect([tmp_path / "c" / "mei.zip"], lessons=LESSONS)
    assert "more than 4 names" in only.problem


# names in odd encodings


@pytest.mark.parametrize("encoding", ["utf-8", "gb2312", "cp437"])
def test_names_in_zip_files_that_do_not_say_their_encoding(tmp_path, encoding):
    name = "é" if encoding == "cp437" else "王美"
    plain = "~" * len(name.encode(encoding))
    data = zipped({f"{plain}__04_dot_product.ipynb": EMPTY}).replace(plain.encode(), name.encode(encoding))
    (tmp_path / "class.zip").write_bytes(data)
    assert found(tmp_path / "class.zip") == [(name, DOT)]


def test_one_name_in_two_unicode_forms_is_one_learner(tmp_path):
    files = {"Jose\u0301__04_dot_product.ipynb": EMPTY, "José__05_text_features.ipynb": EMPTY}
    (tmp_path / "class.zip").write_bytes(zipped(files))
    assert found(tmp_path / "class.zip") == [("José", DOT), ("José", TEXT)]


# nothing, and nothing that can be told


def test_nothing_handed_in(tmp_path):
    put(tmp_path, {"mei/notes.txt": b"x"})
    with pytest.raises(SubmissionError, match="NAME__04_dot_product.ipynb"):
        collect([tmp_path], lessons=LESSONS)
    with pytest.raises(SubmissionError, match="no such file"):
        collect([tmp_path / "nowhere"], lessons=LESSONS)


def test_a_notebook_without_any_sign_of_its_lesson(tmp_path):
    put(tmp_path / "c", {"mei/work.ipynb": EMPTY, "jun/04_dot_product.ipynb": EMPTY, "jun/scratch.ipynb": EMPTY})
    mei = chosen(tmp_path / "c")
    assert mei.lesson == "" and "which lesson" in mei.problem
    assert found(tmp_path / "c", lessons=[DOT]) == [("jun", DOT), ("mei", DOT)]  # with one lesson asked for, it is that one


def test_the_order_does_not_depend_on_the_order_given(tmp_path):
    put(tmp_path, {f"{n}/{lesson}.ipynb": EMPTY for n in ("mei", "jun", "kai") for lesson in (TEXT, DOT)})
    forward, backward = (
        collect(paths, lessons=LESSONS) for paths in (sorted(tmp_path.iterdir()), sorted(tmp_path.iterdir())[::-1])
    )
    assert forward == backward and [(s.learner, s.lesson) for s in forward] == sorted((s.learner, s.lesson) for s in forward)
