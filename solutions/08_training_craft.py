# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
# ---

# %% [markdown]
# # 8 · Training craft
#
# **Question.** Which tricks are worth their price?
#
# **We will** draw and derive learning-rate schedules, put weight decay, dropout, early stopping and adversarial steps side by side with
# seeds and intervals, cut layers and words out of a BERT, and read an ablation table without fooling ourselves.
#
# **You need** lessons 2, 4 and 6 (intervals, regularisation, what is inside BERT). CPU. **Time** 40 min reading, 40 min exercises.
#
# Honest news first. On our small model nearly every trick works, because the model overfits badly; but they do not add up, and stopping
# in time, which saves seconds, already collects nearly all there is. On the fine-tuned BERT no effect can be told from the noise between
# runs.

# %%
import copy
import time

import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch
from scipy.stats import t, ttest_rel
from torch import nn
from torch.nn.functional import normalize

from course_lib import plots
from course_lib.classroom import check
from course_lib.datasets import load_movielens
from course_lib.experiments import Cell, ExperimentError, cost_card, experiment, results
from course_lib.experiments.training_craft import PrunedEmbedding
from course_lib.text import TextEncoder, item_texts, tokenize
from course_lib.training import FGM, PGD, Training, fit, schedule

# %% [markdown]
# ## How fast to walk
#
# The **learning rate** (学习率) η says how far a step goes: w ← w − η·g. A **schedule** (学习率调度) multiplies it by a factor that depends on
# the step.
#
# Why should it change? Near the minimum of one weight, the gradient of a batch is w + noise, the noise of variance σ². A step gives
# w ← (1 − η)w − η·noise. The variance of w settles where it reproduces itself:
#
# $$\operatorname{Var} = (1-\eta)^2 \operatorname{Var} + \eta^2\sigma^2 \quad\Rightarrow\quad \operatorname{Var} = \frac{\eta\,\sigma^2}{2-\eta}$$
#
# With a constant η the weight never arrives; it trembles at a distance that grows with η. So walk fast while the way is long, and
# slow down at the end. **Guess** the two spreads below before you run them: σ = 1, η = 0.5 to the end, or falling from 0.5 to 0.

# %%
noise = np.random.default_rng(2026).normal(size=(400, 4000))  # (steps, independent weights)
spread = {}
for name in ("constant", "linear"):
    factor, w = schedule(name, steps=400), np.full(4000, 5.0)
    for step in range(400):
        w = w - 0.5 * factor(step) * (w + noise[step])
    spread[name] = round(float(w.std()), 2)
assert abs(spread["constant"] - (0.5 / 1.5) ** 0.5) < 0.02
spread

# %% [markdown]
# The formula says √(0.5/1.5) = 0.58, and the constant rate trembles by just about that; the falling one comes close to rest.
#
# The start has another trouble. AdamW divides each gradient by its running size, which after one or two batches is hardly known; and a
# new head sends meaningless gradients into a good encoder. **Warm-up** (预热) lets the rate rise from 0 over the first steps. After the
# warm-up of `rise` steps, let r = (step − rise)/(steps − rise) be the share of the way that is done:
#
# $$\text{linear: } 1 - r \qquad \text{cosine: } \tfrac12\,(1 + \cos \pi r) \qquad \text{constant: } 1$$

# %% [markdown]
# ### Exercise 8.1 · A schedule by hand
# 8 min · difficulty 1 of 3 · 3 points
#
# Write `rate_factor(step, steps, rise, shape)`: during the warm-up (`step < rise`) it is step / rise, afterwards the formula of
# `shape`: `"linear"`, `"cosine"` or `"constant"`. `step` counts from 0 to `steps − 1`.
# For 110 steps with a rise of 10, `rate_factor(5, 110, 10, "linear")` is 0.5 and `rate_factor(35, 110, 10, "linear")` is 0.75.
#
# <details><summary>Hint 1</summary>
#
# Two cases: before `rise` the shape does not matter. Afterwards everything depends on r alone.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `r = (step - rise) / (steps - rise)`, then `1 - r`, or `(1 + math.cos(math.pi * r)) / 2` (numpy's `np.cos`, `np.pi` do as well).
#
# </details>
# <details><summary>I pass some checks but not all</summary>
#
# r starts at 0 when the warm-up **ends**, not at step 0; else the rate jumps there. With `rise = 0` nothing may be divided by it.
#
# </details>


