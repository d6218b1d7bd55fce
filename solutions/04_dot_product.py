# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
# ---

# %% [markdown]
# # 4 · The dot product
#
# **Question.** Why does one dot product do so much?
#
# **We will** write ŷ = ⟨x_u, v_i⟩ + b by hand, find its vectors by gradient descent and in closed form, hold them back, put an interval
# around a prediction, and add side features.
#
# **You need** lessons 1 to 3 (splits, RMSE, neighbours). CPU. **Time** 45 min reading, 50 min exercises.
#
# Honest news first, on one fixed cut of MovieLens-100K (fold u1, 20,000 test ratings; RMSE in stars):
#
# | model | RMSE | what it knows |
# |---|---|---|
# | one number for everybody, μ | 1.154 | nothing |
# | μ + b_u + b_i, no vectors at all | 0.954 | how generous a person is, how liked a film is |
# | with a dot product, not held back | 1.1 | taste, memorized |
# | with a dot product, held back | 0.92–0.93 | taste |
# | many dot products, averaged | 0.91 | taste, and how sure to be of it |
#
# The dot product earns the last 0.03 to 0.05 stars, and only if it is held back. For a *list* it earns more.

# %%
import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from course_lib import plots
from course_lib.classroom import check
from course_lib.datasets import load_movielens
from course_lib.evaluation import evaluate_ranking, paired, rmse
from course_lib.models import (
    ALS,
    BayesianMF,
    BiasBaseline,
    FactorizationMachine,
    MatrixFactorization,
    Popularity,
    item_features,
    user_features,
)
from course_lib.splitting import canonical_fold, leave_last_out

# %% [markdown]
# ## Two films, one person
#
# Describe a film by two numbers between −1 and 1: *suspense* and *romance*.

# %%
films = pd.DataFrame({"suspense": [0.9, -0.5], "romance": [-0.6, 0.8]}, index=["Alien", "Sense and Sensibility"])
films

# %% [markdown]
# Mei loves suspense (1.2), and has a soft spot for romance (0.4). **Before you run this**, work out both sums of products on paper:
# which film is ahead?

# %%
mei = pd.Series({"suspense": 1.2, "romance": 0.4})
pd.DataFrame({"suspense part": films.suspense * 1.2, "romance part": films.romance * 0.4, "sum": films @ mei}).round(2)

# %% [markdown]
# A sum of products, position by position, is a **dot product** (点积), ⟨x_u, v_i⟩. Its parts can be read: the romance that Mei misses in
# *Alien* costs a quarter of a star.
#
# It is not a rating yet: people rate around 3.5, not around 0. So an offset joins, the **bias** (偏置) b:
#
# $$\hat y_{ui} = \langle x_u, v_i\rangle + b$$

# %% [markdown]
# ### Exercise 4.1 · Predict a rating
# 6 min · difficulty 1 of 3 · 2 points
#
# Write `predict(x_u, v_i, b)` for tensors. The factors lie along the **last** axis; whatever comes before it is a batch. With
# vectors of shape `(factors,)` the answer is one number; with `(n, factors)` it is `n` numbers, one for each pair of rows.
# For x_u = [1.2, 0.4], v_i = [0.9, −0.6] and b = 3.5 it is 4.34.
#
# <details><summary>Hint 1</summary>
#
# `x_u * v_i` multiplies position by position, for one pair as for a thousand. Which axis has to disappear?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `.sum(-1)` adds along the last axis. Add `b` once, after the sum.
#
# </details>
# <details><summary>I pass some checks but not all</summary>
#
# `.sum()` adds over the batch too, and `@` pairs rows with columns: of two batches it makes all users with all films, or an error.
#
# </details>


# %% nbgrader={"schema_version": 3, "grade_id": "04-1-predict", "solution": true, "grade": false, "locked": false, "task": false}
def predict(x_u, v_i, b):
    """ŷ = ⟨x_u, v_i⟩ + b.  x_u, v_i (..., factors), b a number or (...,) → (...,), in stars."""
    ### BEGIN SOLUTION
    return (x_u * v_i).sum(-1) + b
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "04-1-check", "points": 2, "solution": false, "grade": true, "locked": true, "task": false}
with check("4.1", points=2):
    one = float(predict(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]), 0.5))
    assert abs(one - 11.0) > 1e-4, "11 is the product alone: the bias of 0.5 is missing"
    assert abs(one - 12.0) > 1e-4, "the bias was added once per factor: add it once, after the sum"
    assert abs(one - 21.5) > 1e-4, "that multiplies the two sums: multiply position by position first, then add up"
    assert abs(one - 11.5) < 1e-4, "1·3 + 2·4 + 0.5 is 11.5"
    assert abs(float(predict(torch.zeros(0), torch.zeros(0), 3.5)) - 3.5) < 1e-6, "with no factors at all only the bias is left"
    pair = predict(torch.tensor([[1.0, 2.0], [0.0, 1.0]]), torch.tensor([[3.0, 4.0], [5.0, 6.0]]), 0.0)
    assert np.shape(pair) == (2,), "two pairs of vectors give two numbers: only the last axis is summed away"
    assert np.allclose(pair, [11.0, 6.0]), "row by row: 1·3 + 2·4 = 11, and 0·5 + 1·6 = 6"
    offsets = predict(torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [4.0]]), torch.tensor([0.5, 1.0]))
    assert np.allclose(offsets, [3.5, 9.0]), "with one bias per pair, each is added to its own: 1·3 + 0.5 and 2·4 + 1"
    ### BEGIN HIDDEN TESTS
    draw = np.random.default_rng()
    x, v, b = draw.normal(size=(5, 7)), draw.normal(size=(5, 7)), draw.normal(size=5)
    found = predict(*map(torch.tensor, (x, v, b)))
    assert np.allclose(found, np.einsum("nf,nf->n", x, v) + b), "a batch may have one bias per pair: shape (n,)"
    ### END HIDDEN TESTS


# %% tags=["wrong"]
def predict(x_u, v_i, b):  # adds the bias once per factor
    return (x_u * v_i + b).sum(-1)


# %% tags=["wrong"]
def predict(x_u, v_i, b):  # forgets the bias
    return (x_u * v_i).sum(-1)


# %% tags=["wrong"]
def predict(x_u, v_i, b):  # product of sums
    return x_u.sum(-1) * v_i.sum(-1) + b


# %% tags=["wrong"]
def predict(x_u, v_i, b):  # adds the biases of the whole batch to each pair
    return (x_u * v_i).sum(-1) + torch.as_tensor(b).sum()


# %% tags=["wrong"]
def predict(x_u, v_i, b):  # sums over the batch as well
    return (x_u * v_i).sum() + b


# %% [markdown]
# From here on the library's `predict` stands in:

# %%
from course_lib.models import predict

x = torch.tensor(mei.to_numpy())
predict(x, torch.tensor(films.to_numpy()), 3.5).round(decimals=2)  # one user, two films: broadcasting

# %% [markdown]
# ## The product as geometry
#
# School geometry says the same: ⟨x_u, v_i⟩ = |x_u| |v_i| cos θ, where θ is the angle between the two arrows. A prediction is high when
# they point the same way and are long: a user with strong opinions, a film that divides people.


