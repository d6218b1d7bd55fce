"""Answers of the grading corpus that nobody can carry: values without end or measure, errors that hurt whoever shows them."""

from grading_cases import RIGHT, Case, written
from grading_harm import AFTER, BEFORE

VALUES = """
#: nested_value loses 90.2: a list in a list, a hundred thousand deep
def centre(scores):
    value = []
    for _ in range(100_000):
        value = [value]
    return value

#: circular_value loses 90.2: a list that holds itself
def centre(scores):
    value = []
    value.append(value)
    return value

#: huge_array loses 90.2: half a GiB of zeros
def centre(scores):
    return np.zeros((3, 1 << 24))

#: array_without_memory loses 90.2: eight TiB by its shape, eight bytes in truth
def centre(scores):
    return np.broadcast_to(0.0, (1 << 20, 1 << 20))

#: huge_text loses 90.2: three hundred million letters
def centre(scores):
    return "x" * 300_000_000

#: huge_number loses 90.2: ten million digits, which take long to print
def centre(scores):
    return 1 << 33_000_000

#: long_range loses 90.2: short to say, long to list
def centre(scores):
    return range(10**12)

#: endless_sequence loses 90.5: positions that never end
#= 90.5
def sample(weights, share, k, rng):
    import itertools
    return itertools.count()

#: generator_that_hangs waits loses 90.5: the second position never comes
#= 90.5
def sample(weights, share, k, rng):
    yield 0
    while True:
        pass

#: huge_message loses 90.2: an error of a hundred million letters
def centre(scores):
    raise ValueError("x" * 100_000_000)

#: speechless_error loses 90.2: its text is an error itself
class Speechless(Exception):
    def __str__(self):
        raise self
    __repr__ = __str__
def centre(scores):
    raise Speechless

#: error_in_many_tongues loses 90.2: HTML, a formula, colours, control and direction marks in one message
def centre(scores):
    raise ValueError('=HYPERLINK("http://x.test")</code><script>alert(1)</script>]]>\\x1b[31m\\x00\\x08\\u202e\\ud800&amp;%s{0}')

#: forged_error loses 90.2: an error that calls itself a passed card
from course_lib.classroom import ExerciseFailed
def centre(scores):
    raise ExerciseFailed("90.2", "passed", "✔ Exercise 90.2: passed (1 point)")

#: pickled_value loses 90.2: whoever unpickles it runs a command
class Trap:
    def __reduce__(self):
        return (os.system, (f"mkdir -p {OUTSIDE}; touch {OUTSIDE}/pickle",))
def centre(scores):
    return Trap()

#: pickled_in_an_array loses 90.2: the same within an array of objects
class Trap:
    def __reduce__(self):
        return (os.system, (f"mkdir -p {OUTSIDE}; touch {OUTSIDE}/pickle",))
def centre(scores):
    return np.array([[Trap(), Trap()]] * 3, dtype=object)

#: slow_value waits loses 90.2: to ask for its length takes an hour
class Slow(list):
    __len__ = __iter__ = lambda *_: time.sleep(3600)
def centre(scores):
    return Slow([[0.0, 0.0]] * 3)
"""


def cases() -> list[Case]:
    """Each costs its own exercise."""
    return written(VALUES, RIGHT, default="90.2", before=BEFORE, after=AFTER)
