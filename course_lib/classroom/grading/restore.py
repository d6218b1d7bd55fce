"""From a submission only the answers: the master decides on everything else. Nothing of the learner's is executed here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from course_lib.classroom import masters
from course_lib.classroom.grading import notebooks
from course_lib.classroom.grading.answers import borrowed, defined
from course_lib.classroom.grading.notebooks import Cell, Unreadable, plain


@dataclass(frozen=True)
class Restored:
    """What a submission says.

    answers: grade_id of each answer cell of the master → the learner's source, "" where there is none; extras: code cells
    of the learner's own, in order, each with the index of the exercise that it stands before (one that stands between an
    answer and its check has that exercise's index; after the last check, the number of exercises); texts: grade_id of each
    question in words → the learner's text, "" where there is none; notes: what was odd, for learner and teacher; problem:
    why nothing could be read, or "".
    """

    answers: dict[str, str]
    extras: tuple[tuple[int, str], ...]
    texts: dict[str, str]
    notes: tuple[str, ...]
    problem: str = ""


def restore(data: bytes, master: masters.Master) -> Restored:
    """Find a learner's answers in the bytes of a notebook, whatever became of its other cells.

    An answer cell is known by its grade_id; where that leads to nothing, by the names that it has to define. Of several,
    the last that defines them and is not the cell as handed out is taken. Whatever was odd becomes a note, and what cannot
    be read a problem; nothing is raised.
    """
    try:
        cells, notes = notebooks.read(data)
    except Unreadable as error:
        answers = {a.nbgrader["grade_id"]: "" for e in master.exercises for a in e.answers}
        return Restored(answers, (), {c.nbgrader["grade_id"]: "" for c in _questions(master)}, (), f"The file {error}.")
    return _Search(master, cells, list(notes)).result()


def _questions(master: masters.Master) -> list[masters.Cell]:
    """Cells that a learner fills with words and a person reads."""
    return [c for c in master.cells if c.kind == "markdown" and c.nbgrader.get("solution") and c.nbgrader.get("grade")]


@dataclass(frozen=True)
class _Wanted:
    """An answer cell of the master: the index and number of its exercise, its id, what it was handed out as, its names."""

    index: int
    number: str
    grade_id: str
    stub: str
    names: frozenset[str]


class _Search:
    """One submission held against its master. Positions count the submission's cells from 0."""

    def __init__(self, master: masters.Master, cells: list[Cell], notes: list[str]):
        self.master, self.cells, self.notes = master, cells, notes
        kept = [c for c in master.cells if not c.is_wrong]
        built = {(c.kind, plain(masters.unsolved(c, master.number_of(c) if c.is_answer else ""))) for c in kept}
        self.given = [(c.kind, c.text) in built or c.untouched for c in cells]  # as handed out, in this edition or another
        self.defined: dict[int, set[str]] = {}
        self.wanted = [_wanted(i, e.number, a) for i, e in enumerate(master.exercises) for a in e.answers]
        self.by_id = {w.grade_id: w for w in self.wanted}
        self.checks = [self._checks_of(i, e) for i, e in enumerate(master.exercises)]
        self.chosen: dict[str, int] = {}

    def result(self) -> Restored:
        """Answers, then what depends on where they stand."""
        for exercise, positions in zip(self.master.exercises, self.checks, strict=True):
            self._note_check(exercise, positions)
        answers = {w.grade_id: self._answer(w) for w in self.wanted}
        extras = tuple(self._extras())
        for wanted in self.wanted:
            self._note_borrowed(wanted, answers[wanted.grade_id], extras)
        texts = {c.nbgrader["grade_id"]: self._text(c) for c in _questions(self.master)}
        return Restored(answers, extras, texts, tuple(self.notes))

    # checks

    def _checks_of(self, index: int, exercise: masters.Exercise) -> list[int]:
        """Cells that judge the exercise, and cells with its check's id that are not in truth an answer to it."""
        grade_id = exercise.check.nbgrader["grade_id"]
        judging = {p for p, cell in enumerate(self.cells) if self._judges(cell) == exercise.number}
        marked = {p for p, cell in enumerate(self.cells) if cell.grade_id == grade_id and p not in judging}
        wanted = [w for w in self.wanted if w.index == index]
        return sorted(judging | {p for p in marked if not any(self._defines(p, w) for w in wanted)})

    def _judges(self, cell: Cell) -> str:
        """Number of the exercise that a check cell is for; "" for other cells, and for an answer merged with its check."""
        match = masters.CHECK.search(cell.source) if cell.kind == "code" and cell.grade_id not in self.by_id else None
        return match.group(1) if match else ""

    def _note_check(self, exercise: masters.Exercise, positions: list[int]) -> None:
        if not positions:
            self.notes.append(f"Exercise {exercise.number}: the check cell had been removed; the course's own was used.")
        elif not any(self.given[p] for p in positions):
            self.notes.append(f"Exercise {exercise.number}: the check cell had been edited; the course's own was used.")

    def _is_check(self, position: int) -> bool:
        return bool(self._judges(self.cells[position])) or any(position in found for found in self.checks)

    # answers

    def _answer(self, wanted: _Wanted) -> str:
        marked = [p for p, cell in enumerate(self.cells) if cell.grade_id == wanted.grade_id]
        filled = [p for p in marked if not self.given[p] and self.cells[p].text != wanted.stub]
        defining = [p for p in filled if self._defines(p, wanted)]
        if not defining:
            named = self._by_name(wanted, anywhere=not marked or bool(filled))
            if named is not None:
                return self._take(wanted, named, self._why_by_name(wanted, marked, filled))
        found = defining or filled or marked
        if not found and (shared := self._shared(wanted)) is not None:
            return self._take(wanted, shared, "the answer was found in a cell that answers another exercise, too.")
        if not found:
            self.notes.append(f"Exercise {wanted.number}: the answer cell ({wanted.grade_id}) is missing.")
            return ""
        several = f"{len(marked)} cells carry the id {wanted.grade_id}; the last one with an answer was taken."
        return self._take(wanted, found[-1], several if len(marked) > 1 else "")

    def _why_by_name(self, wanted: _Wanted, marked: list[int], filled: list[int]) -> str:
        names = ", ".join(sorted(wanted.names))
        if marked and not filled:
            return f"the answer cell is as it was handed out; a cell of the learner's own that defines {names} was taken."
        return f"the answer was found by what it defines ({names}); the marks of its cell had been lost or changed."

    def _take(self, wanted: _Wanted, position: int, note: str) -> str:
        self.chosen[wanted.grade_id] = position
        kind = self.cells[position].kind
        turned = f"the answer cell had become a {kind} cell; it was read as code." if kind != "code" else ""
        self.notes += [f"Exercise {wanted.number}: {text}" for text in (note, turned) if text]
        return self.cells[position].source

    def _note_borrowed(self, wanted: _Wanted, answer: str, extras: tuple[tuple[int, str], ...]) -> None:
        """The library holds what lessons derive, so an answer that calls it passes; a person may see that differently."""
        names = borrowed(answer, [source for index, source in extras if index <= wanted.index])
        if names:
            self.notes.append(f"Exercise {wanted.number}: the answer uses the course's library ({', '.join(sorted(names))}).")

    def _by_name(self, wanted: _Wanted, *, anywhere: bool) -> int | None:
        """The last cell of the learner's own that defines what is wanted: near its check, else anywhere if that is allowed."""
        found = [p for p in range(len(self.cells)) if self._is_free(p, wanted) and self._defines(p, wanted)]
        earlier = [p for positions in self.checks[: wanted.index] for p in positions]
        later = [p for positions in self.checks[wanted.index :] for p in positions]
        first, last = max(earlier, default=-1), min(later, default=len(self.cells))
        near = [p for p in found if first < p < last]
        return (near or (found if anywhere else []) or [None])[-1]

    def _shared(self, wanted: _Wanted) -> int | None:
        """The last answer to another exercise, above this one's check, that defines what is wanted here, too."""
        end = min((p for positions in self.checks[wanted.index :] for p in positions), default=len(self.cells))
        ours = [p for p in range(end) if self.cells[p].grade_id in self.by_id or p in self.chosen.values()]
        return max((p for p in ours if not self.given[p] and self._defines(p, wanted)), default=None)

    def _is_free(self, position: int, wanted: _Wanted) -> bool:
        """Code of the learner's own that is no check, no answer taken already, and no other exercise's answer."""
        cell = self.cells[position]
        if cell.kind != "code" or self.given[position] or self._is_check(position) or position in self.chosen.values():
            return False
        other = self.by_id.get(cell.grade_id)
        return other is None or other is wanted or not self._defines(position, other)

    def _defines(self, position: int, wanted: _Wanted) -> bool:
        if position not in self.defined:
            self.defined[position] = defined(self.cells[position].source)
        return bool(wanted.names) and wanted.names <= self.defined[position]

    # what stands around the answers

    def _extras(self) -> Iterator[tuple[int, str]]:
        ends = [self._end(index) for index in range(len(self.checks))]
        answers = {(g, self.cells[p].text) for g, p in self.chosen.items()}
        for position, cell in enumerate(self.cells):
            if cell.kind != "code" or not cell.text or self.given[position] or self._is_check(position):
                continue
            if position in self.chosen.values() or (cell.grade_id, cell.text) in answers:
                continue
            yield next((i for i, end in enumerate(ends) if position < end), len(ends)), cell.source

    def _end(self, index: int) -> int:
        """Position that ends an exercise: its last check, else its last answer; -1 where neither is left."""
        ids = [w.grade_id for w in self.wanted if w.index == index]
        return max(self.checks[index] or [self.chosen.get(grade_id, -1) for grade_id in ids], default=-1)

    def _text(self, question: masters.Cell) -> str:
        """Words below a question: in the marked cell, or else in the learner's own cells at that place."""
        grade_id, empty = question.nbgrader["grade_id"], plain(masters.unsolved(question))
        marked = [p for p, cell in enumerate(self.cells) if cell.grade_id == grade_id]
        texts = [self.cells[p].source.replace(masters.FREE_TEXT, "").strip() for p in marked if self.cells[p].text != empty]
        text = next((t for t in reversed(texts) if t), "")
        if text and len(marked) > 1:
            self.notes.append(f"Question {grade_id}: {len(marked)} cells carry this id; the last one with an answer was taken.")
        if text:
            return text
        text = self._words_after(marked[-1] if marked else self._asked_at(question))
        if text:
            self.notes.append(f"Question {grade_id}: the answer was found in a cell without the question's mark.")
        elif not marked:
            self.notes.append(f"Question {grade_id}: the cell for the answer is missing.")
        return text

    def _asked_at(self, question: masters.Cell) -> int | None:
        """Position of the cell that asks: the one before the answer's in the master."""
        place = next(i for i, cell in enumerate(self.master.cells) if cell is question)
        before = plain(self.master.cells[place - 1].source) if place else ""
        return next((p for p, cell in enumerate(self.cells) if before and cell.text == before), None)

    def _words_after(self, position: int | None) -> str:
        found = []
        for p in range(len(self.cells) if position is None else position + 1, len(self.cells)):
            cell = self.cells[p]
            if cell.kind == "code" or self.given[p] or cell.grade_id:
                break
            found.append(cell.source.replace(masters.FREE_TEXT, "").strip())
        return "\n\n".join(filter(None, found))


def _wanted(index: int, number: str, answer: masters.Cell) -> _Wanted:
    stub = masters.unsolved(answer, number)
    names = frozenset(name for statement in ast.parse(stub).body for name in masters.bound(statement))
    return _Wanted(index, number, answer.nbgrader["grade_id"], plain(stub), names)
