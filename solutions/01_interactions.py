# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
# ---

# %% [markdown]
# # 1 · The interactions
#
# **Question.** What do the data look like, and how can I fool myself with them?
#
# **We will** turn raw rows into indices and tensors, look at the interaction matrix (sparse, long-tailed, of high dimension,
# cold at its edges), split it in four ways, meet ties in time, and build a leak that makes a poor model look like a record;
# then repair it.
#
# **You need** lesson 0. CPU. **Time** 35 min reading, 45 min exercises.
#
# Honest news first: at the end the best "model" is still an average. What you gain is an eye for results that are too good.

# %%
import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch
from scipy import sparse

from course_lib import plots
from course_lib.classroom import check
from course_lib.datasets import load_movielens
from course_lib.evaluation import rmse
from course_lib.splitting import cold_item_split, leave_last_out, split_by_mask

ratings = load_movielens()
ratings.table[["user_id", "item_id", "rating", "timestamp"]].head(3)

# %% [markdown]
# ## From raw rows to tensors
#
# One row is one **interaction** (交互): user 196 gave film 242 three stars, at second 881,250,949 since 1970. That is all there
# is. No text, no picture, no reason.
#
# Ids are labels, not numbers: another shop's look like `B00006HAXW`, and there are gaps. A model wants positions 0, 1, 2, …
# because a position picks a row in a table of vectors. So every recommender starts with a dictionary from ids to **indices**
# (索引).

# %% [markdown]
# ### Exercise 1.1 · Ids to indices
# 8 min · difficulty 1 of 3 · 2 points
#
# Write `to_indices(ids)`. It returns two things: a list (or array) with one index per id, and the vocabulary, the sorted list
# of distinct ids, so that `vocabulary[index]` gives the id back. For `["b", "a", "b"]`: `[1, 0, 1]` and `["a", "b"]`.
#
# <details><summary>Hint 1</summary>
#
# First the vocabulary: a set has no repeats, `sorted` gives it the same order on every run.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `position = {id: i for i, id in enumerate(vocabulary)}`, then look each id up. (`np.unique` can do both at once.)
#
# </details>
# <details><summary>I pass some checks but not all</summary>
#
# `id - 1` or `id - min(ids)` leaves gaps wherever an id is missing, and does not work for text.
#
# </details>


# %% nbgrader={"schema_version": 3, "grade_id": "01-1-indices", "solution": true, "grade": false, "locked": false, "task": false}
def to_indices(ids):
    """Positions 0 … n−1 in the sorted list of distinct ids, and that list.  (rows,) → (rows,), (n,)."""
    ### BEGIN SOLUTION
    vocabulary = sorted(set(ids))
    position = {label: i for i, label in enumerate(vocabulary)}
    return [position[label] for label in ids], vocabulary
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "01-1-check", "points": 2, "solution": false, "grade": true, "locked": true, "task": false}
with check("1.1", points=2):
    answer = to_indices([7, 3, 7, 9])
    assert len(answer) == 2, (
        "two things come back, `return index, vocabulary`: the indices alone cannot be turned back into ids"
    )
    index, vocabulary = answer
    index = [int(i) for i in index]
    assert not isinstance(vocabulary, dict), "the vocabulary leads from a position to its id: vocabulary[0] is the smallest id"
    assert len(list(vocabulary)) == 3, "7 occurs twice, but the vocabulary lists each id once"
    assert list(vocabulary) == [3, 7, 9], "the vocabulary is sorted, so that it is the same on every run"
    assert len(index) == 4, "one index per row: repeats stay in the list of indices"
    assert min(index) == 0, "indices start at 0, because a table's first row does"
    assert max(index) == 2, "three ids need the positions 0, 1, 2 without gaps"
    assert index == [1, 0, 1, 2], "vocabulary[index] must give the ids back: 7, 3, 7, 9"
    assert [int(i) for i in to_indices(["b", "a", "b"])[0]] == [1, 0, 1], "ids may be text, and must then work the same way"
    ### BEGIN HIDDEN TESTS
    labels = np.random.default_rng().integers(-50, 50, 30).tolist()
    index, vocabulary = to_indices(list(labels))
    index = [int(i) for i in index]
    assert [list(vocabulary)[i] for i in index] == labels, f"vocabulary[index] does not give back {labels}"
    assert sorted(set(index)) == list(range(len(set(labels)))), f"gaps in the indices of {labels}"
    ### END HIDDEN TESTS


# %% tags=["wrong"]
def to_indices(ids):  # shifts by the smallest id: leaves gaps
    return [label - min(ids) for label in ids], sorted(set(ids))


# %% tags=["wrong"]
def to_indices(ids):  # order of first appearance
    vocabulary = list(dict.fromkeys(ids))
    return [vocabulary.index(label) for label in ids], vocabulary


# %% tags=["wrong"]
def to_indices(ids):  # counts from 1
    vocabulary = sorted(set(ids))
    return [vocabulary.index(label) + 1 for label in ids], vocabulary


# %% tags=["wrong"]
def to_indices(ids):  # forgets to return the vocabulary
    vocabulary = sorted(set(ids))
    return [vocabulary.index(label) for label in ids]


# %% tags=["wrong"]
def to_indices(ids):  # keeps repeats in the vocabulary
    vocabulary = sorted(ids)
    return [vocabulary.index(label) for label in ids], vocabulary


