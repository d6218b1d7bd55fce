# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
# ---

# %% [markdown]
# # 2 · Evaluation
#
# **Question.** When is one recommender better than another?
#
# **We will** measure errors in stars, decisions (accuracy, precision, recall, F1, ROC) and ranked lists (HR, NDCG, MRR, MAP),
# by hand and for all users at once; see one model win by one yardstick and lose by the next; fall into the trap of sampled
# negatives; and put an interval around every difference before we believe it.
#
# **You need** lesson 1 (splits). CPU. **Time** 40 min reading, 45 min exercises.
#
# Honest news first: a model with a good ROC curve recommends worse than a plain list of popular films.

# %%
import ipywidgets as widgets
import numpy as np
import pandas as pd

from course_lib import plots
from course_lib.classroom import check
from course_lib.datasets import load_movielens
from course_lib.evaluation import (
    auc,
    average_precision,
    bootstrap,
    evaluate_ranking,
    hit_rate,
    hits,
    ndcg,
    reciprocal_rank,
    roc_curve,
)
from course_lib.evaluation.inputs import same_length
from course_lib.models import EASE, BiasBaseline, ItemKNN, Popularity
from course_lib.splitting import canonical_fold, leave_last_out, split_by_mask

ratings = load_movielens()
u1 = canonical_fold(ratings, 1)
print(f"{len(u1.train):,} ratings to learn from, {len(u1.test):,} to be judged on")

# %% [markdown]
# ## Errors in stars
#
# The simplest question to a model is *how many stars will this person give?* Let ŷ be the answer and y the truth. Two averages of
# the error y − ŷ are in use. The **mean absolute error** (MAE, 平均绝对误差) counts every half star the same. The **root mean
# squared error** (RMSE, 均方根误差) squares first, so one miss of three stars weighs as much as nine misses of one.
#
# **Before you run the cell:** two models miss by (1, 1, 1, 1) and by (0, 0, 0, 2). Which one has the lower MAE, which the lower
# RMSE?


# %%
def rmse(y, y_hat):
    """Root mean squared error: √(mean (y − ŷ)²)."""
    y, y_hat = same_length(y, y_hat, names=("y", "y_hat"))
    return float(np.sqrt(np.mean((y - y_hat) ** 2)))


def mae(y, y_hat):
    """Mean absolute error: mean |y − ŷ|."""
    y, y_hat = same_length(y, y_hat, names=("y", "y_hat"))
    return float(np.mean(np.abs(y - y_hat)))


truth = [4, 4, 4, 4]
for name, guess in {"even": [3, 3, 3, 3], "one big miss": [4, 4, 4, 2]}.items():
    print(f"{name:14s}MAE {mae(truth, guess):.2f}   RMSE {rmse(truth, guess):.2f}")

# %% [markdown]
# MAE prefers the model with one big miss, RMSE calls it a tie. Neither is right in itself: a person who was promised a 4 and
# suffers a 2 may not come back, and then the squared error is nearer to the damage.
#
# On real data we need a model. `BiasBaseline` predicts μ + b_u + b_i: the mean of all ratings, plus how generous this person is,
# plus how good this film is. It has no idea of taste.

# %%
bias = BiasBaseline().fit(u1)
y = u1.test.rating.to_numpy()
y_hat = bias.score(u1.test.user.to_numpy(), u1.test.item.to_numpy())
everywhere_the_mean = np.full(len(y), u1.train.rating.mean())
print(f"mean of all ratings  RMSE {rmse(y, everywhere_the_mean):.2f}  MAE {mae(y, everywhere_the_mean):.2f}")
print(f"bias baseline        RMSE {rmse(y, y_hat):.2f}  MAE {mae(y, y_hat):.2f}")
assert 0.945 < rmse(y, y_hat) < 0.965

# %% [markdown]
# Keep 0.95 in mind: lesson 4 spends all of its work on the next four hundredths of a star.

# %% [markdown]
# ## Decisions
#
# A shop does not show stars, it decides: show this film or not. Call a rating of 4 or more **liked** (喜欢), and let the model say
# yes when ŷ is above a threshold. Four things can happen: yes and liked (true positive, TP), yes and not liked (false positive,
# FP), no and liked (false negative, FN), no and not liked (true negative, TN). Every metric of this section is made of these four
# counts.

