"""What is taken from a submission, and that nothing in it can stop the grader."""

import json
from pathlib import Path

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.classroom import masters
from course_lib.classroom.build import targets_of
from course_lib.classroom.grading import notebooks
from course_lib.classroom.grading.answers import bound, defined
from course_lib.classroom.grading.restore import restore

GRADING = '"schema_version": 3, "locked": false, "task": false'
ANSWER = f'nbgrader={{"grade_id": "%s", "solution": true, "grade": false, {GRADING}}}'
CHECK = f'nbgrader={{"grade_id": "%s", "points": 2, "solution": false, "grade": true, {GRADING}}}'
TEXT = f"""# %% [markdown]
# # 90 · Sheet

# %%
import math

# %% {ANSWER % "90-1-area"}
def area(r):
    ### BEGIN SOLUTION
    return math.pi * r**2
    ### END SOLUTION

# %% {CHECK % "90-1-check"}
with check("90.1", points=2):
    assert area(0) == 0, "nothing"
    ### BEGIN HIDDEN TESTS
    assert abs(area(1) - 3.14159) < 1e-3, "pi"
    ### END HIDDEN TESTS

# %% tags=["wrong"]
def area(r):
    return 0

# %% [markdown]
# Between.

# %% {ANSWER % "90-2-best"}
### BEGIN SOLUTION
best, worst = 3, 1
### END SOLUTION

# %% {CHECK % "90-2-check"}
with check("90.2", points=2):
    assert best == 3, "three"

# %% [markdown]
# Why?

# %% [markdown] {ANSWER.replace('"grade": false', '"grade": true, "points": 2') % "90-3-why"}
# ### BEGIN SOLUTION
# Because.
# ### END SOLUTION

# %%
area(1)
"""
MASTER = masters.parse(TEXT, Path("90_sheet.py"))
AREA, BEST = "def area(r):\n    return 3.14159265 * r * r", "best = 3\nworst = 1"
STUBS = {"90-1-area": 'def area(r):\n    raise NotImplementedError("exercise 90.1")', "90-2-best": "best = ...\nworst = ..."}
SETUP, FIRST, FIRST_CHECK, SECOND, SECOND_CHECK, WHY, WORDS, LAST = 1, 2, 3, 5, 6, 7, 8, 9  # positions in the notebook


def lesson() -> dict:
    """The notebook that a learner gets."""
    return json.loads(json.dumps(targets_of(MASTER, Path("."))[1].notebook))


def solved() -> dict:
    """The same with both answers and the text."""
    book = lesson()
    for position, source in ((FIRST, AREA), (SECOND, BEST), (WORDS, "So it is.")):
        book["cells"][position]["source"] = source
    return book


def code(source, **more) -> dict:
    """A code cell of the learner's own."""
    return {"cell_type": "code", "id": "own", "metadata": {}, "outputs": [], "execution_count": None, "source": source, **more}


def back(book):
    """What is restored from a notebook."""
    return restore(json.dumps(book).encode(), MASTER)


def taken(book, *, notes=()) -> None:
    """Both answers are found, with exactly these notes (parts of their texts, in order)."""
    result = back(book)
    assert not result.problem and result.answers == {"90-1-area": AREA, "90-2-best": BEST}
    assert len(result.notes) == len(notes) and all(n in m for n, m in zip(notes, result.notes, strict=True)), result.notes


def test_a_lesson_as_handed_out_holds_no_answers_and_nothing_odd():
    result = back(lesson())
    assert result.answers == STUBS and result.texts == {"90-3-why": ""}
    assert result.extras == result.notes == () and not result.problem


@pytest.mark.parametrize("path", masters.masters(), ids=lambda p: p.stem)
def test_every_lesson_is_recognized_as_it_was_built(path):
    master, root = masters.load(path), path.parent.parent
    built, empty = (restore((root / f / f"{path.stem}.ipynb").read_bytes(), master) for f in ("solutions", "lessons"))
    answers = {a.nbgrader["grade_id"]: a for e in master.exercises for a in e.answers}
    assert {g: s.strip() for g, s in built.answers.items()} == {g: masters.solved(a).strip() for g, a in answers.items()}
    assert {g: s.strip() for g, s in empty.answers.items()} == {
        g: masters.unsolved(a, master.number_of(a)).strip() for g, a in answers.items()
    }
    assert empty.notes == empty.extras == built.extras == () and not any(empty.texts.values())
    assert all(built.texts.values())