# %%
def geometry(angle=18.43, length=1.265):
    """Draw four films, one user's arrow, and the lines of equal ⟨x_u, v_i⟩; angle in degrees from the suspense axis."""
    points = {"Alien": (0.9, -0.6), "Sense and Sensibility": (-0.5, 0.8), "Titanic": (0.5, 0.9), "Toy Story": (-0.4, -0.3)}
    user = length * np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    fig, ax = plots.figure(size=(4.8, 3.7))
    x, y = np.meshgrid(np.linspace(-1.8, 1.8, 50), np.linspace(-1.4, 1.4, 50))
    if length > 0:
        lines = ax.contour(x, y, x * user[0] + y * user[1], levels=np.arange(-3, 3.1, 0.5), colors="0.75", linestyles="-")
        ax.clabel(lines, fontsize=8)
    ax.annotate("", xytext=(0, 0), xy=user, arrowprops={"color": plots.PALETTE[1], "width": 2, "headwidth": 9})
    for name, (a, r) in points.items():
        ax.plot(a, r, "o", color=plots.PALETTE[0])
        side = {"x": a - 0.06, "ha": "right"} if a < 0 else {"x": a + 0.06, "ha": "left"}
        ax.text(y=r + 0.04, s=f"{name} {a * user[0] + r * user[1]:+.2f}", fontsize=8, **side)
    ax.set(xlabel="suspense (no unit)", ylabel="romance (no unit)", xlim=(-1.8, 1.8), ylim=(-1.4, 1.4), aspect="equal")
    return fig


plots.show(
    geometry(),
    alt="Scatter of four films in the plane of suspense and romance with Mei's arrow from the origin, 18 degrees above the suspense "
    "axis. Grey lines of equal dot product stand at right angles to the arrow; Alien scores +0.84, Titanic +0.96, "
    "Sense and Sensibility -0.28, Toy Story -0.60: the score grows along the arrow and nowhere else.",
)

# %% [markdown]
# The grey lines join films that Mei likes equally. **Find** an angle at which *Alien* and *Titanic* tie. What happens to the tie when
# you change only the length?


# %% tags=["nbval-ignore-output"]
def turn(angle, length):
    """The same picture for the arrow that the sliders give."""
    plots.show(geometry(angle, length), alt=f"The four films and an arrow of length {length:.1f} at {angle} degrees, redrawn.")


sliders = {
    "angle": widgets.IntSlider(18, -180, 180, 1, description="angle (°)", continuous_update=False),
    "length": widgets.FloatSlider(1.2, min=0.0, max=1.5, step=0.1, description="length", continuous_update=False),
}
widgets.interact(turn, **sliders)

# %% [markdown]
# A tie lies where the arrow is at right angles to the line between the two films, here at 15 degrees (and at −165). Length changes no
# order: for a *list* only the direction of x_u matters, for a *rating* its length too.
#
# ## μ + b_u + b_i: what needs no taste
#
# Back to real ratings. A model meets the test ratings of fold u1 only when it is finished.

# %%
ratings = load_movielens()
fold = canonical_fold(ratings, 1)
mean = fold.train.rating.mean()
print(f"{len(fold.train):,} ratings to learn from, {len(fold.test):,} to test; μ = {mean:.2f}")

# %% [markdown]
# Some films are liked by nearly everyone; some people are hard to please. Each gets an offset, b_i or b_u. A film's mean deviation
# would be rash where a single person has rated it, so we divide by the count **plus three**: **shrinkage** (收缩).

# %%
deviation = (fold.train.rating - mean).groupby(fold.train["item"]).agg(["sum", "count"])
deviation["plain"] = deviation["sum"] / deviation["count"]
deviation["shrunk"] = deviation["sum"] / (deviation["count"] + 3)
some = deviation.sort_values(["plain", "count"], ascending=False).iloc[[0, 30]].round(2)
some.set_index(ratings.items.title[some.index])

# %% [markdown]
# The film at the top has very few ratings; shrunk, it comes back to earth, while one with a hundred hardly moves. The library does
# this for films and people in turn. **How far** will two offsets carry us from 1.154?

# %%
target = fold.test.rating.to_numpy()
test_pairs = fold.test["user"].to_numpy(), fold.test["item"].to_numpy()


def test_rmse(model):
    """RMSE on the test ratings of fold u1, predictions clipped to 1–5, in stars."""
    return rmse(target, np.clip(model.score(*test_pairs), 1, 5))


baseline = BiasBaseline(reg_user=5, reg_item=3).fit(fold)
table = {"μ": rmse(target, np.full(len(target), mean)), "μ + b_u + b_i": test_rmse(baseline)}
{name: round(value, 3) for name, value in table.items()}

# %% [markdown]
# That is the bar.
#
# ## What should a good prediction cost?
#
# The **loss** (损失) says how bad a wrong prediction is. Three are common.
#
# - **Squared error** (均方误差): (ŷ − y)², "how many stars?".
# - **Cross-entropy** (交叉熵): turn ŷ into a probability, σ(ŷ) = 1/(1 + e^−ŷ), and pay −log of the one given to what happened: "liked
#   or not?".
# - **BPR**, Bayesian personalized ranking: take a film i that she liked and a film j that she did not, and pay −log σ(ŷ_i − ŷ_j):
#   "which one first?". The absolute value of ŷ no longer matters, so neither do μ and b_u.
#
# In code, −log σ(s) is softplus(−s), with softplus(s) = log(1 + e^s), and the cross-entropy is softplus(s) − y·s: try y = 0 and y = 1.
# (A score before σ is a logit; a nat is the unit of natural logarithms.)


# %%
def mse_loss(y, y_hat):
    """Squared error, mean over the batch.  (batch,) × 2, in stars → number, in stars²."""
    return (y - y_hat).square().mean()


def bce_loss(y, score):
    """Cross-entropy, mean over the batch; y is 1 for liked, 0 for not, the score any number.  (batch,) × 2 → nats."""
    return (functional.softplus(score) - y * score).mean()


def bpr_loss(positive, negative):
    """BPR, mean over the batch: −log σ(s⁺ − s⁻).  (batch,) × 2 → nats."""
    return functional.softplus(negative - positive).mean()


liked, other, one = torch.tensor([4.3]), torch.tensor([3.2]), torch.tensor([1.0])
losses = {"squared error": mse_loss(5 * one, liked), "cross-entropy": bce_loss(one, liked), "BPR": bpr_loss(liked, other)}
{name: round(loss.item(), 3) for name, loss in losses.items()}

# %% [markdown]
# Never compare the values of different losses. **Look at their slopes:** a slope is how hard a loss pulls.

# %%
score = torch.linspace(-4, 4, 81)
fig, ax = plots.figure(size=(5.0, 2.8))
ax.plot(score, (score - 1).square(), label="squared error, y = 1")
ax.plot(score, functional.softplus(-score), label="cross-entropy, liked; BPR with ŷ = difference")
ax.set(xlabel="ŷ (stars for squared error, logits else)", ylabel="loss (stars² or nats)", ylim=(0, 9))
ax.legend()
plots.show(
    fig,
    alt="Two curves of loss against prediction. Squared error is a parabola with its bottom at the target 1 and rises on both sides; "
    "cross-entropy falls from 4 to nearly 0 and keeps falling: it never punishes a liked film for scoring too high.",
)

