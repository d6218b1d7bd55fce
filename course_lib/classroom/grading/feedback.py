"""A learner's page: the score, and each task with the learner's own answer and its card below. No network, no script."""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from course_lib.classroom.check import LOOKS, PASSED
from course_lib.classroom.grading.results import OUT_OF_TIME, STOPPED, UNREADABLE, FreeText, Graded, Verdict
from course_lib.classroom.grading.tables import clean, number
from course_lib.classroom.masters import FREE_TEXT, Master

LONGEST_COLOURED, LONGEST_SHOWN = 20_000, 100_000  # characters of a cell
LONGEST_FOLDER = 240  # bytes; a digest of 9 follows, and systems end at 255
TROUBLE = {OUT_OF_TIME: ("◔", "#D55E00"), STOPPED: ("■", "#D55E00"), UNREADABLE: ("?", "#D55E00")}
BY_A_PERSON = "read by your teacher"
CARDS = LOOKS | TROUBLE | {BY_A_PERSON: ("✎", "#0072B2")}
HEADING = re.compile(r"^#{1,6} +(.+)$", re.MULTILINE)
NOT_A_FOLDER = re.compile(r'[\x00-\x1f<>:"/\\|?*]|^\.|[. ]$|^(?:con|prn|aux|nul|com\d|lpt\d)(?=\.|$)', re.IGNORECASE)
CODE = HtmlFormatter(style="default", nowrap=True)

STYLE = f"""
:root {{ color-scheme: light; }}
body {{ font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; }}
body {{ max-width: 52rem; margin: 0 auto; padding: 1rem; }}
h1 {{ font-size: 1.5rem; margin: 0; }}
h2 {{ font-size: 1.15rem; margin: 2rem 0 .5rem; }}
.score {{ font-size: 1.25rem; }}
table {{ border-collapse: collapse; }}
th, td {{ text-align: left; padding: .15rem 1.5rem .15rem 0; border-bottom: 1px solid #ccc; }}
td:last-child, th:last-child {{ text-align: right; padding-right: 0; }}
pre, .words {{ border: 1px solid #ccc; padding: .6rem .8rem; margin: .3em 0; white-space: pre-wrap; overflow-wrap: anywhere; }}
pre, code {{ font: .875rem/1.4 ui-monospace, monospace; }}
code {{ white-space: pre-wrap; overflow-wrap: anywhere; }}
.card {{ border-left: 5px solid; padding: .4em .8em; margin: .3em 0; overflow-wrap: anywhere; }}
.card > * {{ color: #1a1a1a; }}
.message {{ white-space: pre-line; }}
.quiet {{ color: #555; }}
a {{ color: #005a8c; }}
{CODE.get_style_defs("pre")}
@media print {{
  body {{ font-size: 10.5pt; max-width: none; padding: 0; }}
  h2 {{ break-after: avoid; }}
  .card, tr {{ break-inside: avoid; }}
  .card {{ print-color-adjust: exact; }}
  a {{ color: inherit; text-decoration: none; }}
}}
""" + "\n".join(f".card.{name} {{ border-color: {colour}; }}" for name, colour in {
    re.sub(r"\W+", "-", state): look[1] for state, look in CARDS.items()
}.items())  # fmt: skip
DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{DIGEST}'; base-uri 'none'; form-action 'none'"

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{{ title }}: {{ one.learner }}</title>
<style>{{ style }}</style>
</head>
<body>
<header>
<h1>{{ title }}</h1>
<p class="quiet"><bdi>{{ one.learner }}</bdi>, graded {{ day }}</p>
<p class="score"><strong>{{ one.earned | points }} of {{ one.total | points }} points</strong>,
{{ passed }} of {{ one.verdicts | length }} exercises passed</p>
{% if one.waiting %}<p>{{ one.waiting | points }} more for what you wrote in words: your teacher reads it.</p>{% endif %}
</header>
<main>
{% if one.problem %}<div role="alert" class="card could-not-be-read"><strong>Your notebook was not graded.</strong>
<div class="message">{{ one.problem }}</div></div>{% endif %}
{% if one.notes %}<h2>What was noticed</h2>
<ul>{% for note in one.notes %}<li>{{ note }}</li>{% endfor %}</ul>{% endif %}
{% if one.verdicts %}<h2>Points</h2>
<table><thead><tr><th scope="col">Exercise</th><th scope="col">Result</th><th scope="col">Points</th></tr></thead>
<tbody>{% for v in one.verdicts %}
<tr><td><a href="#exercise-{{ loop.index }}">{{ v.exercise }}</a></td><td>{{ v.state }}</td>
<td>{{ v.earned | points }} of {{ v.points | points }}</td></tr>{% endfor %}
</tbody></table>{% endif %}
{% for part in parts %}<section{% if part.anchor %} id="exercise-{{ part.anchor }}"{% endif %}>
<h2>{{ part.heading }}</h2>
{% for source in part.sources %}{{ source }}
{% endfor %}{{ part.card }}
</section>
{% endfor %}</main>
</body>
</html>
"""


@dataclass(frozen=True)
class _Part:
    """One task on the page: what the learner handed in, ready as HTML, and the card below it."""

    heading: str
    sources: tuple[Markup, ...]
    card: Markup
    anchor: int = 0


def _shown(value):
    """What goes into the page, as text without unprintable characters."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _environment() -> Environment:
    """Templates in which everything is escaped that is not HTML made here."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, finalize=_shown, trim_blocks=True)
    environment.filters["points"] = number
    return environment


TEMPLATE = _environment().from_string(PAGE)


def page(one: Graded, master: Master | None, answers: Mapping[str, str], *, started: datetime) -> str:
    """One learner's page of one lesson, as HTML that loads nothing and runs nothing.

    master: gives the headings and the order; without it there are only cards. answers: grade_id → source. Everything that a
    learner wrote is shown as text.
    """
    return TEMPLATE.render(
        one=one,
        title=_title(master) or one.lesson or "A notebook of an unknown lesson",
        parts=list(_parts(one, master, answers)),
        passed=sum(verdict.state == PASSED for verdict in one.verdicts),
        day=f"{started:%Y-%m-%d}",
        style=Markup(STYLE),
        policy=POLICY,
    )


def folders(learners: Iterable[str]) -> dict[str, str]:
    """Learner → a folder's name on any system; a digest is added where names would meet or cannot name a folder."""
    names = sorted(set(learners))
    plain = {name: _folder(name) for name in names}
    met = Counter(folder.casefold() for folder in plain.values())
    return {
        name: folder
        if folder == unicodedata.normalize("NFC", name) and met[folder.casefold()] == 1
        else f"{folder}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}"
        for name, folder in plain.items()
    }


