# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
# ---

# %% [markdown]
# # 3 · Collaborative against content-based
#
# **Question.** Should I trust similar people or similar items?
#
# **We will** compute neighbours by hand on a table of four people, and learn to distrust similarity that rests on little evidence;
# describe films by TF-IDF and build a taste profile from them; solve the linear model EASE in closed form; send both kinds against
# films that many have rated and films that nobody has; and draw the cold-start curve, which says how many ratings it takes until
# people tell you more than descriptions.
#
# **You need** lessons 1 and 2 (splits, RMSE, NDCG, intervals) and a little linear algebra. CPU. **Time** 40 min reading, 40 min
# exercises.
#
# The answer first: neither wins. On films with a hundred ratings people are the better guide, on films with fewer than thirty the
# description is, and on new films the best model uses both.

# %%
import ipywidgets as widgets
import numpy as np
import pandas as pd
from scipy import linalg, sparse

from course_lib import plots
from course_lib.classroom import check
from course_lib.datasets import load_movielens
from course_lib.evaluation import evaluate_ranking, evaluate_ratings, hits, ndcg, paired, top_k
from course_lib.models import ALS, EASE, BiasBaseline, ContentBased, ItemKNN, Popularity, UserKNN, item_features
from course_lib.models.neighbours import similarity
from course_lib.splitting import canonical_fold, cold_item_split, leave_last_out, split_by_mask

ratings = load_movielens()
titles = ratings.items.title
u1 = canonical_fold(ratings, 1)
print(f"{ratings.n_users} people, {ratings.n_items} films")

# %% [markdown]
# ## Neighbours by hand
#
# **Collaborative filtering** (协同过滤) looks at who rated what, and never at what a film is about. Here are four people and five
# films. Will Ana like *Toy Story*? **Before you run the cell**, decide whose opinion you would ask.

# %%
gap = np.nan
stars = pd.DataFrame(
    [[5, 4, gap, 1, gap], [4, 5, 2, gap, 1], [1, gap, 5, 4, 4], [gap, 2, 4, 5, gap]],
    index=["Ana", "Bo", "Cai", "Dee"],
    columns=["Star Wars", "Alien", "Toy Story", "Fargo", "Casablanca"],
)
deviations = stars.sub(stars.mean(axis=1), axis=0)
deviations.round(1)

# %% [markdown]
# Subtracting each person's mean turns stars into *better or worse than usual for her*. Two people are similar if their deviations
# point the same way on the films that both have rated: the **cosine** (余弦相似度) over the common films,
#
# $$s_{uv} = \frac{\sum_i d_{ui} d_{vi}}{\sqrt{\sum_i d_{ui}^2 \sum_i d_{vi}^2}}.$$

# %%
known = sparse.csr_matrix(deviations.fillna(0))
by_user = similarity(known.T.tocsr(), kind="pearson")
pd.DataFrame(by_user, index=stars.index, columns=stars.index).round(2)

# %% [markdown]
# (The diagonal is set to 0: nobody is her own neighbour. The library calls this cosine of deviations *pearson*.) Bo is Ana's kind of
# person and dislikes *Toy Story*; Cai and Dee are her opposites and like it better than usual. So probably not. **User kNN**
# (基于用户的近邻) asks the similar people about this film. **Item kNN** (基于物品的近邻) turns the table on its side: it compares columns, and
# asks what Ana thought of similar films. The same function does both.

# %%
by_item = similarity(known, kind="pearson")
pd.DataFrame(by_item, index=stars.columns, columns=stars.columns).round(2)

# %% [markdown]
# Look at the table of films: two pairs have a similarity of exactly 1 or −1. Those rest on *one* common rater, and the cosine of
# two single numbers is always ±1. Thin evidence gives the most extreme similarities, so a list of nearest neighbours fills up with
# accidents. **Shrinkage** (收缩) multiplies by $n / (n + \lambda)$, where $n$ counts the common raters: with $\lambda = 100$ one
# common rater keeps a hundredth of the similarity, and three hundred keep three quarters.
#
# ### Exercise 3.1 · Similarity that knows its evidence
# 8 min · difficulty 1 of 3 · 2 points
#
# Write `shrunk_similarity(a, b, shrinkage)` for two lists of deviations, `nan` where there is no rating: the cosine over the common
# places, times n / (n + shrinkage). With nothing in common, or only zeros, it is 0.
#
# Example: `shrunk_similarity([1, nan], [2, 5], 1)` is 0.5: a cosine of 1, and one common rating.
#
# <details><summary>Hint 1</summary>
#
# Make a boolean array of the places where neither is `nan`, and forget all others, in the roots too.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `a, b = np.asarray(a, float), np.asarray(b, float)`, then `both = ~np.isnan(a) & ~np.isnan(b)` and `x, y = a[both], b[both]`.
# `both.sum()` is n.
#
# </details>
# <details><summary>I pass some checks but not all</summary>
#
# Do your roots contain numbers from places that only one of the two has? Is n the number of common places, or of all?
#
# </details>