# %% [markdown]
# The library has done this for us: the columns `user` and `item` are indices. From there to tensors is one line per column.
# Note the types: positions are whole numbers (`int64`), ratings are what a loss wants (`float32`).

# %%
user = torch.tensor(ratings.table.user.to_numpy())
item = torch.tensor(ratings.table.item.to_numpy())
stars = torch.tensor(ratings.table.rating.to_numpy(), dtype=torch.float32)
user[:3], item[:3], stars[:3]

# %% [markdown]
# ## The interaction matrix
#
# Put users in rows, films in columns, and each rating where its row and column cross: the **interaction matrix** (交互矩阵) X.
# Most of it is empty. **Guess**: how many of 100 cells hold a rating?


# %%
def interaction_matrix(user, item, value, shape):
    """X_ui = value of the row with user u and item i, 0 (not stored) where there is none.  (rows,) × 3 → csr `shape`."""
    return sparse.csr_matrix((value, (user, item)), shape=shape)


X = interaction_matrix(user.numpy(), item.numpy(), stars.numpy(), (ratings.n_users, ratings.n_items))
print(f"{X.shape[0]} × {X.shape[1]} = {X.shape[0] * X.shape[1]:,} cells, {X.nnz:,} ratings: {X.nnz / np.prod(X.shape):.1%}")

# %% [markdown]
# Six of a hundred; in a shop with millions of goods it is less than one of ten thousand. An empty cell is not a zero: it does
# not say *dislikes*, it says *unknown*. Storing only what is there (csr, "compressed sparse rows", 压缩稀疏行) saves memory too:

# %%
dense = X.shape[0] * X.shape[1] * 4
stored = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
print(f"dense {dense / 1e6:.1f} MB, csr {stored / 1e6:.1f} MB")

# %% [markdown]
# A picture of it. We sort the busiest users to the top and the most rated films to the left, and show how full each block of
# cells is, on a logarithmic scale.

# %%
filled = (X > 0).toarray()
filled = filled[np.argsort(-filled.sum(1), kind="stable")][:, np.argsort(-filled.sum(0), kind="stable")]
blocks = filled[:920, :1680].reshape(46, 20, 84, 20).mean(axis=(1, 3))  # 20 × 20 cells each
fig, ax = plots.figure()
image = ax.imshow(np.log10(blocks + 1e-3), cmap="viridis", aspect="auto", extent=(0, 1680, 920, 0))
fig.colorbar(image, label="log10 of the share of cells with a rating")
ax.set(xlabel="films, most rated first", ylabel="users, busiest first")
ax.grid(False)
plots.show(
    fig,
    alt=f"Heat map of the sorted interaction matrix. In the top left corner {blocks[0, 0]:.0%} of the cells hold a rating, in "
    f"the bottom right corner {blocks[-1, -1]:.0%}; {np.mean(blocks < 0.01):.0%} of all blocks are less than one per cent full.",
)

# %% [markdown]
# ## The long tail
#
# The picture's left edge is a handful of films. How strongly do the ratings pile up there? Sort the films by their number of
# ratings, take the top tenth: what share of all ratings do they hold?

# %% [markdown]
# ### Exercise 1.2 · The share of the head
# 8 min · difficulty 1 of 3 · 2 points
#
# Write `head_share(counts, share)`: the part of all ratings that belongs to the most rated `share` of the films. `counts` has
# one number per film, in no particular order. With ten films, `share=0.2` means the two most rated. Round the number of films
# to the nearest whole one (`round`).
#
# <details><summary>Hint 1</summary>
#
# Sort from high to low first. The file's order says nothing about popularity.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `n = round(share * len(counts))`, then the sum of the first n sorted counts divided by the sum of all.
#
# </details>
# <details><summary>I pass some checks but not all</summary>
#
# Python sorts upwards; and the answer is a share of the *ratings*, between 0 and 1, not a number of films.
#
# </details>


# %% nbgrader={"schema_version": 3, "grade_id": "01-2-head", "solution": true, "grade": false, "locked": false, "task": false}
def head_share(counts, share):
    """Share of all ratings held by the most rated `share` of the items.  counts (items,), share in 0 … 1 → 0 … 1."""
    ### BEGIN SOLUTION
    ordered = sorted(counts, reverse=True)
    return sum(ordered[: round(share * len(ordered))]) / sum(ordered)
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "01-2-check", "points": 2, "solution": false, "grade": true, "locked": true, "task": false}
with check("1.2", points=2):
    assert head_share([1, 1, 8], 1 / 3) <= 1, "a share lies between 0 and 1: divide by the sum of all counts"
    assert abs(head_share([8, 1, 1], 1 / 3) - 1 / 3) > 1e-6, "that is a share of the films; the question is about their ratings"
    assert abs(head_share([8, 1, 1], 1 / 3) - 0.1) > 1e-6, "this took the least rated film: sort from high to low"
    assert abs(head_share([1, 8, 1], 1 / 3) - 0.8) < 1e-6, "of 10 ratings the top film has 8, wherever it stands in the list"
    assert abs(head_share([4, 3, 2, 1], 0.5) - 0.7) < 1e-6, "the top two of four films hold 7 of 10 ratings"
    assert abs(head_share([4, 3, 2, 1], 0.45) - 0.7) < 1e-6, "0.45 · 4 = 1.8 films: round to the nearest whole number, 2"
    assert abs(head_share([4, 3, 2, 1], 0.55) - 0.7) < 1e-6, "0.55 · 4 = 2.2 films: to the nearest whole number, 2, not up"
    assert head_share([5, 5], 1.0) == 1, "all films hold all ratings"
    assert head_share([5, 5], 0.0) == 0, "no film holds no rating"
    ### BEGIN HIDDEN TESTS
    counts = np.random.default_rng().integers(1, 100, 40)
    for n in range(0, 41, 4):
        truth = np.sort(counts)[::-1][:n].sum() / counts.sum()
        assert abs(head_share(counts.tolist(), n / 40) - truth) < 1e-6, f"top {n} of {counts.tolist()}: expected {truth:.4f}"
    ### END HIDDEN TESTS