# %% [markdown]
# ### Exercise 2.1 · Precision, recall, F1
# 8 min · difficulty 1 of 3 · 2 points
#
# Write `decision_quality(liked, said_yes)`. Both are lists of 0 and 1 of the same length. Return three numbers:
# **precision** (精确率) TP / (TP + FP), **recall** (召回率) TP / (TP + FN), and **F1**, 2·TP / (2·TP + FP + FN). A fraction with a
# zero below counts as 0.
#
# Example: `decision_quality([1, 1, 0, 0], [1, 0, 1, 0])` is `(0.5, 0.5, 0.5)`.
#
# <details><summary>Hint 1</summary>
#
# Go through both lists in step and count three of the four cases; TN is not needed.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `tp = sum(a * b for a, b in zip(liked, said_yes))`, and `fp = sum(said_yes) - tp`. What is `fn`?
#
# </details>
# <details><summary>I pass some checks but not all</summary>
#
# What does your function return when the model never says yes? And which of FP and FN stands below precision?
#
# </details>


# %% nbgrader={"schema_version": 3, "grade_id": "02-1-decision", "solution": true, "grade": false, "locked": false, "task": false}
def decision_quality(liked, said_yes):
    """(precision, recall, F1) of yes-or-no decisions. liked, said_yes: (n,) of 0 and 1 → three floats in [0, 1]."""
    ### BEGIN SOLUTION
    tp = sum(int(a) * int(b) for a, b in zip(liked, said_yes, strict=True))
    fp, fn = sum(said_yes) - tp, sum(liked) - tp

    def share(part, whole):
        return part / whole if whole else 0.0

    return share(tp, tp + fp), share(tp, tp + fn), share(2 * tp, 2 * tp + fp + fn)
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "02-1-check", "points": 2, "solution": false, "grade": true, "locked": true, "task": false}
with check("2.1", points=2):
    p, r, f = decision_quality([1, 1, 0, 0, 1], [1, 0, 0, 0, 0])
    assert abs(p - 1) < 1e-6, "one yes, and it was liked: precision is 1 (recall is what is low here)"
    assert abs(r - 1 / 3) < 1e-6, "one of three liked films was found: recall is 1/3, not a share of all five rows"
    assert abs(f - 0.5) < 1e-6, (
        "F1 of precision 1 and recall 1/3 is 2·1 / (2·1 + 0 + 2) = 0.5: the harmonic mean, not the average"
    )
    assert tuple(decision_quality([1, 0], [0, 0])) == (0, 0, 0), (
        "a model that never says yes scores 0 three times, without an error"
    )
    assert tuple(decision_quality([0, 0], [0, 1])) == (0, 0, 0), (
        "with nothing to like, recall and precision are 0, without an error"
    )
    assert tuple(decision_quality([0, 0], [0, 0])) == (0, 0, 0), "nothing to find and nothing chosen: all three are 0"
    ### BEGIN HIDDEN TESTS
    a, b = (np.random.rand(2, 60) < 0.4).astype(int)
    tp, p, r, f = int(a @ b), *decision_quality(list(a), list(b))
    assert abs(p * b.sum() - tp) < 1e-4, "precision times the number of yeses must give the number of hits, on random lists too"
    assert abs(r * a.sum() - tp) < 1e-4, (
        "recall times the number of liked films must give the number of hits, on random lists too"
    )
    assert abs(f * (a.sum() + b.sum()) - 2 * tp) < 1e-4, "F1 is 2·TP / (liked + yeses), on random lists too"
    ### END HIDDEN TESTS


# %% tags=["wrong"]
def decision_quality(liked, said_yes):  # precision and recall swapped
    tp = sum(a * b for a, b in zip(liked, said_yes, strict=True))
    fp, fn = sum(said_yes) - tp, sum(liked) - tp
    return (tp / (tp + fn) if tp + fn else 0.0, tp / (tp + fp) if tp + fp else 0.0, 2 * tp / max(2 * tp + fp + fn, 1))


# %% tags=["wrong"]
def decision_quality(liked, said_yes):  # recall as a share of all rows
    tp = sum(a * b for a, b in zip(liked, said_yes, strict=True))
    fp, fn = sum(said_yes) - tp, sum(liked) - tp
    return (tp / (tp + fp) if tp + fp else 0.0, tp / len(liked), 2 * tp / max(2 * tp + fp + fn, 1))


# %% tags=["wrong"]
def decision_quality(liked, said_yes):  # arithmetic mean instead of harmonic
    tp = sum(a * b for a, b in zip(liked, said_yes, strict=True))
    precision = tp / sum(said_yes) if sum(said_yes) else 0.0
    recall = tp / sum(liked) if sum(liked) else 0.0
    return precision, recall, (precision + recall) / 2