# %% nbgrader={"schema_version": 3, "grade_id": "03-1-similarity", "solution": true, "grade": false, "locked": false, "task": false}
def shrunk_similarity(a, b, shrinkage):
    """Cosine over the common places times n / (n + shrinkage). a, b: (n,) deviations with nan; shrinkage ≥ 0 → float."""
    ### BEGIN SOLUTION
    a, b = np.asarray(a, float), np.asarray(b, float)
    both = ~np.isnan(a) & ~np.isnan(b)
    x, y = a[both], b[both]
    scale = np.sqrt((x @ x) * (y @ y))
    return x @ y / scale * both.sum() / (both.sum() + shrinkage) if scale > 0 else 0.0
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "03-1-check", "points": 2, "solution": false, "grade": true, "locked": true, "task": false}
with check("3.1", points=2):
    nan = np.nan
    assert abs(shrunk_similarity([1, 2], [2, 4], 0) - 1) < 1e-6, "equal directions without shrinkage have similarity 1"
    assert abs(shrunk_similarity([1, 0, nan], [1, 0, 9], 0) - 1) < 1e-6, (
        "a place that only one of the two has must not count, not in the root below either"
    )
    assert abs(shrunk_similarity([1, nan, nan], [2, 5, nan], 1) - 0.5) < 1e-6, (
        "one common rating and shrinkage 1 keep 1 / (1 + 1): n counts the common places only"
    )
    assert abs(shrunk_similarity([1, 2, 3], [1, 2, 3], 1) - 0.75) < 1e-6, (
        "three common ratings and shrinkage 1 keep 3 / (3 + 1), not 1 / (1 + 1) and not all"
    )
    assert abs(shrunk_similarity([1, 0], [1, 0], 1) - 2 / 3) < 1e-6, (
        "a deviation of 0 is a rating, too: two common ones keep 2 / (2 + 1)"
    )
    assert abs(shrunk_similarity([1, 2], [-1, -2], 0) + 1) < 1e-6, "opposite tastes have similarity -1: keep the sign"
    assert shrunk_similarity([1, nan], [nan, 1], 2) == 0, "nothing in common: similarity 0, without a division by zero"
    assert shrunk_similarity([0, 0], [1, 2], 2) == 0, "someone without any deviation is similar to nobody: 0"
    ### BEGIN HIDDEN TESTS
    a, b = np.random.randn(2, 40) * 0.1
    a[:9], b[-7:] = nan, nan
    x, y = a[9:33], b[9:33]
    expected = np.sum(x * y) / np.sqrt(np.sum(x**2)) / np.sqrt(np.sum(y**2)) * 24 / 29
    assert abs(shrunk_similarity(list(a), list(b), 5) - expected) < 1e-6, "on random deviations with gaps the value is wrong"
    ### END HIDDEN TESTS


# %% tags=["wrong"]
def shrunk_similarity(a, b, shrinkage):  # norms over all of a person's ratings
    a, b = np.asarray(a, float), np.asarray(b, float)
    n = (~np.isnan(a) & ~np.isnan(b)).sum()
    return np.nansum(a * b) / np.sqrt(np.nansum(a**2) * np.nansum(b**2)) * n / (n + shrinkage)


# %% tags=["wrong"]
def shrunk_similarity(a, b, shrinkage):  # n is the length of the lists
    a, b = np.asarray(a, float), np.asarray(b, float)
    both = ~np.isnan(a) & ~np.isnan(b)
    x, y = a[both], b[both]
    return x @ y / np.sqrt((x @ x) * (y @ y)) * len(a) / (len(a) + shrinkage)


# %% tags=["wrong"]
def shrunk_similarity(a, b, shrinkage):  # the same factor for everybody
    a, b = np.asarray(a, float), np.asarray(b, float)
    both = ~np.isnan(a) & ~np.isnan(b)
    x, y = a[both], b[both]
    return x @ y / np.sqrt((x @ x) * (y @ y)) / (1 + shrinkage)


# %% tags=["wrong"]
def shrunk_similarity(a, b, shrinkage):  # no answer for an empty overlap
    a, b = np.asarray(a, float), np.asarray(b, float)
    both = ~np.isnan(a) & ~np.isnan(b)
    if not both.any():
        return 1.0
    x, y = a[both], b[both]
    return x @ y / np.sqrt((x @ x) * (y @ y)) * both.sum() / (both.sum() + shrinkage)


# %% [markdown]
# On the real table the effect is drastic. The deviations are now the **residuals** (残差) of lesson 2's bias baseline: each rating minus
# μ + b_u + b_i. Move λ from 0 upwards, and watch what stands next to *Star Wars*.

# %% tags=["nbval-ignore-output"]
star_wars = int(np.flatnonzero(titles == "Star Wars")[0])
residuals = BiasBaseline().fit(u1).residuals(u1)


def nearest(shrinkage=10):
    row = similarity(residuals, kind="pearson", shrinkage=shrinkage)[star_wars]
    best = np.argsort(-row, kind="stable")[:5]
    return pd.DataFrame({"film": titles[best].to_numpy(), "similarity": row[best].round(2)})


slider = widgets.IntSlider(value=10, min=0, max=200, step=10, continuous_update=False)
widgets.interact(nearest, shrinkage=slider)
for value in (0, 100):
    print(f"λ = {value:3d}:", " · ".join(nearest(value).film[:3]))
exact = similarity(residuals, kind="pearson")[star_wars] > 1 - 1e-6
raters = np.bincount(u1.train.item, minlength=ratings.n_items)[exact]
print(f"similarity 1 without shrinkage: {exact.sum()} films; their median number of ratings: {np.median(raters):.0f}")
assert "Empire Strikes Back, The" not in set(nearest(0).film[:3])
assert "Empire Strikes Back, The" in set(nearest(100).film[:3])

# %% [markdown]
# Without shrinkage: films that hardly anyone has seen, all at similarity 1. With λ = 100: its two sequels and *Raiders of the Lost Ark*. Nobody told the model what the films are about.
#
# Now the prediction. The neighbours' deviations are averaged, each weighted by its similarity, and added to what we would have said
# without neighbours (lesson 2's μ + b_u + b_i):
#
# $$\hat y_{ui} = b_{ui} + \frac{\sum_j s_{ij}\, d_{uj}}{\sum_j s_{ij}}.$$
#
# In item kNN, j runs over the k films most similar to i among those that u has rated, and $d_{uj}$ is her rating minus $b_{uj}$. In
# user kNN the sum runs over the k most similar people who have rated i.

# %% [markdown]
# ### Exercise 3.2 · The neighbours' vote
# 8 min · difficulty 2 of 3 · 2 points
#
# Write `neighbour_rating(base, similarities, deviations, k)`: the formula above over the `k` neighbours with the largest
# similarities; `similarities` and `deviations` have one number for each neighbour. Neighbours with a similarity of zero or below have
# no vote, even if they are among the k. Without a voter the answer is `base`.
#
# Example: `neighbour_rating(3, [0.5, 0.5], [1, 0], 2)` is 3.5.
#
# <details><summary>Hint 1</summary>
#
# First choose positions: sort by falling similarity, cut at k, then drop those that are not positive.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `s = np.asarray(similarities, float)`, `near = np.argsort(-s)[:k]`, and `near = near[s[near] > 0]`. Is `near` empty?
#
# </details>
# <details><summary>I pass some checks but not all</summary>
#
# A weighted average divides by the sum of the weights. Does yours divide by their number? And does an enemy vote?
#
# </details>


