"""The grading corpus: notebooks that a class may hand in, with the points that a fair person would give.

Honest ones in unusual clothes, files that are damaged or altered, and notebooks that hang, die, flood, break out or cheat.
They are data: run them only within a sandbox. Nothing may be found in OUTSIDE afterwards, nor any process called ORPHAN.
"""

import json
from collections.abc import Callable

import grading_cheats
import grading_escapes
import grading_habits
import grading_harm
import grading_honest
import grading_secrets
import grading_values
import nbformat
from grading_cases import OUTSIDE, POINTS, RIGHT, WRONG, Case, as_bytes, cell_of, filled, own_cell, place, unsolved

__all__ = ["OUTSIDE", "Case", "cases"]
PARTS = (
    grading_honest,
    grading_habits,
    grading_harm,
    grading_escapes,
    grading_values,
    grading_cheats,
    grading_secrets,
)
ALL = tuple(POINTS)
PLAIN = "def mix(a, b, share):\n    return share * a + (1 - share) * b"


def cases() -> list[Case]:
    """Every case, names unique, in a fixed order."""
    found = [*scores(), *unreadable(), *formats(), *altered(), *forged()]
    return found + [case for part in PARTS for case in part.cases()]


def scores() -> list[Case]:
    """What a class hands in on a good day."""
    half = RIGHT | {number: WRONG[number] for number in ("90.2", "90.4", "90.5")}
    started = {number: RIGHT[number] for number in ("90.1", "90.2")}
    return [
        Case("all_right", as_bytes(filled(RIGHT)), ALL, "the solutions themselves"),
        Case("all_wrong", as_bytes(filled(WRONG)), (), "a wrong answer to each exercise"),
        Case("half", as_bytes(filled(half)), ("90.1", "90.3"), "five points of ten"),
        Case("begun", as_bytes(filled(started)), ("90.1", "90.2"), "three exercises not attempted"),
        Case("nothing_attempted", as_bytes(unsolved()), (), "the lesson as it was handed out"),
    ]


def unreadable() -> list[Case]:
    """Files that are no notebooks, and two with nothing in them."""
    good = as_bytes(filled(RIGHT))
    files = {
        "empty_file": (b"", "nothing was saved"),
        "blank_file": (b" \n\n", "nothing but blanks"),
        "half_a_file": (good[: len(good) // 2], "the upload broke off"),
        "merge_conflict": (b"<<<<<<< HEAD\n" + good + b"\n=======\n" + good + b"\n>>>>>>> theirs\n", "git was not done"),
        "python_file": (RIGHT["90.1"].encode(), "the code without the notebook"),
        "picture": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256)) * 8, "renamed to .ipynb"),
        "web_page": (b"<!DOCTYPE html><html><title>Sign in</title></html>", "what a download gives after the session ran out"),
        "json_list": (b"[1, 2, 3]", "JSON, but no notebook"),
        "json_number": (b"12", "JSON, but no notebook"),
        "json_without_cells": (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "a notebook without cells"),
        "nested_brackets": (b"[" * 200_000, "a bomb for parsers that recurse"),
        "nested_cells": (b'{"nbformat": 4, "metadata": {}, "cells": ' + b'[{"a":' * 100_000, "the same, further in"),
    }
    hollow = b'{"nbformat": %d, "nbformat_minor": 5, "metadata": {}, "cells": %s}'
    return [Case(name, data, (), why, readable=False) for name, (data, why) in files.items()] + [
        Case("cells_of_numbers", hollow % (4, b'[1, null, "x", [], {}]'), (), "a notebook by its frame only"),
        Case("future_format", hollow % (99, b"[]"), (), "a format yet to come, and empty"),
    ]


def formats() -> list[Case]:
    """Right answers in odd files."""
    notebook = filled(RIGHT)
    text = as_bytes(notebook).decode()
    accents = filled(RIGHT | {"90.1": "# déjà vu, naïve\n" + PLAIN})
    old = nbformat.v3.convert.downgrade(nbformat.from_dict(filled(RIGHT)))
    files = {
        "utf_16": (text.encode("utf-16"), "saved by an editor with another encoding"),
        "byte_order_mark": (text.encode("utf-8-sig"), "saved by an editor that puts a mark in front"),
        "latin_1": (as_bytes(accents).decode().encode("latin-1", "replace"), "accents in a one-byte encoding"),
        "windows_lines": (text.replace("\n", "\r\n").encode(), "lines that end as on Windows"),
        "one_line": (json.dumps(notebook, separators=(",", ":")).encode(), "without any layout"),
        "nbformat_3": (json.dumps(old).encode(), "from a Jupyter of 2014"),
    }
    return [Case(name, data, ALL, why) for name, (data, why) in files.items()] + [
        _edited(name, edit, why) for name, (edit, why) in _HARMLESS.items()
    ]