def test_answers_and_text_are_taken():
    taken(solved())
    assert back(solved()).texts == {"90-3-why": "So it is."} and back(solved()).extras == ()


def test_extra_cells_keep_their_order_and_place():
    book = solved()
    own = {
        LAST + 1: ["after"],
        SECOND_CHECK: ["x = 1", "  "],
        FIRST: ["helper = 2", "more = helper"],
        0: ["%matplotlib inline"],
    }
    for position, sources in own.items():
        book["cells"][position:position] = [code(source) for source in sources]
    taken(book)
    assert back(book).extras == ((0, "%matplotlib inline"), (0, "helper = 2"), (0, "more = helper"), (1, "x = 1"), (2, "after"))


def test_an_edited_cell_of_the_lesson_is_the_learners_own():
    book = solved()
    book["cells"][SETUP]["source"] = "import math, random"
    assert back(book).extras == ((0, "import math, random"),)


def test_cells_of_another_edition_of_the_lesson_are_not_the_learners_own():
    edition = (
        TEXT.replace("import math\n", "import math as m\n")
        .replace('"nothing"', '"zero"')
        .replace("def area(r)", "def area(r, /)")
    )
    book = targets_of(masters.parse(edition, Path("90_sheet.py")), Path("."))[1].notebook
    result = back(book)
    assert result.extras == () and result.notes == () and "(r, /)" in result.answers["90-1-area"]


def test_changed_checks_points_and_order_do_not_matter():
    book = solved()
    book["cells"][FIRST_CHECK]["source"] = 'with check("90.1", points=99):\n    pass'
    book["cells"][FIRST_CHECK]["metadata"]["nbgrader"]["points"] = 99
    del book["cells"][SECOND_CHECK]
    book["cells"].reverse()
    taken(book, notes=["90.1: the check cell had been edited", "90.2: the check cell had been removed"])
    assert back(book).extras == ()


def test_a_check_without_its_marks_is_still_no_answer_and_no_extra():
    book = solved()
    book["cells"][FIRST_CHECK] = code("area = print\n" + book["cells"][FIRST_CHECK]["source"])
    taken(book, notes=["90.1: the check cell had been edited"])
    assert back(book).extras == ()


@pytest.mark.parametrize(
    "metadata", [{}, {"nbgrader": None}, {"nbgrader": {"grade_id": ["x"]}}, {"nbgrader": {"grade_id": "zz"}}, []]
)
def test_answers_without_their_marks_are_found_by_what_they_define(metadata):
    book = solved()
    for position in (FIRST, SECOND):
        book["cells"][position]["metadata"] = metadata
    taken(book, notes=["90.1: the answer was found by what it defines (area)", "90.2: the answer was found by what it defines"])
    assert back(book).extras == ()


def test_swapped_marks_are_seen_through():
    book = solved()
    cells = book["cells"]
    cells[FIRST]["metadata"], cells[SECOND]["metadata"] = cells[SECOND]["metadata"], cells[FIRST]["metadata"]
    taken(book, notes=["90.1: the answer was found by", "90.2: the answer was found by"])


def test_all_marks_lost_and_the_last_cell_that_defines_it_counts():
    book = solved()
    for cell in book["cells"]:
        cell["metadata"] = {}
    book["cells"].insert(FIRST, code("def area(r):\n    return 1"))
    taken(book, notes=["90.1: the answer was found by", "90.2: the answer was found by", "90-3-why: the answer was found in"])
    assert back(book).extras == ((0, "def area(r):\n    return 1"),)


def test_a_definition_near_the_check_is_preferred_to_a_later_one():
    book = solved()
    book["cells"][SECOND]["metadata"] = {}
    book["cells"].append(code("best, worst = 9, 9"))
    taken(book, notes=["90.2: the answer was found by"])