# %% nbgrader={"schema_version": 3, "grade_id": "03-2-vote", "solution": true, "grade": false, "locked": false, "task": false}
def neighbour_rating(base, similarities, deviations, k):
    """base + Σ s d / Σ s over the k largest similarities s > 0. base: stars; two lists of length n; k ≥ 1 → float, stars."""
    ### BEGIN SOLUTION
    s, d = np.asarray(similarities, float), np.asarray(deviations, float)
    near = np.argsort(-s)[:k]
    near = near[s[near] > 0]
    return base + s[near] @ d[near] / s[near].sum() if len(near) else base
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "03-2-check", "points": 2, "solution": false, "grade": true, "locked": true, "task": false}
with check("3.2", points=2):
    assert abs(neighbour_rating(3, [0.1, 0.1], [1, 1], 2) - 4) < 1e-6, (
        "if all neighbours say one star more, so do you: divide by the sum of the similarities"
    )
    assert abs(neighbour_rating(3, [0.9, 0.3], [1, -1], 2) - 3.5) < 1e-6, (
        "(0.9·1 − 0.3·1) / (0.9 + 0.3) = 0.5: the nearer neighbour weighs more"
    )
    assert abs(neighbour_rating(3, [0.2, 0.9, 0.5], [2, 1, 1], 2) - 4) < 1e-6, (
        "only the k nearest have a vote, wherever they stand"
    )
    assert abs(neighbour_rating(3, [0.5, -0.5], [1, 1], 2) - 4) < 1e-6, (
        "a negative similarity has no vote, or the weights may cancel"
    )
    assert neighbour_rating(3, [0, 0], [1, 1], 2) == 3, "without a voter, the base is all we know"
    assert neighbour_rating(3, [], [], 2) == 3, "an empty list of neighbours leaves the base"
    ### BEGIN HIDDEN TESTS
    s, d = np.random.rand(30) - 0.2, np.random.randn(30)
    best = sorted(range(30), key=lambda j: -s[j])[:7]
    best = [j for j in best if s[j] > 0]
    expected = 2.5 + sum(s[j] * d[j] for j in best) / sum(s[j] for j in best)
    assert abs(neighbour_rating(2.5, list(s), list(d), 7) - expected) < 1e-6, "on random neighbours the value is wrong"
    ### END HIDDEN TESTS


# %% tags=["wrong"]
def neighbour_rating(base, similarities, deviations, k):  # not divided by the weights
    s, d = np.asarray(similarities, float), np.asarray(deviations, float)
    near = np.argsort(-s)[:k]
    return base + s[near] @ d[near]


# %% tags=["wrong"]
def neighbour_rating(base, similarities, deviations, k):  # a plain mean of the neighbours
    s, d = np.asarray(similarities, float), np.asarray(deviations, float)
    near = np.argsort(-s)[:k]
    return base + d[near].mean()


# %% tags=["wrong"]
def neighbour_rating(base, similarities, deviations, k):  # everybody votes
    s, d = np.maximum(similarities, 0), np.asarray(deviations, float)
    return base + s @ d / s.sum() if s.sum() else base


# %% tags=["wrong"]
def neighbour_rating(base, similarities, deviations, k):  # enemies vote
    s, d = np.asarray(similarities, float), np.asarray(deviations, float)
    near = np.argsort(-s)[:k]
    return base + s[near] @ d[near] / max(s[near].sum(), 1e-12) if len(near) else base


# %% [markdown]
# ## A profile of content
#
# **Content-based** (基于内容) recommending looks the other way: at what a film is, and never at other people. A film becomes a vector. For
# the words of titles we use **TF-IDF** (词频-逆文档频率): a word counts as often as it stands in the title, times how rare it is,
# $\ln\frac{1 + N}{1 + n_w} + 1$ for a word in $n_w$ of $N$ titles. *Wars* says something about a film, *the* says nothing. Genres and
# decade are further columns of 0 and 1.

# %%
few = ["star wars", "star trek", "star trek generations"]
words = sorted({word for title in few for word in title.split()})
counts = np.array([[title.split().count(word) for word in words] for title in few])
rarity = np.log((1 + len(few)) / (1 + (counts > 0).sum(axis=0))) + 1
pd.DataFrame(counts * rarity, index=few, columns=words).round(2)

# %% [markdown]
# *Star* stands in all three and gets the lowest weight. A person's **profile** (用户画像) is then the sum of the vectors of her films,
# each weighted by how much she liked it, and a film's score is its dot product with the profile.
#
# ### Exercise 3.3 · Find the fault
# 10 min · difficulty 2 of 3 · 3 points
#
# A colleague writes this, and finds that every user gets dramas of the nineties:
#
# ```python
# def content_scores(vectors, rated, stars, neutral):
#     return vectors @ (stars @ vectors[rated])
# ```
#
# Two things are missing. What most films share must be taken away: subtract the *catalogue's* mean vector from every film. And a film
# that got `neutral` stars should pull nowhere, one with fewer should push away. Return the scores of all films.
#
# <details><summary>Hint 1</summary>
#
# Where does `neutral` enter? A weight of stars − neutral is positive, zero or negative as we want it.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `v = vectors - vectors.mean(axis=0)`: the mean over all films, column by column. Use `v` in both places, and
# `np.asarray(stars) - neutral` as the weights.
#
# </details>
# <details><summary>I pass some checks but not all</summary>
#
# Is your mean taken over the catalogue, or over the films this person has rated?
#
# </details>


