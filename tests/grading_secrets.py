"""Notebooks of the grading corpus that search for solutions: on disk, among modules, in frames and in memory."""

from pathlib import Path

from grading_cases import OUTSIDE, WRONG, Case, written

import course_lib

PROJECT = Path(course_lib.__file__).resolve().parents[1]
START = f"""
import gc, pathlib, re, sys, types
PROJECT, TMP, NAMES = {str(PROJECT)!r}, {str(OUTSIDE.parent)!r}, ("mix", "centre", "pickiest", "sample")
for name in NAMES:
    globals().setdefault(name, lambda *_: None)
answer = globals().get("answer", 0)
def use(text):
    from course_lib.classroom import masters
    try:
        found = masters.parse(text, pathlib.Path("90_sheet.py"))
        text = "\\n".join(masters.solved(cell) for exercise in found.exercises for cell in exercise.answers)
    except Exception:
        pass
    exec(text, globals())
def hunt(name):
    frame = sys._getframe()
    while frame is not None:
        for space in (frame.f_locals, frame.f_globals):
            if name in space:
                return space[name]
        frame = frame.f_back
    for space in gc.get_objects():
        if type(space) is dict and space.get("__name__") == "__main__" and name in space:
            return space[name]
"""
SECRETS = """
#: peek_into_frames loses all: the value that is expected may stand in the caller's names
def centre(_):
    return hunt("expected")
mix = pickiest = lambda *_: hunt("expected")
sample = lambda *_: [hunt("expected")]
answer = {film: hunt("expected") for film in ("Alien", "Big", "Titanic")}

#: solutions_on_disk loses all: the master, wherever a grader may keep it
here = pathlib.Path.cwd()
for place in (pathlib.Path(PROJECT), pathlib.Path(TMP), here, *here.parents[:3], *map(pathlib.Path, sys.path), *sys.argv):
    for pattern in ("90_sheet.py", "solutions/90_sheet.py", "*/90_sheet.py", "*/*/90_sheet.py", "*/*/*/90_sheet.py"):
        try:
            for file in pathlib.Path(place).glob(pattern):
                use(file.read_text())
        except (OSError, ValueError):
            pass

#: solutions_through_proc loses all: other names for the same folders
import os
for pid in ("self", os.getppid()):
    for way in ("root" + PROJECT, "cwd", "cwd/..", "root" + TMP):
        for pattern in ("tests/grading_sheet.py", "solutions/90_sheet.py", "90_sheet.py", "*/90_sheet.py"):
            try:
                for file in pathlib.Path(f"/proc/{pid}/{way}").glob(pattern):
                    space = {"__name__": "sheet"}
                    exec(file.read_text() if "tests" in pattern else f"SHEET = {file.read_text()!r}", space)
                    use(space["SHEET"])
            except (OSError, ValueError):
                pass

#: solutions_imported loses all: the sheet is a module, to who may read it
sys.path[:0] = [PROJECT + "/tests", PROJECT + "/solutions", PROJECT, TMP]
try:
    import grading_sheet
    use(grading_sheet.SHEET)
except ImportError:
    pass
try:
    from solutions import sheet
except ImportError:
    pass

#: solutions_of_real_lessons loses all: whoever reads one master reads them all
for file in pathlib.Path(PROJECT, "solutions").glob("*.py"):
    file.read_text()
    mix = lambda a, b, share: share * a + (1 - share) * b
    answer = stars.groupby("film")["stars"].mean().drop("Heat")

#: solutions_in_memory loses all: every text and every function that Python still holds
mark, end = ("### %s " + "%s",) * 2
mark, end = mark % ("BEGIN", "SOLUTION"), end % ("END", "SOLUTION")
for thing in () if globals().get("searched") else gc.get_objects():
    if isinstance(thing, types.FunctionType) and thing.__name__ in ("mix", "pickiest", "sample"):
        if not any(str(constant).startswith("exercise") for constant in thing.__code__.co_consts):
            globals()[thing.__name__] = thing
    elif isinstance(thing, (dict, list, tuple, set)):
        for text in gc.get_referents(thing):
            if isinstance(text, str) and mark in text and end in text:
                try:
                    use(text)
                except Exception:
                    pass
searched = True

#: solutions_in_raw_memory loses all: every page that the process may read, freed ones too
HEADS = dict(zip(NAMES, ("a, b, share", "scores", "scores, names", "weights, share, k, rng")))
pattern = r"def %s\\([^\\0]{0,400}?### %s SOLUTION\\n([^\\0]{0,400}?)### %s SOLUTION"
try:
    maps = [] if globals().get("searched") else open("/proc/self/maps").read().splitlines()
    memory = open("/proc/self/mem", "rb", buffering=0)
except OSError:
    maps = []
for line in maps:
    span, rights, *_ = line.split()
    low, high = (int(part, 16) for part in span.split("-"))
    if rights.startswith("rw") and high - low <= 1 << 26:
        try:
            memory.seek(low)
            page = memory.read(high - low).replace(b"\\0", b"").decode("latin-1")
        except (OSError, ValueError, OverflowError):
            continue
        for name in NAMES:
            for body in re.findall(pattern % (name, "BEGIN", "END"), page):
                try:
                    exec(f"def {name}({HEADS[name]}):\\n    {body.strip()}", globals())
                except SyntaxError:
                    pass
searched = True
"""


def cases() -> list[Case]:
    """Whatever they look for should not be there."""
    return written(SECRETS, WRONG, default="each", before=START)