# %% [markdown]
# The library has the three as functions of their own. Now the bias baseline decides, beside a rule without any model: *always
# yes*. **Guess first:** by how much will a fitted model beat it in F1?

# %%
from course_lib.evaluation import accuracy, f1, precision, recall  # noqa: E402

liked = y >= 4
decisions = {"always yes": np.ones(len(y)), "ŷ ≥ 3.5": y_hat >= 3.5, "ŷ ≥ 4.0": y_hat >= 4.0}
metrics = {"accuracy": accuracy, "precision": precision, "recall": recall, "F1": f1}
pd.DataFrame({name: {m: f(liked, said) for m, f in metrics.items()} for name, said in decisions.items()}).T.round(2)

# %% [markdown]
# By three hundredths. *Always yes* has an F1 of 0.72, since more than half of all ratings are 4 or 5: people choose films that
# they expect to like, and rate those. A figure such as "F1 of 0.72" means nothing until you know what *always yes* gets. Notice
# also how the threshold trades: at 4.0 the model is right five times in six when it says yes, and misses two liked films in three.
#
# ## All thresholds at once
#
# Slide the threshold from high to low and draw recall against the share of unliked films that slip through: the **ROC curve**
# (受试者工作特征曲线). The area under it, **AUC**, is the chance that a random liked rating scores above a random unliked one.

# %%
false_positive_rate, true_positive_rate, thresholds = roc_curve(liked, y_hat)
fig, ax = plots.figure()
ax.plot(false_positive_rate, true_positive_rate, label="bias baseline")
ax.plot([0, 1], [0, 1], "--", label="guessing")
at = np.argmin(abs(thresholds - 3.5))
ax.plot(false_positive_rate[at], true_positive_rate[at], "o", color="black", label="threshold 3.5")
ax.set(xlabel="share of unliked ratings called yes", ylabel="recall: share of likes called yes")
ax.legend()
plots.show(
    fig,
    alt=f"ROC curve of the bias baseline on fold u1. It bows well above the diagonal of guessing, with an area of "
    f"{auc(liked, y_hat):.2f}; a threshold of 3.5 stars sits near the middle of the bow.",
)
assert 0.77 < auc(liked, y_hat) < 0.79

# %% [markdown]
# Move the threshold yourself: watch precision and recall pull in opposite directions while the AUC, which knows no threshold, stays.


# %% tags=["nbval-ignore-output"]
def at_threshold(threshold=3.5):
    said_yes = y_hat >= threshold
    print(f"precision {precision(liked, said_yes):.2f}, recall {recall(liked, said_yes):.2f}, AUC {auc(liked, y_hat):.2f}")


widgets.interact(at_threshold, threshold=widgets.FloatSlider(value=3.5, min=2, max=4.75, step=0.25))

# %% [markdown]
# ## Ranked lists
#
# An area of 0.78 looks like a working recommender. But it was measured on films that the person *had chosen to rate*. A recommender
# must choose among all films, and shows ten. So hide each user's last liked film, rank every film that the user has not yet liked,
# and ask where the hidden one stands.
#
# Take a list of ten with hits at places 2 and 5, and a user with three relevant films. **Hit rate** (HR, 命中率) is 1, since
# there is a hit at all. **Reciprocal rank** (倒数排名) is 1/2. **Average precision** averages the precision at each relevant
# film: 1/2 at place 2, 2/5 at place 5, and 0 for the film that is not there. **NDCG** (归一化折损累计增益) gives place r a weight of
# 1 / log₂(r + 1) and divides by what the best possible list would get. Averaged over users, they are called HR, **MRR**, **MAP** and
# NDCG. An "@10" says that only the first ten places count; the MRR of our tables looks at the whole ranking.

# %%
shown = np.arange(100, 110)[None, :]  # one user's list of ten
found = hits(shown, [{101, 104, 7}])  # three relevant films, one of them not shown
print("hit rate", hit_rate(found)[0], "  reciprocal rank", reciprocal_rank(found)[0])
print("average precision", average_precision(found, 3)[0].round(3), "= (1/2 + 2/5 + 0) / 3")
print("NDCG", ndcg(found, 3)[0].round(3))