# %% nbgrader={"schema_version": 3, "grade_id": "03-3-profile", "solution": true, "grade": false, "locked": false, "task": false}
def content_scores(vectors, rated, stars, neutral):
    """Scores of all films. vectors (n_items, f); rated: list of item indices; stars: as long; neutral: stars → (n_items,)."""
    ### BEGIN SOLUTION
    v = np.asarray(vectors, float)
    v = v - v.mean(axis=0)
    return v @ ((np.asarray(stars, float) - neutral) @ v[rated])
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "03-3-check", "points": 3, "solution": false, "grade": true, "locked": true, "task": false}
with check("3.3", points=3):
    genre = np.array([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    assert np.shape(content_scores(genre, [0], [5], 3)) == (4,), "one score for every film of the catalogue, please"
    assert np.allclose(content_scores(genre, [0, 1], [3, 3], 3), 0), (
        "films with neutral stars say nothing: weigh by stars − neutral, not by stars"
    )
    shared = np.c_[genre, 5 * np.ones(4)]
    assert np.allclose(content_scores(genre, [0], [5], 3), content_scores(shared, [0], [5], 3)), (
        "a column that all films share must change nothing: subtract the mean film from both vectors"
    )
    seen = content_scores(genre, [0], [5], 3)
    assert seen[1] > seen[2], "who loved one film must find its genre above the other: is your mean the catalogue's?"
    hated = content_scores(genre, [0], [1], 3)
    assert hated[1] < hated[2], "a film with one star must push its own genre down, below the other"
    rare = np.array([[1.0, 0], [1, 0], [1, 0], [0, 1]])
    both = content_scores(rare, [0, 3], [5, 5], 3)
    assert both[3] > both[1], "centre the films of the profile too: of two loved films, the rarer kind says more about her"
    assert abs(np.sum(np.asarray(both))) < 1e-5, "centre the films that you score too: an average film gets the score 0"
    ### BEGIN HIDDEN TESTS
    v = np.random.randn(12, 5)
    pick, given = [3, 7, 8], np.random.rand(3) * 4 + 1
    middle = v.sum(axis=0) / 12
    expected = [
        sum((g - 2.5) * np.dot(v[j] - middle, v[i] - middle) for j, g in zip(pick, given, strict=True)) for i in range(12)
    ]
    assert np.allclose(content_scores(v, pick, list(given), 2.5), expected, atol=1e-4), "on random vectors the scores are wrong"
    ### END HIDDEN TESTS


# %% tags=["wrong"]
def content_scores(vectors, rated, stars, neutral):  # the colleague's version, centred
    v = vectors - np.mean(vectors, axis=0)
    return v @ (np.asarray(stars) @ v[rated])


# %% tags=["wrong"]
def content_scores(vectors, rated, stars, neutral):  # not centred
    v = np.asarray(vectors, float)
    return v @ ((np.asarray(stars) - neutral) @ v[rated])


# %% tags=["wrong"]
def content_scores(vectors, rated, stars, neutral):  # centred on the films of this person
    v = vectors - np.mean(np.asarray(vectors)[rated], axis=0)
    return v @ ((np.asarray(stars) - neutral) @ v[rated])


# %% tags=["wrong"]
def content_scores(vectors, rated, stars, neutral):  # only the scored films centred
    v = np.asarray(vectors, float)
    return (v - v.mean(axis=0)) @ ((np.asarray(stars) - neutral) @ v[rated])


# %% tags=["wrong"]
def content_scores(vectors, rated, stars, neutral):  # only the profile centred
    v = np.asarray(vectors, float)
    return v @ ((np.asarray(stars) - neutral) @ (v - v.mean(axis=0))[rated])


# %% tags=["wrong"]
def content_scores(vectors, rated, stars, neutral):  # dislikes count as likes
    v = vectors - np.mean(vectors, axis=0)
    return v @ (np.abs(np.asarray(stars) - neutral) @ v[rated])


# %% [markdown]
# ## EASE: all films at once
#
# Item kNN compares two films at a time, and so counts the same evidence many times: all three *Star Wars* films vote for the next.
# **EASE** asks one question for all films together. Let X be the table of likes (1 or nothing). Which matrix B, with zeros on its
# diagonal, makes X B most like X?
#
# $$\min_B \lVert X - XB \rVert^2 + \lambda \lVert B \rVert^2, \quad B_{ii} = 0.$$
#
# Without the zeros the answer would be *each film predicts itself*. With them it is
#
# $$B = I - P\,\mathrm{diag}(1 / P_{jj}), \quad P = (X^\top X + \lambda I)^{-1}.$$
#
# That is all: one inverse and one division.
#
# <details><summary>How the formula follows</summary>
#
# Lagrange multipliers $\gamma$ for the zeros give $(X^\top X + \lambda I) B = X^\top X - \mathrm{diag}(\gamma)$, so
# $B = I - P\,\mathrm{diag}(\lambda + \gamma)$. A zero diagonal then asks for $\lambda + \gamma_j = 1 / P_{jj}$.
#
# </details>


# %%
def inverse_primal(liked, reg):
    """P = (XᵀX + reg I)⁻¹, solved over items."""
    gram = (liked.T @ liked).toarray()
    gram[np.diag_indices_from(gram)] += reg
    return linalg.inv(gram, overwrite_a=True, check_finite=False)


def ease_weights(inverse):
    """B = I − P diag(1 / P_ii): zero on the diagonal, −P_ij / P_jj elsewhere."""
    b = inverse / -np.diag(inverse)
    np.fill_diagonal(b, 0.0)
    return b


# %% [markdown]
# Item j's entry in row i of B is what liking i says about j. **Guess** what *Star Wars* speaks for, and whether it speaks against
# anything.

# %%
split = leave_last_out(ratings, min_rating=4, seed=2026)
b = ease_weights(inverse_primal(split.matrix(values="binary").astype(float), 250.0))
order = np.argsort(-b[star_wars])
for word, films in (("for", order[:3]), ("against", order[:-4:-1])):
    print(f"Star Wars speaks {word}", " · ".join(f"{titles[i]} ({b[star_wars, i]:.2f})" for i in films))

# %% [markdown]
# Liking one film can speak *against* another, once the rest is accounted for, if only softly. Neighbours with positive similarities
# cannot say that.
#
# ## Warm films: everyone has ratings
#
# Two tasks from lesson 2: stars on fold u1 (RMSE, lower is better), and the place of the last liked film among all (NDCG, higher is
# better). *Coverage* is the share of the catalogue that appears in anyone's list. **Guess:** by how much does the best beat the content model in each?

# %%
in_stars = {
    "bias baseline": BiasBaseline(), "user kNN": UserKNN(), "item kNN": ItemKNN(),
    "content": ContentBased(ratings, feedback="explicit"),
}  # fmt: skip
errors = {name: evaluate_ratings(model.fit(u1), u1) for name, model in in_stars.items()}
print("RMSE     ", {name: round(report.rmse, 2) for name, report in errors.items()})

as_lists = {
    "popularity": Popularity(),
    "user kNN": UserKNN(feedback="implicit"),
    "item kNN": ItemKNN(feedback="implicit"),
    "content": ContentBased(ratings),
    "EASE": EASE(),
}
reports = {name: evaluate_ranking(model.fit(split), split) for name, model in as_lists.items()}
print("NDCG@10  ", {name: round(float(r.per_user.ndcg.mean()), 2) for name, r in reports.items()})
print("coverage ", {name: round(float(r.coverage), 2) for name, r in reports.items()})
ranks = {name: r.per_user.ndcg for name, r in reports.items()}
assert all(paired(ranks["EASE"], ranks[name], seed=1).low > 0 for name in ("user kNN", "item kNN"))
assert paired(ranks["popularity"], ranks["content"], seed=1).low > 0
assert abs(errors["content"].rmse - errors["item kNN"].rmse) < 0.01 < errors["bias baseline"].rmse - errors["content"].rmse

# %% [markdown]
# In stars the three personal models are equal to two decimals. In lists they are not: EASE leads, both neighbours follow, and content
# falls below the popularity list, though it shows far more of the catalogue. Knowing that you like science fiction does not say *which*
# film you will see next.

# %% [markdown]
# ## Where each wins
#
# Equal on average may hide a trade. Sort the test ratings by how many train ratings their film has, and compare the squared errors of
# item kNN and content on the very same rows.

# %%
evidence = np.bincount(u1.train.item, minlength=ratings.n_items)[u1.test.item]
edges = [0, 10, 30, 100, 1000]
squared = {name: errors[name].errors ** 2 for name in ("item kNN", "content")}
gains, labels = [], ["0 to 9", "10 to 29", "30 to 99", "100 and more"]
for low, high in zip(edges[:-1], edges[1:], strict=True):
    rows = (evidence >= low) & (evidence < high)
    gains.append(paired(squared["item kNN"][rows], squared["content"][rows], seed=1))

fig, ax = plots.figure()
plots.interval_plot(ax, labels, gains, reference=0)
ax.set(xlabel="squared error of item kNN − content (stars²)", ylabel="train ratings of the film")
plots.show(
    fig,
    alt="Interval plot of the difference in squared error between item kNN and content, for films with ever more train ratings. "
    f"Below 10 ratings content is better by about {gains[0].mean:.1f} stars squared; the difference is near zero from 30 to 99, and from "
    "100 ratings on item kNN is slightly but clearly better.",
)
assert min(gains[0].low, gains[1].low) > 0 > gains[3].high and gains[2].low < 0 < gains[2].high

# %% [markdown]
# There is the trade. Most test rows belong to well-known films, so an average speaks for those. The intervals treat rows as
# independent; rows of one person are not quite, so the true intervals are somewhat wider.
#
# ## Cold films: nobody has rated them
#
# Now hold out a tenth of the films with all their ratings, and rank these cold films among themselves for the people who liked some.
# Five draws, since a draw of films decides more than any model. **Guess** what EASE will do: it has never seen them.


# %% tags=["nbval-ignore-output"]
def cold_quality(seed):
    cold_split = cold_item_split(ratings, share=0.1, seed=seed)
    cold = np.unique(cold_split.test.item)
    test = cold_split.test[cold_split.test.rating >= 4]
    users = np.unique(test.user)
    relevant = [set(places) for _, places in test.assign(place=np.searchsorted(cold, test.item)).groupby("user").place]
    scores = {
        name: m.fit(cold_split).score(users)[:, cold] for name, m in {"content": ContentBased(ratings), "EASE": EASE()}.items()
    }
    scores["chance"] = np.random.default_rng(seed).random((len(users), len(cold)))
    counts = np.array([len(r) for r in relevant])
    return {name: ndcg(hits(top_k(s, 10), relevant), counts).mean() for name, s in scores.items()}, np.abs(scores["EASE"]).max()


drawn = [cold_quality(seed) for seed in range(5)]
cold_table = pd.DataFrame([quality for quality, _ in drawn])
assert max(largest for _, largest in drawn) < 1e-9, "EASE gives every cold film the score zero"
assert (cold_table.content > cold_table.chance).all() and 0.14 < cold_table.content.mean() < 0.29
cold_table.agg(["mean", "min", "max"]).round(2)

# %% [markdown]
# Content ranks cold films far above chance. And EASE, which knows nothing of them? Its scores are all zero, and still it seems to do
# two to four times as well as chance. **Stop and find out why** before you read on.
#
# Equal scores are ordered by item number, and in this data set low numbers belong to well-known films: the first quarter of the
# catalogue has a median of 116 ratings, the last quarter 3. The "result" is a leak of the catalogue's order. A model without an
# opinion must be judged as chance: a constant score is not knowledge.

# %% [markdown]
# ## The cold-start curve
#
# A film does not stay cold. After how many ratings do people tell us more than the description? Take 93 films that have at least 70
# ratings, hide them, and fit matrix factorization (lesson 4) on all others. It gives every person and film eight numbers, so that their
# dot product predicts a deviation. Every person u now has a fixed vector $x_u$ of her eight numbers and a 1; the 1 lets the film's
# vector carry an offset of its own. Now show the first k ratings of a hidden film and estimate its own vector $v$ from them, three ways:
#
# - **CF**: ridge regression (岭回归) of the k ratings on the $x_u$, shrunk towards the average film;
# - **content**: no ratings; a ridge map from genres and decade to the vectors of the other films;
# - **hybrid** (混合推荐): ridge of the k ratings, shrunk towards the *content* prediction.
#
# The hybrid needs one idea: shrink not towards zero, but towards what you believed before.

# %% [markdown]
# ### Exercise 3.4 · Shrink towards a belief
# 10 min · difficulty 3 of 3 · 3 points
#
# Write `ridge_towards(x, y, reg, centre)`: the v that minimises $\lVert Xv - y\rVert^2 + \lambda\lVert v - c\rVert^2$.
#
# The rows of X are now people's vectors; `reg` is λ and `centre` is c. Substitute $w = v - c$: an ordinary ridge problem for $w$, with
# solution $w = (X^\top X + \lambda I)^{-1} X^\top (y - Xc)$. Then $v = c + w$. (The lesson goes on with a function of its own, so an
# unsolved task does not stop you.)
#
# Example: one rating 2 with x = (1), λ = 1 and c = 0 gives v = 1, half of the way.
#
# <details><summary>Hint 1</summary>
#
# What does the belief c leave unexplained? Fit that, and add the belief.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `np.linalg.solve(x.T @ x + reg * np.eye(x.shape[1]), …)` with the rest `y - x @ c` on the right.
#
# </details>
# <details><summary>I pass some checks but not all</summary>
#
# Without any rating, do you return the belief? If the ratings agree with it, do you leave it alone?
#
# </details>


# %% nbgrader={"schema_version": 3, "grade_id": "03-4-ridge", "solution": true, "grade": false, "locked": false, "task": false}
def ridge_towards(x, y, reg, centre):
    """argmin ‖X v − y‖² + reg ‖v − centre‖². x (k, f), k may be 0; y (k,); reg > 0; centre (f,) → v (f,)."""
    ### BEGIN SOLUTION
    x, c = np.asarray(x, float), np.asarray(centre, float)
    return c + np.linalg.solve(x.T @ x + reg * np.eye(x.shape[1]), x.T @ (np.asarray(y, float) - x @ c))
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "03-4-check", "points": 3, "solution": false, "grade": true, "locked": true, "task": false}
with check("3.4", points=3):
    belief = np.array([1.0, -2.0])
    assert np.allclose(ridge_towards(np.zeros((0, 2)), np.zeros(0), 3.0, belief), belief), (
        "without a single rating the belief must come back, not zero"
    )
    people = np.array([[1.0, 2], [0, 1], [3, 1]])
    assert np.allclose(ridge_towards(people, people @ belief, 3.0, belief), belief), (
        "ratings that agree with the belief must not move it: fit y − Xc, not y"
    )
    one = np.asarray(ridge_towards(np.array([[1.0, 0]]), np.array([2.0]), 1.0, np.zeros(2)), float)
    assert abs(one[1]) < 1e-6, "a rating that does not touch the second number must leave it: add reg on the diagonal only"
    assert abs(one[0] - 1) < 1e-6, "one rating 2 and reg 1 go half of the way: did you use reg, and did you use it once?"
    ### BEGIN HIDDEN TESTS
    x, y, c = np.random.randn(9, 4), np.random.randn(9), np.random.randn(4)
    v = np.asarray(ridge_towards(x.copy(), y.copy(), 2.5, c.copy()), float)
    assert v.shape == (4,), "one number for each column of x"
    slope = x.T @ (x @ v - y) + 2.5 * (v - c)
    assert np.abs(slope).max() < 1e-3, "at a minimum the slope is zero, also on random numbers"
    ### END HIDDEN TESTS


# %% tags=["wrong"]
def ridge_towards(x, y, reg, centre):  # shrinks towards zero
    return np.linalg.solve(x.T @ x + reg * np.eye(x.shape[1]), x.T @ y)


# %% tags=["wrong"]
def ridge_towards(x, y, reg, centre):  # adds the belief to a fit of the whole
    return centre + np.linalg.solve(x.T @ x + reg * np.eye(x.shape[1]), x.T @ y)


# %% tags=["wrong"]
def ridge_towards(x, y, reg, centre):  # reg in every place of the matrix
    return centre + np.linalg.pinv(x.T @ x + reg) @ (x.T @ (y - x @ centre))


# %% tags=["wrong"]
def ridge_towards(x, y, reg, centre):  # reg forgotten
    return centre + np.linalg.pinv(x) @ (y - x @ centre)


# %% [markdown]
# There is a second way to the same v, which we use below: a belief of strength λ is nothing but extra *ratings that nobody gave*,
# √λ·v = √λ·c, put under the real ones. Then plain least squares does it, and each number may have a strength of its own.


# %%
def with_belief(x, y, strength, centre):
    """Least squares with one made-up row of weight √strength for each number of the belief."""
    root = np.sqrt(strength)
    return np.linalg.lstsq(np.vstack([x, np.diag(root)]), np.r_[y, root * centre], rcond=None)[0]


def prepare(seed, rng):
    """Hide 93 films, fit the others: people (n_users, 9), their base, hidden films, belief of content, average film."""
    often = np.flatnonzero(np.bincount(ratings.table.item, minlength=ratings.n_items) >= 70)
    hidden = rng.permutation(often)[:93]
    part = split_by_mask(ratings, np.isin(ratings.table.item.to_numpy(), hidden))
    als = ALS(embedding_size=8, seed=seed).fit(part)
    count = np.bincount(part.train.item, minlength=ratings.n_items)
    films = np.c_[als.item_factors_, als.item_bias_]
    about = np.c_[item_features(ratings)[0], np.ones(ratings.n_items)]
    trust = (count / (count + 10))[:, None]
    to_film = np.linalg.solve(about.T @ (trust * about) + 3 * np.eye(about.shape[1]), about.T @ (trust * films))
    people = np.c_[als.user_factors_, np.ones(ratings.n_users)]
    return (
        people,
        als.mean_ + als.user_bias_,
        part.test,
        hidden,
        about[hidden] @ to_film,
        np.average(films, axis=0, weights=count),
    )


# %% [markdown]
# The ratings shown come in a random order, and every k is judged on the same ratings: those after the fiftieth. A factor's belief has
# the strength 10, that of the film's own level 3. Quality is measured twice: as RMSE, and as NDCG@10 of an order, for which each person
# ranks those hidden films that she has rated, and four stars or more are relevant.

# %%
SHOWN = (0, 1, 3, 10, 50)
strength = np.r_[np.full(8, 10.0), 3.0]


def curve(seed):
    """Stars predicted by content, CF and hybrid after each number of SHOWN → (3, 5, users, 93); stars given → (users, 93)."""
    rng = np.random.default_rng(seed)
    people, base, test, hidden, content, average = prepare(seed, rng)
    given = np.full((ratings.n_users, len(hidden)), np.nan)
    said = np.full((3, len(SHOWN), *given.shape), -np.inf)  # never first in a list where nothing is judged
    for n, (film, belief) in enumerate(zip(hidden, content, strict=True)):
        rows = test[test.item == film].sample(frac=1, random_state=rng)
        x, level, y, judged = people[rows.user], base[rows.user], rows.rating.to_numpy(), rows.user[50:]
        given[judged, n] = y[50:]
        for place, k in enumerate(SHOWN):
            start = x[:k], (y - level)[:k], strength
            for kind, v in enumerate((belief, with_belief(*start, average), with_belief(*start, belief))):
                said[kind, place, judged, n] = level[50:] + x[50:] @ v
    return said, given


def order_quality(said, given):
    """NDCG@10 per person who has liked and other films to rank → (3, 5, people)."""
    liked = (given >= 4).sum(axis=1)
    able = (liked > 0) & (liked < (~np.isnan(given)).sum(axis=1))
    relevant = [np.flatnonzero(row >= 4) for row in given[able]]
    lists = (top_k(scores[able].round(9), 10) for scores in said.reshape(-1, *given.shape))
    return np.stack([ndcg(hits(films, relevant), liked[able]) for films in lists]).reshape(3, len(SHOWN), -1)


runs = [curve(seed) for seed in range(4)]
by_film = np.stack([np.nanmean((said.clip(1, 5) - given) ** 2, axis=2) for said, given in runs])  # (draws, kinds, shown, films)
by_person = [order_quality(*run) for run in runs]  # for each draw (kinds, shown, people)
draws = np.sqrt(by_film.mean(axis=-1))  # (draws, kinds, shown)
orders = np.stack([one.mean(axis=-1) for one in by_person])  # the same

# %% [markdown]
# **Draw your guess** on paper: where do the lines of CF and content cross, in each measure?

# %% tags=["nbval-ignore-output"]
kinds, x = ["content", "CF", "hybrid"], np.arange(len(SHOWN))
means, order_means = (pd.DataFrame(values.mean(axis=0), index=kinds, columns=SHOWN) for values in (draws, orders))
fig, axes = plots.figure(columns=2, size=(9, 3.8))
for ax, values, name in zip(
    axes, (draws, orders), ("RMSE on its other ratings (stars)", "NDCG@10 on its other ratings"), strict=True
):
    for n, kind in enumerate(kinds):
        plots.line_with_band(ax, x, *(f(values[:, n], axis=0) for f in (np.mean, np.min, np.max)), label=kind, index=n)
    ax.set_xticks(x, SHOWN)
    ax.set(xlabel="ratings shown of each cold film", ylabel=name)
axes[0].legend()
plots.show(
    fig,
    alt="Two line charts against the number of ratings shown per cold film, with bands from the lowest to the highest of four draws. "
    f"Left, RMSE: content stays flat at {means.loc['content', 0]:.2f}; CF starts above it, crosses it near one rating, and falls to "
    f"{means.loc['CF', 50]:.2f} at 50. Right, NDCG@10: content stays flat at {order_means.loc['content', 0]:.2f}; CF starts far below, at "
    f"{order_means.loc['CF', 0]:.2f}, crosses between 3 and 10 ratings, and rises to {order_means.loc['CF', 50]:.2f}. In both the "
    "hybrid starts with content, is the best on the means, and nearly meets CF at 50.",
)
pd.concat({"RMSE": means, "NDCG@10": order_means}).round(2)

# %% [markdown]
# The two measures disagree about the start. A prediction near the average costs little RMSE, but it orders nothing: without ratings,
# CF has one value for all hidden films, so its order is chance.
#
# Why one rating here and thirty above? There, both models started from the film's own average, and item kNN needed enough common
# raters to trust a neighbour; here content knows no rating of the film at all, and one rating already moves its level.
#
# When exactly do the lines cross? The bands overlap, but lesson 2 warned us: they show how hard the films of a draw are, which both
# models feel alike. So look at the difference on the same films, with an interval over the 93 films of each draw, and at the
# difference in order for the same people.

# %% tags=["nbval-ignore-output"]
ahead = {k: [paired(films[1, place], films[0, place], seed=1) for films in by_film] for place, k in enumerate(SHOWN)}
ordered = {k: [paired(one[1, place], one[0, place], seed=1) for one in by_person] for place, k in enumerate(SHOWN)}
for name, table in (("squared error", ahead), ("NDCG@10", ordered)):
    print(f"{name}, CF − content, in four draws")
    for k in SHOWN[:-1]:
        print(f"{k:2d} shown:", "  ".join(f"{i.mean:+.2f} [{i.low:+.2f}, {i.high:+.2f}]" for i in table[k]))
assert all(i.high < 0 for i in ahead[10]), "CF is surely ahead after ten ratings, in every draw"
assert all(i.low < 0 < i.high for i in ahead[1]), "after one rating no draw can tell"
assert all(i.high < 0 for i in ordered[1]), "in order, content is still ahead after one rating"
assert all(i.low > 0 for i in ordered[10]) and abs((orders[:, 1, 2] - orders[:, 0, 2]).mean()) < 0.01
assert (draws[:, 1, 0] > draws[:, 0, 0]).all() and abs(draws[:, 1, 1] - draws[:, 0, 1]).max() < 0.04
assert (draws[:, 2].mean(0) <= draws[:, :2].mean(0).min(0) + 1e-9).all(), "the hybrid is never behind on the means"
assert (orders[:, 2].mean(0) >= orders[:, :2].mean(0).max(0) - 1e-9).all(), "nor in order"
assert (draws[:, 2, 1:4] < draws[:, 1, 1:4]).all(), "with 1 to 10 ratings the hybrid beats CF in every draw"

# %% [markdown]
# Without ratings content has the lower RMSE in all four draws, though only one interval keeps off zero. At one rating no draw can
# tell; at three CF is ahead in all four, surely in two; at ten, surely in all. In order, content is surely ahead up to one rating,
# nobody at three, and CF surely at ten. (The intervals in order take people for independent, though all rank by the same estimates of
# the same films: they are too narrow, and four draws that agree say more.) So: *in stars the lines cross near one rating, in order near three, and after ten people
# are ahead in both*. That is early, and for a reason: 27 columns of genre and decade say little, while one rating already moves the
# film's level. A better description (lessons 5 and 10) should move the crossing right.
#
# The hybrid begins as content and ends as CF, and is worth most in between. One caveat: these films have at least 70 ratings and so
# are better known than most new ones; and the vectors of the *people* were learned from plenty of data. A shop that opens today is
# cold on both sides.

# %% [markdown]
# ## Recap
#
# - **Neighbours:** compare over what is common, and shrink by the evidence; without shrinkage the nearest films are accidents.
# - **Content:** centre the vectors, weigh by stars above neutral; the only one with an opinion on a cold film.
# - **EASE:** one inverse and one division; the best list here on warm films, exactly zero on cold ones.
# - **Warm films:** content better below 30 ratings per film, item kNN above 100, no difference to be seen between.
# - **New films:** CF passes content after about one rating in stars and three in order, surely only by ten; the hybrid is never behind
#   on the means.
#
# ## Quiz
#
# **1.** Two films have one common rater, who liked both. Their cosine over deviations is
#
# <details><summary>a) 1, and they are very similar</summary>
#
# The number is right, the conclusion is not: any two numbers of one sign have cosine 1.
#
# </details>
# <details><summary>b) 1, and we know next to nothing</summary>
#
# Yes. That is what shrinkage by n / (n + λ) expresses.
#
# </details>
# <details><summary>c) undefined</summary>
#
# No, one common rating is enough for a cosine; only none would leave it undefined.
#
# </details>
#
# **2.** Why does EASE force the diagonal of B to zero?
#
# <details><summary>a) To make the inverse exist</summary>
#
# No, the regulariser λ does that.
#
# </details>
# <details><summary>b) Because otherwise each film would predict itself</summary>
#
# Yes. B near the identity fits X best and recommends nothing new.
#
# </details>
# <details><summary>c) Because nobody should be shown a film twice</summary>
#
# No, seen films are left out when the list is made; the fit itself must not win by copying.
#
# </details>
#
# **3.** A model without ratings for the cold films gets an NDCG of three times chance. What do you check first?
#
# <details><summary>a) How ties are ordered</summary>
#
# Yes. Equal scores fall back on the item number, and that order carries information here.
#
# </details>
# <details><summary>b) The learning rate</summary>
#
# No, the model has no data on these films at all, however it is trained.
#
# </details>
# <details><summary>c) Whether more users help</summary>
#
# No, more users add nothing on films that none of them has rated.
#
# </details>
#
# **4.** Item kNN and content have the same RMSE on u1. Therefore
#
# <details><summary>a) a combination of both may be better than either</summary>
#
# Yes. Different errors can cancel, as the hybrid shows.
#
# </details>
# <details><summary>b) they rank equally well</summary>
#
# No, on ranked lists content falls below the popularity list.
#
# </details>
#
# **5.** The hybrid equals content at zero ratings and nearly equals CF at fifty, because
#
# <details><summary>a) it switches from one to the other at the crossing</summary>
#
# No, there is no switch in the formula.
#
# </details>
# <details><summary>b) the belief has a fixed strength, and ratings outweigh it as they come in</summary>
#
# Yes. The belief counts as a few made-up ratings, and fifty real ones outvote them.
#
# </details>
# <details><summary>c) content becomes worse with more ratings</summary>
#
# No, content ignores ratings of the film and stays where it is.
#
# </details>
#
# ## In the article
#
# The article, *推荐系统中的大模型课程学习应用* (Large models in recommender systems: course learning), says that recommenders are of two types, collaborative filtering and content-based, and that the first finds users with
# similar interests and recommends what they like.
#
# **Verdict: holds with conditions.** The two types exist, and each wins somewhere: content below 30 ratings per film, collaborative
# above 100. But similar *users* are one form only: EASE, which compares films, makes the best lists here (NDCG@10 of 0.07 against
# 0.06 for user kNN and item kNN). And two types leave out the one that won on new films: the hybrid, with an RMSE of 0.98 after three
# ratings against 0.99 (CF) and 1.01 (content).
#
# ## Further reading
#
# - Herlocker, Konstan, Borchers, Riedl (1999), *An algorithmic framework for performing collaborative filtering*, SIGIR.
# - Koren (2010), *Factor in the neighbors*, ACM TKDD 4(1).
# - Steck (2019), *Embarrassingly shallow autoencoders for sparse data*, WWW.
# - Pazzani, Billsus (2007), *Content-based recommendation systems*, in *The Adaptive Web*.
# - Burke (2002), *Hybrid recommender systems: survey and experiments*, UMUAI 12.
#
# ## Words
#
# | English | 中文 | in one line |
# |---|---|---|
# | collaborative filtering | 协同过滤 | learn from who rated what, not from what things are |
# | content-based | 基于内容 | learn from descriptions and one person's own ratings |
# | nearest neighbours | 近邻 | the most similar rows or columns of the table |
# | shrinkage | 收缩 | the less evidence, the nearer to a belief |
# | TF-IDF | 词频-逆文档频率 | how often here, times how rare elsewhere |
# | profile | 用户画像 | one person's taste as a vector of content |
# | closed form | 闭式解 | solved by a formula, without iterations |
# | residual | 残差 | what a model leaves unexplained |
# | ridge regression | 岭回归 | least squares with a pull towards a centre |
# | hybrid | 混合推荐 | both kinds in one model |
#
# ## Next
#
# Lesson 4, *The dot product*: this lesson took the vectors of people and films as given. Where do they come from, and why does one
# product of two short vectors do so much?