def test_an_answer_in_a_cell_of_its_own_while_the_marked_one_is_untouched():
    book = solved()
    book["cells"][FIRST]["source"] = STUBS["90-1-area"]
    book["cells"].insert(FIRST + 1, code(AREA))
    taken(book, notes=["90.1: the answer cell is as it was handed out"])
    assert back(book).extras == ()


def test_a_later_scratch_cell_does_not_answer_an_exercise_left_untouched():
    book = solved()
    book["cells"][SECOND]["source"] = STUBS["90-2-best"]
    book["cells"].append(code("best = worst = 3"))
    assert back(book).answers["90-2-best"] == STUBS["90-2-best"]
    assert back(book).extras == ((2, "best = worst = 3"),)


def test_of_several_marked_cells_the_last_with_an_answer_is_taken():
    book = solved()
    marks = book["cells"][FIRST]["metadata"]
    older, stub = "def area(r):\n    return r", STUBS["90-1-area"]
    book["cells"].insert(FIRST, code(older, metadata=marks))
    book["cells"].insert(FIRST + 2, code(stub, metadata=marks))
    taken(book, notes=["90.1: 3 cells carry the id 90-1-area"])
    assert back(book).extras == ((0, older),)


def test_an_answer_split_in_two_keeps_both_halves():
    book = solved()
    half = code("def helper(r):\n    return r * r", metadata=book["cells"][FIRST]["metadata"])
    book["cells"].insert(FIRST + 1, half)
    taken(book, notes=["2 cells carry the id"])
    assert back(book).extras == ((0, half["source"]),)


def test_missing_cells_are_empty_answers_with_a_note():
    result = back({**lesson(), "cells": []})
    assert result.answers == {"90-1-area": "", "90-2-best": ""} and result.texts == {"90-3-why": ""}
    text = "\n".join(result.notes)
    assert (
        "answer cell (90-1-area) is missing" in text and "90.2: the check cell had been removed" in text and "90-3-why" in text
    )


@pytest.mark.parametrize("kind", ["raw", "markdown"])
def test_an_answer_cell_turned_into_another_kind(kind):
    book = solved()
    book["cells"][FIRST]["cell_type"] = kind
    taken(book, notes=[f"90.1: the answer cell had become a {kind} cell"])


def test_two_answers_in_one_cell():
    book = solved()
    both = f"{AREA}\n{BEST}"
    book["cells"][FIRST]["source"] = both
    del book["cells"][SECOND]
    result = back(book)
    assert result.answers == {"90-1-area": both, "90-2-best": both} and result.extras == ()
    assert "90.2: the answer was found in a cell that answers another exercise" in result.notes[0]


def test_an_answer_to_a_later_exercise_is_none_to_this_one():
    book = solved()
    book["cells"][SECOND]["source"] = f"{AREA}\n{BEST}"
    del book["cells"][FIRST]
    assert back(book).answers["90-1-area"] == "" and "90-1-area) is missing" in back(book).notes[0]


def test_answers_that_bear_the_marks_of_checks_are_answers():
    book = solved()
    for answer, check in ((FIRST, FIRST_CHECK), (SECOND, SECOND_CHECK)):
        book["cells"][answer]["metadata"] = book["cells"][check]["metadata"]
    taken(book, notes=["90.1: the answer was found by", "90.2: the answer was found by"])
    book["cells"][FIRST_CHECK]["source"] = "pass"
    taken(
        book, notes=["90.1: the check cell had been edited", "90.1: the answer was found by", "90.2: the answer was found by"]
    )


def test_an_answer_merged_with_its_check_is_an_answer():
    book = solved()
    merged = AREA + "\n" + book["cells"].pop(FIRST_CHECK)["source"]
    book["cells"][FIRST]["source"] = merged
    assert back(book).answers["90-1-area"] == merged and back(book).extras == ()


@pytest.mark.parametrize(
    "source",
    ["%%time\ndef area(r):\n    return 1", "def area(r) return", "if True:\n    area = abs", "x, (area, *z) = 1, (2, 3)",
     "try:\n    pass\nexcept E:\n    area = 1", "async def area(r): ...", "class area: ...", "area: int = 1",
     "def area(r):\n\treturn '\\d'\0", "match 1:\n    case _:\n        area = 2", "for area in []: ...",
     "#" * 300_000 + "\ndef area(r): ..."],
)  # fmt: skip
def test_definitions_are_seen(source, recwarn):
    assert "area" in defined(source) and not recwarn