# %% [markdown]
# ### Exercise 2.2 · NDCG by hand
# 10 min · difficulty 2 of 3 · 3 points
#
# Write `ndcg_by_hand(places, n_relevant, k)`. `places` are the places of the hits, counted from 1, in any order, some perhaps
# beyond `k`; `n_relevant` is how many films the user would like in all (at least 1).
#
# NDCG@k = Σ over hits with r ≤ k of 1 / log₂(r + 1), divided by the same sum over the places 1 … min(k, n_relevant).
#
# Example: `ndcg_by_hand([1], 1, 10)` is 1.0, and `ndcg_by_hand([3], 1, 10)` is 0.5.
#
# <details><summary>Hint 1</summary>
#
# Write a small inner function for the sum over a list of places, and call it twice.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The best list puts the relevant films first: places `range(1, min(k, n_relevant) + 1)`.
#
# </details>
# <details><summary>I pass some checks but not all</summary>
#
# Do hits beyond place k still count in your sum? Does the perfect list have more places than k?
#
# </details>


# %% nbgrader={"schema_version": 3, "grade_id": "02-2-ndcg", "solution": true, "grade": false, "locked": false, "task": false}
def ndcg_by_hand(places, n_relevant, k):
    """NDCG@k of one list. places: places of the hits, from 1; n_relevant ≥ 1; k ≥ 1 → float in [0, 1]."""
    ### BEGIN SOLUTION
    gain = sum(1 / np.log2(r + 1) for r in places if r <= k)
    best = sum(1 / np.log2(r + 1) for r in range(1, min(k, n_relevant) + 1))
    return gain / best
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "02-2-check", "points": 3, "solution": false, "grade": true, "locked": true, "task": false}
with check("2.2", points=3):
    assert abs(ndcg_by_hand([1], 1, 10) - 1) < 1e-6, "the only relevant film in first place is a perfect list: log₂(1 + 1) = 1"
    assert abs(ndcg_by_hand([3], 1, 10) - 0.5) < 1e-6, "place 3 weighs 1 / log₂(3 + 1) = 0.5: places count from 1"
    assert abs(ndcg_by_hand([11], 1, 10)) < 1e-9, "a hit at place 11 is not in a list of ten"
    assert abs(ndcg_by_hand([1], 3, 10) - 1 / (1 + 1 / np.log2(3) + 0.5)) < 1e-6, (
        "two of three are missing: divide by the best list"
    )
    assert abs(ndcg_by_hand([1, 2], 50, 2) - 1) < 1e-6, "only two places, both hits: the best list has min(k, n) places, not 50"
    ### BEGIN HIDDEN TESTS
    row = np.random.rand(12) < 0.4
    n, k = int(row.sum()) + int(np.random.randint(1, 4)), int(np.random.randint(2, 13))
    expected = ndcg(row[None, :k], n)[0]
    value = ndcg_by_hand(list(np.flatnonzero(row) + 1), n, k)
    assert abs(value - expected) < 1e-6, "on a random list your value differs from the library's"
    ### END HIDDEN TESTS


# %% tags=["wrong"]
def ndcg_by_hand(places, n_relevant, k):  # counts places from 0 in the discount
    gain = sum(1 / np.log2(r + 2) for r in places if r <= k)
    return gain / sum(1 / np.log2(r + 1) for r in range(1, min(k, n_relevant) + 1))


# %% tags=["wrong"]
def ndcg_by_hand(places, n_relevant, k):  # forgets to cut at k
    gain = sum(1 / np.log2(r + 1) for r in places)
    return gain / sum(1 / np.log2(r + 1) for r in range(1, min(k, n_relevant) + 1))


# %% tags=["wrong"]
def ndcg_by_hand(places, n_relevant, k):  # perfect list longer than k
    gain = sum(1 / np.log2(r + 1) for r in places if r <= k)
    return gain / sum(1 / np.log2(r + 1) for r in range(1, n_relevant + 1))


# %% tags=["wrong"]
def ndcg_by_hand(places, n_relevant, k):  # DCG without the normalisation
    return sum(1 / np.log2(r + 1) for r in places if r <= k)


# %% [markdown]
# Now five models on the same task. `Popularity` has one order for everybody; `ItemKNN` and `EASE` come in lesson 3, and "EASE, recent"
# gives more weight to what a user liked last. These four learn from likes alone. The bias baseline, whose ROC curve you have just
# seen, needs the low stars too: it learns from every rating but the hidden ones. **Which one will be last?**

# %% tags=["nbval-ignore-output"]
split = leave_last_out(ratings, min_rating=4, seed=2026)
all_stars = split_by_mask(ratings, ratings.table.index.isin(split.test.index))
models = {
    "bias baseline": BiasBaseline().fit(all_stars),
    "popularity": Popularity().fit(split),
    "item kNN": ItemKNN(feedback="implicit").fit(split),
    "EASE": EASE().fit(split),
    "EASE, recent": EASE(half_life=3).fit(split),
}
reports = {name: evaluate_ranking(model, split) for name, model in models.items()}
full = pd.DataFrame({name: report.summary()["mean"] for name, report in reports.items()}).T
full.round(3)