# %% tags=["wrong"]
def head_share(counts, share):  # sorts upwards
    ordered = sorted(counts)
    return sum(ordered[: round(share * len(ordered))]) / sum(ordered)


# %% tags=["wrong"]
def head_share(counts, share):  # does not sort
    return sum(counts[: round(share * len(counts))]) / sum(counts)


# %% tags=["wrong"]
def head_share(counts, share):  # share of the films
    return round(share * len(counts)) / len(counts)


# %% tags=["wrong"]
def head_share(counts, share):  # a number of ratings, not a share
    return sum(sorted(counts, reverse=True)[: round(share * len(counts))])


# %% tags=["wrong"]
def head_share(counts, share):  # rounds down
    ordered = sorted(counts, reverse=True)
    return sum(ordered[: int(share * len(ordered))]) / sum(ordered)


# %% [markdown]
# And now on the real counts. The curve below is called a Lorenz curve; equal films would lie on the diagonal.

# %%
counts = np.bincount(ratings.table.item, minlength=ratings.n_items)
held = np.concatenate([[0], np.sort(counts)[::-1].cumsum() / counts.sum()])
tenth = held[round(0.1 * ratings.n_items)]
fig, ax = plots.figure()
ax.plot(np.linspace(0, 1, len(held)), held, label="MovieLens-100K")
ax.plot([0, 1], [0, 1], "--", color=plots.PALETTE[1], label="all films equal")
ax.set(xlabel="share of the films, most rated first", ylabel="share of the ratings")
ax.legend()
plots.show(
    fig,
    alt=f"Curve of the share of ratings against the share of films, far above the diagonal: the top tenth of the films holds "
    f"{tenth:.0%} of the ratings, the top half {held[ratings.n_items // 2]:.0%}.",
)

# %% [markdown]
# Move the slider: how few films make half of all ratings?

# %% tags=["nbval-ignore-output"]
panel = widgets.interact(
    lambda share: (
        f"the top {share:.0%} of the films ({round(share * ratings.n_items)}) hold "
        f"{held[round(share * ratings.n_items)]:.0%} of the ratings"
    ),
    share=widgets.FloatSlider(0.1, min=0.0, max=1.0, step=0.01, description="head"),
)
# %% [markdown]
# This is the **long tail** (长尾). About 13 % of the films are enough for half of all ratings. Whoever recommends only the head
# will be right surprisingly often, and useful rarely: lesson 2 makes that precise.
#
# ## Cold start
#
# At the other end of the tail, **cold start** (冷启动): films (and users) about which almost nothing is known.

# %%
few = pd.Series({f"at most {n} ratings": int((counts <= n).sum()) for n in [1, 4, 9, 19]}, name="films")
few.to_frame().assign(share=(few / ratings.n_items).round(3))

# %% [markdown]
# One film in twelve has a single rating; 44 % have fewer than twenty. Every user has at least twenty, but only because whoever
# assembled this file threw the others out. *Real* users start at zero. A data set's filters are part of its results.
#
# ## The curse of dimensionality, measured
#
# Each user is a point in a space of 1,682 dimensions. Methods that look for the *nearest* users need near to differ from far.
# For random points that difference dies out as dimensions are added: the **curse of dimensionality** (维度灾难). Let us measure
# it: distance to the nearest of 200 points, divided by the distance to the farthest. Near 1 means that "nearest" has lost its
# meaning.


# %%
def contrast(points):
    """Mean over points of nearest / farthest distance to the other points.  (n, dimensions) → 0 … 1."""
    squares = (points**2).sum(1)
    distance = np.sqrt(np.maximum(squares[:, None] + squares - 2 * points @ points.T, 0))
    others = ~np.eye(len(points), dtype=bool)
    near = np.where(others, distance, np.inf).min(axis=1)
    return float(np.mean(near / np.where(others, distance, 0).max(axis=1)))


dimensions = [2, 5, 10, 30, 100, 300, 1000, 1682]
rng = np.random.default_rng(2026)
random_points = [contrast(rng.random((200, d))) for d in dimensions]

# %% [markdown]
# The same with 200 real users, described by which of *d* randomly drawn films they rated. **Predict**: higher, lower, the same?
# And for comparison, users who are *as busy* but have no taste: each one's films are replaced by as many random ones.

