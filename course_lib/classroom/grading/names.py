"""Whose a file is, and for which lesson, by its name alone: plain rules for what the usual platforms hand out.

The learner is read off the part of the name that stands nearest to what was given, so that no file inside a learner's
folder or zip file can pass for another learner's.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

LONGEST, LONGEST_BYTES = 80, 200  # of a learner's name
MOODLE = re.compile(r"^(?P<name>.+?)_(?P<number>\d+)_assignsubmission_file_?(?P<file>.*)$", re.DOTALL)
CANVAS = re.compile(r"^(?P<name>[^_]+)(?:_LATE)?_(?P<number>\d+)_(?P<attempt>\d+)_(?P<file>.+)$", re.DOTALL)
BRANCH = re.compile(r"-(main|master|[0-9a-f]{40})$")  # what GitHub adds to a repository's name in a zip file
COPY = re.compile(r"(?:\s*\((\d{1,4})\)|-(\d{1,4})|[-_ ]+copy\s*\d*)$", re.IGNORECASE)
COPY_OF = re.compile(r"^(?:(?:copy|kopie|copie|copia)[-_ ]+(?:of|von|de|di)[-_ ]+)+", re.IGNORECASE)  # Colab's and Drive's
NUMBERED = re.compile(
    r"^(?:(?:lesson|exercises?|ex|homework|hw|assignment|week|sheet|unit)[\W_]*)?0*(\d{1,2})(?![^\W_])[\W_]*", re.IGNORECASE
)
STRUCTURE = set(
    "lessons solutions notebooks submitted submissions assignment assignments exercises homework work course files "
    "src documents desktop downloads home users".split()
)  # folders that are nobody's name
VERSIONS = set(
    "final finished solved solution done copy new old draft version my mine answer answers submission backup".split()
)
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}  # on Windows


@dataclass(frozen=True)
class Owner:
    """A learner as a name tells it. number: the platform's, "" without one; scope: where that number means something."""

    name: str
    number: str = ""
    scope: str = ""


@dataclass(frozen=True)
class Place:
    """What one name says.

    owner: None where no part of the name is a learner's; lesson: by a folder or the file's name, "" without; attempt: the
    platform's numbers; copy: the number that a browser adds, as in "x (1)"; folder: the plain folder that is the owner's;
    direct: whether the path that was given bears the owner's name.
    """

    owner: Owner | None
    lesson: str = ""
    attempt: tuple[int, int] = (0, 0)
    copy: int = 0
    folder: str = ""
    direct: bool = False


def place(parts: Sequence[str], lessons: Sequence[str], scope: str) -> Place:
    """Read one name, given as folders and file name below what was handed to `collect`.

    In this order: folders that only order things (`lessons`, `submitted`, a lesson's own name …) are passed over; then
    Moodle's and Canvas's marks, a repository named after lesson and learner, any other folder, `NAME__lesson.ipynb`, and
    what a file name holds besides the lesson's. owner is None where none of these is there.
    """
    rest = list(parts)
    while len(rest) > 1 and is_structure(rest[0], lessons):
        del rest[0]
    lesson, copy = of_file(parts[-1], lessons)
    lesson = lesson or next(filter(None, (of_folder(part, lessons)[0] for part in reversed(parts[:-1]))), "")
    own, first = rest[0] if len(rest) > 1 else stem(rest[0]), len(rest) > 1 or rest[0].lower().endswith(".zip")
    if match := MOODLE.match(own):
        return Place(Owner(match["name"], match["number"], scope), lesson, copy=copy)
    if match := CANVAS.match(own):
        return Place(Owner(match["name"], match["number"], "canvas"), lesson, (copy, int(match["attempt"])))
    if first:
        return Place(Owner(repository(own, lessons)), lesson, copy=copy, folder=own)
    return Place(_flat(own, lessons), lesson, copy=copy)