# %% [markdown]
# Squared error pulls back beyond the target, cross-entropy never does.
#
# ## The slope, by hand
#
# For one rating, with a price on long vectors (the reason comes below): L = (ŷ − y)² + λ(|x_u|² + |v_i|²). By the chain rule,
# with the error e = ŷ − y:
#
# $$\frac{\partial L}{\partial x_u} = 2\,e\,v_i + 2\lambda x_u \qquad
# \frac{\partial L}{\partial v_i} = 2\,e\,x_u + 2\lambda v_i \qquad \frac{\partial L}{\partial b} = 2\,e$$
#
# Read the first: if the prediction was too high, push the user's vector *away from the film's vector*. For cross-entropy the same
# lines hold with e = σ(ŷ) − y and without the 2.

# %% [markdown]
# ### Exercise 4.2 · Gradients without autograd
# 10 min · difficulty 2 of 3 · 4 points
#
# Write `gradients(x_u, v_i, b, y, reg)` for one rating; return the three gradients of the L above, in the order x_u, v_i, b.
# `reg` is λ; `b` carries no price here.
# With x_u = [1, 0], v_i = [2, 3], b = 1, y = 4 and reg = 0 the error is −1, and the answer [−4, −6], [−2, 0], −2.
#
# <details><summary>Hint 1</summary>
#
# Compute the error first, prediction minus truth. It appears in all three.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `error = predict(x_u, v_i, b) - y`, then `2 * error * v_i + 2 * reg * x_u` is the first of the three.
#
# </details>
# <details><summary>I pass some checks but not all</summary>
#
# The gradient for x_u contains v_i times the error but x_u times λ; it is easy to swap them. The 2 belongs to both terms.
#
# </details>


# %% nbgrader={"schema_version": 3, "grade_id": "04-2-gradients", "solution": true, "grade": false, "locked": false, "task": false}
def gradients(x_u, v_i, b, y, reg):
    """Gradients of (ŷ − y)² + λ(|x_u|² + |v_i|²) for x_u, v_i and b.  (factors,) × 2, numbers → (factors,) × 2, number."""
    ### BEGIN SOLUTION
    error = predict(x_u, v_i, b) - y
    return 2 * error * v_i + 2 * reg * x_u, 2 * error * x_u + 2 * reg * v_i, 2 * error
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "04-2-check", "points": 4, "solution": false, "grade": true, "locked": true, "task": false}
with check("4.2", points=4):
    x, v = torch.tensor([1.0, 0.0]), torch.tensor([2.0, 3.0])
    g_x, g_v, g_b = gradients(x, v, 1.0, 4.0, 0.0)
    assert not np.allclose(g_x, [4.0, 6.0]), "the sign is turned round: the error is prediction minus truth, 3 − 4 = −1"
    assert not np.allclose(g_x, [-2.0, -3.0]), "half of the true value: the derivative of a square brings down a 2"
    assert not np.allclose(g_x, [-2.0, 0.0]), "x_u and v_i are swapped: the gradient for x_u is a multiple of v_i"
    assert np.allclose(g_x, [-4.0, -6.0]), "for x_u: 2 · (−1) · [2, 3] is [−4, −6]"
    assert np.allclose(g_v, [-2.0, 0.0]), "for v_i: 2 · (−1) · [1, 0] is [−2, 0]"
    assert abs(float(g_b) + 2.0) < 1e-5, "for b: 2 · (−1), no vector in it"
    p_x, p_v, p_b = gradients(x, v, 1.0, 3.0, 0.5)
    assert not np.allclose(p_x, [0.0, 0.0]), "the error is 0 here, but the price on long vectors still pulls: λ is missing"
    assert not np.allclose(p_x, [2.0, 3.0]), "the price on x_u pulls at x_u itself, not at v_i"
    assert np.allclose(p_x, [1.0, 0.0]) and np.allclose(p_v, [2.0, 3.0]), "with no error, 2 · λ · x_u and 2 · λ · v_i are left"
    assert abs(float(p_b)) < 1e-6, "b carries no price: with no error its gradient is 0"
    ### BEGIN HIDDEN TESTS
    draw = np.random.default_rng()
    numbers = [torch.tensor(draw.normal(size=n), requires_grad=True) for n in (6, 6, ())]
    y, reg = float(draw.uniform(1, 5)), float(draw.uniform(0.01, 1))
    loss = ((numbers[0] * numbers[1]).sum() + numbers[2] - y) ** 2 + reg * (numbers[0] ** 2 + numbers[1] ** 2).sum()
    truth = torch.autograd.grad(loss, numbers)
    found = gradients(*(t.detach() for t in numbers), y, reg)
    for name, mine, autograd in zip(("x_u", "v_i", "b"), found, truth, strict=True):
        assert np.allclose(mine, autograd), f"for {name} autograd finds something else on random vectors (λ = {reg:.2f})"
    ### END HIDDEN TESTS


# %% tags=["wrong"]
def gradients(x_u, v_i, b, y, reg):  # truth minus prediction
    error = y - predict(x_u, v_i, b)
    return 2 * error * v_i + 2 * reg * x_u, 2 * error * x_u + 2 * reg * v_i, 2 * error


# %% tags=["wrong"]
def gradients(x_u, v_i, b, y, reg):  # forgets the 2
    error = predict(x_u, v_i, b) - y
    return error * v_i + reg * x_u, error * x_u + reg * v_i, error


# %% tags=["wrong"]
def gradients(x_u, v_i, b, y, reg):  # forgets the price on long vectors
    error = predict(x_u, v_i, b) - y
    return 2 * error * v_i, 2 * error * x_u, 2 * error


# %% tags=["wrong"]
def gradients(x_u, v_i, b, y, reg):  # swaps the vectors
    error = predict(x_u, v_i, b) - y
    return 2 * error * x_u + 2 * reg * v_i, 2 * error * v_i + 2 * reg * x_u, 2 * error


# %% tags=["wrong"]
def gradients(x_u, v_i, b, y, reg):  # the price pulls at the bias too
    error = predict(x_u, v_i, b) - y
    return 2 * error * v_i + 2 * reg * x_u, 2 * error * x_u + 2 * reg * v_i, 2 * error + 2 * reg * b


# %% [markdown]
# PyTorch's **autograd** (自动求导) finds the same three numbers from the loss alone:

# %%
x, v, b = (torch.tensor(start, requires_grad=True) for start in ([1.0, 0.0], [2.0, 3.0], 1.0))
loss = (predict(x, v, b) - 4.0).square()
[(slope + 0).tolist() for slope in torch.autograd.grad(loss, (x, v, b))]

# %% [markdown]
# From now on it does this for every vector at once. Two tables of vectors, two of offsets, and `predict`:


# %%
class TwoTables(nn.Module):
    """ŷ = ⟨x_u, v_i⟩ + μ + b_u + b_i, with a row of x per user and a row of v per film."""

    def __init__(self, n_users, n_items, *, embedding_size, mean, seed):
        super().__init__()
        dice = torch.Generator().manual_seed(seed)
        self.x = nn.Parameter(0.1 * torch.randn(n_users, embedding_size, generator=dice))  # (users, factors)
        self.v = nn.Parameter(0.1 * torch.randn(n_items, embedding_size, generator=dice))  # (films, factors)
        self.b_user, self.b_item = nn.Parameter(torch.zeros(n_users)), nn.Parameter(torch.zeros(n_items))
        self.mean = mean

    def forward(self, user, item):
        return predict(self.x[user], self.v[item], self.mean + self.b_user[user] + self.b_item[item])


# %% [markdown]
# One pass over the data: shuffle, take 2,000 ratings at a time, compute the loss with its price, go a step downhill. The price is paid
# **per rating**: who rates more pays more often, just as her ratings pull more often. Offsets pay a tenth.


# %%
def tensors(table):
    """(rows,) users, films and stars of a table of ratings."""
    return tuple(torch.tensor(table[c].to_numpy()) for c in ("user", "item")) + (
        torch.tensor(table.rating.to_numpy(), dtype=torch.float32),
    )


def one_pass(model, optimizer, data, reg, dice):
    """Go once over the ratings in random order; minimise (ŷ − y)² + λ(|x_u|² + |v_i|²) + (λ/10)(b_u² + b_i²)."""
    for rows in torch.randperm(len(data[0]), generator=dice).split(2000):
        user, item, stars = (column[rows] for column in data)
        price = model.x[user].square().sum(-1) + model.v[item].square().sum(-1)
        price = price + 0.1 * (model.b_user[user].square() + model.b_item[item].square())
        loss = mse_loss(stars, model(user, item)) + reg * price.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


# %% [markdown]
# Around it, the error and the loop over passes:


# %%
def error_on(model, data):
    """RMSE in stars, predictions clipped to 1–5."""
    with torch.no_grad():
        return rmse(data[2], model(*data[:2]).clamp(1, 5))


def learn(train, held_out, *, reg, epochs=8, adam=True, learning_rate=0.01):
    """Fit 64 factors; → the model and its RMSE on both tables after every pass, shape (epochs, 2)."""
    data, other, dice = tensors(train), tensors(held_out), torch.Generator().manual_seed(2026)
    model = TwoTables(fold.n_users, fold.n_items, embedding_size=64, mean=float(train.rating.mean()), seed=2026)
    optimizer = (torch.optim.Adam if adam else torch.optim.SGD)(model.parameters(), lr=learning_rate)
    history = []
    for _ in range(epochs):
        one_pass(model, optimizer, data, reg, dice)
        history.append((error_on(model, data), error_on(model, other)))
    return model, np.array(history)


# %% [markdown]
# Two decisions are open: the optimizer and λ. Neither may be taken on the test set, so a tenth of the training ratings becomes a
# **validation set** (验证集). First the optimizer, at λ = 0.1. **SGD** walks straight downhill; **Adam** gives each coordinate a step
# of its own. SGD's learning rate looks absurd (20), but a user occurs in few of the 2,000 rows, so the gradients are tiny.

# %% tags=["nbval-ignore-output"]
valid = fold.train.sample(frac=0.1, random_state=2026)
train = fold.train.drop(valid.index)
_, by_adam = learn(train, valid, reg=0.1)
_, by_sgd = learn(train, valid, reg=0.1, adam=False, learning_rate=20.0)
assert by_sgd[0, 1] < by_adam[0, 1] and by_adam[2, 1] < by_sgd[2, 1], "Adam overtakes within three passes"
passes = pd.DataFrame({"Adam, 0.01": by_adam[:, 1], "SGD, 20": by_sgd[:, 1]}, index=pd.RangeIndex(1, 9, name="pass"))
passes.iloc[[0, 1, 2, 4, 7]].round(2)  # validation RMSE, stars

# %% [markdown]
# SGD starts better, Adam overtakes it in the third pass and is nearly done after five.
#
# ## The regularisation path
#
# A user with 20 ratings and 64 factors can be fitted perfectly, by many vectors, most of them nonsense. **Regularisation** (正则化)
# prefers short vectors: an arrow may grow only as far as the ratings pay for it. **Sketch** two curves before you run this: error against
# λ from 0 to 0.2, on the ratings it learns from, and on those held out.

# %% tags=["nbval-ignore-output"]
strengths = [0.0, 0.03, 0.06, 0.1, 0.2]
path = np.array([learn(train, valid, reg=reg)[1][-1] for reg in strengths])  # (strengths, 2)
best = strengths[path[:, 1].argmin()]
assert best == 0.1 and 0.15 < path[0, 1] - path[:, 1].min() < 0.30 and (np.diff(path[:, 0]) > 0).all()
pd.DataFrame(path, columns=["learned from", "validation"], index=pd.Index(strengths, name="λ")).round(2)

# %% [markdown]
# **Look at the gap** between the two lines: it is what the model knows by heart and cannot use.

# %% tags=["nbval-ignore-output"]
fig, ax = plots.figure(size=(5.0, 2.8))
for column, name in enumerate(("ratings it learned from", "validation ratings")):
    ax.plot(range(len(strengths)), path[:, column], plots.DASHES[column], marker=plots.MARKERS[column], label=name)
ax.set_xticks(range(len(strengths)), [f"{s:g}" for s in strengths])
ax.set(xlabel="λ, price on |x|² and |v|² per rating", ylabel="RMSE (stars)")
ax.legend()
plots.show(
    fig,
    alt=f"Line chart of RMSE against λ. On the training ratings it rises all the way, from {path[0, 0]:.1f} to {path[-1, 0]:.1f} "
    f"stars; on validation ratings it falls from {path[0, 1]:.1f} to {path[:, 1].min():.2f} at λ = {best:g} and rises again.",
)

# %% [markdown]
# Without a price the model knows what it has seen almost by heart and is, on new ratings, worse than two lists of offsets. At λ = 0.2
# little but the offsets is left. Between them the valley is clear: no choice of optimizer moves the error as much. Only now does this
# model meet the test set, beside the one without a price.

# %% tags=["nbval-ignore-output"]
for name, reg in (("λ = 0", 0.0), ("Adam", best)):
    table[f"dot product, {name}"] = float(learn(fold.train, fold.test, reg=reg)[1][-1, 1])
assert 1.05 < table["dot product, λ = 0"] < 1.15
assert 0.92 < table["dot product, Adam"] < 0.935 < table["μ + b_u + b_i"] - 0.01
{name: round(value, 3) for name, value in table.items()}

# %% [markdown]
# ## Which loss for which question
#
# Now ask for a list: hide every user's last rated film; does one that she liked (4 or 5 stars) come up among ten out of all the films
# she has not seen? The library's `MatrixFactorization` is the model above, with the loss as an option; "bce" and "bpr" ask what was
# *chosen*, against a random unseen film. **Guess** the order of the four.