# %%
seen = (X > 0).toarray().astype(float)[rng.choice(ratings.n_users, 200, replace=False)]
drawn = rng.permuted(seen, axis=1)  # within each row: as many films as before, but which ones is chance
columns = [rng.choice(ratings.n_items, d, replace=False) for d in dimensions[3:]]
users_seen, users_drawn = ([contrast(who[:, films]) for films in columns] for who in (seen, drawn))
fig, ax = plots.figure()
ax.plot(dimensions, random_points, marker="o", label="random points")
ax.plot(dimensions[3:], users_seen, "--", marker="s", color=plots.PALETTE[1], label="real users")
ax.plot(dimensions[3:], users_drawn, ":", marker="^", color=plots.PALETTE[2], label="as many films, at random")
ax.set(xscale="log", ylim=(0, 1), xlabel="dimensions (films)", ylabel="nearest / farthest distance")
ax.legend()
plots.show(
    fig,
    alt=f"Line chart of nearest over farthest distance against the number of dimensions. For random points it rises from "
    f"{random_points[0]:.1f} to {random_points[-1]:.1f}; for real users it reaches {users_seen[-1]:.2f}, and for users with as "
    f"many films drawn at random hardly more, {users_drawn[-1]:.2f}.",
)

# %% [markdown]
# The curse is real for random points and mild for people. Is that taste? No: without any taste, the third line is almost the
# same. It is activity. The squared distance of two rows counts the films that one of the two rated and the other did not. One
# user has 20 films, another 600; whoever rated much is far from everybody, and two who rated little are near. Take activity
# away (shuffle who rated each film, so that all are about equally busy), and the ratio rises above 0.8. So it says little about
# how alike tastes are, and "nearest" may only mean "quiet". And people's *evidence* is thin:

# %%
together = (X > 0).astype(float) @ (X > 0).astype(float).T
pairs = together.toarray()[np.triu_indices(ratings.n_users, 1)]
print(f"two users have a median of {np.median(pairs):.0f} films in common; {np.mean(pairs < 5):.0%} of the pairs fewer than 5")

# %%
assert random_points[-1] > 0.9 and 0.3 < users_seen[-1] < 0.45, "random points lose contrast; real users keep it"
assert 0 < users_drawn[-1] - users_seen[-1] < 0.08, "with as many random films it is nearly the same: activity, not taste"
assert contrast(rng.permuted(seen, axis=0)) > 0.8, "each film keeps its number of raters, users become alike: contrast is gone"

# %% [markdown]
# ## Four ways to split
#
# To know how good a model is, we hide some ratings, the **test set** (测试集), and train on the rest. *Which* rows we hide decides
# what question we ask:
#
# | split | hides | asks |
# |---|---|---|
# | random | any rows | can you fill holes in the matrix? |
# | temporal | the last tenth of all time | would it have worked next month? |
# | leave last out | each user's last film | what will she like next? |
# | cold items | all ratings of some films | what about films nobody has rated? |

# A split is a mask: for every row, is it tested? For the random one, give each row a random place in a queue, and test the
# first fifth of the queue. This is the library's code, with a check of its arguments:


# %%
def random_split(ratings, *, test=0.2, valid=0.0, seed):
    """Each row goes to test or valid by chance: round(test·n) and round(valid·n) rows, the rest is train."""
    if not (0 < test < 1 and 0 <= valid < 1 and test + valid < 1):
        raise ValueError(f"test={test} and valid={valid} are shares of the rows: 0 < test, 0 ≤ valid, together below 1")
    n = len(ratings.table)
    place = np.random.default_rng(seed).permutation(n)
    n_test, n_valid = round(test * n), round(valid * n)
    in_valid = (place >= n_test) & (place < n_test + n_valid)
    return split_by_mask(ratings, place < n_test, valid=in_valid, name=f"random, seed {seed}")


# %% [markdown]
# The temporal one cuts at two moments in time, and never cuts a second in two:


# %%
def temporal_split(ratings, *, train=0.8, valid=0.1):
    """Cut the whole table at two moments: train before the first, valid between them, test from the second on.

    The moments are those of the rows at the shares `train` and `train + valid`; rows of one second stay together, so the
    shares are met only about.
    """
    if not (0 < train < 1 and 0 <= valid < 1 and train + valid < 1 - 1e-12):
        raise ValueError(f"train={train} and valid={valid} are shares of the rows: 0 < train, 0 ≤ valid, together below 1")
    time = ratings.table["timestamp"].to_numpy()
    ordered, n = np.sort(time), len(time)
    first, second = (ordered[min(round(share * n), n - 1)] for share in (train, train + valid))
    in_valid = (time >= first) & (time < second)
    return split_by_mask(ratings, time >= second, valid=in_valid, name=f"temporal, {train:.0%} and {valid:.0%}")


# %% [markdown]
# The other two come from the library. What does each of the four leave for a model to know?

# %%
splits = {
    "random": random_split(ratings, test=0.2, seed=2026),
    "temporal": temporal_split(ratings, train=0.8, valid=0.1),
    "leave last out": leave_last_out(ratings, seed=2026),
    "cold items": cold_item_split(ratings, share=0.1, seed=2026),
}


# %%
def describe(split):
    """How many test rows there are, and how many of their users and items the model can know."""
    known = pd.concat([split.train, split.valid])
    users, items = split.test.user.drop_duplicates(), split.test.item.drop_duplicates()
    return {
        "test rows": len(split.test),
        "test users": len(users),
        "known test users": int(users.isin(known.user).sum()),
        "test items": len(items),
        "known test items": int(items.isin(known.item).sum()),
    }