@pytest.mark.parametrize(
    "source", ["def other():\n    area = 1", "area == 3", "print(area=1)", "import area", "'''\n'''", "area(1)"]
)
def test_what_defines_nothing(source):
    assert "area" not in defined(source)


# the library's own answers


@pytest.mark.parametrize(
    ("answer", "own", "told"),
    [
        ("from course_lib.models import predict as area", None, "course_lib.models.predict"),
        ("def area(r):\n    import course_lib.models as m\n    return m.predict(r)", None, "course_lib.models"),
        ("area = theirs", "from course_lib.models import predict as theirs", "course_lib.models.predict"),
        ("from course_lib.models import *\narea = predict", None, "course_lib.models.*"),
        (AREA, "from course_lib.models import predict", None),  # looked at, and not used
        (AREA + "  # course_lib has the same", None, None),
    ],
)
def test_an_answer_that_is_the_librarys_is_noted(answer, own, told):
    book = solved()
    book["cells"][FIRST]["source"] = answer
    if own:
        book["cells"].insert(FIRST, code(own))
    notes = () if told is None else (f"Exercise 90.1: the answer uses the course's library ({told}).",)
    assert back(book).notes == notes


# words


@pytest.mark.parametrize("unmarked", [True, False])
def test_words_below_the_cell_meant_for_them_are_found(unmarked):
    book = solved()
    own = {"cell_type": "markdown", "id": "own", "metadata": {}, "source": "My words."}
    if unmarked:
        book["cells"][WORDS] = own
    else:
        book["cells"][WORDS]["source"] = masters.FREE_TEXT
        book["cells"].insert(WORDS + 1, own)
    assert back(book).texts == {"90-3-why": "My words."} and "found in a cell without" in back(book).notes[0]


def test_the_invitation_to_write_is_no_answer():
    book = solved()
    book["cells"][WORDS]["source"] = masters.FREE_TEXT + "\n\nMine."
    assert back(book).texts == {"90-3-why": "Mine."} and back(book).notes == ()


# files


def as_version(book, version) -> bytes:
    """A notebook in an old format, written by nbformat itself."""
    old = nbformat.convert(nbformat.from_dict(book), 3)
    if version == 2:
        old = nbformat.convert(old, 2)
    return json.dumps(old).encode()


@pytest.mark.parametrize("version", [2, 3])
def test_old_formats_are_upgraded(version, caplog):
    result = restore(as_version(solved(), version), MASTER)
    assert result.answers == {"90-1-area": AREA, "90-2-best": BEST} and result.extras == ()
    assert not caplog.records


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda t: t.encode("utf-8-sig"), None),
        (lambda t: t.encode("utf-16"), None),
        (lambda t: t.encode("utf-16-be"), None),
        (lambda t: t.encode("utf-32"), None),
        (lambda t: t.replace("So it is.", "Größe").encode("latin-1"), "Latin-1"),
        (lambda t: t.replace("So it is.", "因为").encode("gb18030"), "GB2312"),
        (lambda t: t.replace("\n", "\r\n").encode(), None),
        (lambda t: t.replace("So it is.", "tab\there").encode(), None),
        (lambda t: t.replace('"outputs": []', '"outputs": [{"data": NaN}]').encode(), None),
        (lambda t: t.replace('"nbformat": 4', '"nbformat": "4"').encode(), None),
        (lambda t: t.replace('"nbformat": 4', '"nbformat": 7').encode(), None),
        (lambda t: t.replace('"cells"', '"worksheets": null, "cells"').encode(), None),
    ],
)
def test_odd_files_are_read(change, note):
    text = json.dumps(solved(), ensure_ascii=False).replace("·", ".").replace("…", "...")
    result = restore(change(text), MASTER)
    assert not result.problem and result.answers == {"90-1-area": AREA, "90-2-best": BEST}
    assert result.texts["90-3-why"] in ("So it is.", "Größe", "因为", "tab\there")
    assert (note in result.notes[0]) if note else result.notes == ()