# %% [markdown]
# The bias baseline puts the hidden film into the top ten for about three users in a hundred, less than half of what popularity
# reaches. It has one order for everybody, too, but by mean rating: *A Close Shave*, *Pather Panchali*, *Casablanca*, films that
# pleased the few who looked for them. How many will look for them, it never asks. Errors in stars, and areas measured on chosen
# films, say nothing about a list that must choose for itself.
# **Measure the task you have.**

# %%
assert full.loc["bias baseline", "NDCG@10"] < 0.02 < full.loc["popularity", "NDCG@10"]
assert 0.90 < full.loc["EASE, recent", "NDCG@10"] / 0.095 < 1.10

# %% [markdown]
# ## The trap: sampled negatives
#
# Ranking all films for all users was once thought expensive, and many papers rank the hidden film among 99 random others. The
# numbers that come out look splendid, and are numbers of another task.

# %%
sampled = pd.DataFrame(
    {name: evaluate_ranking(model, split, negatives=99, seed=1).summary()["mean"] for name, model in models.items()}
).T
fig, ax = plots.figure()
for name, marker in zip(models, "Pvos^", strict=True):
    ax.plot(full.loc[name, "HR@10"], sampled.loc[name, "HR@10"], marker, label=name, markersize=8)
ax.set(xlabel="HR@10, all films ranked", ylabel="HR@10 among 99 random films", xlim=(0, None), ylim=(0, None))
ax.legend()
plots.show(
    fig,
    alt="Scatter plot of five models, hit rate in the full ranking against hit rate among 99 random films. Sampling lifts popularity "
    f"from {full.loc['popularity', 'HR@10']:.2f} to {sampled.loc['popularity', 'HR@10']:.1f}, and puts EASE with and without "
    "recency at the same height, although the full ranking sets them clearly apart.",
)

# %% [markdown]
# Look at the two EASE models. The full ranking sees a gain from weighting recent likes; the sampled one sees none, because telling
# the hidden film from 99 random, mostly unknown films needs only a rough idea of the person. Sampling does not merely add noise: it
# asks an easier question, and on easier questions better models look alike (Krichene and Rendle 2020).

# %% [markdown]
# ### Exercise 2.3 · The place of a film
# 8 min · difficulty 2 of 3 · 2 points
#
# Write `place(scores, target, rivals)`: the place, from 1, that item `target` takes when it is ranked by `scores` against the items in
# `rivals`. A rival with the *same* score stands before it (be strict with ties, or a constant model wins). `target` may or may not
# appear in `rivals`; if it does, it is not its own rival.
#
# Example: `place([0.9, 0.5, 0.7], 1, [0, 2])` is 3.
#
# <details><summary>Hint 1</summary>
#
# Count the rivals that stand before the target, and add one.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `sum(scores[i] >= scores[target] for i in rivals if …) + 1`
#
# </details>
# <details><summary>I pass some checks but not all</summary>
#
# Do you look at all scores, or at the rivals only? What if all scores are equal?
#
# </details>


# %% nbgrader={"schema_version": 3, "grade_id": "02-3-place", "solution": true, "grade": false, "locked": false, "task": false}
def place(scores, target, rivals):
    """Place of `target` among `rivals`, from 1, ties against it. scores: (items,); target: index; rivals: indices → int."""
    ### BEGIN SOLUTION
    return 1 + sum(bool(scores[i] >= scores[target]) for i in rivals if i != target)
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "02-3-check", "points": 2, "solution": false, "grade": true, "locked": true, "task": false}
with check("2.3", points=2):
    assert place([0.9, 0.5, 0.7], 0, [1, 2]) == 1, "the best score takes place 1, not 0"
    assert place([0.9, 0.5, 0.7, 0.8], 1, [2]) == 2, "only the rivals count: item 0 and item 3 are not among them"
    assert place([0.5, 0.5, 0.5], 0, [1, 2]) == 3, "ties go against the target, so a constant model comes last"
    assert place([0.2, 0.5], 0, [0]) == 1, "the target is not its own rival"
    assert place([0.5, 0.5], 0, [0, 1]) == 2, "of these two only item 1 is a rival, and it ties: the target is second"
    ### BEGIN HIDDEN TESTS
    scores = np.random.randint(0, 6, 30)
    rivals = list(np.random.permutation(30)[:12])
    above = {i for i in rivals if i != 4 and scores[i] >= scores[4]}
    assert place(scores, 4, rivals) == 1 + len(above), "on random scores with ties the place is wrong"
    ### END HIDDEN TESTS