def _folder(name: str) -> str:
    """The name without what some system refuses, and not too long for any."""
    plain = NOT_A_FOLDER.sub("_", unicodedata.normalize("NFC", clean(name)))
    return plain.encode()[:LONGEST_FOLDER].decode(errors="ignore").rstrip(". ") or "_"


def answered(text: FreeText) -> str:
    """The learner's words; empty where the invitation to write still stands."""
    return "" if text.text.strip() == FREE_TEXT else text.text


def _title(master: Master | None) -> str:
    """The lesson's first heading."""
    return _heading(master.cells[0].source) if master and master.cells else ""


def _heading(source: str) -> str:
    """The first heading of a markdown cell without its marks, or empty."""
    found = HEADING.search(source)
    return re.sub(r"[`*$]", "", found.group(1)).strip() if found else ""


def _parts(one: Graded, master: Master | None, answers: Mapping[str, str]) -> Iterator[_Part]:
    """Tasks in the lesson's order, then what the master does not know."""
    verdicts = {verdict.exercise: (n, verdict) for n, verdict in enumerate(one.verdicts, start=1)}
    texts = {text.grade_id: text for text in one.texts}
    exercises = {id(exercise.check): exercise for exercise in master.exercises} if master else {}
    heading = ""
    for cell in master.cells if master else ():
        if cell.kind == "markdown" and not cell.nbgrader:
            heading = _heading(cell.source) or heading
        elif cell.kind == "markdown" and cell.label in texts:
            yield _in_words(texts.pop(cell.label), heading)
        elif id(cell) in exercises and exercises[id(cell)].number in verdicts:
            sources = tuple(_code(answers.get(answer.label, "")) for answer in exercises[id(cell)].answers)
            anchor, verdict = verdicts.pop(exercises[id(cell)].number)
            yield _Part(heading or f"Exercise {verdict.exercise}", () if one.problem else sources, _card(verdict), anchor)
    for anchor, verdict in verdicts.values():
        yield _Part(f"Exercise {verdict.exercise}", (), _card(verdict), anchor)
    for text in texts.values():
        yield _in_words(text, text.grade_id)


def _in_words(text: FreeText, heading: str) -> _Part:
    """An answer that a person judges."""
    words = _cut(answered(text))
    shown = Markup('<div class="words">{}</div>').format(words) if words.strip() else _nothing()
    score = _counted(text.points) if text.earned is None else f"{number(text.earned)} of {_counted(text.points)}"
    card = _frame(BY_A_PERSON, CARDS[BY_A_PERSON][0], f"{heading.split(' · ')[0]}: {BY_A_PERSON} ({score})", "", ())
    return _Part(heading, (shown,), card)


def _code(source: str) -> Markup:
    """A cell in colours; a very long one without, cut."""
    shown = _cut(source)
    if not shown.strip():
        return _nothing()
    if len(shown) > LONGEST_COLOURED:
        return Markup("<pre>{}</pre>").format(shown)
    return Markup(f"<pre>{highlight(shown, PythonLexer(), CODE)}</pre>")


def _nothing() -> Markup:
    return Markup('<p class="quiet">Nothing was handed in here.</p>')


def _cut(text: str) -> str:
    text = clean(text)
    rest = len(text) - LONGEST_SHOWN
    return text if rest <= 0 else f"{text[:LONGEST_SHOWN]}\n… {rest:,} more characters"


def _card(verdict: Verdict) -> Markup:
    """The card of a check cell, in the page's style."""
    counted = _counted(verdict.points)
    score = counted if verdict.state == PASSED else f"0 of {counted}"
    symbol = CARDS[verdict.state][0]
    title = f"Exercise {verdict.exercise}: {verdict.state} ({score})"
    return _frame(verdict.state, symbol, title, verdict.message, verdict.details)


def _counted(points: float) -> str:
    return f"{number(points)} {'point' if points == 1 else 'points'}"


def _frame(state: str, symbol: str, title: str, message: str, details: tuple[tuple[str, str], ...]) -> Markup:
    """A coloured edge, a symbol, and the facts in words."""
    parts = [Markup('<div role="status" class="card {}">').format(re.sub(r"\W+", "-", state))]
    parts.append(Markup('<strong><span aria-hidden="true">{}</span> {}</strong>').format(symbol, clean(title)))
    if message:
        parts.append(Markup('<div class="message">{}</div>').format(_cut(message)))
    parts += [Markup("<div>{}: <code>{}</code></div>").format(clean(label), _cut(value)) for label, value in details]
    return Markup("\n").join(parts) + Markup("</div>")