def _flat(own: str, lessons: Sequence[str]) -> Owner | None:
    """Learner of a file that lies in no learner's folder, by what its name holds besides the lesson's."""
    left, mark, right = own.rpartition("__")
    if mark and left.strip():
        return Owner(right if of_folder(left, lessons)[0] and not of_stem(right, lessons)[0] else left)
    lesson, rest = of_stem(COPY.sub("", own), lessons)
    words = [word for word in re.split(r"[\W_]+", rest) if word and not word.isdigit() and not re.fullmatch(r"v\d+", word)]
    return Owner(rest) if lesson and any(word.lower() not in VERSIONS for word in words) else None


def of_file(name: str, lessons: Sequence[str]) -> tuple[str, int]:
    """Lesson ("" if none or several fit) and number of the copy in a file's name, whatever its platform put around it."""
    own = stem(name)
    for mark in (MOODLE, CANVAS):
        match = mark.match(own)
        own = match["file"] if match and match["file"] else own
    copy = COPY.search(own)
    number = int(next(filter(None, copy.groups()), 0)) if copy else 0
    tries = [part for text in (COPY.sub("", own), own) for part in reversed(text.rpartition("__")) if part]
    return next(filter(None, (of_stem(text, lessons)[0] for text in tries)), ""), number


def of_stem(text: str, lessons: Sequence[str]) -> tuple[str, str]:
    """Lesson that a file's name contains, or begins with the number of, and the rest; two empty texts where none fits."""
    lesson, rest = of_folder(text, lessons)
    match = NUMBERED.match(text)
    if lesson or not match:
        return lesson, rest
    found = [name for name in lessons if int(name[:2]) == int(match[1])]
    return (found[0], text[match.end() :]) if found else ("", "")


def of_folder(text: str, lessons: Sequence[str]) -> tuple[str, str]:
    """Lesson whose words a name contains, such as "dot product", "04-dot-product" or "Dot_Product", and the rest."""
    found = []
    for lesson in lessons:
        words = r"[\W_]*".join(map(re.escape, lesson[3:].split("_")))
        pattern = rf"(?<![^\W_])(?:0*{int(lesson[:2])}[\W_]+)?{words}(?![^\W_])"
        if match := re.search(pattern, text, re.IGNORECASE):
            rest = f"{text[: match.start()].rstrip(' -_.')} {text[match.end() :].lstrip(' -_.')}".strip(" -_.")
            found.append((match.end() - match.start(), lesson, rest))
    found.sort(reverse=True)
    several = len(found) > 1 and found[0][0] == found[1][0]
    return found[0][1:] if found and not several else ("", "")


def repository(folder: str, lessons: Sequence[str]) -> str:
    """Learner of a folder: "04-dot-product-mei-main" is Mei's, any other folder bears its learner's name."""
    name = BRANCH.sub("", stem(folder))
    return of_folder(name, lessons)[1] or name


def is_structure(folder: str, lessons: Sequence[str]) -> bool:
    """Whether a folder orders things and is not a learner's."""
    words = folder.lower()
    lesson, rest = of_folder(folder, lessons)
    return words in STRUCTURE or words.endswith(("-submissions", "_submissions", " submissions")) or bool(lesson and not rest)


def of_root(names: Iterable[str], lessons: Sequence[str]) -> Owner:
    """Learner of a folder or file that was given itself: `names` are its own and those of the folders around it."""
    for name in names:
        if name and not is_structure(name, lessons):
            mark = MOODLE.match(name) or CANVAS.match(name)
            return Owner(mark["name"], mark["number"], "") if mark else Owner(repository(name, lessons))
    return Owner("unnamed")


def stem(name: str) -> str:
    """A file's name without .ipynb or .zip, and without the "Copy of" that a shared drive puts before it."""
    return COPY_OF.sub("", re.sub(r"\.(ipynb|zip)$", "", name, flags=re.IGNORECASE))


