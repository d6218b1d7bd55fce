"""The page that a learner gets: complete, in order, and never more than text."""

import base64
import hashlib
import re

import pytest
from graded_batch import EVIL, LESSON, MASTER, STARTED, Page, graded, unreadable

from course_lib.classroom import masters
from course_lib.classroom.check import FAILED, LOOKS, NOT_ATTEMPTED, NOT_RUN, PASSED
from course_lib.classroom.grading import feedback
from course_lib.classroom.grading.feedback import folders
from course_lib.classroom.grading.results import OUT_OF_TIME, STOPPED, UNREADABLE, FreeText, Graded, Verdict


def page(one, answers=None, master=MASTER):
    return feedback.page(one, master, answers or {}, started=STARTED)


def test_the_page_shows_answers_and_cards_in_the_lessons_order():
    words = Page(page(graded(), {"90-1-half": "def half(x):\n    return x / 2", "90-3-twice": "twice = 3"})).words
    order = [
        "90 · Small things", "ann", "2026-03-04", "0.1 of 0.3 points", "1 of 2 exercises passed", "2 more",
        "Exercise 90.1 · A half & more", "def half ( x )", "✔ Exercise 90.1: passed (0.1 points)",
        "Exercise 90.2 · In words", "It is.", "✎ Exercise 90.2: read by your teacher (2 points)",
        "Exercise 90.3 · Twice", "twice = 3", "✘ Exercise 90.3: not passed (0 of 0.2 points)",
        "add 'x', then double", "Seen: 3",
    ]  # fmt: skip
    squeezed = re.sub(r"\s+", "", words)
    places = [squeezed.find(re.sub(r"\s+", "", part)) for part in order]
    assert -1 not in places, [part for part, place in zip(order, places, strict=True) if place < 0]
    assert places == sorted(places)


def test_the_page_looks_like_the_cards_of_the_lesson():
    for state, (symbol, colour) in LOOKS.items():
        text = page(graded(states=(PASSED, state)))
        name = re.search(rf'class="card ([\w-]+)">\s*<strong><span aria-hidden="true">{symbol}', text).group(1)
        assert f".card.{name} {{ border-color: {colour}; }}" in text
    assert text.count('role="status"') == 3


@pytest.mark.parametrize("state", [FAILED, NOT_ATTEMPTED, NOT_RUN, OUT_OF_TIME, STOPPED, UNREADABLE])
def test_every_state_has_its_card(state):
    assert f"Exercise 90.3: {state} (0 of 0.2 points)" in Page(page(graded(states=(PASSED, state)))).words


def test_nothing_of_a_learner_becomes_html():
    sources = {"90-1-half": EVIL, "90-3-twice": EVIL + "\n" * 3 + "x" * 30_000}
    texts = (FreeText("90-2-explain", 2, EVIL),)
    verdicts = (Verdict("90.1", FAILED, 1, EVIL, ((EVIL, EVIL),)), Verdict("90.3", FAILED, 1), Verdict(EVIL, FAILED, 1))
    one = Graded(EVIL, LESSON, EVIL, verdicts, (EVIL,), texts, "")
    text = page(one, sources) + page(Graded(EVIL, EVIL, EVIL, verdicts, (EVIL,), texts, EVIL), sources, master=None)
    found = Page(text)
    assert {tag for tag, _ in found.tags} <= {
        "html", "head", "meta", "title", "style", "body", "header", "h1", "h2", "p", "bdi", "strong", "main", "div", "ul", "li",
        "table", "thead", "tbody", "tr", "th", "td", "a", "section", "pre", "span", "code",
    }  # fmt: skip
    assert {name for _, attributes in found.tags for name in attributes} <= {
        "lang", "charset", "http-equiv", "content", "name", "class", "id", "role", "scope", "href", "aria-hidden",
    }  # fmt: skip
    assert all(a["href"].startswith("#exercise-") for tag, a in found.tags if tag == "a")
    assert not re.search("[\x00-\x08\x1b\u202e\ud800]", text)
    assert found.words.count("alert(1)") >= 14, "it is shown, as text"


def test_the_page_loads_and_runs_nothing():
    text = page(graded())
    (policy,) = [a["content"] for tag, a in Page(text).tags if a.get("http-equiv") == "Content-Security-Policy"]
    style = re.search("<style>(.*?)</style>", text, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.split("; ")[:2] == ["default-src 'none'", f"style-src 'sha256-{digest}'"]
    assert not re.search(r"https?:|url\(|@import|<link|src=", text)


def test_links_of_the_summary_lead_to_the_exercises():
    tags = Page(page(graded())).tags
    links = [a["href"][1:] for tag, a in tags if tag == "a"]
    assert links == [a["id"] for tag, a in tags if "id" in a] == ["exercise-1", "exercise-2"]


def test_a_page_says_what_is_missing_and_why():
    assert Page(page(graded(text=masters.FREE_TEXT))).words.count("Nothing was handed in here.") == 3
    broken = Page(page(unreadable())).words
    assert "Your notebook was not graded. bob.ipynb is no notebook" in broken
    assert "Nothing was handed in" not in broken
    assert "the check cell was edited" in Page(page(graded(notes=("the check cell was edited",)))).words


def test_a_huge_answer_is_cut():
    text = page(graded(), {"90-1-half": "x = 1\n" * 400_000})
    assert len(text) < 150_000 and "2,300,000 more characters" in text


def test_folders_are_safe_on_every_system():
    names = [
        "ann",
        "Ann",
        "李明",
        "..",
        "a/b",
        "a\\b",
        "CON",
        "nul.txt",
        ".hidden",
        "dot.",
        "x" * 300,
        "",
        "e\u0301",
        "a:b",
        EVIL,
    ]
    found = folders(names)
    assert (found["李明"], found["e\u0301"]) == ("李明", "é")
    assert len({name.casefold() for name in found.values()}) == len(names)
    for name in found.values():
        assert not re.search(r'[<>:"/\\|?*\x00-\x1f]|^\.|[. ]$|^$|^(con|nul)(\.|$)', name.casefold())
        assert len(name.encode()) < 256
    assert folders(reversed(names)) == found