# %% tags=["wrong"]
def place(scores, target, rivals):  # counts from 0
    return sum(scores[i] >= scores[target] for i in rivals if i != target)


# %% tags=["wrong"]
def place(scores, target, rivals):  # ranks among all items
    return 1 + sum(s >= scores[target] for i, s in enumerate(scores) if i != target)


# %% tags=["wrong"]
def place(scores, target, rivals):  # ties in favour of the target
    return 1 + sum(scores[i] > scores[target] for i in rivals)


# %% tags=["wrong"]
def place(scores, target, rivals):  # the target is its own rival
    return 1 + sum(scores[i] >= scores[target] for i in rivals)


# %% [markdown]
# ## How sure are we?
#
# 942 users were tested (one of the 943 never gave 4 stars). Had another 942 come, the means would differ. The **bootstrap** (自助法) imitates that: draw users from our own
# table, with replacement, as many as there are, take the mean, repeat; the middle 95 % of those means is the **confidence interval**
# (置信区间).

# %% tags=["nbval-ignore-output"]
intervals = {name: bootstrap(report.per_user.ndcg, seed=1) for name, report in reports.items()}
for name, interval in intervals.items():
    print(f"{name:14s} NDCG@10 {interval.mean:.3f}, interval from {interval.low:.3f} to {interval.high:.3f}")
assert intervals["bias baseline"].high < intervals["popularity"].low
assert intervals["EASE"].high > intervals["EASE, recent"].low

# %% [markdown]
# The intervals of EASE and its recent version overlap. Are they therefore equal? No: both models met the *same* users, and a user
# who is hard for one is hard for the other. What we want to know is the mean of the **difference**, user by user.


# %%
def paired(a, b, *, level=0.95, repeats=2000, seed=0):
    """Interval of the mean of a − b over the same users."""
    a, b = same_length(a, b, names=("a", "b"))
    return bootstrap(a - b, level=level, repeats=repeats, seed=seed)


gain = paired(reports["EASE, recent"].per_user.ndcg, reports["EASE"].per_user.ndcg, seed=1)
print(f"recent − plain: {gain.mean:+.3f}, from {gain.low:+.2f} to {gain.high:+.2f}")
assert 0 < gain.low < gain.mean < gain.high < 0.05

# %% [markdown]
# The interval keeps off zero: on this split, recency helps.
#
# ### Exercise 2.4 · Find the fault
# 10 min · difficulty 3 of 3 · 3 points
#
# A colleague writes this, and finds that no two models ever differ:
#
# ```python
# def paired_means(a, b, repeats, rng):
#     return [np.mean(rng.choice(a, len(a))) - np.mean(rng.choice(b, len(b))) for _ in range(repeats)]
# ```
#
# Write `paired_means(a, b, repeats, rng)` without the fault: an array of `repeats` bootstrap means of a − b, each from `len(a)` users
# drawn with replacement by the generator `rng`.
#
# <details><summary>Hint 1</summary>
#
# In one repetition, is user 17 of `a` drawn as often as user 17 of `b`?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Draw *positions* once per repetition: `drawn = rng.integers(0, len(a), len(a))`, and use them for both.
#
# </details>
# <details><summary>I pass some checks but not all</summary>
#
# With replacement? Sampling without it gives every user once, and all means are equal.
#
# </details>