table = pd.DataFrame({name: describe(split) for name, split in splits.items()}).T
table

# %% [markdown]
# Look at the temporal row: here a user comes, rates for an evening, and goes. Only about half of the users in the last tenth
# were seen before, so the most honest split leaves too few to rank models with. For that we will use *leave last out*.

# %%
assert table.loc["temporal", "known test users"] < 0.6 * table.loc["temporal", "test users"]
assert table.loc["cold items", "known test items"] == 0
assert (splits["leave last out"].test.groupby("user").size() == 1).all()

# %% [markdown]
# ## Ties in time
#
# "Each user's last film" assumes that there is one. Is there? Ratings were typed in page by page, and saved together.

# %%
same_second = ratings.table.duplicated(["user", "timestamp"], keep=False)
newest = ratings.table.timestamp == ratings.table.groupby("user").timestamp.transform("max")
tied_users = newest.groupby(ratings.table.user).sum() > 1
print(f"{same_second.mean():.1%} of the ratings share user and second with another one")
print(f"{tied_users.mean():.1%} of the users have more than one rating in their last second")

# %% [markdown]
# Three quarters. So "last" is often a draw between several films, and *something* breaks the tie: the file's order, or the
# item's number. Item numbers follow the catalogue, so breaking ties by number tells a sequence model something that no user
# ever did. The fair way is a coin, with a seed so that everybody gets the same coin.

# %% [markdown]
# ### Exercise 1.3 · The last one, fairly
# 15 min · difficulty 2 of 3 · 4 points
#
# Write `last_rows(user, timestamp, rng)`: for each user, in ascending order, the position of one row with that user's highest
# timestamp. If several rows share it, each must have the same chance; `rng` is a numpy generator, and the same seed must give
# the same answer. For users `[0, 1, 0]` at times `[5, 9, 7]` it returns `[2, 1]`.
#
# <details><summary>Hint 1</summary>
#
# For one user: find the rows with her highest time, then `rng.choice` among them.
#
# </details>
# <details><summary>Hint 2</summary>
#
# A loop over `np.unique(user)` with `np.flatnonzero((user == u) & (timestamp == timestamp[user == u].max()))` is fast enough.
#
# </details>
# <details><summary>I pass some checks but not all</summary>
#
# `argmax` always takes the first of equals, a stable sort the last. A new generator inside the function ignores the one
# you were given.
#
# </details>


# %% nbgrader={"schema_version": 3, "grade_id": "01-3-last", "solution": true, "grade": false, "locked": false, "task": false}
def last_rows(user, timestamp, rng):
    """Position of each user's newest row, ties drawn with `rng`.  (rows,), (rows,) → (users,), users ascending."""
    ### BEGIN SOLUTION
    rows = []
    for u in np.unique(user):
        mine = np.flatnonzero(user == u)
        rows.append(int(rng.choice(mine[timestamp[mine] == timestamp[mine].max()])))
    return rows
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "01-3-check", "points": 4, "solution": false, "grade": true, "locked": true, "task": false}
with check("1.3", points=4):
    found = list(last_rows(np.array([0, 1, 0]), np.array([5, 9, 7]), np.random.default_rng(0)))
    assert len(found) == 2, "two users, so two positions: one for each user"
    assert found != [0, 1], "row 0 is user 0's first rating; the last one has the highest timestamp"
    assert found == [2, 1], "user 0 has her highest time, 7, in row 2; user 1 has row 1; users in ascending order"
    tied = np.zeros(4, dtype=int), np.array([3, 8, 8, 8])
    draws = [int(list(last_rows(*tied, np.random.default_rng(seed)))[0]) for seed in range(300)]
    assert 0 not in draws, "row 0 is older than the three tied rows: it must never be drawn"
    assert len(set(draws)) > 1, "rows 1, 2, 3 share the last second, but always the same one is taken: break the tie with rng"
    assert min(draws.count(row) for row in [1, 2, 3]) > 60, (
        "all tied rows need the same chance: one of 1, 2, 3 is drawn too rarely"
    )
    again = [int(list(last_rows(*tied, np.random.default_rng(seed)))[0]) for seed in range(300)]
    assert draws == again, "the same seed must give the same rows: use the rng you are given, and no other"
    ### BEGIN HIDDEN TESTS
    draw = np.random.default_rng()
    who, when = draw.integers(0, 6, 40), draw.integers(0, 5, 40)
    rows = np.array(list(last_rows(who.copy(), when.copy(), np.random.default_rng())))
    assert who[rows].tolist() == np.unique(who).tolist(), f"one row per user, users ascending, for users {who.tolist()}"
    highest = [when[who == u].max() for u in np.unique(who)]
    assert when[rows].tolist() == highest, f"a row that is not the newest: users {who.tolist()}, times {when.tolist()}"
    ### END HIDDEN TESTS


# %% tags=["wrong"]
def last_rows(user, timestamp, rng):  # the first of equals, always
    return [int(np.flatnonzero(user == u)[timestamp[user == u].argmax()]) for u in np.unique(user)]


# %% tags=["wrong"]
def last_rows(user, timestamp, rng):  # the oldest row
    return [int(np.flatnonzero(user == u)[timestamp[user == u].argmin()]) for u in np.unique(user)]