# %% nbgrader={"schema_version": 3, "grade_id": "08-1-schedule", "solution": true, "grade": false, "locked": false, "task": false}
def rate_factor(step, steps, rise, shape):
    """Factor of the learning rate: step / rise, then 1 − r, (1 + cos πr) / 2 or 1.  Whole numbers, str → number in 0 … 1."""
    ### BEGIN SOLUTION
    if step < rise:
        return step / rise
    r = (step - rise) / (steps - rise)
    return {"linear": 1 - r, "cosine": (1 + np.cos(np.pi * r)) / 2, "constant": 1.0}[shape]
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "08-1-check", "points": 3, "solution": false, "grade": true, "locked": true, "task": false}
with check("8.1", points=3):
    early = float(rate_factor(5, 110, 10, "linear"))
    assert abs(early - 105 / 110) > 1e-6, "no warm-up: below step 10 the factor rises, step / rise, whatever the shape"
    assert abs(early - 0.6) > 1e-6, "one step ahead: at step 0 nothing has risen yet, the factor is step / rise"
    assert abs(early - 0.5) < 1e-6, "halfway through the warm-up the factor is 5 / 10 = 0.5"
    for shape in ("cosine", "constant"):
        risen = [float(rate_factor(step, 110, 10, shape)) for step in (0, 5)]
        assert np.allclose(risen, [0, 0.5]), "the warm-up is the same for every shape: 0 at step 0, 5 / 10 at step 5"
    later = float(rate_factor(35, 110, 10, "linear"))
    assert abs(later - 75 / 110) > 1e-6, "r was counted from step 0: the rate would jump when the warm-up ends; subtract `rise`"
    assert abs(later - 0.75) < 1e-6, "25 of 100 steps after the warm-up: 1 - 0.25 = 0.75"
    curve = float(rate_factor(35, 110, 10, "cosine"))
    assert abs(curve - 2**-0.5) > 1e-6, "cos πr alone ends at -1, walking backwards: add 1 and halve"
    assert abs(curve - np.cos(np.pi / 8)) > 1e-6, "a quarter of a wave arrives with a slope: take half a wave, (1 + cos πr) / 2"
    assert abs(curve - (1 + 2**-0.5) / 2) < 1e-6, "(1 + cos(π/4)) / 2 = 0.854"
    assert abs(float(rate_factor(35, 110, 10, "constant")) - 1) < 1e-6, "constant means 1 after the warm-up"
    assert abs(float(rate_factor(0, 20, 0, "linear")) - 1) < 1e-6, "without warm-up the first factor is 1"
    ### BEGIN HIDDEN TESTS
    draw = np.random.default_rng()
    for shape in ("linear", "cosine", "constant"):
        steps = int(draw.integers(20, 300))
        rise = int(draw.integers(1, steps // 2))
        known = schedule(shape, steps=steps, warmup=rise / steps)
        found = [float(rate_factor(step, steps, rise, shape)) for step in range(steps)]
        assert np.allclose(found, [known(step) for step in range(steps)]), (
            f"{shape}, {steps} steps, rise {rise}: not the formula"
        )
    ### END HIDDEN TESTS


# %% tags=["wrong"]
def rate_factor(step, steps, rise, shape):  # r counted from step 0
    if step < rise:
        return step / rise
    r = step / steps
    return {"linear": 1 - r, "cosine": (1 + np.cos(np.pi * r)) / 2, "constant": 1.0}[shape]


# %% tags=["wrong"]
def rate_factor(step, steps, rise, shape):  # forgets the warm-up
    r = step / steps
    return {"linear": 1 - r, "cosine": (1 + np.cos(np.pi * r)) / 2, "constant": 1.0}[shape]


# %% tags=["wrong"]
def rate_factor(step, steps, rise, shape):  # one step ahead
    if step < rise:
        return (step + 1) / rise
    r = (step - rise) / (steps - rise)
    return {"linear": 1 - r, "cosine": (1 + np.cos(np.pi * r)) / 2, "constant": 1.0}[shape]


# %% tags=["wrong"]
def rate_factor(step, steps, rise, shape):  # cosine that goes below zero
    if step < rise:
        return step / rise
    r = (step - rise) / (steps - rise)
    return {"linear": 1 - r, "cosine": np.cos(np.pi * r), "constant": 1.0}[shape]


# %% tags=["wrong"]
def rate_factor(step, steps, rise, shape):  # a quarter of a wave
    if step < rise:
        return step / rise
    r = (step - rise) / (steps - rise)
    return {"linear": 1 - r, "cosine": np.cos(np.pi * r / 2), "constant": 1.0}[shape]


# %% [markdown]
# The library's `schedule(name, steps=…, warmup=…)` returns this function of the step, with the warm-up as a share:


# %%
def draw_schedules(warmup=0.1, steps=100):
    """The three factors over the steps."""
    fig, ax = plots.figure(size=(5.2, 2.7))
    for name in ("constant", "linear", "cosine"):
        factor = schedule(name, steps=steps, warmup=warmup)
        ax.plot([factor(step) for step in range(steps)], label=f"{name}, mean {np.mean([*map(factor, range(steps))]):.2f}")
    ax.set(xlabel="step", ylabel="factor of the learning rate", ylim=(0, 1.08))
    ax.legend()
    return fig


plots.show(
    draw_schedules(),
    alt="Three curves of the factor of the learning rate over 100 steps. All rise from 0 to 1 in the first 10; then the constant one "
    "stays at 1, the linear one falls on a straight line to 0, and the cosine stays high longer, falls fastest halfway and lands flat.",
)

# %% [markdown]
# Look at the means in the legend, and move the warm-up. **Which** two shapes walk equally far in all?


# %% tags=["nbval-ignore-output"]
def redraw(warmup):
    """The schedules for the warm-up that the slider gives."""
    plots.show(draw_schedules(warmup), alt=f"The three schedules redrawn with a warm-up of {warmup:.0%} of the steps.")


widgets.interact(
    redraw, warmup=widgets.FloatSlider(0.1, min=0, max=0.9, step=0.05, description="warm-up", continuous_update=False)
)

# %% [markdown]
# Linear and cosine walk equally far, without warm-up half as far as constant. So "a schedule helped" may only mean "a smaller rate
# helped": a fair comparison also tries the constant rate at half its size. We will.
#
# ## A bench where effects can be seen
#
# To measure a trick we need many runs, so a small model: a head with one hidden layer on frozen BERT vectors of film texts. It predicts
# a film's mean rating, for films with at least 20 ratings. The seed decides split, start and order of batches.

# %%
ratings = load_movielens()
films = ratings.table.groupby("item").rating.agg(["mean", "count"]).query("count >= 20")
texts = item_texts(ratings.items)
encoder = TextEncoder()
catalogue = encoder.encode(texts)  # (items, 384), cached once computed
centre = torch.tensor(catalogue.mean(0))
vectors = torch.tensor(catalogue[films.index]) - centre
stars = torch.tensor(films["mean"].to_numpy(), dtype=torch.float32)
print(f"{len(stars)} films; standard deviation of their mean ratings {stars.std():.2f} stars")

# %% [markdown]
# The vectors stand in an `nn.Embedding` that does not learn, so that an adversary can find them later.


# %%
class Head(nn.Module):
    """ŷ = 3.2 + f(v_i), f with one hidden layer.  Rows of the films (n,) → (n,), in stars."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.films = nn.Embedding.from_pretrained(vectors.clone())
        self.f = nn.Sequential(nn.Dropout(dropout), nn.Linear(384, 64), nn.ReLU(), nn.Dropout(dropout), nn.Linear(64, 1))

    def forward(self, rows):
        return 3.2 + self.f(self.films(rows)).squeeze(-1)


def squared_error(model, batch):
    """Mean squared error, in stars².  batch: rows (n,) and stars (n,)."""
    return (model(batch[0]) - batch[1]).square().mean()


# %% [markdown]
# One function trains it: 60 % of the films to learn from, 20 % to watch (**validation**), 20 % to test. Only early stopping may look at
# the validation films.


# %%
BASE = {"epochs": 20, "learning_rate": 3e-3, "batch_size": 96, "schedule": "constant", "warmup": 0.0, "weight_decay": 0.0}


def films_of(seed):
    """Rows of the films to learn from, to watch and to test, as the seed deals them out."""
    return torch.tensor(np.random.default_rng(seed).permutation(len(stars))).split([563, 188, 188])


def train_head(seed, dropout=0.0, **change):
    """A trained head → model, test RMSE (stars), CPU seconds, history."""
    learn, watch, test = films_of(seed)
    torch.manual_seed(seed)
    model, start = Head(dropout), time.process_time()
    config = Training(**BASE | {"seed": seed, "bf16": False, "progress": False} | change)
    watched = lambda model: float(squared_error(model, (watch, stars[watch])))  # noqa: E731
    history = fit(model, (learn, stars[learn]), loss=squared_error, config=config, validate=watched)
    seconds = time.process_time() - start
    with torch.no_grad():
        return model, float(squared_error(model, (test, stars[test])).sqrt()), seconds, history.table


# %% [markdown]
# ## Stop in time
#
# **Predict** the train loss when the base recipe runs for 50 epochs, not 20, and the shape of the validation loss.

# %%
_, _, _, curve = train_head(0, epochs=50)
best = int(curve.validation.idxmin())
fig, ax = plots.figure(size=(5.2, 2.8))
ax.semilogy(curve.epoch, curve.loss, label="train")
ax.semilogy(curve.epoch, curve.validation, label="validation")
ax.axvline(curve.epoch[best], color="0.6", linestyle=":")
ax.set(xlabel="epoch", ylabel="squared error (stars²)")
ax.legend()
plots.show(
    fig,
    alt="Two curves of squared error over 50 epochs on a logarithmic axis. The train loss falls all the way to about 0.001 or less; the "
    "validation loss falls for a few epochs to about 0.2, is lowest at the dotted line, and then rises for good.",
)
print(f"validation loss {curve.validation[best]:.2f} after {best + 1} epochs, {curve.validation.iloc[-1]:.2f} after 50")
assert curve.loss.iloc[-1] < 0.003 and best < 15 and curve.validation.iloc[-1] > 1.1 * curve.validation[best]

# %% [markdown]
# The train loss ends near 0.001, the number that lesson 7 met in the article, and it is a warning sign: the head knows 563 films by
# heart, and on films it does not know the loss is a quarter higher than at its best. **Early stopping** (早停) watches the validation loss,
# waits `patience` epochs for a better one, and puts the best weights back. It costs films to watch and one copy of the weights.
#
# ## A price on weights, and noise
#
# **L2** adds λ‖w‖²/2 to the loss, so λw to the gradient. Under plain gradient descent that is **weight decay** (权重衰减):
#
# $$w \leftarrow w - \eta\,(g + \lambda w) = (1 - \eta\lambda)\,w - \eta\,g$$
#
# Adam divides each gradient by its running size, and would divide λw with it: weights with large gradients would hardly be pulled.
# AdamW therefore shrinks w beside the gradient's step, equally for all. Biases and LayerNorm are left alone.
#
# **Dropout** (随机失活) sets each number to 0 with probability p and divides the rest by 1 − p, so that the mean stays: (1 − p)·x/(1 − p) = x.
# No unit can rely on a single other one. In evaluation it is off.

# %%
layer, ones = nn.Dropout(0.5), torch.ones(100_000)
torch.manual_seed(0)
print(
    f"training: values {layer(ones).unique().tolist()}, mean {layer(ones).mean():.1f}; evaluation: {layer.eval()(ones).unique().tolist()}"
)

# %% [markdown]
# ## Signal or noise?
#
# Trick A has a test RMSE of 0.45, trick B of 0.47. Is A better? Another seed moves both by more. But a hard split is hard for both, so
# compare **paired** (配对): the difference d within each seed, its mean, and
#
# $$\bar d \pm t_{n-1}\,\frac{s}{\sqrt n}, \qquad s^2 = \frac{1}{n-1}\sum_k (d_k - \bar d)^2$$
#
# where t is the quantile of Student's distribution with n − 1 degrees of freedom. For 95 % and 5 seeds it is 2.78; for 2 seeds 12.7.

# %% [markdown]
# ### Exercise 8.2 · The paired interval
# 8 min · difficulty 2 of 3 · 3 points
#
# Write `paired_interval(variant, base, level=0.95)` for two lists or arrays of results, one per seed in the same order. Return the mean of
# variant − base, and the low and the high end. `t.ppf(q, n - 1)` (scipy, imported above) is the q-quantile; at 95 % we need q = 0.975.
# For `[0.5, 0.5, 0.8]` against `[0.4, 0.3, 0.5]` it is 0.2, −0.048, 0.448.
#
# <details><summary>Hint 1</summary>
#
# First subtract, then forget the two lists.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `half = t.ppf((1 + level) / 2, n - 1) * d.std(ddof=1) / n**0.5`.
#
# </details>
# <details><summary>I pass some checks but not all</summary>
#
# numpy's `std` divides by n unless you say `ddof=1`. And 1.96 is the quantile for very many seeds, not for five.
#
# </details>


# %% nbgrader={"schema_version": 3, "grade_id": "08-2-interval", "solution": true, "grade": false, "locked": false, "task": false}
def paired_interval(variant, base, level=0.95):
    """Mean of variant − base over seeds, and d̄ ∓ t·s/√n.  (seeds,) × 2 → three numbers, in the unit of the results."""
    ### BEGIN SOLUTION
    d = np.asarray(variant) - np.asarray(base)
    half = t.ppf((1 + level) / 2, len(d) - 1) * d.std(ddof=1) / len(d) ** 0.5
    return d.mean(), d.mean() - half, d.mean() + half
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "08-2-check", "points": 3, "solution": false, "grade": true, "locked": true, "task": false}
with check("8.2", points=3):
    found = [float(x) for x in paired_interval([0.5, 0.5, 0.8], [0.4, 0.3, 0.5])]
    assert len(found) == 3, "three numbers: the mean difference, the low end, the high end"
    assert abs(found[0] + 0.2) > 1e-6, "the sign: variant minus base, so that more is more"
    assert abs(found[0] - 0.2) < 1e-6, "the differences are 0.1, 0.2, 0.3: their mean is 0.2"
    half = (found[2] - found[1]) / 2
    assert abs(half - 0.1132) > 1e-3, "1.96 is for very many seeds: with three, t has 2 degrees of freedom and is 4.30"
    assert abs(half - 0.2028) > 1e-3, "s² divides by n - 1, since the mean was taken from the same numbers: std(ddof=1)"
    assert abs(half - 0.4303) > 1e-3, "that is the spread of one seed: the mean of n seeds is surer, divide by √n"
    assert abs(half - 0.4969) > 1e-3, "that interval is unpaired: take the spread of the differences, not of the two lists"
    assert abs(half - 0.1837) > 1e-3, "t has n - 1 degrees of freedom, here 2, not 3"
    assert abs(half - 0.2484) < 1e-3, "4.303 · 0.1 / √3 = 0.248 on either side"
    assert abs(found[1] + 0.0484) < 1e-3, "the low end comes second: 0.2 - 0.248"
    narrow = [float(x) for x in paired_interval([0.5, 0.5, 0.8], [0.4, 0.3, 0.5], 0.9)]
    assert abs(narrow[2] - 0.2 - 0.1686) < 1e-3, "at level 0.9 five percent are cut off at each end: t.ppf(0.95, 2) = 2.92"
    four = [float(x) for x in paired_interval([0.9, 0.2, 0.6, 0.4], [0.5, 0.1, 0.7, 0.2])]
    assert abs((four[2] - four[1]) / 2 - 0.3312) < 1e-3, (
        "four seeds: d = 0.4, 0.1, -0.1, 0.2 in that order, s = 0.208, t = 3.18"
    )
    ### BEGIN HIDDEN TESTS
    draw = np.random.default_rng()
    a, b = draw.normal(size=(2, int(draw.integers(4, 12))))
    peer = ttest_rel(a, b).confidence_interval(0.8)
    assert np.allclose(paired_interval(a, b, 0.8), [(a - b).mean(), peer.low, peer.high]), (
        f"scipy differs for {len(a)} seeds at 0.8"
    )
    ### END HIDDEN TESTS


# %% tags=["wrong"]
def paired_interval(variant, base, level=0.95):  # the normal quantile
    d = np.asarray(variant) - np.asarray(base)
    half = 1.96 * d.std(ddof=1) / len(d) ** 0.5
    return d.mean(), d.mean() - half, d.mean() + half


# %% tags=["wrong"]
def paired_interval(variant, base, level=0.95):  # divides by n
    d = np.asarray(variant) - np.asarray(base)
    half = t.ppf((1 + level) / 2, len(d) - 1) * d.std() / len(d) ** 0.5
    return d.mean(), d.mean() - half, d.mean() + half


# %% tags=["wrong"]
def paired_interval(variant, base, level=0.95):  # the spread of one seed
    d = np.asarray(variant) - np.asarray(base)
    half = t.ppf((1 + level) / 2, len(d) - 1) * d.std(ddof=1)
    return d.mean(), d.mean() - half, d.mean() + half


# %% tags=["wrong"]
def paired_interval(variant, base, level=0.95):  # not paired
    a, b = np.asarray(variant), np.asarray(base)
    half = t.ppf((1 + level) / 2, len(a) - 1) * ((a.var(ddof=1) + b.var(ddof=1)) / len(a)) ** 0.5
    return a.mean() - b.mean(), a.mean() - b.mean() - half, a.mean() - b.mean() + half


# %% tags=["wrong"]
def paired_interval(variant, base, level=0.95):  # base minus variant
    d = np.asarray(base) - np.asarray(variant)
    half = t.ppf((1 + level) / 2, len(d) - 1) * d.std(ddof=1) / len(d) ** 0.5
    return d.mean(), d.mean() - half, d.mean() + half


# %% [markdown]
# scipy's `ttest_rel(a, b).confidence_interval()` is the same; it stands in from here on.
#
# ## The worst neighbour
#
# **Adversarial training** (对抗训练) asks: which small change of the input hurts most? Words cannot be changed a little, their **embeddings**
# can. To first order the loss at E + δ is L + ⟨g, δ⟩, where g is the gradient for E. Among all δ of length ε the product is largest along g
# itself (Cauchy–Schwarz):
#
# $$\delta = \varepsilon\,\frac{g}{\lVert g\rVert}$$
#
# That is **FGM**, the fast gradient method. The model then also learns from the gradient at E + δ; afterwards E is put back. One more
# forward and backward pass: twice the price. **PGD**, projected gradient descent, walks several smaller steps and, whenever it leaves
# the ball of radius ε, is drawn back to its surface:
#
# $$\delta \leftarrow \Pi\Bigl(\delta + s\,\frac{g}{\lVert g\rVert}\Bigr), \qquad \Pi(\delta) = \delta\cdot\min\Bigl(1, \frac{\varepsilon}{\lVert\delta\rVert}\Bigr)$$
#
# FGM is one such step from δ = 0 with s = ε.

# %% [markdown]
# ### Exercise 8.3 · One step of the adversary
# 10 min · difficulty 2 of 3 · 3 points
#
# Write `attack_step(delta, gradient, size, epsilon)`: the new δ of the formula above. All norms are over the **whole** tensor, whatever
# its shape. Where the gradient is zero there is no direction: δ takes no step. From δ = [3, 0] with gradient [0, 2], size 4 and ε = 10, it
# is [3, 4]; with ε = 2.5 it is [1.5, 2].
#
# <details><summary>Hint 1</summary>
#
# Two moves: a step of length `size`, then a check of how far δ has come.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `delta * (epsilon / delta.norm()).clamp(max=1)` shortens, and never lengthens.
#
# </details>
# <details><summary>I pass some checks but not all</summary>
#
# The adversary goes **up** the loss. `gradient / gradient.norm()` is 0/0 for a zero gradient, and one NaN spoils all weights.
#
# </details>


# %% nbgrader={"schema_version": 3, "grade_id": "08-3-attack", "solution": true, "grade": false, "locked": false, "task": false}
def attack_step(delta, gradient, size, epsilon):
    """Π(δ + size · g / ‖g‖), Π into the ball of radius ε.  Two tensors (…) of one shape, two numbers → (…)."""
    ### BEGIN SOLUTION
    norm = gradient.norm()
    if norm > 0:
        delta = delta + size * gradient / norm
    return delta * (epsilon / delta.norm()).clamp(max=1.0)
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "08-3-check", "points": 3, "solution": false, "grade": true, "locked": true, "task": false}
with check("8.3", points=3):
    three, zero = torch.tensor([3.0, 0.0]), torch.zeros(2)
    wide = np.asarray(attack_step(three, torch.tensor([0.0, 2.0]), 4.0, 10.0))
    assert three.tolist() == [3, 0], "`delta` was changed in place: return a new tensor"
    assert not np.allclose(wide, [3, -4]), "that goes down the loss: the adversary climbs, add the step"
    assert not np.allclose(wide, [3, 8]), "the gradient's own length must not matter: divide by its norm"
    assert not np.allclose(wide, [6, 8]), "Π only shortens: a δ of length 5 inside a ball of radius 10 stays as it is"
    assert np.allclose(wide, [3, 4]), "[3, 0] + 4 · [0, 1] = [3, 4], inside the ball"
    tight = np.asarray(attack_step(three, torch.tensor([0.0, 0.2]), 4.0, 2.5))
    assert not np.allclose(tight, [3, 4]), "δ has left the ball of radius 2.5: draw it back to the surface"
    assert not np.allclose(tight, [2.5, 2.5]), "Π is a ball, not a box: scale the whole δ, do not clip its numbers"
    assert np.allclose(tight, [1.5, 2]), "[3, 4] has length 5: halved, it lies on the surface of radius 2.5"
    still = np.asarray(attack_step(three, zero, 4.0, 10.0))
    assert not np.isnan(still).any(), "NaN: where the gradient is zero there is no direction, and 0/0"
    assert np.allclose(still, [3, 0]), "without a gradient δ takes no step"
    assert np.allclose(attack_step(zero, torch.tensor([0.0, 0.5]), 0.7, 0.7), [0, 0.7]), (
        "FGM: from δ = 0 one step of length ε along g"
    )
    square = np.asarray(attack_step(torch.zeros(2, 2), torch.tensor([[3.0, 0.0], [0.0, 4.0]]), 1.0, 9.0))
    assert np.allclose(square, [[0.6, 0], [0, 0.8]]), "one norm over the whole tensor, not one per row"
    inside = np.asarray(attack_step(torch.zeros(2, 2), torch.tensor([[3.0, 0.0], [0.0, 4.0]]), 10.0, 5.0))
    assert np.allclose(inside, [[3, 0], [0, 4]]), (
        "one ball for the whole tensor, not one per row: 10 · [[0.6, 0], [0, 0.8]], halved"
    )
    ### BEGIN HIDDEN TESTS
    draw = np.random.default_rng()
    d, g = draw.normal(size=(2, 4, 3))
    far = d + 1.3 * g / np.sqrt((g**2).sum())
    for radius in (0.5, 50.0):
        known = far * min(1.0, radius / np.sqrt((far**2).sum()))
        found = attack_step(torch.tensor(d), torch.tensor(g), 1.3, radius)
        assert np.allclose(found, known), f"a random δ (4, 3), size 1.3, radius {radius}: not the formula"
    ### END HIDDEN TESTS


# %% tags=["wrong"]
def attack_step(delta, gradient, size, epsilon):  # goes down
    norm = gradient.norm()
    delta = delta - size * gradient / norm if norm > 0 else delta
    return delta * (epsilon / delta.norm()).clamp(max=1.0)


# %% tags=["wrong"]
def attack_step(delta, gradient, size, epsilon):  # keeps the gradient's length
    delta = delta + size * gradient
    return delta * (epsilon / delta.norm()).clamp(max=1.0)


# %% tags=["wrong"]
def attack_step(delta, gradient, size, epsilon):  # always to the surface
    norm = gradient.norm()
    delta = delta + size * gradient / norm if norm > 0 else delta
    return delta * epsilon / delta.norm()


# %% tags=["wrong"]
def attack_step(delta, gradient, size, epsilon):  # never drawn back
    norm = gradient.norm()
    return delta + size * gradient / norm if norm > 0 else delta


# %% tags=["wrong"]
def attack_step(delta, gradient, size, epsilon):  # a box instead of a ball
    norm = gradient.norm()
    delta = delta + size * gradient / norm if norm > 0 else delta
    return delta.clamp(-epsilon, epsilon)


# %% tags=["wrong"]
def attack_step(delta, gradient, size, epsilon):  # 0/0
    delta = delta + size * gradient / gradient.norm()
    return delta * (epsilon / delta.norm()).clamp(max=1.0)


# %% tags=["wrong"]
def attack_step(delta, gradient, size, epsilon):  # one norm per row
    norm = gradient.norm(dim=-1, keepdim=True)
    delta = delta + size * gradient / norm.clamp(min=1e-12)
    return delta * (epsilon / delta.norm()).clamp(max=1.0)


# %% tags=["wrong"]
def attack_step(delta, gradient, size, epsilon):  # one ball per row
    norm = gradient.norm()
    delta = delta + size * gradient / norm if norm > 0 else delta
    return delta * (epsilon / delta.norm(dim=-1, keepdim=True)).clamp(max=1.0)


# %% [markdown]
# The library's `FGM` and `PGD` do this on the word embeddings of a model; `restore` puts them back to the bit. We attack the BERT itself:
# 8 films, the squared error of a head behind it. **Predict**: random noise of the same length ε, spread over the same words, hurts how
# much less?

# %%
head, *_ = train_head(0, patience=3)
bert = copy.deepcopy(encoder.model).requires_grad_(False)
words = bert.get_input_embeddings().weight.requires_grad_()  # (30522, 384)
some = torch.arange(0, len(stars), 118)
batch = tokenize([texts[i] for i in films.index[some]], tokenizer=encoder.tokenizer)
used = batch["input_ids"].unique()


def text_error():
    """Squared error of the head on BERT's vectors of the 8 films, from their words on, in stars²."""
    hidden, mask = bert(**batch).last_hidden_state, batch["attention_mask"][..., None]
    pooled = normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
    return (3.2 + head.f(pooled - centre).squeeze(-1) - stars[some]).square().mean()


def hurt(adversary):
    """Squared error after all turns of an adversary, whose changes are undone."""
    for _ in range(adversary.turns):
        bert.zero_grad()
        text_error().backward()
        adversary.attack()
    with torch.no_grad():
        after = float(text_error())
    adversary.restore()
    return after


# %% [markdown]
# For scale, the mean length of a word vector, and how many of them share ε:

# %% tags=["nbval-ignore-output"]
radii, rows = [1.0, 2.0, 4.0], {}
with torch.no_grad():
    clean, noise = float(text_error()), torch.randn(len(used), 384, generator=torch.Generator().manual_seed(0))
for radius in radii:
    rows[radius] = {"FGM": hurt(FGM(bert, epsilon=radius)), "PGD, 3 steps": hurt(PGD(bert, epsilon=radius, turns=3))}
    with torch.no_grad():
        before = words[used].clone()
        words[used] += radius * noise / noise.norm()
        rows[radius]["random"] = float(text_error())
        words[used] = before
damage = pd.DataFrame(rows).T - clean
print(f"{len(used)} word vectors, mean length {words[used].norm(dim=1).mean():.1f}")
assert (damage.loc[1.0:, "FGM"] > 5 * damage.loc[1.0:, "random"].abs()).all()
damage.round(3)

# %%
fig, ax = plots.figure(size=(5.0, 2.7))
for name, marker in zip(["PGD, 3 steps", "FGM", "random"], plots.MARKERS, strict=False):
    ax.plot(radii, damage[name], marker=marker, label=name)
ax.set(xlabel="ε (length of δ, no unit)", ylabel="added squared error (stars²)")
ax.legend()
plots.show(
    fig,
    alt="Three curves of the squared error that a change of the word embeddings adds, against its length ε from 1 to 4. Random noise "
    "adds next to nothing; PGD, of the same length, adds most and grows all the way; FGM grows more and more slowly.",
)

# %% [markdown]
# Along the gradient the same length hurts 70 to 90 times as much as in a random direction: a direction, not a size, is dangerous.
# Training with FGM is *meant* to make the model flat where it is steep. Whether it does, and whether that helps on *clean* films, the
# next table measures.
#
# ## The table: five seeds, ten changes
#
# Each row changes the base recipe as it says. **Write down** your first and your last before running it.

# %% tags=["nbval-ignore-output"]
CHANGES = {
    "base": {},
    "half the rate": {"learning_rate": 1.5e-3},
    "linear, warm-up": {"schedule": "linear", "warmup": 0.1},
    "cosine, warm-up": {"schedule": "cosine", "warmup": 0.1},
    "weight decay 0.1": {"weight_decay": 0.1},
    "weight decay 3": {"weight_decay": 3.0},
    "dropout 0.5": {"dropout": 0.5},
    "early stopping": {"patience": 3},
    "FGM": {"adversarial": "fgm", "epsilon": 1.0},
    "PGD, 2 steps": {"adversarial": "pgd", "epsilon": 1.0, "attacks": 2},
    "dropout, stop, FGM": {"dropout": 0.5, "patience": 3, "adversarial": "fgm"},
}
runs = {name: [train_head(seed, **change)[:3] for seed in range(5)] for name, change in CHANGES.items()}
errors = pd.DataFrame({name: [error for _, error, _ in run] for name, run in runs.items()})  # (seeds, changes), in stars
seconds = pd.Series({name: np.median([s for *_, s in run]) for name, run in runs.items()})
pd.DataFrame({"test RMSE": errors.mean(), "seconds": seconds}).round({"test RMSE": 3, "seconds": 2})

# %% [markdown]
# Is the head that FGM trained flatter? We attack both, on their test films: one step of length 1 along the gradient, as in training.


# %% tags=["nbval-ignore-output"]
def fragility(model, seed):
    """Squared error that an FGM step of length 1 on the vectors of the test films adds, in stars²."""
    rows = films_of(seed)[2]
    v = model.films(rows).detach().requires_grad_()
    error = lambda v: (3.2 + model.f(v).squeeze(-1) - stars[rows]).square().mean()  # noqa: E731
    (gradient,) = torch.autograd.grad(error(v), v)
    with torch.no_grad():
        return float(error(v + gradient / gradient.norm()) - error(v))


added = {name: [fragility(model, seed) for seed, (model, *_) in enumerate(runs[name])] for name in ("base", "FGM")}
flatter = ttest_rel(added["FGM"], added["base"]).confidence_interval()
assert flatter.high < 0, "a head trained with FGM should be hurt less"
print(
    {name: round(float(np.mean(values)), 3) for name, values in added.items()},
    f"difference {flatter.low:.3f} to {flatter.high:.3f}",
)

# %% [markdown]
# Now the paired differences.

# %% tags=["nbval-ignore-output"]
effects = {}
for name in errors.columns.drop("base"):
    interval = ttest_rel(errors[name], errors["base"]).confidence_interval()
    effects[name] = ((errors[name] - errors["base"]).mean(), interval.low, interval.high)
fig, ax = plots.figure(size=(6.2, 3.4))
plots.interval_plot(ax, list(effects), list(effects.values()), reference=0.0)
ax.set(xlabel="paired change of test RMSE (stars; left is better)")
plots.show(
    fig,
    alt="Dots with 95 % intervals of the paired change of test RMSE for ten changes, zero marked. A weight decay of 0.1 stays at zero; "
    "strong weight decay, half the rate and the schedules gain 0.02 to 0.03; dropout, early stopping, FGM and PGD about 0.04; intervals overlap.",
)
for name in ("linear, warm-up", "weight decay 3", "dropout 0.5", "early stopping", "FGM"):
    assert effects[name][2] < 0, f"{name} should help a model that overfits"
assert abs(effects["weight decay 0.1"][0]) < 0.01 and effects["dropout, stop, FGM"][0] > effects["early stopping"][0] - 0.03

# %% [markdown]
# What to notice:
#
# 1. Strong weight decay, dropout, early stopping and FGM help: each interval lies left of zero. They cure one disease, learning by heart,
# so dropout, stopping and FGM together give no more than one of them.
# 2. A weight decay of 0.1 does nothing visible in 120 steps. The fine-tuning default of 0.01 does less.
# 3. The schedules win about 0.03, and *half the rate*, without any shape, wins nearly as much: most of it is walking less far.
# 4. The five splits share films, so the intervals are a little too narrow. And ten comparisons at 95 % leave room for a false hit.
#
# ## A smaller model
#
# **Pruning** (裁剪) takes parts away after training. First layers: our BERT has six. We keep the first k, or every other one, and ask two
# things: how much time is left, and how many of a film's ten nearest films among 211 are still the same?

# %%
sample = texts[::8]
LAYERS = {"6": range(6), "5": range(5), "4": range(4), "3": range(3), "2": range(2), "3, every other": (0, 2, 4)}


def with_layers(keep):
    """The course's encoder with only these layers."""
    pruned = TextEncoder()
    pruned.model.encoder.layer = nn.ModuleList(pruned.model.encoder.layer[k] for k in keep)
    return pruned


def near(rows, k=10):
    """The k nearest rows of each row by cosine.  (n, dim), unit length → list of n sets."""
    cosine = rows @ rows.T - 2 * np.eye(len(rows))
    return [set(row) for row in np.argsort(-cosine, axis=1)[:, :k]]


# %% [markdown]
# **Guess** the share of neighbours that stays when only the last layer goes.

# %% tags=["nbval-ignore-output"]
pruning, pruned_near = {}, {}
encoder.encode(sample, cache=False)  # so that the first row is not slower for being the first
for name, keep in LAYERS.items():
    shortened = with_layers(keep)
    shortened.encode(sample[:20], cache=False)  # loads
    spent = []
    for _ in range(2):
        start = time.process_time()
        found = near(shortened.encode(sample, cache=False))
        spent.append(time.process_time() - start)
    pruned_near[name] = found
    kept_share = np.mean([len(a & b) / 10 for a, b in zip(found, pruned_near["6"], strict=True)])
    pruning[name] = {"seconds": min(spent), "neighbours kept": kept_share}  # a busy machine can only add
layers = pd.DataFrame(pruning).T
assert layers.seconds["3"] < 0.75 * layers.seconds["6"] and layers["neighbours kept"].drop("6").max() < 0.6
layers.round(2)

# %% [markdown]
# The time falls about in proportion to the layers that go. The neighbours do not fall with it: most are gone with the **first** layer,
# since only the last layer's vectors were ever trained to be averaged and compared. This pruning needs training afterwards.
#
# Second, words. The largest part of the model is a table of 30,522 word pieces, and our catalogue uses few of them. A row that is never
# read can go, without any change of the output: not an approximation. What it takes is a new number for each piece that stays.

# %% [markdown]
# ### Exercise 8.4 · Prune the vocabulary
# 9 min · difficulty 2 of 3 · 3 points
#
# Write `prune_vocabulary(ids, size)`. `ids` is a tensor (texts, pieces) of whole numbers below `size`. Return two tensors: `kept`, the
# distinct ids in rising order, and `row` with `size` entries: `row[i]` is the place of id i in `kept`, and `len(kept)` (a place that does
# not exist, so that reading it is an error) for an id that was pruned. Then `table[kept][row[ids]]` equals `table[ids]`. For ids `[[5,
# 2], [5, 0]]` and size 6: kept `[0, 2, 5]`, row `[0, 3, 1, 3, 3, 2]`.
#
# <details><summary>Hint 1</summary>
#
# `ids.unique()` is `kept`. Its places are 0, 1, 2, …
#
# </details>
# <details><summary>Hint 2</summary>
#
# Fill `row` with `len(kept)` first (`torch.full`), then assign `row[kept] = torch.arange(len(kept))`.
#
# </details>
# <details><summary>I pass some checks but not all</summary>
#
# 0 and −1 are places that exist, the first and the last: a pruned word would silently read another word's vector.
#
# </details>


# %% nbgrader={"schema_version": 3, "grade_id": "08-4-prune", "solution": true, "grade": false, "locked": false, "task": false}
def prune_vocabulary(ids, size):
    """Ids that occur, and the new place of every id.  (texts, pieces) whole numbers, number → (kept,), (size,) whole numbers."""
    ### BEGIN SOLUTION
    kept = ids.unique()
    row = torch.full((size,), len(kept))
    row[kept] = torch.arange(len(kept))
    return kept, row
    ### END SOLUTION


# %% nbgrader={"schema_version": 3, "grade_id": "08-4-check", "points": 3, "solution": false, "grade": true, "locked": true, "task": false}
with check("8.4", points=3):
    kept, row = (np.asarray(a) for a in prune_vocabulary(torch.tensor([[5, 2], [5, 0]]), 6))
    assert kept.tolist() != [5, 2, 5, 0], "each id once: the 5 occurs twice, its row is needed once"
    assert kept.tolist() == [0, 2, 5], "the distinct ids in rising order: 0, 2, 5"
    assert row.shape == (6,), "row has an entry for every id of the old vocabulary, used or not: 6"
    assert row[[0, 2, 5]].tolist() != [0, 2, 5], "those are the old ids: row gives the new places 0, 1, 2"
    assert row[[0, 2, 5]].tolist() == [0, 1, 2], "id 5 stands third in kept, so row[5] is 2"
    assert row[[1, 3, 4]].tolist() != [0, 0, 0], "place 0 exists: a pruned word would silently read the first row"
    assert row[[1, 3, 4]].tolist() != [-1, -1, -1], "place -1 is the last row: a pruned word would silently read it"
    assert row[[1, 3, 4]].tolist() == [3, 3, 3], "pruned ids point to place 3 = len(kept), which does not exist"
    table, ids = torch.arange(18.0).reshape(9, 2), torch.tensor([[7, 1, 1, 4, 7, 8]])
    kept, row = (torch.as_tensor(a) for a in prune_vocabulary(ids, 9))
    assert row.tolist() == [4, 0, 4, 4, 1, 4, 4, 2, 3], "of 9 ids 1, 4, 7, 8 stay, so a pruned id points to place 4 = len(kept)"
    assert torch.equal(table[kept][row[ids]], table[ids]), "table[kept][row[ids]] must equal table[ids]"
    ### BEGIN HIDDEN TESTS
    draw = np.random.default_rng()
    ids, table = torch.tensor(draw.integers(0, 50, size=(6, 5))), torch.tensor(draw.normal(size=(60, 3)))
    kept, row = prune_vocabulary(ids.clone(), 60)
    kept, row = torch.as_tensor(kept), torch.as_tensor(row)
    assert len(kept) == len(set(ids.flatten().tolist())), f"random ids {ids.tolist()}: kept holds each distinct id once"
    assert torch.equal(table[kept][row[ids]], table[ids]), f"random ids {ids.tolist()}: the pruned table gives other vectors"
    assert int((row == len(kept)).sum()) == 60 - len(kept), f"random ids {ids.tolist()}: every other id is marked as pruned"
    ### END HIDDEN TESTS


# %% tags=["wrong"]
def prune_vocabulary(ids, size):  # keeps repeats
    kept = ids.flatten()
    row = torch.full((size,), len(kept))
    row[kept] = torch.arange(len(kept))
    return kept, row


# %% tags=["wrong"]
def prune_vocabulary(ids, size):  # old ids instead of new places
    kept = ids.unique()
    row = torch.full((size,), len(kept))
    row[kept] = kept
    return kept, row


# %% tags=["wrong"]
def prune_vocabulary(ids, size):  # pruned words read row 0
    kept = ids.unique()
    row = torch.zeros(size, dtype=torch.int64)
    row[kept] = torch.arange(len(kept))
    return kept, row


# %% tags=["wrong"]
def prune_vocabulary(ids, size):  # pruned words read the last row
    kept = ids.unique()
    row = torch.full((size,), -1)
    row[kept] = torch.arange(len(kept))
    return kept, row


# %% tags=["wrong"]
def prune_vocabulary(ids, size):  # only as long as the largest id that is used
    kept = ids.unique()
    row = torch.full((int(kept.max()),), len(kept))
    row[kept[:-1]] = torch.arange(len(kept) - 1)
    return kept, row


# %% [markdown]
# The library's `PrunedEmbedding` holds both parts. How many bytes go, and is the output really the same?

# %%
pieces = tokenize(texts, tokenizer=encoder.tokenizer)["input_ids"]
lean = copy.deepcopy(encoder.model)
lean.embeddings.word_embeddings = PrunedEmbedding(encoder.model.get_input_embeddings(), pieces.unique())


def megabytes(model):
    """Size of the parameters in float32, in MB."""
    return sum(p.numel() for p in model.parameters()) * 4 / 1e6


with torch.no_grad():
    same = torch.equal(lean(**batch).last_hidden_state, encoder.model(**batch).last_hidden_state)
print(f"30,522 → {len(pieces.unique()):,} pieces, {megabytes(encoder.model):.0f} → {megabytes(lean):.0f} MB; identical: {same}")
assert same

# %% [markdown]
# Half of the model gone for nothing, as long as the catalogue stays. A new film called *Xylophone* brings pieces that were thrown away; the
# error then is loud, as you made it, and the table must be cut anew from the full one.
#
# ## What holds for the fine-tuned BERT
#
# A full fine-tune takes minutes a run, so it is not run here: `course experiments training_craft` did, and wrote
# `data/results/training_craft.csv`. The task: films that nobody has rated, the two-tower model with a softmax loss, everything tuned; the
# measure is AUC (higher is better). *Base* is two epochs of AdamW at 5e-5 with warm-up and linear decay, weight decay 0.01 and BERT's own
# dropout of 0.1; a *draw* says which films are held out. With three repeats an interval from a variant's own three differences would be
# very wide (t = 4.3). We assume that the differences of all variants scatter alike, and **pool** that scatter; two variants are left out
# of the pool, because they compute the base's function and cannot scatter.


# %%
SAME = ["vocabulary_pruned", "no_weight_decay"]  # the base's function, or nearly


def pooled_effects(table, metric="auc"):
    """Paired difference to the base for each variant, ∓ t·s/√n with s pooled over the variants that can differ."""
    wide = table.pivot(index=["seed", "draw"], columns="variant", values=metric)
    gap = wide.drop(columns="base").sub(wide["base"], axis=0)
    pool, n = gap.drop(columns=SAME, errors="ignore"), gap.count()
    free = int((pool.count() - 1).clip(lower=0).sum())
    s = (((pool - pool.mean()) ** 2).sum().sum() / free) ** 0.5 if free else np.nan
    half = t.ppf(0.975, free) * s / n**0.5 if free else np.nan * n
    cost = table.groupby("variant").seconds.mean()
    found = pd.DataFrame({"AUC − base": gap.mean(), "low": gap.mean() - half, "high": gap.mean() + half, "repeats": n})
    found["seconds / base"] = cost / cost["base"]
    verdicts = np.select(
        [found.low > 0, found.high < 0, found.low.notna()], ["helps", "hurts", "within noise"], "one repeat: no verdict"
    )
    return found.assign(verdict=verdicts)[n > 0].sort_values("AUC − base", ascending=False)


# %% tags=["nbval-ignore-output"]
try:
    stored = results("training_craft")
except ExperimentError:
    stored = pd.DataFrame(columns=["variant", "seed", "draw", "auc", "seconds", "date", "machine"])
ablation = pooled_effects(stored) if "base" in set(stored.variant) else pd.DataFrame()
if len(stored):
    print(
        f"{stored.date.max()}, {stored.machine.iloc[-1]}; (seed, draw): {sorted(set(zip(stored.seed, stored.draw, strict=True)))}"
    )
assert not stored.duplicated(["variant", "seed", "draw"]).any()
assert stored.auc.between(0.5, 1).all() and "base" not in ablation.index
if len(stored):
    again = experiment("training_craft").variants["frozen"](Cell("frozen", seed=0, draw=0))["auc"]
    was = stored[(stored.variant == "frozen") & (stored.draw == 0)].auc.item()
    assert abs(again - was) < 0.005, "the row of the frozen model, made again, should be the stored one"
    print(f"made again: frozen, draw 0: AUC {again:.4f}, stored {was:.4f}")
if ablation.empty:
    print("no base run is stored yet: course experiments training_craft runs what is missing and goes on where it stopped")
shown = ablation if len(ablation) else stored.groupby("variant").auc.agg(["mean", "count"])
shown.round({"AUC − base": 3, "low": 3, "high": 3, "seconds / base": 2, "mean": 3})

# %% [markdown]
# Read the last column before the first. "Within noise" does not mean "does nothing": it means that three runs cannot tell. *Vocabulary
# pruned* computes the same function as the base, and *no weight decay* nearly so: 0.01 times a rate of 5e-5, for some fifty steps,
# shrinks a weight by a hundred-thousandth. Both rows show 0.000, as they must. *Frozen* is the price of not fine-tuning at all, and even
# that lies within the noise of this table; so does everything else, the constant rate by a hair. What the table *can* tell is the price:
# FGM costs twice the seconds, PGD three times, half the layers half; early stopping saved nothing, as one run went on for a third epoch.
#
# ## The cost card
#
# **Before you read it**: which trick costs memory, which time, which gives something back?

# %% tags=["nbval-ignore-output"]
table_mb = encoder.model.get_input_embeddings().weight.numel() * 4 / 1e6
whole_mb = megabytes(encoder.model)
card = pd.DataFrame(
    [
        ("base", 1, 0.0),
        ("linear, warm-up", 1, 0.0),
        ("weight decay 3", 1, 0.0),
        ("dropout 0.5", 1, 0.0),
        ("early stopping", 1, whole_mb),  # a copy of the best weights
        ("FGM", 2, table_mb + whole_mb),  # the clean table, and the gradient held back
        ("PGD, 2 steps", 3, table_mb + whole_mb),
    ],
    columns=["trick", "passes a step", "extra MB, fully tuned BERT"],
).set_index("trick")
card["seconds a run, small model"] = seconds[card.index]
card["RMSE won, small model"] = 0 - pd.Series({"base": 0.0} | {name: effect[0] for name, effect in effects.items()})[card.index]
assert card["seconds a run, small model"]["early stopping"] < seconds["base"] < card["seconds a run, small model"]["FGM"]
card.round({"extra MB, fully tuned BERT": 0, "seconds a run, small model": 2, "RMSE won, small model": 3})

# %% [markdown]
# On the small model early stopping is the only trick that saves time, at the price of a copy of the weights; FGM costs three times the
# base and PGD five or more, since beside so small a head the bookkeeping counts. Start with early stopping where a model overfits; then
# dropout; pay for an adversary only if paired runs on *your* task say so. And the whole notebook, whose last head is this small:

# %% tags=["nbval-ignore-output"]
bill = cost_card(head)
assert bill["parameters that learned"] < 30_000
bill

# %% [markdown]
# ## Recap
#
# - A constant rate trembles at √(ησ²/(2 − η)); a falling one comes close to rest. A schedule also walks less far: compare with a smaller rate.
# - Weight decay, dropout, early stopping and FGM all fight learning by heart. Their gains do not add up.
# - Adversaries move the embeddings along the gradient; random noise of equal length hurts about a hundredth as much. FGM costs two passes a step, PGD more.
# - Pruned words cost nothing on a fixed catalogue; pruned layers cost most of the neighbours unless trained again.
# - A difference is paired, has an interval, and is otherwise called noise.
#
# ## Quiz
#
# **1.** A linear schedule beats the constant rate. What else must you try before praising the schedule?
#
# <details><summary>a) A constant rate of half the size</summary>
#
# Yes. The linear factor averages one half, so the gain may come from walking less far.
#
# </details>
# <details><summary>b) A longer warm-up</summary>
#
# No. That is another schedule, not the control experiment.
#
# </details>
# <details><summary>c) Nothing, if the interval keeps off zero</summary>
#
# No. The interval says that something helped, not what.
#
# </details>
#
# **2.** The train loss is 0.001. What do you know?
#
# <details><summary>a) The model is good</summary>
#
# No. Our head reached it, and did worse on new films than after ten epochs.
#
# </details>
# <details><summary>b) The model can reproduce its training rows</summary>
#
# Yes, and nothing else.
#
# </details>
# <details><summary>c) The learning rate is too small</summary>
#
# No. A rate that is too small leaves the loss high.
#
# </details>
#
# **3.** Two seeds, both differences positive: +.004 and +.008. Is it a gain?
#
# <details><summary>a) Yes, both are positive</summary>
#
# No. Pure noise gives two equal signs half of the time.
#
# </details>
# <details><summary>b) The interval is .006 ± .025: one cannot tell</summary>
#
# Yes. s/√2 = .002, times 12.7.
#
# </details>
# <details><summary>c) No, there is no effect</summary>
#
# No. "Cannot tell" is not "nothing there".
#
# </details>
#
# **4.** Why is δ = ε·g/‖g‖ the worst change of length ε?
#
# <details><summary>a) It is for every loss</summary>
#
# Only to first order; that is why PGD, which asks again on the way, can find worse.
#
# </details>
# <details><summary>b) Among vectors of one length, the product with g is largest along g</summary>
#
# Yes. Cauchy–Schwarz, for the linear part of the loss.
#
# </details>
# <details><summary>c) It changes the most words</summary>
#
# No. It may put nearly all of ε on a single word.
#
# </details>
#
# **5.** Which pruning leaves all outputs as they were?
#
# <details><summary>a) Dropping the last layer</summary>
#
# No. Every output passes through it.
#
# </details>
# <details><summary>b) Dropping rows of pieces that no text of the catalogue contains</summary>
#
# Yes, as long as the catalogue stays as it is.
#
# </details>
# <details><summary>c) Setting the smallest weights to zero</summary>
#
# No. It is an approximation, and in a dense matrix it saves neither time nor bytes.
#
# </details>
#
# ## In the article
#
# 推荐系统中的大模型课程学习应用 (Large models in recommender systems: course learning) says in section 3.2.3: reduce the learning rate step
# by step, to avoid overfitting (学习率调度); L2 and dropout against overfitting (正则化); adversarial samples for robustness (对抗训练); remove
# layers and parameters to shrink the model (模型裁剪).
#
# **Verdict, sentence by sentence.** *Schedules*: **holds with conditions**; the reason is noise at the end of training rather than
# overfitting, and half the rate is the rival to beat (BERT at a constant rate: −0.011 AUC, not told from 0). *L2 and dropout*: **holds**
# where a model overfits (dropout won about 0.04 stars of 0.47); weight decay at 0.1 did nothing visible, and 0.01 is usual. *Adversarial
# training*: **holds with conditions**; a head trained with FGM is hurt a fifth as much by an attack (0.15 stars²
# in place of 0.73), and it won about as much as dropout at three
# times the seconds (on BERT +0.007 AUC at twice the seconds, not told from 0). *Pruning*: **holds** for words (91 → 48 MB, identical
# output); **does not hold** for layers without training afterwards: half the time, and about a third of the neighbours. The article does
# not mention early stopping, which saves time on a model that overfits.
#
# ## Further reading
#
# - I. Loshchilov and F. Hutter (2017), *SGDR: Stochastic Gradient Descent with Warm Restarts*; (2019), *Decoupled Weight Decay Regularization*.
# - N. Srivastava and others (2014), *Dropout: A Simple Way to Prevent Neural Networks from Overfitting*, JMLR 15.
# - T. Miyato, A. Dai and I. Goodfellow (2017), *Adversarial Training Methods for Semi-Supervised Text Classification*, ICLR.
# - A. Madry and others (2018), *Towards Deep Learning Models Resistant to Adversarial Attacks*, ICLR.
# - H. Sajjad and others (2023), *On the Effect of Dropping Layers of Pre-trained Transformer Models*.
#
# ## Words
#
# | English | 中文 | in one line |
# |---|---|---|
# | learning-rate schedule | 学习率调度 | a factor of the rate that depends on the step |
# | warm-up | 预热 | the rate rises from 0 over the first steps |
# | weight decay | 权重衰减 | every step shrinks the weights a little |
# | dropout | 随机失活 | random zeros while training |
# | early stopping | 早停 | keep the weights of the best validation |
# | adversarial training | 对抗训练 | learn from the worst small change too |
# | projection | 投影 | the nearest point of a ball |
# | pruning | 裁剪 | taking parts of a model away |
# | ablation | 消融实验 | change one thing, measure the difference |
# | paired difference | 配对差异 | variant minus base under the same seed |
#
# ## Next
#
# Fewer trained numbers are a regulariser too: [lesson 9](09_parameter_efficient.ipynb) asks how few are enough.