# %% nbgrader={"schema_version": 3, "grade_id": "02-4-paired", "solution": true, "grade": false, "locked": false, "task": false}
def paired_means(a, b, repeats, rng):
    """Bootstrap means of a − b over users. a, b: (users,); rng: numpy Generator → (repeats,)."""
    ### BEGIN SOLUTION
    difference = np.asarray(a, float) - np.asarray(b, float)
    n = len(difference)
    return np.array([difference[rng.integers(0, n, n)].mean() for _ in range(repeats)])
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "02-4-check", "points": 3, "solution": false, "grade": true, "locked": true, "task": false}
with check("2.4", points=3):
    a = np.arange(50.0)
    means = np.asarray(paired_means(a, a - 1, 40, np.random.default_rng(0)), float)
    assert means.shape == (40,), "one mean for each repetition, please"
    assert np.ptp(means) < 1e-9, (
        "a is better by exactly 1 for every user, so every repetition must say 1: draw the same users for both"
    )
    assert np.allclose(means, 1), "the sign or the size is off: a − b is 1 for every user"
    spread = np.std(np.asarray(paired_means(a, np.zeros(50), 2000, np.random.default_rng(1)), float))
    assert spread > 0, "all means are equal: draw with replacement, or no user is ever missing"
    assert 0.85 < spread / (a.std() / np.sqrt(50)) < 1.15, (
        "the spread must be near σ/√n: draw len(a) users, and take their mean"
    )
    coin = np.asarray(paired_means(np.array([0.0, 1.0]), np.zeros(2), 200, np.random.default_rng(2)), float)
    assert set(coin.round(6)) == {0, 0.5, 1}, "of two users two are drawn, with replacement: their mean is 0, 1/2 or 1"
    first, again, other = (np.asarray(paired_means(a, np.zeros(50), 5, np.random.default_rng(s)), float) for s in (3, 3, 4))
    assert np.array_equal(first, again), "the same rng gave other means: draw from rng and from nothing else"
    assert not np.array_equal(first, other), "another rng gave the same means: draw from rng"
    ### BEGIN HIDDEN TESTS
    last = paired_means(np.r_[np.zeros(9), 1.0], np.zeros(10), 400, np.random.default_rng())
    assert 0.07 < np.mean(np.asarray(last, float)) < 0.13, (
        "the last user is drawn too rarely or too often: every user has the same chance"
    )
    first = paired_means(np.r_[1.0, np.zeros(9)], np.zeros(10), 400, np.random.default_rng())
    assert 0.07 < np.mean(np.asarray(first, float)) < 0.13, (
        "the first user is drawn too rarely or too often: every user has the same chance"
    )
    ### END HIDDEN TESTS


# %% tags=["wrong"]
def paired_means(a, b, repeats, rng):  # separate draws, the colleague's version
    return [np.mean(rng.choice(a, len(a))) - np.mean(rng.choice(b, len(b))) for _ in range(repeats)]


# %% tags=["wrong"]
def paired_means(a, b, repeats, rng):  # without replacement
    return [np.mean(rng.permutation(np.asarray(a) - np.asarray(b))) for _ in range(repeats)]


# %% tags=["wrong"]
def paired_means(a, b, repeats, rng):  # b − a
    d = np.asarray(b, float) - np.asarray(a, float)
    return [rng.choice(d, len(d)).mean() for _ in range(repeats)]


# %% tags=["wrong"]
def paired_means(a, b, repeats, rng):  # too few users in each draw
    d = np.asarray(a, float) - np.asarray(b, float)
    return [rng.choice(d, 10).mean() for _ in range(repeats)]


# %% [markdown]
# ## Beyond accuracy
#
# A list can be accurate and dull. **Coverage** (覆盖率) is the share of the catalogue that anybody gets to see; **novelty** (新颖性) is the
# mean surprise −log₂(share of users who know the film), in bits. Feed a popular list back into next month's data, and the popular
# become more popular: **popularity bias** (流行度偏差).

# %% tags=["nbval-ignore-output"]
table = pd.DataFrame(
    {
        name: {"NDCG@10": r.per_user.ndcg.mean(), "coverage": r.coverage, "novelty (bits)": r.novelty}
        for name, r in reports.items()
    }
).T
assert table.coverage.idxmax() == table["NDCG@10"].idxmax() == "EASE, recent"
assert table["novelty (bits)"].idxmax() == table["NDCG@10"].idxmin() == "bias baseline"
table.round(3)

# %% [markdown]
# The most accurate model also shows eight times as much of the catalogue as the popularity list: here accuracy and variety do not
# compete. The bias baseline has the highest novelty of all, and the worst
# accuracy: surprise alone is no merit.