# %% tags=["wrong"]
def last_rows(user, timestamp, rng):  # a coin of its own
    own = np.random.default_rng()
    return [int(own.choice(np.flatnonzero((user == u) & (timestamp == timestamp[user == u].max())))) for u in np.unique(user)]


# %% tags=["wrong"]
def last_rows(user, timestamp, rng):  # any row of the user
    return [
        int(rng.choice(np.flatnonzero((user == u) & (timestamp >= np.median(timestamp[user == u]) - 5))))
        for u in np.unique(user)
    ]


# %% tags=["wrong"]
def last_rows(user, timestamp, rng):  # only the newest row of all
    return [int(np.argmax(timestamp))]


# %% tags=["wrong"]
def last_rows(user, timestamp, rng):  # an unfair coin: first or last of the tied rows
    tied = [np.flatnonzero((user == u) & (timestamp == timestamp[user == u].max())) for u in np.unique(user)]
    return [int(rows[0] if rng.random() < 0.5 else rows[-1]) for rows in tied]


# %% [markdown]
# The library's `leave_last_out` does the same, with one random key per row instead of a loop.
#
# ## A leak that sets a record
#
# Now let us fool ourselves. The idea sounds good: how a person rates *this kind of film* should say a lot. So we describe
# each rating by one feature, the mean stars of this user for films with exactly these genres, and predict just that. No
# training at all.

# %%
kind = ratings.items.genres.map(", ".join).rename("kind")
train, test = (part.join(kind, on="item") for part in (splits["random"].train, splits["random"].test))
rows = pd.concat([train, test], ignore_index=True)
feature = rows.groupby(["user", "kind"]).rating.transform("mean")[-len(test) :].to_numpy()
leaked = rmse(test.rating, feature)
print(f"RMSE {leaked:.2f} stars")

# %% [markdown]
# RMSE (lesson 2) is the typical distance between prediction and rating. Published models of great cleverness reach about 0.88
# to 0.91 on data like these. Ours has no parameter, and gets far below. **Stop here**, and find the fault before you read on.
#
# The mean was taken over *all* rows, also the hidden ones. If a user rated one film of a kind, its "mean" *is* the rating to be
# predicted. The answer was in the question; this is a **leak** (数据泄漏). How small are these groups?

# %%
size = rows.groupby(["user", "kind"]).rating.transform("size")[-len(test) :].to_numpy()
by_size = pd.DataFrame({"rows": size.clip(max=5), "error": (test.rating - feature) ** 2})
by_size.groupby("rows").error.agg(["size", lambda e: round(np.sqrt(e.mean()), 2)]).set_axis(["test rows", "RMSE"], axis=1)

# %% [markdown]
# Almost a third of the test rows are alone in their group, and have an error of exactly zero: nobody predicts a stranger's
# opinion exactly. **An error of zero is a symptom**, never a success (the last line is "5 or more").

# %% [markdown]
# ### Exercise 1.4 · Repair the leak
# 12 min · difficulty 3 of 3 · 4 points
#
# Write `group_means(train, test, keys)`. Both are frames with a column `rating` and the columns named in `keys`. For each
# test row, in order, return the mean rating of the *train* rows with the same keys; where train has none, the mean of all
# train ratings. The test ratings must not matter at all. Leave both frames as they are.
#
# <details><summary>Hint 1</summary>
#
# `train.groupby(keys).rating.mean()` is a small table; a test row looks its value up in it.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `test[keys].join(means, on=keys).rating.fillna(train.rating.mean())`.
#
# </details>
# <details><summary>I pass some checks but not all</summary>
#
# An unseen group is missing (`NaN`) after the lookup. A `merge` may change the order of rows. The fallback is a mean over train
# only.
#
# </details>


# %% nbgrader={"schema_version": 3, "grade_id": "01-4-means", "solution": true, "grade": false, "locked": false, "task": false}
def group_means(train, test, keys):
    """Mean train rating of each test row's group, the overall train mean for a group unseen in train.  → (test rows,)."""
    ### BEGIN SOLUTION
    means = train.groupby(keys).rating.mean()
    return test[keys].join(means, on=keys).rating.fillna(train.rating.mean()).to_numpy()
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "01-4-check", "points": 4, "solution": false, "grade": true, "locked": true, "task": false}
with check("1.4", points=4):
    past = pd.DataFrame({"user": [0, 0, 1, 1], "kind": ["a", "a", "a", "b"], "rating": [5.0, 4.0, 1.0, 4.0]})
    future = pd.DataFrame({"user": [1, 0, 2], "kind": ["b", "a", "a"], "rating": [5.0, 1.0, 1.0]}, index=[7, 3, 5])
    untouched = past.copy(), future.copy()
    guess = np.asarray(group_means(past, future, ["user", "kind"]), dtype=float)
    assert guess.shape == (3,), "one prediction for each of the three test rows"
    assert np.isfinite(guess).all(), "user 2 has no train row: fill the missing mean, do not leave NaN"
    other = np.asarray(group_means(past, future.assign(rating=3.0), ["user", "kind"]), dtype=float)
    assert np.allclose(guess, other), "the predictions change with the test ratings: that is the leak"
    assert guess[2] != 0, "an unseen group is not a group that gives zero stars: use the mean of all train ratings"
    assert not np.allclose(guess[:2], [4.5, 4.0]), "the order of the test rows was lost"
    assert np.allclose(guess[:2], [4.0, 4.5]), "train says 4.0 for (1, b), and (5 + 4) / 2 for (0, a)"
    assert np.isclose(guess[2], 3.5), "for the unseen group: the mean of the four train ratings, 3.5"
    alone = np.asarray(group_means(past, future, ["kind"]), dtype=float)
    assert np.allclose(alone, [4.0, 10 / 3, 10 / 3]), "with keys=['kind'] only the kind decides: a has 5, 4 and 1 in train"
    assert past.equals(untouched[0]) and future.equals(untouched[1]), "leave the two frames as you found them"
    ### BEGIN HIDDEN TESTS
    draw = np.random.default_rng()
    past, future = (pd.DataFrame(draw.integers(1, 6, (n, 3)), columns=["user", "kind", "rating"]) for n in (30, 12))
    expected = []
    for row in future.itertuples():
        mine = past[(past.user == row.user) & (past.kind == row.kind)].rating
        expected.append(mine.mean() if len(mine) else past.rating.mean())
    found = np.asarray(group_means(past, future, ["user", "kind"]), dtype=float)
    assert np.allclose(found, expected), "on random rows the means differ from those of a plain loop over the test rows"
    ### END HIDDEN TESTS