def _edited(name: str, edit: Callable, why: str, *, answers=RIGHT, passed=ALL, notes: str = "") -> Case:
    """A case from filled-in answers and a change to the notebook."""
    notebook = filled(answers)
    edit(notebook)
    return Case(name, as_bytes(notebook), passed, why, notes)


def _windows_in_cells(notebook: dict) -> None:
    for cell in notebook["cells"]:
        cell["source"] = cell["source"].replace("\n", "\r\n")


def _lists(notebook: dict) -> None:
    for cell in notebook["cells"]:
        cell["source"] = cell["source"].splitlines(keepends=True)


def _no_ids(notebook: dict) -> None:
    notebook["nbformat_minor"] = 2
    for cell in notebook["cells"]:
        del cell["id"]


def _same_ids(notebook: dict) -> None:
    for cell in notebook["cells"]:
        cell["id"] = "same"


def _bare(notebook: dict) -> None:
    notebook["metadata"] = {}
    for cell in notebook["cells"]:
        cell.pop("outputs", None)
        cell.pop("execution_count", None)


def _other_kernel(notebook: dict) -> None:
    notebook["metadata"]["kernelspec"] = {"name": "ir", "language": "R", "display_name": "R"}
    notebook["metadata"]["language_info"] = {"name": "R", "file_extension": ".r"}


def _tags(notebook: dict) -> None:
    for cell in notebook["cells"]:
        cell["metadata"]["tags"] = ["raises-exception", "nbval-skip", "hide-input", "parameters"]


def _big_outputs(notebook: dict) -> None:
    picture = {"output_type": "display_data", "metadata": {}, "data": {"image/png": "iVBORw0KGgo" + "A" * 5_000_000}}
    cell_of(notebook, "90.2")["outputs"] = [picture, {"output_type": "stream", "name": "stdout", "text": ["no\n"] * 10_000}]


def _odd_outputs(notebook: dict) -> None:
    cell_of(notebook, "90.2")["outputs"] = [{"output_type": "unheard_of", "data": float("nan")}, None, 3]


def _many_cells(notebook: dict) -> None:
    notebook["cells"] += [own_cell(f"x{number} = {number}") | {"id": f"many-{number}"} for number in range(400)]


def _big_cell(notebook: dict) -> None:
    cell_of(notebook, "90.2")["source"] += "\n" + "# a long remark\n" * 130_000


def _big_cell_of_ipython(notebook: dict) -> None:
    cell = cell_of(notebook, "90.2")
    cell["source"] = "%matplotlib inline\n!ls\n" + cell["source"] + "\n" + "# a long remark\n" * 8_000


_HARMLESS: dict[str, tuple[Callable, str]] = {
    "windows_lines_in_cells": (_windows_in_cells, "the same within the cells"),
    "source_as_lists": (_lists, "as Jupyter itself saves it"),
    "no_cell_ids": (_no_ids, "from before cells had ids"),
    "same_cell_ids": (_same_ids, "pasted together by a script"),
    "no_metadata": (_bare, "no kernel, no outputs, no counts"),
    "another_kernel": (_other_kernel, "saved while R was chosen"),
    "tags_everywhere": (_tags, "tags by which other tools skip cells"),
    "huge_outputs": (_big_outputs, "a picture of five megabytes"),
    "impossible_outputs": (_odd_outputs, "outputs are not looked at"),
    "many_cells": (_many_cells, "four hundred cells of the learner's own"),
    "huge_cell": (_big_cell, "two megabytes of remarks"),
    "big_cell_of_ipython": (_big_cell_of_ipython, "a long cell that is not plain Python"),
}


def _drop(number: str) -> Callable:
    return lambda notebook: notebook["cells"].remove(cell_of(notebook, number))


def _checks(notebook: dict) -> list[dict]:
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [cell for cell in code if cell["metadata"].get("nbgrader", {}).get("grade")]


def _drop_checks(notebook: dict) -> None:
    notebook["cells"] = [cell for cell in notebook["cells"] if cell not in _checks(notebook)]


def _reverse(notebook: dict) -> None:
    notebook["cells"].reverse()


def _lose_tags(notebook: dict) -> None:
    for number in ALL:
        cell_of(notebook, number)["metadata"].clear()


def _swap_ids(notebook: dict) -> None:
    first, second = cell_of(notebook, "90.1"), cell_of(notebook, "90.4")
    first["metadata"], second["metadata"] = second["metadata"], first["metadata"]