# %% tags=["nbval-ignore-output"]
last = leave_last_out(ratings, seed=2026)
rivals = {"popularity": Popularity(), "squared error": MatrixFactorization(seed=2026)}
rivals |= {
    name: MatrixFactorization(loss=loss, epochs=8, seed=2026) for name, loss in (("cross-entropy", "bce"), ("BPR", "bpr"))
}
reports = {name: evaluate_ranking(rival.fit(last), last, min_rating=4) for name, rival in rivals.items()}
ranked = {name: report.summary().loc["NDCG@10"] for name, report in reports.items()}
assert ranked["squared error"]["high"] < ranked["popularity"]["low"] and ranked["BPR"]["mean"] > 0.065
pd.DataFrame(ranked).T.round(3)

# %% [markdown]
# (Lesson 3 hides the last *liked* film: do not compare across.) All four serve the same users, so compare user by user:

# %% tags=["nbval-ignore-output"]
pairs = [("cross-entropy", "popularity"), ("BPR", "popularity"), ("cross-entropy", "BPR")]
ahead = {pair: paired(*(reports[name].per_user.ndcg.to_numpy() for name in pair)) for pair in pairs}
assert min(ahead[pair].low for pair in pairs[:2]) > 0 and abs(ahead[pairs[2]].mean) < 0.015
print("\n".join(f"{a} − {b}: {difference}" for (a, b), difference in ahead.items()))

# %% [markdown]
# The paired differences decide: both beat popularity, and between the two zero lies inside. The model that predicts stars well makes
# worse lists than popularity: it was never asked about films that people did not choose. A model answers the question of its loss, not
# yours.

# %% [markdown]
# ## In closed form: one side at a time
#
# Hold all film vectors still: then one user's x_u is the answer to a small **ridge regression** (岭回归). With V_u the rows of *her*
# n films and r her ratings minus the offsets:
#
# $$x_u = (V_u^\top V_u + \lambda n I)^{-1} V_u^\top r$$
#
# For it is your gradient of exercise 4.2, summed over her n ratings, 2 Σ (⟨x_u, v_i⟩ − r_i) v_i + 2 λ n x_u, set to zero. Then hold the
# users still and solve for the films, and so on: **ALS**, alternating least squares (交替最小二乘). Each half-step is the best there is
# for its side, so the total can never rise.

# %% [markdown]
# ### Exercise 4.3 · Find the bugs
# 12 min · difficulty 3 of 3 · 4 points
#
# A colleague wrote the half-step for one user. It runs, and its results are poor: three bugs, and a missing case. Write the repaired function;
# `V` is (films, k), `rated` holds the positions of her films, `r` one centred rating for each of them. A person without ratings gets zeros.
#
# ```python
# def half_step(V, rated, r, reg):
#     A = V.T @ V + reg * np.ones((V.shape[1], V.shape[1]))
#     return np.linalg.inv(A) @ V[rated].T @ r
# ```
#
# <details><summary>Hint 1</summary>
#
# Compare with the formula term by term: which rows, which matrix, how often is the price paid?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Only her rows, `V[rated]`, belong in A. I is the identity, and n is the number of her ratings. What becomes of A when n is 0?
#
# </details>
# <details><summary>I pass some checks but not all</summary>
#
# With all films in A, a film she never saw counts as one she found exactly average. That is the bug that looks most innocent.
#
# </details>


# %% nbgrader={"schema_version": 3, "grade_id": "04-3-half-step", "solution": true, "grade": false, "locked": false, "task": false}
def half_step(V, rated, r, reg):
    """The x that minimises Σ (r_i − ⟨x, v_i⟩)² + λ n |x|² over her n films.  (films, k), (n,), (n,), number → (k,)."""
    ### BEGIN SOLUTION
    mine, n = V[rated], len(rated)
    if n == 0:
        return np.zeros(V.shape[1])
    return np.linalg.solve(mine.T @ mine + reg * n * np.eye(V.shape[1]), mine.T @ r)
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "04-3-check", "points": 4, "solution": false, "grade": true, "locked": true, "task": false}
with check("4.3", points=4):
    V = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
    one = half_step(V, np.array([0]), np.array([2.0]), 1.0)
    assert np.shape(one) == (2,), "one user's vector has k numbers, here 2"
    other = half_step(V * [[1], [5], [7]], np.array([0]), np.array([2.0]), 1.0)
    assert np.allclose(one, other), "films she never rated change her vector: use the rows V[rated] and no others"
    assert np.allclose(one, [1.0, 0.0]), (
        "one film, v = [1, 0], r = 2, λ = 1: (1 + 1) x = 2, so x = [1, 0]; is the price on the diagonal?"
    )
    two = half_step(V, np.array([0, 1]), np.array([2.0, 4.0]), 1.0)
    assert not np.allclose(two, [1.0, 1.6]), "two ratings pay the price twice: λ n, not λ"
    assert np.allclose(two, [2 / 3, 4 / 3]), "two films, λ = 1: (1 + 2) x₁ = 2 and (4 + 2) x₂ = 8"
    none = half_step(V, np.array([], dtype=int), np.array([]), 1.0)
    assert np.allclose(none, [0.0, 0.0]), "a person without ratings gets a vector of zeros: only the offsets speak"
    ### BEGIN HIDDEN TESTS
    draw = np.random.default_rng()
    V, rated, r, reg = draw.normal(size=(9, 3)), draw.permutation(9)[:6], draw.normal(size=6), float(draw.uniform(0.01, 0.5))
    x = np.asarray(half_step(V.copy(), rated.copy(), r.copy(), reg), dtype=float)
    slope = V[rated].T @ (V[rated] @ x - r) + reg * 6 * x
    assert np.abs(slope).max() < 1e-4, (
        f"on random films the slope at your x is {np.abs(slope).max():.2g}, at the minimum it is 0"
    )
    ### END HIDDEN TESTS


# %% tags=["wrong"]
def half_step(V, rated, r, reg):  # sums over all films
    n = max(len(rated), 1)
    return np.linalg.solve(V.T @ V + reg * n * np.eye(V.shape[1]), V[rated].T @ r)


# %% tags=["wrong"]
def half_step(V, rated, r, reg):  # pays the price once, however many ratings
    return np.linalg.solve(V[rated].T @ V[rated] + reg * np.eye(V.shape[1]), V[rated].T @ r)


# %% tags=["wrong"]
def half_step(V, rated, r, reg):  # a matrix of ones instead of the identity
    mine = V[rated]
    return np.linalg.pinv(mine.T @ mine + reg * len(rated) * np.ones((V.shape[1], V.shape[1]))) @ mine.T @ r


# %% tags=["wrong"]
def half_step(V, rated, r, reg):  # fails for a person without ratings
    mine = V[rated]
    return np.linalg.pinv(mine.T @ mine + reg * len(rated) * np.eye(V.shape[1])) @ mine.T @ r + (len(rated) == 0)


# %% [markdown]
# The library's `ALS` fits b_u and b_i along with the vectors, and pays a price that grows with √n, halfway between one price for all and
# the n above. Eight factors instead of 64. **Guess**: how many rounds until nothing moves?