# %% tags=["wrong"]
def group_means(train, test, keys):  # the leak itself: means over all rows
    means = pd.concat([train, test]).groupby(keys).rating.mean()
    return test[keys].join(means, on=keys).rating.to_numpy()


# %% tags=["wrong"]
def group_means(train, test, keys):  # leaves unseen groups missing
    return test[keys].join(train.groupby(keys).rating.mean(), on=keys).rating.to_numpy()


# %% tags=["wrong"]
def group_means(train, test, keys):  # zero stars for unseen groups
    return test[keys].join(train.groupby(keys).rating.mean(), on=keys).rating.fillna(0).to_numpy()


# %% tags=["wrong"]
def group_means(train, test, keys):  # loses the order of the test rows
    means = train.groupby(keys).rating.mean().reset_index()
    return test[keys].merge(means, on=keys, how="left").sort_values(keys).rating.fillna(train.rating.mean()).to_numpy()


# %% tags=["wrong"]
def group_means(train, test, keys):  # falls back to the mean of the group means
    means = train.groupby(keys).rating.mean()
    return test[keys].join(means, on=keys).rating.fillna(means.mean()).to_numpy()


# %% [markdown]
# The repaired figure, beside two averages that anyone can compute. The cell
# brings its own version, so that the notebook runs on even if the exercise waits.


# %%
def error_of(keys):
    """RMSE on the random split of the honest mean per `keys`: train rows only, train mean where there is none."""
    means = train.groupby(keys).rating.mean()
    return rmse(test.rating, test[keys].join(means, on=keys).rating.fillna(train.rating.mean()))


honest = {"user and kind": error_of(["user", "kind"]), "user": error_of(["user"]), "film": error_of(["item"])}
pd.Series({"user and kind, leaked": leaked} | honest, name="RMSE").round(2).to_frame()

# %% [markdown]
# Repaired, the record-breaker is the *worst*: the order was upside down. A person's mean over one or two films is mostly
# noise, and the leak rewarded exactly that noise.

# %%
assert leaked < 0.8 and honest["user and kind"] > 1.05 > honest["film"], "leaked first, repaired last"
fig, ax = plots.figure()
names = ["user and kind,\nleaked", "user and kind,\nrepaired", "user", "film"]
ax.bar(names, [leaked, *honest.values()], color=[plots.PALETTE[1], *[plots.PALETTE[0]] * 3])
ax.axhline(0.88, ls="--", color="0.3", label="about the best published")
ax.set(ylabel="RMSE (stars), lower is better", ylim=(0, 1.4))
ax.legend()
plots.show(
    fig,
    alt=f"Bar chart of RMSE. The leaked feature reaches {leaked:.2f}, below the line of published results at 0.88; repaired it "
    f"has {honest['user and kind']:.2f}, worse than the mean per user ({honest['user']:.2f}) and per film ({honest['film']:.2f}).",
)

# %% [markdown]
# ### Exercise 1.5 · Which split?
# 5 min · difficulty 2 of 3 · 2 points
#
# A shop's team reports: "On a random split our model has 8 % less error, so next month's visitors will get better
# suggestions." In three or four sentences: name two reasons why the conclusion does not follow, and the split (or splits)
# that you would ask for. No check cell can read prose: the 2 points are given by a teacher. On your own, write first, then
# unfold the sample answer below.
#
# <details><summary>Hint 1</summary>
#
# When, relative to the test rows, were the train rows written? Who are next month's visitors?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A random split lets a model learn from a user's later ratings, and every user in its test set is known.
#
# </details>

# %% [markdown] nbgrader={"schema_version": 3, "grade_id": "01-5-explain", "points": 2, "solution": true, "grade": true, "locked": false, "task": false}
# ### BEGIN SOLUTION
# One point for each sound reason, at most two: (1) with a random split, train holds ratings that were given *after* the test
# rows, and next month's are not available today; (2) next month brings new users and new goods, which a random split hardly
# contains; (3) less error on ratings is not a better list, the measure differs from the claim; (4) without an interval, 8 %
# of one split may be chance. A full answer asks for a temporal split, and for a cold-item split if new goods matter.
# ### END SOLUTION

