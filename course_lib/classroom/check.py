"""The check cell: `with check("4.2", points=2): assert …` shows one card, and raises only when grading."""

from __future__ import annotations

import ast
import contextlib
import html
import io
import linecache
import re
import sys
import time
from dataclasses import dataclass

from course_lib.classroom import progress
from course_lib.config import settings

PASSED, FAILED, NOT_ATTEMPTED, NOT_RUN = "passed", "not passed", "not attempted yet", "run the answer cell first"
LOOKS = {PASSED: ("✔", "#009E73"), FAILED: ("✘", "#D55E00"), NOT_ATTEMPTED: ("○", "#0072B2"), NOT_RUN: ("▶", "#0072B2")}
LONGEST_VALUE = 240  # characters
LONGEST_REPEAT = 5.0  # seconds: a check that took longer is not evaluated again to show the value seen


class ExerciseFailed(AssertionError):
    """Raised in grading mode for every state but passed; `exercise` and `state` say which."""

    def __init__(self, exercise: str, state: str, text: str):
        super().__init__(text)
        self.exercise, self.state = exercise, state


@dataclass(frozen=True)
class Card:
    """What a learner sees after a check."""

    exercise: str
    state: str
    points: float
    message: str = ""
    details: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """The card in plain words, one fact a line."""
        lines = [f"{LOOKS[self.state][0]} Exercise {self.exercise}: {self.state}{self._score}"]
        lines += [self.message] if self.message else []
        return "\n".join(lines + [f"{label}: {value}" for label, value in self.details])

    @property
    def html(self) -> str:
        """The same words, with a coloured edge and a symbol."""
        symbol, colour = LOOKS[self.state]
        parts = [
            f'<div role="status" style="border-left: 5px solid {colour}; padding: .4em .8em; margin: .3em 0">',
            f'<strong><span aria-hidden="true">{symbol}</span> Exercise {html.escape(self.exercise)}: '
            f"{self.state}{self._score}</strong>",
        ]
        parts += [f"<div>{html.escape(self.message)}</div>"] if self.message else []
        parts += [
            f'<div>{html.escape(label)}: <code style="white-space: pre-wrap">{html.escape(value)}</code></div>'
            for label, value in self.details
        ]
        return "".join(parts) + "</div>"

    @property
    def _score(self) -> str:
        noun = "point" if self.points == 1 else "points"
        return f" ({self.points:g} {noun})" if self.state == PASSED else f" (0 of {self.points:g} {noun})"


class Check:
    """Context manager behind `check`; `card` holds the outcome after the block."""

    def __init__(self, exercise: str, *, points: float = 1):
        if not isinstance(exercise, str) or not exercise.strip():
            raise ValueError(f'check needs the exercise\'s number as text, such as check("4.2"), got {exercise!r}')
        if points <= 0:
            raise ValueError(f"check({exercise!r}): points must be above 0, got {points}")
        self.exercise, self.points, self.card = exercise, points, None

    def __enter__(self) -> Check:
        self._frame = sys._getframe(1)
        self._line = self._frame.f_lineno
        self._start = time.monotonic()
        return self

    def __exit__(self, kind, error, trace) -> bool:
        """Show the card; swallow the error unless grading. An interrupt by the learner always goes through."""
        if error is not None and not isinstance(error, Exception):
            return False
        repeat = time.monotonic() - self._start < LONGEST_REPEAT
        self.card = Card(self.exercise, *_judge(self._frame, self._line, error, trace, repeat, self.points))
        del self._frame  # a frame kept alive would keep the learner's variables alive
        note = progress.record(self.exercise, self.card.state == PASSED, self.points)
        _display(self.card)
        if note:
            print(note)
        if settings().grading and self.card.state != PASSED:
            raise ExerciseFailed(self.exercise, self.card.state, self.card.text) from error
        return True


def check(exercise: str, *, points: float = 1) -> Check:
    """Judge one exercise in a `with` block of assertions whose messages name the likely mistake.

    Shows one card: passed, not passed, not attempted yet, or run the answer cell first. Interactively nothing is raised,
    so that "Run all" goes on; with COURSE_GRADING=1 every state but passed raises ExerciseFailed.
    """
    return Check(exercise, points=points)


def _judge(frame, line: int, error, trace, repeat: bool, points: float) -> tuple:
    """State, points, message and details of the card."""
    block = _block(frame, line)
    empty = sorted({n.id for n in _nodes(block, ast.Name) if frame.f_globals.get(n.id) is Ellipsis})
    if empty:
        return NOT_ATTEMPTED, points, f"Replace the dots in the cell above: {', '.join(empty)} = ..."
    if error is None:
        return PASSED, points
    steps = _steps(frame, trace)
    own = [(f, n) for f, n in steps if f.f_code.co_filename != frame.f_code.co_filename]
    deepest = steps[-1] if steps else (frame, line)
    if isinstance(error, NotImplementedError) and _is_placeholder(error, *deepest):
        return NOT_ATTEMPTED, points, "Write your answer in the cell above, in place of the line that raises."
    if isinstance(error, NameError) and not own and getattr(error, "name", None) not in frame.f_globals:
        return NOT_RUN, points, f"{error.name or 'A name'} is not there yet: run the cell above, then this one."
    asked = next((n for f, n in reversed(steps) if f.f_code.co_filename == frame.f_code.co_filename), line)
    if isinstance(error, AssertionError) and not own:
        return FAILED, points, *_explain_assert(frame, block, error, asked, repeat)
    return FAILED, points, *_explain_error(frame, error, own, asked)