def safe(name: str) -> str:
    """A learner's name as a file name on any system: no separators or controls, at most 80 characters, never empty."""
    composed = unicodedata.normalize("NFC", name)
    kept = "".join(
        "_" if c in '<>:"/\\|?*' else " " if c.isspace() else c
        for c in composed
        if c.isspace() or unicodedata.category(c)[0] != "C"
    )
    short = _cut(" ".join(kept.split()).strip(" .").lstrip("-"), LONGEST)
    return f"{short}_" if short.split(".")[0].lower() in RESERVED else short or "unnamed"


def _cut(text: str, characters: int) -> str:
    """The beginning of a text that keeps both limits."""
    return text[:characters].encode()[:LONGEST_BYTES].decode(errors="ignore").strip(" .")


def told_apart(owners: Iterable[Owner]) -> dict[Owner, str]:
    """A safe name for each owner: one learner gets one name, and two learners never the same, not even without capitals.

    Names that would be the same get the platform's number, or a few letters made from the full name. Numbers that mean
    something in different places only (Moodle counts each assignment anew) do not make two learners of one.
    """
    groups: dict[str, set[Owner]] = defaultdict(set)
    for owner in owners:
        groups[safe(owner.name).casefold()].add(owner)
    named = {owner: _name(owner, group) for group in groups.values() for owner in group}
    taken = {name.casefold(): {o.name for o in group} for group in groups.values() for name in {safe(o.name) for o in group}}
    for owner, name in named.items():
        if name != safe(owner.name) and name.casefold() in taken:  # somebody is really called "mei-2"
            named[owner] = _with(owner.name, f"{owner.number}-{_letters(owner.name)}")
    return named


def _name(owner: Owner, group: set[Owner]) -> str:
    spellings = {unicodedata.normalize("NFC", o.name) for o in group}
    numbers = {o.number for o in group if o.scope == owner.scope}
    ending = [owner.number] if len(numbers) > 1 and owner.number else []
    if len(spellings) > 1:
        ending.append(_letters(owner.name))
    return _with(owner.name, "-".join(ending)) if ending else safe(owner.name)


def _with(name: str, ending: str) -> str:
    return f"{_cut(safe(name), LONGEST - len(ending) - 1)}-{ending}"


def _letters(name: str) -> str:
    return hashlib.sha256(unicodedata.normalize("NFC", name).encode("utf-8", "replace")).hexdigest()[:6]


def unwrapped(listed: list[tuple[str, ...]], lessons: Sequence[str]) -> int:
    """How many outer folders hold a class and are no learner's, 0 or 1.

    One where all names share a first folder, below which several folders hold a file for the same lesson, or a name bears
    a platform's marks.
    """
    if not listed or len({parts[0] for parts in listed}) > 1 or any(len(parts) < 2 for parts in listed):
        return 0
    if is_structure(listed[0][0], lessons) or MOODLE.match(listed[0][0]) or CANVAS.match(listed[0][0]):
        return 0
    inner: dict[str, set[str]] = defaultdict(set)
    for parts in listed:
        name = of_file(parts[-1], lessons)[0] or parts[-1]
        if len(parts) > 2 and not is_structure(parts[1], lessons):
            inner[name].add(parts[1])
        if MOODLE.match(parts[1]) or "__" in parts[1] and len(parts) == 2:
            return 1
    return int(any(len(folders) > 1 for folders in inner.values()))


def settled(places: Sequence[Sequence[Place]], roots: Sequence[Owner]) -> list[list[Place]]:
    """Places of each given path, where a folder that several paths hold alone, with the same lesson, is nobody's.

    Ten zip files that each hold nothing but a folder `course-learning` come from ten learners: the files' own names tell
    them apart. What a path's own name says is marked as direct.
    """
    seen = [{(p.folder, p.lesson) for p in found} for found in places]
    shared = [len({f for f, _ in own}) == 1 and any(own & s for s in seen if s is not own) for own in seen]
    result = []
    for found, root, doubtful in zip(places, roots, shared, strict=True):
        owned = [replace(p, owner=root) if doubtful and p.folder else p for p in found]
        result.append([replace(p, direct=safe(p.owner.name) == safe(root.name)) for p in owned])
    return result
