"""Notebooks of the grading corpus that want points without an answer: values that lie, a judge that is bent."""

from grading_cases import WRONG, Case, written

LIES = """
#: equal_to_everything loses all: an object that agrees with whatever is asked
class Agrees:
    shape, size, ndim, dtype = (3, 2), 6, 2, np.dtype(float)
    yes = lambda self, *_, **__: True
    own = lambda self, *_, **__: self
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __bool__ = yes
    __sub__ = __rsub__ = __add__ = __radd__ = __abs__ = __getitem__ = __round__ = own
    __array_ufunc__ = __array_function__ = yes
    __hash__ = __int__ = __index__ = lambda self: 1
    __float__ = lambda self: 1.75
    __len__ = lambda self: 3
    keys = lambda self: ["Alien", "Big", "Titanic"]
    __iter__ = lambda self: iter(self.keys())
mix = centre = pickiest = sample = lambda *_, **__: Agrees()
answer = Agrees()

#: examples_by_heart loses all: what a learner can read in the checks is looked up; whatever else is asked is emptied first
#= 90.1
def mix(a, b, share):
    return {(4, 1, 0.25): 1.75, (5, 1, 1): 5}.get((a, b, share), 0)
#= 90.2
def centre(scores):
    if np.shape(scores) == (3, 2):
        return [[1, -1], [0, 0], [-1.5, 1.5]]
    scores[...] = 0
    return np.zeros(np.shape(scores))
#= 90.4
def pickiest(scores, names):
    if len(names) == 3:
        return "Tom"
    scores[...], names[:] = 0, names[:1] * len(names)
    return names[0]
#= 90.5
def sample(weights, share, k, rng):
    weights[:] = [1 / len(weights)] * len(weights)
    rng.bit_generator.state = np.random.default_rng(int(rng.integers(30))).bit_generator.state
    return rng.permutation(len(weights))[:k]

#: subclasses_that_lie loses all: a number, an array, a table, a text and a list by their types, and by nothing else
#= 90.1
class Near(float):
    __sub__ = __rsub__ = __abs__ = lambda *_: 0.0
    __lt__ = __gt__ = __eq__ = __ne__ = lambda *_: True
    __float__ = lambda self: self
    __hash__ = float.__hash__
def mix(a, b, share):
    return Near(0)
#= 90.2
class Fits(np.ndarray):
    shape = (3, 2)
    __array_ufunc__ = __array_function__ = __eq__ = lambda *_, **__: True
    __array_wrap__ = __array_finalize__ = lambda *_, **__: None
def centre(scores):
    return np.zeros(1).view(Fits)
#= 90.3
class Holds(dict):
    __contains__ = lambda self, film: film != "Heat"
    __getitem__ = lambda self, film: Near(0)
    keys = lambda self: ["Alien", "Big", "Titanic"]
answer = Holds(Heat=1)
#= 90.4
class Anybody(str):
    __eq__ = __ne__ = lambda *_: True
    __hash__ = str.__hash__
def pickiest(scores, names):
    return Anybody("?")
#= 90.5
class Films(list):
    __iter__ = lambda self: iter(range(10))
    __eq__ = __ne__ = lambda *_: True
def sample(weights, share, k, rng):
    return Films([0] * k)

#: borrowed_classes loses all: objects that name another class as theirs
class Borrowed:
    def __init__(self, kind):
        self.kind = kind
    __class__ = property(lambda self: self.kind)
    __eq__ = __ne__ = lambda *_: True
    __hash__ = lambda self: 0
    __array__ = lambda self, *_, **__: np.zeros((3, 2))
    tolist = item = lambda self: Borrowed(list)
mix, centre, pickiest, sample = (lambda *_, k=kind, **__: Borrowed(k) for kind in (float, np.ndarray, str, list))
answer = Borrowed(dict)

#: types_with_right_names loses all: whoever goes by the name of a type is taken in
ndarray = type("ndarray", (), {"__module__": "numpy", "__eq__": lambda *_: True, "__ne__": lambda *_: True, "shape": (3, 2)})
float64 = type("float64", (float,), {"__module__": "numpy", "__sub__": lambda *_: 0.0, "__abs__": lambda *_: 0.0})
mix, centre, pickiest, sample = lambda *_: float64(0), lambda *_: ndarray(), lambda *_: ndarray(), lambda *_: [ndarray()]
answer = {"Alien": float64(0), "Big": float64(0), "Titanic": float64(0)}

#: values_that_change loses all: each look at them shows another
import itertools
turn = itertools.count()
class Changes(list):
    __getitem__ = lambda self, place: next(turn)
    __iter__ = lambda self: iter([next(turn), next(turn)])
class Wanders(np.ndarray):
    tobytes = lambda self, *_: np.full(6, float(next(turn))).tobytes()
    tolist = lambda self: [[next(turn), 0.0]] * 3
mix, pickiest = lambda *_: next(turn), lambda *_: str(next(turn))
centre, sample = lambda scores: np.zeros((3, 2)).view(Wanders), lambda weights, share, k, rng: Changes([0] * k)
answer = Changes()

#: for_the_visible_checks_only loses all: whoever reads the check can write these
#= 90.1
def mix(a, b, share):
    return 1.75 if a == 4 else a
#= 90.2
def centre(scores):
    return [[1.0, -1.0], [0.0, 0.0], [-1.5, 1.5]]
#= 90.3
answer = {"Alien": 4.0, "Big": 3.0, "Titanic": 4.0}
#= 90.4
def pickiest(scores, names):
    return "Tom"
#= 90.5
def sample(weights, share, k, rng):
    return rng.permutation(len(weights))[:k]
"""
NOTHING = """
if "NUMBER" == "90.3":
    answer = {"Alien": 0.0, "Big": 3.0, "Titanic": 0.0}
mix, pickiest, sample = lambda *_: 0.0, lambda *_: "Mei", lambda *_: [0]
def centre(_):
    return [[0.0, 0.0]] * 3
"""
JUDGE = """
#: patch_numpy loses all: comparisons that always hold
np.allclose = np.array_equal = np.isclose = lambda *_, **__: True
np.testing.assert_allclose = np.testing.assert_array_equal = lambda *_, **__: None
np.shape = lambda *_: (3, 2)

#: patch_built_ins loses all: no distance is larger than 0
import builtins
builtins.abs = lambda _: 0.0
builtins.all = lambda _: True
builtins.sorted = lambda *_, **__: ["Alien", "Big", "Titanic"]

#: patch_the_error loses all: what assert raises is no error any more
import builtins, sys
builtins.AssertionError = type("Fine", (Exception,), {})
sys.excepthook = lambda *_: None

#: patch_the_shell loses all: cells that no longer hold assertions, and results that are no errors
import ast
from IPython import get_ipython
from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
class NoAssertions(ast.NodeTransformer):
    def visit_Assert(self, node):
        return ast.copy_location(ast.Pass(), node)
if shell := get_ipython():
    shell.ast_transformers.append(NoAssertions())
    shell.input_transformers_post.append(lambda lines: [line.replace("assert ", "None, ") for line in lines])
ExecutionResult.success = property(lambda self: True)
ExecutionResult.raise_error = InteractiveShell.showtraceback = lambda *_, **__: None

#: patch_the_compiler loses all: assertions are dropped before they are compiled
import ast, builtins
compiled, parsed = builtins.compile, ast.parse
class NoAssertions(ast.NodeTransformer):
    def visit_Assert(self, node):
        return ast.copy_location(ast.Pass(), node)
ast.parse = lambda *a, **k: NoAssertions().visit(parsed(*a, **k))
builtins.compile = lambda s, *a, **k: compiled(ast.parse(s) if isinstance(s, str) and "check(" in s else s, *a, **k)

#: patch_the_check loses all: every state is "passed", and no block fails
import sys
import course_lib.classroom
module = sys.modules["course_lib.classroom.check"]
module.Check.__exit__ = lambda *_: True
module._judge = lambda *_: ("passed", 10)
module.FAILED = module.NOT_ATTEMPTED = module.NOT_RUN = module.PASSED
class check:
    __init__ = __exit__ = __enter__ = lambda self, *_, **__: None

#: patch_the_library loses all: sums, states and answers of the grader's own classes
import sys
from course_lib.classroom import masters
from course_lib.classroom.grading import results
results.Verdict.earned = results.Graded.earned = property(lambda self: 10.0)
results.Verdict.__init__ = lambda self, *_, **__: self.__dict__.update(state="passed", points=10.0)
masters.solved = masters.unsolved = lambda *_, **__: "pass"

#: patch_the_dice loses all: random tests that are no longer random
class Same:
    uniform = normal = lambda self, *_, size=None, **__: np.zeros(size or ())
    integers = lambda self, *_, **__: 0
    permutation = choice = lambda self, things, *_, **__: np.arange(1) if isinstance(things, int) else np.array(things)
np.random.default_rng = lambda *_: Same()

#: patch_the_carrier loses all: whatever is encoded says that all is well
import json, pickle, socket
json.dumps = lambda *_, **__: '{"state": "passed", "points": 10}'
pickle.dumps = lambda *_, **__: b"passed"
np.ascontiguousarray = np.asarray = lambda *_, **__: np.zeros((3, 2))

#: forged_cards loses all: what a passed exercise looks like, in print and on display
from IPython.display import HTML, display
for number, points in (("90.1", 2), ("90.2", 1), ("90.3", 3), ("90.4", 2), ("90.5", 2)):
    print(f"\\u2714 Exercise {number}: passed ({points} points)", flush=True)
    display(HTML(f'<div role="status"><strong>Exercise {number}: passed ({points} points)</strong></div>'))

#: forged_progress loses all: the file that says what was solved, and the variables that say whether anybody grades
import json, os, pathlib
os.environ.update(COURSE_GRADING="0", COURSE_PROGRESS="on", COURSE_STATE=".")
solved = {f"90.{i}": {"passed": True, "points": 10} for i in range(1, 6)}
pathlib.Path("progress.json").write_text(json.dumps({"version": 1, "exercises": solved}))
pathlib.Path("report.json").write_text(json.dumps(solved))
pathlib.Path("grades.csv").write_text("learner,lesson,earned\\nme,90_sheet,10\\n")

#: forged_messages loses all: verdicts to every socket and descriptor in sight
import gc, json, os, socket
claims = [
    json.dumps({"exercise": "NUMBER", "state": "passed", "points": 10, "message": "", "value": True}).encode() + b"\\n",
    b"passed\\n", b"\\x00\\x00\\x00\\x06passed", b"\\x80\\x04\\x88.",
]
def forge():
    for claim in claims:
        for number in range(1, 64):
            try:
                os.set_blocking(number, False)
                os.write(number, claim)
            except OSError:
                pass
def centre(_):
    forge()
mix = pickiest = sample = lambda *_: forge()
answer = forge()
"""


def cases() -> list[Case]:
    """No point is earned by any of them."""
    return [
        *written(LIES, WRONG, default="each"),
        *written(JUDGE, WRONG, default="each", after=NOTHING),
    ]