# %% [markdown]
# <details><summary>Compare with</summary>
#
# "A random split lets the model learn from ratings that were given after the test rows; next month's ratings do not exist yet.
# Next month also brings visitors and goods without any history, and a random split has hardly any. I would ask for a temporal
# split, and for a cold-item split if new goods matter, each with an interval. And fewer stars of error are not yet better
# suggestions: that needs a measure of lists." One point for each sound reason, at most two.
#
# </details>

# %% [markdown]
# ## Recap
#
# - Ids become positions in a sorted vocabulary; positions and stars become tensors.
# - The matrix is 6.3 % full, a tenth of the films holds 43 % of the ratings, 44 % of the films have fewer than twenty.
# - Random points lose all contrast in 1,682 dimensions; real users keep theirs, but a typical pair shares ten films (median).
# - Four splits ask four questions; the temporal one knows only about half of its users.
# - Three quarters of the ratings are tied in time: draw, with a seed.
# - One mean over all rows turned the worst of three averages into a "record".
#
# ## Quiz
#
# **1.** An empty cell of the interaction matrix means
#
# <details><summary>a) zero stars</summary>
#
# No: the scale starts at one star, and most people never met most films.
#
# </details>
# <details><summary>b) unknown</summary>
#
# Yes. What to make of it is a decision of the model.
#
# </details>
# <details><summary>c) not interested</summary>
#
# Sometimes, but a new film is unknown for another reason.
#
# </details>
#
# **2.** Why should the vocabulary of ids be sorted?
#
# <details><summary>a) So that the same data give the same indices on every run</summary>
#
# Yes. A saved model is a table of rows; if indices moved, its vectors would belong to other films.
#
# </details>
# <details><summary>b) Because similar films have similar ids</summary>
#
# No, and a model that uses that has found a leak.
#
# </details>
# <details><summary>c) Because tensors must be sorted</summary>
#
# No. Tensors take any order.
#
# </details>
#
# **3.** A film with one rating is in the test set of a random split. What does the model know about it?
#
# <details><summary>a) Its rating</summary>
#
# Only if there is a leak: its single rating is hidden.
#
# </details>
# <details><summary>b) Nothing from interactions</summary>
#
# Yes. Even a random split has cold films; 141 films have one rating only.
#
# </details>
# <details><summary>c) As much as about others</summary>
#
# No. That is what cold start means.
#
# </details>
#
# **4.** Ties in time are broken by item number. What may go wrong?
#
# <details><summary>a) Nothing, any order will do</summary>
#
# No. An order that repeats in train and test can be learned.
#
# </details>
# <details><summary>b) A sequence model learns the order of the catalogue</summary>
#
# Yes, and looks good at guessing "the next film" for a reason that no user supplied.
#
# </details>
# <details><summary>c) Users are mixed up</summary>
#
# No. Each user's rows stay hers.
#
# </details>
#
# **5.** A feature brings the test error to exactly zero for a third of the test rows. First thought?
#
# <details><summary>a) A strong feature</summary>
#
# People do not even agree with themselves a week later. No feature is that strong.
#
# </details>
# <details><summary>b) The test answer is part of the feature</summary>
#
# Yes. Look at how the feature was computed for exactly those rows.
#
# </details>
# <details><summary>c) The test set is too small</summary>
#
# A small test set is noisy, but noise does not make zeros.
#
# </details>
#
# ## In the article
#
# Section 1.1 says that traditional recommenders suffer from the curse of dimensionality and from cold start.
#
# **Verdict: holds with conditions.** Cold start: yes, 44 % of the films have fewer than twenty ratings, and a cold-item split
# leaves nothing to learn from interactions. The curse: for random points the nearest/farthest ratio reaches 0.9 at 1,682
# dimensions, for real users it stays near 0.4, mainly because users differ so much in how many films they rated. What hurts
# neighbours in practice is the thin overlap. That large models cure either is a claim of its own, which lessons 5 and 10, to
# come, will test.
#
# ## Further reading
#
# - F. M. Harper and J. A. Konstan (2015), *The MovieLens Datasets: History and Context*, ACM TiiS 5(4).
# - K. Beyer, J. Goldstein, R. Ramakrishnan, U. Shaft (1999), *When Is "Nearest Neighbor" Meaningful?*, ICDT.
# - S. Kaufman, S. Rosset, C. Perlich, O. Stitelman (2012), *Leakage in Data Mining*, ACM TKDD 6(4).
# - Y. Ji, A. Sun, J. Zhang, C. Li (2023), *A Critical Study on Data Leakage in Recommender System Offline Evaluation*, ACM
#   TOIS 41(3).
#
# ## Words
#
# | English | 中文 | in one line |
# |---|---|---|
# | interaction | 交互 | one user did something with one item, at one time |
# | interaction matrix | 交互矩阵 | users × items, mostly empty |
# | sparsity | 稀疏性 | the share of cells that hold nothing |
# | long tail | 长尾 | the many items with few ratings each |
# | cold start | 冷启动 | recommending for, or of, what has no history |
# | curse of dimensionality | 维度灾难 | with many dimensions, near and far become alike |
# | data leak | 数据泄漏 | the answer, or the future, is part of what the model was given |
#
# ## Next
#
# [2 · Evaluation](02_evaluation.ipynb): RMSE says how far off we are. Is that what a list of ten films should be judged by?