# %%
als = ALS(embedding_size=8, seed=2026).fit(fold)
table["dot product, ALS"] = test_rmse(als)
objective = als.objective_ / als.objective_[-1]
assert (np.diff(objective) < 1e-9).all(), "a half-step that is exact can never raise the objective"
pd.Series(objective, pd.RangeIndex(13, name="round"), name="objective / last").round(2).iloc[[0, 1, 2, 4, 8, 12]]

# %% [markdown]
# About eight. And the error?

# %% tags=["nbval-ignore-output"]
assert 0.91 < table["dot product, ALS"] < 0.93
print(f"Adam with 64 factors {table['dot product, Adam']:.3f}, ALS with 8 factors {table['dot product, ALS']:.3f} stars")

# %% [markdown]
# Two roads, nearly one result. Gradient descent needs no closed form, so it leads on to the neural models of lesson 7.
#
# ## Why intervals shrink
#
# A prediction of 4.1 from three ratings looks like one from three hundred. It should not. Read ridge regression as a bet: before any
# rating, x_u is drawn from a bell curve of variance τ² around zero; a rating is the truth plus noise of variance σ² (not the σ(·) of the
# losses). What we know after n ratings, the **posterior** (后验), is a bell curve again, with
#
# $$\Sigma = \Big(\frac{V_u^\top V_u}{\sigma^2} + \frac{I}{\tau^2}\Big)^{-1}, \qquad m = \frac{1}{\sigma^2}\,\Sigma\,V_u^\top r$$
#
# Multiply by σ²: m *is* the ridge solution, with a price of σ²/τ², constant, not times n. Regularisation was a prior belief all along. New
# is Σ: each rating adds a term inside, so it can only shrink, and only in the directions of the films that were rated.


# %%
def posterior(mine, r, noise, prior):
    """Mean and covariance of x_u after n ratings.  mine (n, k), r (n,), variances σ² and τ² → (k,), (k, k)."""
    covariance = np.linalg.inv(mine.T @ mine / noise + np.eye(mine.shape[1]) / prior)
    return covariance @ mine.T @ r / noise, covariance


mine, stars = np.array([[1.0, 0.0], [0.8, 0.2], [0.1, 0.3]]), np.array([1.0, 0.5, -0.5])
m, _ = posterior(mine, stars, noise=0.9, prior=0.3)
assert np.allclose(m, np.linalg.solve(mine.T @ mine + 0.9 / 0.3 * np.eye(2), mine.T @ stars)), "the mean is the ridge solution"
pd.DataFrame([posterior(mine[:n], stars[:n], 0.9, 0.3)[1].diagonal() for n in range(4)], columns=["Σ₁₁", "Σ₂₂"]).round(3)

# %% [markdown]
# The first film speaks of the first factor only, so only Σ₁₁ moves.
#
# **Bayesian matrix factorization** (BPMF) does not hold V still: it draws users given films, films given users (**Gibbs sampling**,
# 吉布斯采样), and predicts with the average over a hundred draws, after 20 that are thrown away. Each draw is a half-step of ALS plus
# the right amount of noise. **Guess** for which films the draws disagree most.

# %%
bayes = BayesianMF(embedding_size=8, samples=100, burn_in=20, seed=2026).fit(fold)
table["dot product, averaged draws"] = test_rmse(bayes)
draws = bayes.draws(*test_pairs)  # (test ratings, samples), in stars
seen = np.bincount(fold.train["item"], minlength=fold.n_items)[test_pairs[1]]
edges = [0, 1, 3, 10, 30, 100, 1000]
groups = pd.Series(draws.std(axis=1)).groupby(np.digitize(seen, edges))
low, middle, high = (groups.quantile(q).to_numpy() for q in (0.1, 0.5, 0.9))

# %% [markdown]
# How far the draws lie apart says how unsure the model is:

# %% tags=["nbval-ignore-output"]
fig, ax = plots.figure(size=(5.0, 2.8))
plots.line_with_band(ax, range(len(middle)), middle, low, high, label="spread of the draws: median, 10–90 % of the test pairs")
ax.axhline(bayes.noise_, color=plots.PALETTE[1], linestyle="--", label="noise of a single rating, σ")
ax.set_xticks(range(len(middle)), ["0", "1–2", "3–9", "10–29", "30–99", "100+"])
ax.set(xlabel="train ratings of the film", ylabel="standard deviation (stars)", ylim=(0, 1.5))
ax.legend(fontsize=8)
plots.show(
    fig,
    alt=f"Line chart of the spread of predictions over draws against how many ratings the film has. The median falls from "
    f"{middle[0]:.1f} stars for films without ratings to {middle[-1]:.1f} for films with 100 or more; "
    f"the noise of one rating stays at {bayes.noise_:.1f}.",
)
assert (np.diff(middle) < 0).all(), "more ratings, narrower: in every group"

# %% [markdown]
# What the model does not know about a film or a person melts with data. What eight factors cannot explain, such as how people waver
# from one evening to the next, does not: σ is a floor. An honest interval for a *rating* adds both, and shrinks towards ±1.64 σ, never
# to nothing. A 90 % interval should hold 90 % of the test ratings. Does it?

# %% tags=["nbval-ignore-output"]
width = 1.645 * np.sqrt(draws.var(axis=1) + bayes.noise_**2)
inside = np.abs(target - draws.mean(axis=1)) <= width
assert 0.87 < inside.mean() < 0.93 and 0.895 < table["dot product, averaged draws"] < table["dot product, ALS"] - 0.005
print(f"σ = {bayes.noise_:.2f}; {inside.mean():.0%} lie inside; RMSE {table['dot product, averaged draws']:.3f} stars")

# %% [markdown]
# Where a film has few ratings the draws disagree, and their average is cautious.
#
# ## The same product with side features
#
# A film without a single rating has no v_i, but it has genres and a year. The **factorization machine** (FM, 因子分解机) gives *every
# feature* a vector: each user id, film id, genre, age group. A rating is then a row z with a few ones in it, and every pair of features
# that are on contributes its dot product:
#
# $$\hat y(z) = w_0 + \sum_j w_j z_j + \sum_{j<l} \langle v_j, v_l\rangle\, z_j z_l$$
#
# Switch on only a user and a film, and there is one pair: this lesson's formula. Switch on "Comedy" too, and ⟨x_u, v_Comedy⟩ joins, her
# taste for comedies.
#
# With n features there are n(n−1)/2 pairs, too many. But (Σ_j a_j)² contains each product a_j a_l twice, and each square a_j² once. Take
# away the squares, halve the rest, for each of the k factors, with a_j = z_j v_jf:
#
# $$\sum_{j<l}\langle v_j,v_l\rangle z_j z_l=\frac12\sum_{f=1}^{k}\Big[\Big(\sum_j z_j v_{jf}\Big)^2-\sum_j z_j^2 v_{jf}^2\Big]$$
#
# The right side needs about k·n multiplications instead of k·n²/2.