def _steps(frame, trace) -> list[tuple]:
    """(frame, line) of the traceback that lie in the notebook's cells, outermost first."""
    found = []
    while trace is not None:
        if trace.tb_frame.f_globals is frame.f_globals:
            found.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    return found


def _is_placeholder(error, frame, line: int) -> bool:
    """Tell the exercise's own NotImplementedError from one that a library raises inside an attempt."""
    source = linecache.getline(frame.f_code.co_filename, line).strip()
    return str(error).startswith("exercise") or source.startswith("raise NotImplementedError")


def _block(frame, line: int):
    """Syntax tree of the `with` statement that starts at or around `line`; None where its source is not to be had."""
    try:
        tree = ast.parse("".join(linecache.getlines(frame.f_code.co_filename, frame.f_globals)))
    except SyntaxError:
        return None
    found = [n for n in ast.walk(tree) if isinstance(n, ast.With) and n.lineno <= line <= n.end_lineno]
    return max(found, key=lambda n: n.lineno, default=None)


def _nodes(block, kind) -> list:
    return [] if block is None else [n for n in ast.walk(block) if isinstance(n, kind)]


def _explain_assert(frame, block, error, line: int, repeat: bool) -> tuple[str, tuple]:
    """The assertion's message, the value that was seen, and the condition."""
    asserts = [n for n in _nodes(block, ast.Assert) if n.lineno <= line <= n.end_lineno]
    message = str(error).strip()
    if not asserts:
        return message or "A condition of this check does not hold.", ()
    test = asserts[-1].test
    details = []
    if repeat:
        seen = _value(_subject(test), frame)
        details += [("Seen", seen)] if seen is not None else []
    details.append((f"Check, line {asserts[-1].lineno}", _short(ast.unparse(test), 160)))
    return message or "This condition does not hold.", tuple(details)


def _subject(test: ast.expr) -> ast.expr:
    """The part of a condition that holds the learner's value: left of a comparison, first argument of allclose."""
    match test:
        case ast.BoolOp(op=ast.And(), values=[first, *_]):
            return first
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return _subject(inner)
        case ast.Compare(left=ast.Constant() | ast.UnaryOp(operand=ast.Constant()), comparators=[second, *_]):
            return second
        case ast.Compare(left=left):
            return _subject(left)
        case ast.Call(func=ast.Name(id="abs") | ast.Attribute(attr="abs"), args=[ast.BinOp(op=ast.Sub(), left=left)]):
            while isinstance(left, ast.BinOp) and isinstance(left.op, ast.Sub):
                left = left.left
            return left
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[first, *_]) if name in {
            "allclose", "isclose", "array_equal", "equal", "approx", "all", "isinstance", "bool",
        }:  # fmt: skip
            return _subject(first)
    return test


def _value(node: ast.expr, frame) -> str | None:
    """Evaluate a part of the condition once more, for the card only; None where that fails."""
    try:
        code = compile(ast.Expression(node), "<check>", "eval")
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return describe(eval(code, frame.f_globals, frame.f_locals))
    except Exception:
        return None


def describe(value) -> str:
    """A value as short, reproducible text: six digits, shapes for arrays, no memory addresses."""
    if isinstance(value, float):
        return f"{value:.6g}"
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and not shape and hasattr(value, "item"):
        return describe(value.item())  # a number in numpy's or torch's coat
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
    prefix = f"shape {tuple(shape)}: " if isinstance(shape, tuple) and shape else ""
    return _short(prefix + " ".join(text.split()), LONGEST_VALUE)


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _explain_error(frame, error, own: list, asked: int) -> tuple[str, tuple]:
    """An exception out of the learner's code: its type, its message, and the line it came from."""
    message = _short(f"{type(error).__name__}: {error}".rstrip(": "), LONGEST_VALUE)
    where, line = own[-1] if own else (frame, asked)
    source = linecache.getline(where.f_code.co_filename, line).strip()
    place = f"{where.f_code.co_name}, line {line} of your cell" if own else f"line {line} of the check cell"
    place = place.replace("<module>, ", "")
    return f"Your code stopped with {message}", (("Where", f"{place}: {source}" if source else place),)


def _display(card: Card) -> None:
    """One output with the card as HTML and as text; outside of a notebook, its text."""
    from IPython import get_ipython
    from IPython.display import display

    if get_ipython() is None:
        print(card.text)
    else:
        display({"text/html": card.html, "text/plain": card.text}, raw=True)
