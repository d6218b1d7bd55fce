"""Everyday notebooks of the grading corpus: what learners do besides answering, and the accidents that they have."""

from grading_cases import RIGHT, Case, written

HABITS = """
#: changes_a_lesson_table: the learner's copy of it is the learner's own
#= 90.3
stars["many"] = stars.groupby("film")["stars"].transform("size") > 1
stars.drop(stars.index[~stars["many"]], inplace=True)
answer = stars.groupby("film")["stars"].mean()

#: lesson_names_reused: after they have served
#= extra 90.4
stars, check, table = None, "checked", 3

#: changes_other_arguments: only 90.2 asks that its argument be left alone
#= 90.4
def pickiest(scores, names):
    for row in scores:
        mean = sum(row) / len(row)
        for i in range(len(row)):
            row[i] -= mean
    sizes = [sum(star**2 for star in row) for row in scores]
    while len(names) > 1:
        worst = sizes.index(min(sizes))
        del sizes[worst], names[worst]
    return names.pop()
#= 90.5
def sample(weights, share, k, rng):
    total, n = sum(weights), len(weights)
    for i in range(n):
        weights[i] = share * weights[i] / total + (1 - share) / n
    return rng.choice(n, k, replace=False, p=weights)

#: prints_much: five thousand lines while it works
#= 90.2
def centre(scores):
    for i in range(5000):
        print("step", i, "of 5000:", "-" * 40)
    return scores - scores.mean(axis=1, keepdims=True)

#: shows_much: a table two hundred times
#= extra 90.2
for _ in range(200):
    display(stars)

#: warns_much: ten thousand warnings
#= 90.2
import warnings
def centre(scores):
    for i in range(10_000):
        warnings.warn(f"number {i}")
    return scores - scores.mean(axis=1, keepdims=True)

#: draws_a_figure: on the way to the answer
#= 90.2
import matplotlib.pyplot as plt
def centre(scores):
    plt.plot(scores)
    plt.show()
    return scores - scores.mean(axis=1, keepdims=True)

#: takes_its_time: a second in all
#= 90.2
import time
def centre(scores):
    time.sleep(0.5)
    return scores - scores.mean(axis=1, keepdims=True)

#: saves_a_file: in its own folder
#= 90.2
def centre(scores):
    np.save("scores.npy", scores)
    scores = np.load("scores.npy")
    return scores - scores.mean(axis=1, keepdims=True)

#: uses_threads: four of them
#= 90.2
from concurrent.futures import ThreadPoolExecutor
def centre(scores):
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda row: row - row.mean(), scores))

#: stops_after_the_answer: the name is there all the same
#= 90.2
def centre(scores):
    return scores - scores.mean(axis=1, keepdims=True)
centre(stars)

#: leaves_after_the_answer: in a notebook sys.exit is an error like any other
#= 90.2
import sys
def centre(scores):
    return scores - scores.mean(axis=1, keepdims=True)
sys.exit("done")

#: interrupted_after_the_answer: so is KeyboardInterrupt
#= 90.2
def centre(scores):
    return scores - scores.mean(axis=1, keepdims=True)
raise KeyboardInterrupt

#: own_cell_fails: no answer needs it
#= extra 90.1
1 / 0
#= extra 90.4
undefined_name + 1
"""
ACCIDENTS = """
#: syntax_error loses 90.4: one bracket is missing
#= 90.4
def pickiest(scores, names):
    return names[int(np.argmax(np.std(scores, axis=1))]

#: prints_in_place_of_return loses 90.2: the function returns None
#= 90.2
def centre(scores):
    print(scores - scores.mean(axis=1, keepdims=True))

#: too_few_parameters loses 90.4: it cannot be called as the task says
#= 90.4
def pickiest(scores):
    return "Tom"

#: misspelt loses 90.2: the function has another name
#= 90.2
def center(scores):
    return scores - scores.mean(axis=1, keepdims=True)

#: not_a_number loses 90.2: every entry is NaN
#= 90.2
def centre(scores):
    return np.full_like(scores, np.nan)

#: in_place loses 90.2: the argument changes
#= 90.2
def centre(scores):
    scores -= scores.mean(axis=1, keepdims=True)
    return scores

#: in_place_and_copied loses 90.2: the argument changes, whatever is returned
#= 90.2
def centre(scores):
    scores[:] = scores - scores.mean(axis=1, keepdims=True)
    return scores.copy()

#: value_is_a_function loses 90.3: a table was asked for
#= 90.3
def answer():
    return stars.groupby("film")["stars"].mean().drop("Heat")

#: value_is_missing loses 90.3: the name was deleted again
#= 90.3
answer = 1
del answer

#: depends_on_a_failure loses 90.1,90.5: 90.5 calls the learner's own mix
#= 90.1
def mix(a, b, share):
    return share * a + (1 - share) * c

#: table_of_the_lesson_destroyed: by a cell of one's own, which nobody grades
#= extra 90.3
stars = stars.head(0)

#: endless_recursion loses 90.2: Python stops it
#= 90.2
def centre(scores):
    return centre(scores)
"""


def cases() -> list[Case]:
    """Right answers amid other things, then those that lose a point."""
    return [*written(HABITS, RIGHT, default="90.2"), *written(ACCIDENTS, RIGHT, default="90.2")]