# %% [markdown]
# ### Exercise 4.4 · All pairs without the pairs
# 12 min · difficulty 3 of 3 · 4 points
#
# Write `pairwise(z, V)`, the right side above, for a batch: `z` is (rows, n), `V` is (n, k), the answer (rows,). No loop over pairs. For
# z = [[1, 1, 0]] and V = [[1, 2], [3, 4], [9, 9]] only the first two features are on: 1·3 + 2·4 = 11.
#
# <details><summary>Hint 1</summary>
#
# `z @ V` has shape (rows, k), and holds Σ_j z_j v_jf. Which matrix product gives Σ_j z_j² v_jf²?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `(z @ V) ** 2 - z**2 @ V**2`, summed over the last axis, halved.
#
# </details>
# <details><summary>I pass some checks but not all</summary>
#
# While all entries of z are 0 or 1, z² is z, and a forgotten square goes unnoticed. z may also hold an age or a price.
#
# </details>


# %% nbgrader={"schema_version": 3, "grade_id": "04-4-pairwise", "solution": true, "grade": false, "locked": false, "task": false}
def pairwise(z, V):
    """Σ_{j<l} ⟨v_j, v_l⟩ z_j z_l without visiting pairs.  z (rows, n), V (n, k) → (rows,)."""
    ### BEGIN SOLUTION
    return ((z @ V).square() - z.square() @ V.square()).sum(-1) / 2
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "04-4-check", "points": 4, "solution": false, "grade": true, "locked": true, "task": false}
with check("4.4", points=4):
    V = torch.tensor([[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]])
    one = pairwise(torch.tensor([[1.0, 1.0, 0.0]]), V)
    assert np.shape(one) == (1,), "one row in z, one number out: sum over the factors, keep the rows"
    assert abs(float(one[0]) - 22.0) > 1e-3, "22 counts every pair twice: halve it"
    assert abs(float(one[0]) - 26.0) > 1e-3, "each feature was also paired with itself: take the squares away"
    assert abs(float(one[0]) - 11.0) < 1e-3, "1·3 + 2·4 = 11: only the first two features are on"
    alone = pairwise(torch.tensor([[0.0, 2.0, 0.0]]), V)
    assert abs(float(alone[0])) < 1e-3, (
        "one feature alone has no partner, whatever its value: z must be squared in the second sum"
    )
    ### BEGIN HIDDEN TESTS
    draw = np.random.default_rng()
    z, W = draw.normal(size=(4, 6)), draw.normal(size=(6, 3))
    truth = [sum(W[j] @ W[m] * row[j] * row[m] for j in range(6) for m in range(j)) for row in z]
    found = np.asarray(pairwise(torch.tensor(z), torch.tensor(W)))
    assert np.allclose(found, truth), "on random numbers the sum over all pairs, by brute force, is something else"
    ### END HIDDEN TESTS


# %% tags=["wrong"]
def pairwise(z, V):  # counts every pair twice
    return ((z @ V) ** 2 - z**2 @ V**2).sum(-1)


# %% tags=["wrong"]
def pairwise(z, V):  # pairs each feature with itself
    return ((z @ V) ** 2).sum(-1) / 2


# %% tags=["wrong"]
def pairwise(z, V):  # forgets to square z
    return ((z @ V) ** 2 - z @ V**2).sum(-1) / 2


# %% tags=["wrong"]
def pairwise(z, V):  # sums over the rows as well
    return ((z @ V) ** 2 - z**2 @ V**2).sum() / 2


# %% [markdown]
# The library's FM does this. We add genres and decade of the film, age, gender and occupation of the person.
# **Guess**: closer to ALS, or to the averaged draws?

# %% tags=["nbval-ignore-output"]
about = {"item_features": item_features(ratings)[0], "user_features": user_features(ratings)[0]}
machine = FactorizationMachine(seed=2026, **about).fit(fold)
table["FM with side features"] = test_rmse(machine)
assert 0.90 < table["FM with side features"] < table["dot product, Adam"] - 0.005
pd.Series(table, name="RMSE (stars), fold u1").round(3)

# %% [markdown]
# Nearly in the middle: side features give about half of what averaging gives, for 57 more vectors beside 2,625. Exercise 4.5 asks where
# they matter more.
#
# ## What the factors learned
#
# Nobody told ALS what a film is. What is in its vectors? First the neighbours by angle:

# %%
count = np.bincount(fold.train["item"], minlength=fold.n_items)
known = np.flatnonzero(count >= 60)  # films with enough ratings for a vector worth looking at
unit = als.item_factors_[known] / np.linalg.norm(als.item_factors_[known], axis=1, keepdims=True)
titles = ratings.items.title[known].to_numpy()


def nearest(title, k=3):
    """The k films whose vectors make the smallest angle with this one's."""
    cosine = unit @ unit[list(titles).index(title)]
    return list(titles[np.argsort(-cosine)[1 : k + 1]])


# %% tags=["nbval-ignore-output"]
near = pd.DataFrame({title: nearest(title) for title in ("Star Wars", "Alien")})
assert {"Empire Strikes Back, The", "Return of the Jedi"} <= set(near["Star Wars"])
near

# %% [markdown]
# *Star Wars* finds its sequels. *Alien* finds films that share an audience, not a genre.
#
# Second, the axes. A single factor means nothing: turn all x_u and all v_i by the same rotation, and every dot product stays the same.
# So we first turn them such that the first axis carries the largest differences between films (a singular value decomposition).

# %%
centred = als.item_factors_[known] - als.item_factors_[known].mean(axis=0)
_, size, axes = np.linalg.svd(centred, full_matrices=False)
place = centred @ axes[:2].T  # (films, 2)
place *= np.sign(place[list(titles).index("Pulp Fiction"), 0]), np.sign(place[list(titles).index("Starship Troopers"), 1])
ends = np.unique(np.concatenate([np.argsort(s * place[:, f])[:2] for s in (1, -1) for f in (0, 1)]))

# %% [markdown]
# **Before you read the caption,** name the first axis yourself.

# %%
fig, ax = plots.figure(size=(6.4, 4.2))
ax.plot(place[:, 0], place[:, 1], "o", color="0.85", markersize=2)
ax.plot(place[ends, 0], place[ends, 1], "o", color=plots.PALETTE[0])
for e in ends:
    side = -1 if place[e, 0] < 0.2 else 1
    ax.text(place[e, 0] + 0.05 * side, place[e, 1], titles[e], fontsize=8, va="center", ha="right" if side < 0 else "left")
ax.set(xlabel="first axis (no unit)", ylabel="second axis (no unit)", xlim=(-2.4, 2.4))
plots.show(
    fig,
    alt=f"Scatter of {len(known)} films on the first two axes of their ALS vectors, the outermost ones named. Broad entertainments such as "
    "Independence Day and Twister lie at one end of the first axis, Leaving Las Vegas and Dead Man Walking at the other; the second "
    "axis runs from romance and drama such as The English Patient to loud ones such as Starship Troopers and Beavis and Butt-head.",
)
first = place[:, 0]
assert first[list(titles).index("Twister")] < -0.3 < 0.3 < first[list(titles).index("Leaving Las Vegas")]

# %% [markdown]
# The strongest disagreement among these people is between an evening out and a film that hurts. "Suspense" and "romance" were our words;
# the data chose other axes.