def test_missing_and_surplus_parts_are_put_up_with():
    book = solved()
    for cell in book["cells"]:
        cell["source"] = cell["source"].splitlines(keepends=True)
        cell.pop("id")
        cell.pop("outputs", None)
        cell.pop("execution_count", None)
        cell["metadata"]["tags"] = ["raises-exception"]
    book["cells"] += [
        None,
        3,
        "x",
        {},
        {"cell_type": "heading", "source": 3},
        {"cell_type": "code", "metadata": 1, "source": {}},
    ]
    taken({"cells": book["cells"], "metadata": {"kernelspec": {"name": "ir", "language": "R"}}})


def test_halves_of_surrogate_pairs_can_be_written_to_a_file():
    book = solved()
    book["cells"][WORDS]["source"] = "a\ud800b\ud83d\ude00"
    text = back(book).texts["90-3-why"]
    assert text.encode() and text.startswith("a") and text.endswith("😀")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is empty"),
        (b" \n\0\0", "is empty"),
        (b"hello", "is no notebook"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "is no notebook"),
        (b"[1, 2]", "no list of cells"),
        (b'"cells"', "no list of cells"),
        (b'{"cells": {"a": 1}}', "no list of cells"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"cells": [' + b'{"a":' * 100_000, "nested too deeply"),
        (b"[[]," * 1_500_000, "brackets"),
        (b'{"cells": [\n<<<<<<< HEAD\n', "merge conflict"),
        (b'{"cells": [' + b"9" * 5_000 + b"]}", "is no notebook"),
    ],
)
def test_what_is_no_notebook_is_said(data, problem):
    result = restore(data, MASTER)
    assert problem in result.problem and result.problem.endswith(".")
    assert result.answers == {"90-1-area": "", "90-2-best": ""} and result.texts == {"90-3-why": ""}


def test_sources_that_break_a_parser_are_answers_like_others():
    for hostile in (
        "(" * 5000,
        "-" * 50_000 + "1",
        "a" + ".b" * 50_000,
        "x = " + "[" * 150 + "]" * 150,
        "\0",
        "def area(r):\n" * 200,
    ):
        book = solved()
        book["cells"][FIRST]["source"] = hostile
        assert back(book).answers == {"90-1-area": hostile, "90-2-best": BEST}


def test_nothing_is_executed(tmp_path):
    touch = f"open({str(tmp_path / 'x')!r}, 'w')\n" + AREA
    book = solved()
    book["cells"][FIRST] = code(touch)
    book["cells"].insert(0, code(touch))
    assert back(book).answers["90-1-area"] == touch and not list(tmp_path.iterdir())


_WHOLE = json.dumps(solved()).encode()
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from("cells worksheets source input metadata nbgrader grade_id cell_type nbformat level id".split()),
        inner, max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(_WHOLE) - 1), st.binary(max_size=6), st.integers(0, 40))
def test_damage_anywhere_is_survived(position, noise, gap):
    result = restore(_WHOLE[:position] + noise + _WHOLE[position + gap :], MASTER)
    assert set(result.answers) == set(STUBS)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(["cells", "worksheets", "nbformat"]), _JSON, max_size=3), st.lists(_JSON, max_size=3))
def test_any_json_is_survived(book, cells):
    for shape in (book, {"cells": cells}, {"worksheets": [{"cells": cells}], "nbformat": book.get("nbformat")}):
        assert set(restore(json.dumps(shape).encode(), MASTER).answers) == set(STUBS)


def test_ids_are_made_as_the_build_makes_them():
    cells, _ = notebooks.read(json.dumps(lesson()).encode())
    assert all(cell.untouched for cell in cells)


def test_names_that_a_cell_of_the_lesson_binds():
    source = "import numpy as np, os.path\nfrom math import pi\nif pi:\n    a = 1\ndef f(x):\n    inner = x\n    return inner"
    assert {"np", "os", "pi", "a", "f"} <= bound(source) and not {"inner", "x"} & bound(source)