# %% [markdown]
# ## Recap
#
# - **Errors in stars:** RMSE punishes large misses; μ + b_u + b_i reaches 0.95 on fold u1.
# - **Decisions:** compare with *always yes* (F1 0.72) before you are pleased with an F1 of 0.75.
# - **Ranked lists:** a bias baseline has an AUC of 0.78 on chosen films, and an NDCG@10 below 0.02 when it must choose.
# - **Sampled negatives** answer an easier question and can hide a real difference.
# - **Intervals:** compare two models by the paired difference over the same users.
#
# ## Quiz
#
# **1.** Two models have equal MAE, and A has the higher RMSE. Then
#
# <details><summary>a) A is biased</summary>
#
# Not known: bias shows in the mean error, which neither metric reports.
#
# </details>
# <details><summary>b) A has some larger misses</summary>
#
# Yes. Squaring lifts large misses; the even ones must be smaller to keep the MAE.
#
# </details>
# <details><summary>c) A is worse for users</summary>
#
# Only if a large miss hurts more than several small ones. That is a decision about people, not about numbers.
#
# </details>
#
# **2.** A paper reports an F1 of 0.72 for predicting likes on MovieLens. This is
#
# <details><summary>a) good</summary>
#
# A number without its baseline is neither good nor bad.
#
# </details>
# <details><summary>b) poor</summary>
#
# The same mistake in the other direction.
#
# </details>
# <details><summary>c) what always saying yes gets</summary>
#
# Yes. More than half of all ratings are likes.
#
# </details>
#
# **3.** An AUC of 0.78 means
#
# <details><summary>a) 78 % of the decisions are right</summary>
#
# That is accuracy, which needs a threshold.
#
# </details>
# <details><summary>b) a random like scores above a random non-like in 78 % of pairs</summary>
#
# Yes, with ties counting half.
#
# </details>
# <details><summary>c) 78 % of the likes are found</summary>
#
# That is recall, which needs a threshold, too.
#
# </details>
#
# **4.** HR@10 is 0.65 among 99 negatives. In the full ranking it is
#
# <details><summary>a) the same</summary>
#
# Only if none of the other 1,500 films ever scores higher.
#
# </details>
# <details><summary>b) higher</summary>
#
# Impossible: more rivals can only push the target down.
#
# </details>
# <details><summary>c) lower, by an amount that depends on the model</summary>
#
# Yes. That is why sampled scores cannot be converted.
#
# </details>
#
# **5.** The intervals of two models overlap. What now?
#
# <details><summary>a) They are equal</summary>
#
# Overlap of separate intervals does not speak about the difference over the same users.
#
# </details>
# <details><summary>b) Look at the paired difference</summary>
#
# Yes. What is hard for one model is mostly hard for the other, and the difference forgets it.
#
# </details>
# <details><summary>c) Print more decimals</summary>
#
# Digits beyond the interval carry no information.
#
# </details>
#
# **6.** Every user has one relevant film. MRR is then equal to
#
# <details><summary>a) MAP over the full list</summary>
#
# Yes: with one relevant film, average precision is 1 over its place.
#
# </details>
# <details><summary>b) NDCG</summary>
#
# No: NDCG discounts by a logarithm, so place 3 weighs 1/2 and not 1/3.
#
# </details>
# <details><summary>c) the hit rate</summary>
#
# No: the hit rate ignores the place inside the list.
#
# </details>
#
# ## In the article
#
# > It answers the question how to evaluate a recommender with accuracy, recall, F1 and the ROC curve.
#
# **Verdict: holds with conditions.** The four say how well *given* films are told apart. On the task that the article is about, choosing from a
# catalogue, the bias baseline (AUC 0.78 on chosen films) has an NDCG@10 below 0.02, under the popularity list's 0.04. Ranking metrics
# over the whole catalogue, with intervals, must stand beside them.
#
# ## Further reading
#
# - Herlocker, Konstan, Terveen, Riedl (2004), *Evaluating collaborative filtering recommender systems*, ACM TOIS 22(1).
# - Järvelin, Kekäläinen (2002), *Cumulated gain-based evaluation of IR techniques*, ACM TOIS 20(4).
# - Krichene, Rendle (2020), *On sampled metrics for item recommendation*, KDD.
# - Efron, Tibshirani (1993), *An Introduction to the Bootstrap*.
#
# ## Words
#
# | English | 中文 | in one line |
# |---|---|---|
# | RMSE, MAE | 均方根误差, 平均绝对误差 | average miss in stars, with and without squaring |
# | precision, recall | 精确率, 召回率 | right among the chosen; found among the right |
# | ROC curve, AUC | ROC 曲线, 曲线下面积 | all thresholds at once; chance of a right order |
# | hit rate | 命中率 | share of users with a hit in the list |
# | NDCG | 归一化折损累计增益 | hits weighted by place, relative to the best list |
# | sampled negatives | 负采样评估 | ranking against a few random items: another task |
# | bootstrap | 自助法 | imitate new users by drawing from the old ones |
# | coverage, novelty | 覆盖率, 新颖性 | how much is shown; how surprising it is |
# | popularity bias | 流行度偏差 | the well-known become better known |
#
# ## Next
#
# [3 · Collaborative against content-based](03_collaborative_vs_content.ipynb): now that we can tell better from worse, what should
# we trust: similar people, or similar items?