# %% [markdown]
# ### Exercise 4.5 · A film that nobody has rated
# 8 min · difficulty 2 of 3 · 2 points
#
# A question to explain in words; a person reads the answer.
#
# A new film arrives: a comedy from 1997, not one rating. In three or four sentences: what do the plain dot product and the FM each
# predict for it, from which numbers, and how wide should an honest interval be?
#
# <details><summary>Hint 1</summary>
#
# Which of the terms in each formula has ever been touched by a rating?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Look at the leftmost point of the figure of spreads.
#
# </details>

# %% [markdown] nbgrader={"schema_version": 3, "grade_id": "04-5-explain", "points": 2, "solution": true, "grade": true, "locked": false, "task": false}
# ### BEGIN SOLUTION
# The plain product has no ratings to shape v_i and b_i; both stay near zero, so it predicts μ + b_u for any new film. (1 point)
#
# The FM adds the weights of "Comedy" and "1990s" and the products of x_u with their vectors: it tells comedies from horror, not this
# comedy from another. The interval is wide: σ plus the spread within the genre. (1 point)
# ### END SOLUTION

# %% [markdown]
# ## Recap
#
# - The prediction is one sum of products plus an offset; `predict` does it for a batch in a line.
# - As geometry: length times length times cosine; equal predictions lie on lines at right angles to the user's arrow.
# - Gradient descent (by hand, then autograd) and ALS (closed form) reach nearly the same error.
# - Regularisation moved the error by more than the choice of optimizer did; λ was chosen on validation ratings, not on the test set.
# - Averaging over plausible vectors gives better predictions and intervals that shrink with data, down to the noise.
# - A factorization machine is the same product over all pairs of features, at k·n instead of k·n²/2 multiplications.
#
# ## Quiz
#
# **1.** You double the length of every user's vector. What changes?
#
# <details><summary>a) The order of the films in each user's list of ⟨x_u, v_i⟩</summary>
#
# No. All products of one user grow by the same factor; the order stays.
#
# </details>
# <details><summary>b) The predicted ratings, but not the order by ⟨x_u, v_i⟩</summary>
#
# Yes. Direction decides the order, length the strength. (With b_i added the order may change too: the offset does not double.)
#
# </details>
# <details><summary>c) Nothing, the film vectors compensate</summary>
#
# Only if you also halve them. Nobody has.
#
# </details>
#
# **2.** Training RMSE 0.2, test RMSE 1.1. What do you try first?
#
# <details><summary>a) More passes over the data</summary>
#
# No. It already knows the training ratings almost by heart.
#
# </details>
# <details><summary>b) More factors</summary>
#
# No. That gives it more room to memorize.
#
# </details>
# <details><summary>c) A larger λ, chosen on validation ratings</summary>
#
# Yes. That gap is what the regularisation path looks like at its left end.
#
# </details>
#
# **3.** Which loss does not care if all of one user's scores go up by one?
#
# <details><summary>a) BPR</summary>
#
# Yes. Only the difference ŷ_i − ŷ_j enters, and the one cancels.
#
# </details>
# <details><summary>b) Squared error</summary>
#
# No. Every error grows by one star.
#
# </details>
# <details><summary>c) Cross-entropy</summary>
#
# No. All probabilities rise, those of the disliked films too.
#
# </details>
#
# **4.** ALS has converged. You run one more half-step for the users. What happens?
#
# <details><summary>a) The objective may rise a little</summary>
#
# No. Each half-step is an exact minimum for its side.
#
# </details>
# <details><summary>b) Practically nothing</summary>
#
# Yes. The users' vectors are already the best for these films.
#
# </details>
# <details><summary>c) The test RMSE must fall</summary>
#
# No. The objective speaks of training ratings and of the price, not of the test set.
#
# </details>
#
# **5.** After 10,000 ratings of one film, how wide is the 90 % interval for the next person's *rating* of it?
#
# <details><summary>a) Close to zero</summary>
#
# No. What is known about the *film* is then nearly exact; a rating also contains the person, and the noise σ.
#
# </details>
# <details><summary>b) At least about ±1.64 σ</summary>
#
# Yes. That part does not shrink.
#
# </details>
# <details><summary>c) As wide as at the start</summary>
#
# No. The film's own share of the uncertainty has melted.
#
# </details>
#
# ## In the article
#
# 推荐系统中的大模型课程学习应用 (Large models in recommender systems: course learning) writes, in section 4.2, the recommendation function
# as ŷ = ⟨x_u, v_i⟩ + b with squared error or cross-entropy as the usual losses; section 3.3 says that overfitting calls for a training
# strategy, such as L2 regularisation.
#
# **Verdict: holds with conditions.** The formula is right and strong: 0.926 against 1.154 for a constant. It is there presented as
# content-based, with v_i the given features of an item; what we trained is collaborative, with v_i learned from ratings. Only the FM of
# this lesson joins the two. Its one offset b has to become μ + b_u + b_i: these alone bring 1.15 down to 0.95, without any vector.
# Without L2 the same formula scores worse (1.1) than having no vectors at all. And the choice between its two losses is no detail:
# squared error loses to popularity as soon as a list is asked for, while cross-entropy wins.
#
# ## Further reading
#
# - Y. Koren, R. Bell and C. Volinsky (2009), *Matrix Factorization Techniques for Recommender Systems*, IEEE Computer 42(8).
# - Y. Hu, Y. Koren and C. Volinsky (2008), *Collaborative Filtering for Implicit Feedback Datasets*, ICDM.
# - S. Rendle (2010), *Factorization Machines*, ICDM; S. Rendle and others (2009), *BPR*, UAI.
# - R. Salakhutdinov and A. Mnih (2008), *Bayesian Probabilistic Matrix Factorization using MCMC*, ICML.
# - S. Rendle, L. Zhang and Y. Koren (2019), *On the Difficulty of Evaluating Baselines*: how far careful λ carries.
#
# ## Words
#
# | English | 中文 | in one line |
# |---|---|---|
# | dot product | 点积 | the sum of the products, position by position |
# | bias | 偏置 | an offset that does not depend on the other side |
# | shrinkage | 收缩 | pulling an estimate towards zero while there is little data |
# | loss | 损失 | what a wrong prediction costs |
# | cross-entropy | 交叉熵 | minus the log of the probability given to what happened |
# | regularisation | 正则化 | a price on long vectors |
# | autograd | 自动求导 | slopes that the program derives from the loss |
# | validation set | 验证集 | the held-out ratings on which decisions are taken |
# | ridge regression | 岭回归 | least squares with a price on the length of the answer |
# | alternating least squares | 交替最小二乘 | one side in closed form while the other waits |
# | posterior | 后验 | what is known after the data, as a distribution |
# | Gibbs sampling | 吉布斯采样 | drawing one block of unknowns at a time, given the others |
# | factorization machine | 因子分解机 | a dot product for every pair of features |
#
# ## Next
#
# These vectors know nothing of a film's words: a film without ratings has none. [5 · Text features](05_text_features.ipynb) makes vectors
# from text. To see which earlier model is a dot product in disguise, go back to
# [3 · Collaborative against content-based](03_collaborative_vs_content.ipynb).
