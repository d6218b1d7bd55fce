"""What a class handed in: notebooks from files, folders and zip files, each with its learner and its lesson."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from course_lib.classroom.grading import archives, names
from course_lib.classroom.grading.archives import Allowance, Entry, box
from course_lib.classroom.grading.names import Owner, Place
from course_lib.classroom.grading.notebooks import Unreadable, decode

GRADE_ID = re.compile(r'"grade_id"\s*:\s*"(\d\d)-')
CHECKED = re.compile(r"""with check\(\s*\\?["'](\d+)\.""")
LOOKED_FOR = (
    "notebooks called NAME__04_dot_product.ipynb, a folder for each learner (NAME/04_dot_product.ipynb), nbgrader's "
    "submitted/NAME/…, or a zip file as Moodle, Canvas or GitHub Classroom hand it out"
)


class SubmissionError(ValueError):
    """There is nothing to grade: where it was looked for, and what."""


@dataclass(frozen=True)
class Submission:
    """One notebook of one learner.

    learner: a name that is safe as a file name; lesson: the master's name, "" where none could be told (then there is a
    problem); source: where it came from, and what was passed over for it; data: the file's bytes, empty with a problem;
    problem: why it cannot be read, as a sentence, or "".
    """

    learner: str
    lesson: str
    source: str
    data: bytes = b""
    problem: str = ""


@dataclass(frozen=True)
class _Found:
    """A file on its way to becoming a submission; rank: the higher one counts."""

    owner: Owner
    lesson: str
    source: str
    rank: tuple
    data: bytes = field(default=b"", repr=False)
    problem: str = ""


def collect(paths: Sequence[Path], *, lessons: Sequence[str]) -> list[Submission]:
    """Submissions in files, folders and zip files, ordered by learner and lesson.

    lessons: names of the masters that are to be graded, such as 04_dot_product; notebooks of other lessons are passed over.
    Names are read by the rules of `names.place`; a lesson that no name tells is read off the notebook's grade_ids or the
    numbers of its checks. Of several notebooks of one learner for one lesson the one with the highest number of attempt,
    or else the last changed, is taken; `source` says so. Whatever cannot be read becomes a submission with a problem.
    Raises SubmissionError for a path that does not exist, and where nothing at all was handed in.
    """
    paths = list({os.path.abspath(path): Path(path) for path in paths}.values())
    for path in paths:
        if not path.exists() and not path.is_symlink():
            raise SubmissionError(f"{path}: no such file or folder; give the files, folders or zip files that were handed in")
    listed, damaged = _listed(paths)
    roots = [names.of_root(_names_of(path), lessons) for path in paths]
    placed = [[names.place(parts, lessons, str(n)) for parts in _parts(found, lessons)] for n, found in enumerate(listed)]
    placed = names.settled(_named(paths, listed, placed, roots), roots)
    found = [_broken(root, path, why, lessons) for root, path, why in zip(roots, paths, damaged, strict=True) if why]
    allowances: dict[Owner, Allowance] = defaultdict(Allowance)
    for path, entries, places in zip(paths, listed, placed, strict=True):
        if entries:
            with box(path) as holder:
                for entry, place in zip(entries, places, strict=True):
                    source = _label(path, entry)
                    found += _read(holder, entry, place, source, allowances[place.owner], lessons)
    result = _submissions(found, lessons)
    if not result:
        raise SubmissionError(f"no submission in {', '.join(map(str, paths)) or 'no path'}; looked for {LOOKED_FOR}")
    return result


def without_notebook(paths: Sequence[Path], *, lessons: Sequence[str]) -> list[str]:
    """Lines about learners in folders and zip files who have files there, but neither a notebook nor a zip file."""
    lines = []
    for path in paths:
        try:
            with box(path) as holder:
                files = holder.files()
        except Unreadable:  # `collect` says so
            continue
        files = [parts for parts in files if parts[0] == "submitted"] or files
        skip, owned = names.unwrapped(files, lessons), defaultdict(list)
        for parts in files:
            owned[names.place(parts[skip:], lessons, "").owner].append(parts)
        for owner, theirs in owned.items():
            if owner and not any(map(archives.is_wanted, theirs)):
                shown = ", ".join(parts[-1] for parts in theirs[:3]) + (" …" if len(theirs) > 3 else "")
                lines.append(f"{path}: no notebook by {owner.name}, so nothing of theirs is graded; there is {shown}")
    return lines


def _names_of(path: Path) -> list[str]:
    """Names that may be a learner's: a folder's or zip file's own, then those around it."""
    full = Path(os.path.abspath(path))
    own = [] if full.suffix.lower() == ".ipynb" else [names.stem(full.name)]
    return own + [folder.name for folder in full.parents]


def _listed(paths: Sequence[Path]) -> tuple[list[list[Entry]], list[str]]:
    """Entries of each path, and why a path could not be listed."""
    listed, damaged = [], []
    for path in paths:
        why, entries = "", []
        try:
            with box(path) as holder:
                entries = holder.entries()
        except Unreadable as error:
            why = str(error)
        if any(entry.parts[0] == "submitted" for entry in entries):  # beside it lie nbgrader's source, release, feedback …
            entries = [entry for entry in entries if entry.parts[0] == "submitted"]
        listed.append(entries)
        damaged.append(why)
    return listed, damaged


def _parts(entries: Sequence[Entry], lessons: Sequence[str]) -> list[tuple[str, ...]]:
    """Names of the entries of one path, without a folder that holds them all and is nobody's."""
    parts = [entry.parts for entry in entries]
    skip = names.unwrapped(parts, lessons)
    return [p[skip:] for p in parts]


def _named(
    paths: Sequence[Path], listed: list[list[Entry]], placed: list[list[Place]], roots: list[Owner]
) -> list[list[Place]]:
    """Owners for the files whose names hold no learner's: what was given, or, where that would be one for many, their names."""
    given = Counter(path.name for path in paths)
    result = []
    for path, entries, places, root in zip(paths, listed, placed, roots, strict=True):
        nameless = sum(place.owner is None and not place.lesson for place in places)
        own = nameless > 1 or nameless and entries[0].key == path and given[path.name] == 1
        owners = [
            Owner(names.stem(e.parts[-1])) if own and not place.lesson else root
            for e, place in zip(entries, places, strict=True)
        ]
        result.append([p if p.owner else replace(p, owner=o) for p, o in zip(places, owners, strict=True)])
    return result


def _label(path: Path, entry: Entry) -> str:
    return str(entry.key) if isinstance(entry.key, Path) else f"{path}: {'/'.join(entry.parts)}"


def _broken(root: Owner, path: Path, why: str, lessons: Sequence[str]) -> _Found:
    return _Found(root, names.of_file(path.name, lessons)[0], str(path), (False,), problem=f"The file {why}.")


def _read(holder, entry: Entry, place: Place, source: str, allowance: Allowance, lessons: Sequence[str]) -> list[_Found]:
    """What an entry holds: a notebook, or those of a zip file."""
    try:
        data = holder.read(entry, archives.ARCHIVE if entry.is_archive else archives.NOTEBOOK, allowance)
        if entry.is_archive:
            with box(data) as inner:
                return [f for e in inner.entries() for f in _inside(inner, e, place, source, allowance, lessons)]
    except Unreadable as error:
        return [_Found(place.owner, place.lesson, source, _rank(entry, place, False), problem=f"The file {error}.")]
    lesson = _lesson(entry, data, lessons)
    if lesson is None:
        return []
    return [_Found(place.owner, lesson or place.lesson, source, _rank(entry, place, True, bool(lesson)), data)]


def _inside(inner, entry: Entry, place: Place, source: str, allowance: Allowance, lessons: Sequence[str]) -> list[_Found]:
    """An entry of a learner's zip file: its owner is the zip file's, whatever it is called; no third level is opened."""
    source = f"{source}: {'/'.join(entry.parts)}"
    own = names.place(entry.parts, lessons, "")
    place = Place(place.owner, own.lesson or place.lesson, max(place.attempt, own.attempt), own.copy, direct=place.direct)
    if entry.is_archive:
        why = "The file is a zip file in a zip file in a zip file; hand in the notebooks alone."
        return [_Found(place.owner, place.lesson, source, _rank(entry, place, False), problem=why)]
    return _read(inner, entry, place, source, allowance, lessons)


def _rank(entry: Entry, place: Place, readable: bool, told: bool = True) -> tuple:
    """The largest counts.

    What was given under the learner's name comes first, so that nobody's files replace those of another; then what can be
    read, says itself which lesson it is, and is no copy of the solutions; then attempt, minute, and number of the copy.
    """
    own = "solutions" not in entry.parts[:-1]
    return (place.direct, readable, told, own, place.attempt, entry.modified // 60, place.copy, entry.modified)


def _lesson(entry: Entry, data: bytes, lessons: Sequence[str]) -> str | None:
    """Lesson of a notebook; "" where nothing tells, None where it is one that was not asked for.

    A name counts unless all that the notebook holds is of another lesson.
    """
    named = names.of_file(entry.parts[-1], lessons)[0]
    text = decode(data)[0]
    for pattern in (GRADE_ID, CHECKED):
        numbers = Counter(int(number) for number in pattern.findall(text))
        if numbers:
            if named and int(named[:2]) in numbers:
                return named
            most = numbers.most_common(1)[0][0]
            return next((lesson for lesson in lessons if int(lesson[:2]) == most), named or None)
    return named


def _submissions(found: Iterable[_Found], lessons: Sequence[str]) -> list[Submission]:
    """One submission for each learner and lesson; what belongs to no lesson counts only for a learner without any."""
    found = list(found)
    learners = names.told_apart({f.owner for f in found})
    groups: dict[str, dict[str, list[_Found]]] = defaultdict(lambda: defaultdict(list))
    for f in found:
        groups[learners[f.owner]][f.lesson].append(f)
    result = []
    for learner, by_lesson in groups.items():
        unknown = by_lesson.pop("", [])
        if unknown and not by_lesson:
            by_lesson = {lessons[0] if len(lessons) == 1 else "": unknown}
        result += [_chosen(learner, lesson, files) for lesson, files in by_lesson.items()]
    return sorted(result, key=lambda s: (s.learner, s.lesson))


def _chosen(learner: str, lesson: str, files: list[_Found]) -> Submission:
    """The file that counts, and what was passed over for it."""
    best = max(enumerate(files), key=lambda item: (item[1].rank, item[0]))[1]
    others = [f.source for f in files if f is not best]
    note = (
        f" (the newest of {len(files)}; passed over: {', '.join(others[:5])}{' …' if len(others) > 5 else ''})"
        if others
        else ""
    )
    problem = best.problem
    if not lesson and not problem:
        problem = (
            "Nothing tells which lesson this notebook is: give it the lesson's name, such as 04_dot_product.ipynb, "
            "and hand it in again."
        )
    return Submission(learner, lesson, best.source + note, b"" if problem else best.data, problem)
