"""Honest notebooks of the grading corpus: right answers, written in ways that nobody had in mind."""

from grading_cases import RIGHT, Case, written

UNUSUAL = """
#: lists_and_loops: no array anywhere
#= 90.1
def mix(a, b, share):
    total = 0.0
    for part, weight in ((a, share), (b, 1 - share)):
        total += part * weight
    return total
#= 90.2
def centre(scores):
    return [[star - sum(row) / len(row) for star in row] for row in scores]
#= 90.3
answer = {}
for film in set(stars["film"]):
    own = [star for name, star in zip(stars["film"], stars["stars"]) if name == film]
    if len(own) > 1:
        answer[film] = sum(own) / len(own)
#= 90.4
def pickiest(scores, names):
    best, most = None, -1
    for row, name in zip(scores, names):
        size = sum((star - sum(row) / len(row)) ** 2 for star in row)
        if size > most:
            best, most = name, size
    return best
#= 90.5
def sample(weights, share, k, rng):
    left, drawn, total = list(range(len(weights))), [], sum(weights)
    for _ in range(k):
        chances = [mix(weights[i] / total, 1 / len(weights), share) for i in left]
        mark = rng.random() * sum(chances)
        for place, chance in enumerate(chances):
            mark -= chance
            if mark < 0:
                break
        drawn.append(left.pop(place))
    return drawn

#: tensors: torch in place of numpy
#= 90.1
import torch
def mix(a, b, share):
    return torch.lerp(torch.tensor(float(b)), torch.tensor(float(a)), share)
#= 90.2
def centre(scores):
    table = torch.tensor(scores)
    return table - table.mean(1, keepdim=True)
#= 90.3
answer = {film: torch.tensor(float(own["stars"].mean())) for film, own in stars.groupby("film") if len(own) >= 2}
#= 90.5
def sample(weights, share, k, rng):
    chances = torch.tensor([float(mix(w / sum(weights), 1 / len(weights), share)) for w in weights])
    keys = torch.tensor(rng.exponential(size=len(weights))) / chances
    return keys.argsort()[:k]

#: numpy_scalars: numbers and names as numpy gives them
#= 90.1
def mix(a, b, share):
    return np.array(share * np.float64(a) + (1 - share) * np.float64(b))
#= 90.4
def pickiest(scores, names):
    return np.array(names)[np.std(scores, axis=1).argmax()]
#= 90.5
def sample(weights, share, k, rng):
    chances = share * np.array(weights) / np.sum(weights) + (1 - share) / len(weights)
    return rng.choice(np.arange(len(weights), dtype=np.int16), k, replace=False, p=chances)

#: nested_helpers: functions within functions
#= 90.2
def centre(scores):
    def mean(row):
        def size():
            return max(1, len(row))
        return sum(row) / size()
    return np.array([[star - mean(row) for star in row] for row in scores])

#: helper_in_a_cell_of_its_own: the answer calls it
#= extra 90.2
def mean_of(row):
    return sum(row) / len(row)
#= 90.2
def centre(scores):
    return np.array([np.array(row) - mean_of(row) for row in scores])

#: helper_between_answer_and_check: "Run all" meets it in time
#= 90.2
def centre(scores):
    return np.array([np.array(row) - mean_of(row) for row in scores])
#= below 90.2
def mean_of(row):
    return sum(row) / len(row)

#: await_in_a_cell: notebooks allow it
#= extra 90.3
import asyncio
async def soon(value):
    await asyncio.sleep(0.01)
    return value
#= 90.3
table = await soon(stars.groupby("film")["stars"])
answer = await soon({film: own.mean() for film, own in table if len(own) > 1})

#: magics: notebooks allow them too
#= extra 90.1
%matplotlib inline
%precision 3
#= 90.2
%%time
def centre(scores):
    return scores - scores.mean(axis=1, keepdims=True)
#= 90.3
%time means = stars.groupby("film")["stars"].mean()
answer = means.drop("Heat")

#: command_in_a_cell: whatever comes of it, the answers are right
#= extra 90.2
!echo hello

#: shell_lines_first: above a right answer, in the cell that is judged
#= 90.2
%pip install numpy
!ls
files = !ls
def centre(scores):
    return scores - scores.mean(axis=1, keepdims=True)

#: exit_first: in a notebook it asks for a new kernel, and whatever follows was meant
#= 90.2
exit()
def centre(scores):
    return scores - scores.mean(axis=1, keepdims=True)

#: decorators: two around each other
#= 90.1
import functools
def counted(function):
    @functools.wraps(function)
    def inner(*args, **kwargs):
        inner.calls += 1
        return function(*args, **kwargs)
    inner.calls = 0
    return inner
@counted
@counted
def mix(a, b, share):
    return b + share * (a - b)

#: callable_objects: an instance, a bound method, a partial, a lambda
#= 90.1
class Mixer:
    def __call__(self, a, b, share):
        return share * a + (1 - share) * b
mix = Mixer()
#= 90.2
class Table:
    def centre(self, scores):
        return scores - scores.mean(axis=1, keepdims=True)
centre = Table().centre
#= 90.4
pickiest = lambda scores, names: max(zip(np.std(scores, axis=1), names))[1]
#= 90.5
from functools import partial
def draw_with(function, weights, share, k, rng):
    n = len(weights)
    return rng.choice(n, k, False, [function(w / sum(weights), 1 / n, share) for w in weights])
sample = partial(draw_with, mix)

#: recursion: to a modest depth
#= 90.2
def centre(scores):
    def total(row):
        return row[0] + total(row[1:]) if len(row) else 0
    return [[star - total(row) / len(row) for star in row] for row in scores] if len(scores) else []

#: kept_between_calls: a cache, and a count in the learner's names
#= 90.1
from functools import lru_cache
calls = 0
@lru_cache
def mix(a, b, share):
    global calls
    calls += 1
    return share * a + (1 - share) * b
#= 90.2
kept = {}
def centre(scores):
    key = scores.tobytes()
    if key not in kept:
        kept[key] = scores - scores.mean(axis=1, keepdims=True)
    return kept[key]

#: fractions: any kind of number may come back
#= 90.1
from fractions import Fraction
def mix(a, b, share):
    return Fraction(share) * Fraction(a) + (1 - Fraction(share)) * Fraction(b)

#: decimals: any kind of number may come back
#= 90.1
from decimal import Decimal
def mix(a, b, share):
    return Decimal(share) * Decimal(a) + (1 - Decimal(share)) * Decimal(b)

#: imports_inside: where they are needed
#= 90.2
def centre(scores):
    from statistics import fmean
    import numpy
    return numpy.array([[star - fmean(row) for star in row] for row in scores])

#: star_imports: built-in names are hidden by them
#= extra 90.1
from math import *
from numpy import *
#= 90.1
def mix(a, b, share):
    return sum([share * a, (1 - share) * b])

#: hidden_built_ins: a learner's own list, sum and len
#= extra 90.1
list, sum, len, print = [1], 0, "long", None
#= 90.5
def sample(weights, share, k, rng):
    weights = np.array(weights)
    return rng.choice(weights.size, k, replace=False, p=share * weights / weights.sum() + (1 - share) / weights.size)

#: generator_of_positions: any sequence may come back
#= 90.5
def sample(weights, share, k, rng):
    chances = [mix(weight / sum(weights), 1 / len(weights), share) for weight in weights]
    for position in rng.choice(len(weights), size=k, replace=False, p=chances):
        yield int(position)

#: other_containers: a frame, a series, a tuple
#= 90.2
def centre(scores):
    return tuple(map(tuple, pd.DataFrame(scores).sub(pd.DataFrame(scores).mean(axis=1), axis=0).to_numpy()))
#= 90.3
answer = {str(film): round(float(mean), 9) for film, mean in stars.groupby("film").stars.mean().items() if film != "Heat"}
#= 90.5
def sample(weights, share, k, rng):
    weights = pd.Series(weights)
    return pd.Series(rng.choice(len(weights), k, False, (mix(weights / weights.sum(), 1 / len(weights), share))))

#: in_chinese: names and comments in one's own language
#= 90.1
def 混合(甲, 乙, 份额):  # 甲占份额，乙占其余
    return 份额 * 甲 + (1 - 份额) * 乙
mix = 混合

#: modern_python: annotations, match, an assignment within an expression
#= 90.1
from __future__ import annotations
def mix(a: Number, b: Number, share: float) -> Number:
    match share:
        case 0: return b
        case 1: return a
    return (part := share * a) + (1 - share) * b
"""


def cases() -> list[Case]:
    """Nothing here is wrong."""
    return written(UNUSUAL, RIGHT, default="90.2")