def _again(*sources: str) -> Callable:
    """Copies of the answer cell of 90.1, with these sources, below it."""

    def edit(notebook: dict) -> None:
        cell = cell_of(notebook, "90.1")
        position = notebook["cells"].index(cell)
        copies = [json.loads(json.dumps(cell)) | {"source": source, "id": f"copy-{i}"} for i, source in enumerate(sources)]
        notebook["cells"][position + 1 : position + 1] = copies

    return edit


def _merge(notebook: dict) -> None:
    cell_of(notebook, "90.1")["source"] += "\n\n" + cell_of(notebook, "90.2")["source"]
    _drop("90.2")(notebook)


def _in_words(notebook: dict) -> None:
    cell = cell_of(notebook, "90.4")
    cell["cell_type"] = "markdown"
    del cell["outputs"], cell["execution_count"]


def altered() -> list[Case]:
    """Right answers in a notebook whose cells were moved, lost or doubled."""
    stub = cell_of(unsolved(), "90.1")["source"]
    right, wrong = RIGHT["90.1"], WRONG["90.1"]
    without, once = ("90.1", "90.2", "90.3", "90.5"), "Exercise 90.1"
    plain = RIGHT | {"90.1": PLAIN}
    below = filled(RIGHT | {"90.2": cell_of(unsolved(), "90.2")["source"]})
    place(below, RIGHT["90.2"], "90.2", below=True)
    first = {"90.1": stub}
    return [
        _edited("answer_deleted", _drop("90.4"), "a cell that is gone", passed=without, notes="Exercise 90.4"),
        _edited("answer_in_a_text_cell", _in_words, "turned by a slip of the keyboard", notes="Exercise 90.4"),
        _edited("checks_deleted", _drop_checks, "the master has them", notes="Exercise 90.2"),
        _edited("cells_reversed", _reverse, "the master has the order"),
        _edited("tags_lost", _lose_tags, "found again by the names that they define", notes=once),
        _edited("ids_swapped", _swap_ids, "found again by those names", answers=plain, notes=once),
        _edited("answers_merged", _merge, "two answers in one cell", notes="Exercise 90.2"),
        _edited("answer_below_the_stub", _again(right), "pasted, and tried below", answers=RIGHT | first, notes=once),
        _edited("answer_above_the_stub", _again(stub), "a copy kept for later", notes=once),
        _edited("answer_tried_three_times", _again(wrong, right), "the last counts", answers=RIGHT | first, notes=once),
        Case("answer_in_a_cell_below", as_bytes(below), ALL, "under the untouched cell", notes="Exercise 90.2"),
    ]


def _points(notebook: dict) -> None:
    for cell in _checks(notebook):
        cell["metadata"]["nbgrader"]["points"] = 100
        cell["source"] = cell["source"].replace("points=2", "points=200")


def _soft_checks(notebook: dict) -> None:
    for cell in _checks(notebook):
        cell["source"] = cell["source"].split("\n")[0] + "\n    pass"


def _own_checks(notebook: dict) -> None:
    for number in ALL:
        place(notebook, f'with check("{number}", points=50):\n    pass', number, below=True)


def _unlock(notebook: dict) -> None:
    for cell in notebook["cells"]:
        if tags := cell["metadata"].get("nbgrader"):
            tags.update(solution=True, grade=False, locked=False)


def _answers_as_checks(notebook: dict) -> None:
    for number, check in zip(ALL, _checks(notebook), strict=True):
        cell_of(notebook, number)["metadata"]["nbgrader"] = dict(check["metadata"]["nbgrader"])


def forged() -> list[Case]:
    """Notebooks altered for points, and sources that no compiler takes."""
    one = ("90.1",)
    single = WRONG | {"90.1": RIGHT["90.1"]}
    without_mix = ALL[1:-1]
    surrogate = as_bytes(filled(RIGHT)).replace(b"return share * a", b"return share * a # \\ud800\\n    return share * a")
    nothing = as_bytes(filled(RIGHT)).replace(b"return share * a", b"return \\u0000share * a")
    return [
        _edited("points_raised", _points, "points come from the master", answers=single, passed=one, notes="Exercise 90.1"),
        _edited(
            "checks_softened", _soft_checks, "checks come from the master", answers=WRONG, passed=(), notes="Exercise 90.2"
        ),
        _edited("checks_of_ones_own", _own_checks, "another block that passes", answers=WRONG, passed=()),
        _edited("checks_as_answers", _unlock, "nothing is graded, says the file", answers=single, passed=one),
        _edited("answers_as_checks", _answers_as_checks, "an answer that calls itself a check"),
        Case("half_a_letter", surrogate, without_mix, "a lone surrogate is no source"),
        Case("letter_zero", nothing, without_mix, "a null byte is no source"),
    ]
