"""A small exercise sheet as a master: five checked exercises, ten points, and one question in words."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

from course_lib.classroom import masters

NAME = "90_sheet"
KINDS = {"answer": (True, False, False), "check": (False, True, True), "text": (True, True, False)}


def _tags(match: re.Match) -> str:
    """`# %% check 90-1-check 2` as the head of a cell with nbgrader's metadata."""
    kind, grade_id, points = match.groups()
    names = dict(zip(("solution", "grade", "locked"), KINDS[kind], strict=True))
    data = {"schema_version": 3, "grade_id": grade_id, **({"points": float(points)} if points else {}), **names, "task": False}
    return f"# %%{' [markdown]' if kind == 'text' else ''} nbgrader={json.dumps(data)}"


_TEXT = '''# %% [markdown]
# # 90 · Five small exercises
#
# Stars from a few people for a few films.

# %%
import numpy as np
import pandas as pd

from course_lib.classroom import check

# %%
stars = pd.DataFrame(
    {
        "film": ["Alien", "Big", "Titanic", "Alien", "Heat", "Big", "Titanic", "Alien", "Big"],
        "stars": [5, 2, 3, 4, 5, 2, 5, 4, 5],
    }
)

# %% [markdown]
# ### Exercise 90.1 · Mix two numbers
# 2 min · difficulty 1 of 3 · 2 points
#
# Write `mix(a, b, share)`: a share of `a`, the rest of `b`. Any kind of number may come back. `mix(4, 1, 0.25)` is 1.75.


# %% answer 90-1-mix
def mix(a, b, share):
    """A share of a, the rest of b.  Numbers, share from 0 to 1."""
    ### BEGIN SOLUTION
    return share * a + (1 - share) * b
    ### END SOLUTION


# %% check 90-1-check 2
with check("90.1", points=2):
    one = float(mix(4.0, 1.0, 0.25))
    assert abs(one - 3.25) > 1e-6, "the share belongs to a, the rest to b"
    assert abs(one - 2.5) > 1e-6, "that is the plain mean: the share plays no part in it"
    assert abs(one - 2.0) > 1e-6, "b counts in full there: it gets 1 - share"
    assert abs(one - 1.75) < 1e-6, "a quarter of 4 and three quarters of 1 are 1.75"
    assert abs(float(mix(5, 1, 1)) - 5) < 1e-6, "a share of 1 leaves a alone"
    ### BEGIN HIDDEN TESTS
    for a, b, share in np.random.default_rng().uniform(0.1, 0.9, size=(5, 3)).tolist():
        expected = share * a + (1 - share) * b
        assert abs(float(mix(a, b, share)) - expected) < 1e-6, "share * a + (1 - share) * b, for any numbers"
    ### END HIDDEN TESTS


# %% tags=["wrong"]
def mix(a, b, share):  # the share on the wrong side
    return (1 - share) * a + share * b


# %% tags=["wrong"]
def mix(a, b, share):  # the plain mean
    return (a + b) / 2


# %% tags=["wrong"]
def mix(a, b, share):  # b in full
    return share * a + b


# %% [markdown]
# ### Exercise 90.2 · Centre every person
# 3 min · difficulty 2 of 3 · 1 point
#
# Write `centre(scores)`: from each row its own mean is taken away. The argument stays as it is.


# %% answer 90-2-centre
def centre(scores):
    """Rows with mean 0.  scores (people, films), in stars → the same shape; the argument is left alone."""
    ### BEGIN SOLUTION
    return np.asarray(scores) - np.mean(scores, axis=1, keepdims=True)
    ### END SOLUTION


# %% check 90-2-check 1
with check("90.2"):
    table = np.array([[4.0, 2.0], [5.0, 5.0], [1.0, 4.0]])
    found = centre(table)
    assert table.tolist() == [[4.0, 2.0], [5.0, 5.0], [1.0, 4.0]], "the argument has changed: work on a copy"
    assert np.shape(found) == (3, 2), "the shape stays: three people, two films"
    assert abs(found[1][0] - 1.5) > 1e-6, "one mean for all: every person has a mean of their own"
    assert abs(found[1][1] - 4 / 3) > 1e-6, "those are the films' means: take the mean along each row"
    assert np.allclose(found, [[1.0, -1.0], [0.0, 0.0], [-1.5, 1.5]]), "each row minus its own mean"
    ### BEGIN HIDDEN TESTS
    draw = np.random.default_rng()
    table = draw.normal(size=(4, 7))
    expected = table - table.mean(axis=1, keepdims=True)
    assert np.allclose(centre(table.copy()), expected), "each row minus its own mean, for any table"
    ### END HIDDEN TESTS


# %% tags=["wrong"]
def centre(scores):  # one mean for all
    return scores - np.mean(scores)


# %% tags=["wrong"]
def centre(scores):  # means of the films
    return scores - np.mean(scores, axis=0)


# %% tags=["wrong"]
def centre(scores):  # in place
    scores -= scores.mean(axis=1, keepdims=True)
    return scores


# %% [markdown]
# From here on the course's own `centre` stands in:


# %%
def centre(scores):
    """Rows with mean 0."""
    table = pd.DataFrame(scores, dtype=float)
    return table.sub(table.mean(axis="columns"), axis="index").to_numpy()


# %% [markdown]
# ### Exercise 90.3 · Means that mean something
# 4 min · difficulty 2 of 3 · 3 points
#
# `answer`: the mean stars of every film with at least two ratings in `stars`, as a Series or a dict from film to mean.

# %% answer 90-3-answer
### BEGIN SOLUTION
answer = stars.groupby("film")["stars"].agg(["mean", "count"]).query("count >= 2")["mean"]
### END SOLUTION

# %% check 90-3-check 3
with check("90.3", points=3):
    found = dict(answer)
    assert "Heat" not in found, "Heat has a single rating: leave it out"
    assert "Titanic" in found, "two ratings are enough: Titanic belongs in"
    assert abs(found["Big"] - 2) > 1e-6, "that is the median; the mean of 2, 2 and 5 is asked for"
    assert sorted(found) == ["Alien", "Big", "Titanic"], "three films have two ratings or more"
    ### BEGIN HIDDEN TESTS
    for film in np.random.default_rng().permutation(sorted(found)).tolist():
        expected = stars.loc[stars["film"] == film, "stars"].mean()
        assert abs(float(found[film]) - expected) < 1e-6, "the sum of a film's stars over their number"
    ### END HIDDEN TESTS

# %% tags=["wrong"]
answer = stars.groupby("film")["stars"].mean()  # every film

# %% tags=["wrong"]
answer = stars.groupby("film")["stars"].agg(["mean", "count"]).query("count > 2")["mean"]  # three or more

# %% tags=["wrong"]
answer = stars[stars["film"] != "Heat"].groupby("film")["stars"].median()  # the median

# %% [markdown]
# ### Exercise 90.4 · The pickiest person
# 3 min · difficulty 2 of 3 · 2 points
#
# Write `pickiest(scores, names)`: the name of the person whose centred stars have the largest sum of squares. Use `centre`.


# %% answer 90-4-pickiest
def pickiest(scores, names):
    """Name of the person whose stars vary most.  scores (people, films), names: a list of people → one of them."""
    ### BEGIN SOLUTION
    return names[int(np.argmax(np.square(centre(scores)).sum(axis=1)))]
    ### END SOLUTION


# %% check 90-4-check 2
with check("90.4", points=2):
    found = pickiest([[5, 5, 4], [1, 5, 3], [3, 3, 3]], ["Mei", "Tom", "Ana"])
    assert found != 1, "a name is asked for, not its position"
    assert found != "Mei", "Mei likes everything; centre the stars before you square them"
    assert found != "Ana", "that is the person who varies least"
    assert found == "Tom", "Tom's centred stars are -2, 2 and 0"
    ### BEGIN HIDDEN TESTS
    draw = np.random.default_rng()
    table = draw.normal(size=(6, 5)) + draw.normal(size=(6, 1))
    names = [f"person {i}" for i in draw.permutation(1000)[:6]]
    expected = names[int(table.std(axis=1).argmax())]
    assert pickiest(table, list(names)) == expected, "the largest sum of squares around a person's own mean"
    ### END HIDDEN TESTS


# %% tags=["wrong"]
def pickiest(scores, names):  # not centred
    return names[int(np.argmax(np.square(scores).sum(axis=1)))]


# %% tags=["wrong"]
def pickiest(scores, names):  # the least picky
    return names[int(np.argmin(np.square(centre(scores)).sum(axis=1)))]


# %% tags=["wrong"]
def pickiest(scores, names):  # the position
    return int(np.argmax(np.square(centre(scores)).sum(axis=1)))


# %% [markdown]
# ### Exercise 90.5 · Draw films
# 5 min · difficulty 3 of 3 · 2 points
#
# Write `sample(weights, share, k, rng)`: the positions of `k` different films, drawn with numpy's generator `rng`. The chance
# of a film is your `mix` of its part of the weights and of 1 / n, by `share`. Any sequence may come back.


# %% answer 90-5-sample
def sample(weights, share, k, rng):
    """Positions of k different films.  weights (n,) ≥ 0; share of the weights, the rest uniform; rng: numpy Generator."""
    ### BEGIN SOLUTION
    total, n = sum(weights), len(weights)
    chances = np.array([mix(weight / total, 1 / n, share) for weight in weights], dtype=float)
    return rng.choice(n, size=k, replace=False, p=chances / chances.sum())
    ### END SOLUTION


# %% check 90-5-check 2
with check("90.5", points=2):
    first, again, other = (list(map(int, sample([1.0] * 30, 0.5, 10, np.random.default_rng(seed)))) for seed in (1, 1, 2))
    assert len(set(first)) == 10, "k different films: draw without putting back"
    assert first == again, "the same generator gives the same films: draw from rng, from nothing else"
    assert first != other, "another generator gives other films: draw from rng"
    seen = {int(list(sample([1.0, 0.0], 0.0, 1, np.random.default_rng(seed)))[0]) for seed in range(30)}
    assert seen == {0, 1}, "with a share of 0 every film has the same chance"
    ### BEGIN HIDDEN TESTS
    expected = int(np.random.default_rng().integers(8))
    weights = [float(i == expected) for i in range(8)]
    found = [int(list(sample(list(weights), 1.0, 1, np.random.default_rng()))[0]) for _ in range(5)]
    assert found == [expected] * 5, "with a share of 1 only the weights count"
    halves = [1.0] * 100 + [0.0] * 100
    found = [int(i) < 100 for _ in range(40) for i in sample(list(halves), 0.5, 20, np.random.default_rng())]
    assert 0.66 < sum(found) / len(found) < 0.84, "both parts add up to 1 before they are mixed: weights / sum, and 1 / n"
    ### END HIDDEN TESTS


# %% tags=["wrong"]
def sample(weights, share, k, rng):  # with putting back
    return rng.choice(len(weights), size=k)


# %% tags=["wrong"]
def sample(weights, share, k, rng):  # not from rng
    return np.random.permutation(len(weights))[:k]


# %% tags=["wrong"]
def sample(weights, share, k, rng):  # the largest weights
    return np.argsort(weights)[::-1][:k]


# %% text 90-6-why 3
# **Exercise 90.6.** Why would a shop ever draw with a share below 1?
#
# ### BEGIN SOLUTION
# What is never shown is never rated. One point each: unseen films, no data on them, the price of looking.
# ### END SOLUTION
'''
SHEET = re.sub(r"^# %% (answer|check|text) (\S+)(?: (\S+))?$", _tags, _TEXT, flags=re.MULTILINE)


@functools.cache
def master() -> masters.Master:
    """The sheet, parsed."""
    return masters.parse(SHEET, Path(f"{NAME}.py"))
