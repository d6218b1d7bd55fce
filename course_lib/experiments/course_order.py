"""Does the order of the ratings matter?  Easy, hard, popular, rare ones first, or as the model likes, at three L2."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
import torch

from course_lib.curriculum import (
    PacedSampler,
    SelfPacedSampler,
    ShuffledSampler,
    StepCounter,
    competence,
    rarity,
    teacher_residual,
)
from course_lib.evaluation import evaluate_ratings
from course_lib.experiments import cold_items
from course_lib.experiments.runner import Cell, Experiment
from course_lib.models import BiasBaseline, MatrixFactorization, predict
from course_lib.splitting import Split, random_split

REGS = (0.02, 0.1, 0.2)  # of the vectors, per rating
PACING = competence(0.2, root=2, full=0.5)  # chosen before any of it was run: a fifth at first, all from half-way on


@lru_cache(maxsize=2)
def split(draw: int) -> Split:
    """A fifth of the ratings is held out, by chance."""
    return random_split(cold_items.movielens(), test=0.2, seed=draw)


def shuffled(part: Split, cell: Cell) -> np.ndarray:
    """A difficulty that means nothing: the placebo, as its rows are paced all the same."""
    return np.random.default_rng(cell.seed).permutation(len(part.train)).astype(float)


def surprise(part: Split, cell: Cell) -> np.ndarray:
    """|r − μ − b_u − b_i|, of the plain biases: easy is what they explain already."""
    return teacher_residual(part, BiasBaseline().fit(part))


def rare(part: Split, cell: Cell) -> np.ndarray:
    """−ln of the item's share of the ratings; the many ratings of one item come in an order of chance."""
    return rarity(part) + 1e-9 * shuffled(part, cell)


ORDERS = {  # name → difficulty and sign, None for all rows from the start
    "random": None,
    "random_subset_first": (shuffled, 1),
    "easy_first": (surprise, 1),
    "hard_first": (surprise, -1),
    "popular_first": (rare, 1),
    "rare_first": (rare, -1),
}
SHUFFLED = {"easy_shuffled": "easy_first", "hard_shuffled": "hard_first"}  # the same rows as often, in an order of chance


def losses_now(model: MatrixFactorization, part: Split) -> Callable[[], np.ndarray]:
    """A function that gives the squared error of each train row, of the model as it is while it learns → (n,), in stars²."""
    user, item = (torch.tensor(part.train[name].to_numpy()) for name in ("user", "item"))
    rating = torch.tensor(part.train["rating"].to_numpy(), dtype=torch.float32)

    @torch.no_grad()
    def losses() -> np.ndarray:
        bias = model.mean_ + model.user_bias_[user] + model.item_bias_[item]
        return (rating - predict(model.user_factors_[user], model.item_factors_[item], bias)).square().numpy()

    return losses


def sampler_of(order: str, part: Split, cell: Cell, model: MatrixFactorization):
    """What `MatrixFactorization.fit` takes as its sampler, None for "all rows from the start"."""
    if order == "self_paced":
        return SelfPacedSampler(losses_now(model, part), PACING)
    if order in SHUFFLED:
        return ShuffledSampler(sampler_of(SHUFFLED[order], part, cell, model), seed=cell.seed)
    if ORDERS[order] is None:
        return None
    difficulty, sign = ORDERS[order]
    return PacedSampler(sign * difficulty(part, cell), PACING)


def ordered(cell: Cell, *, order: str, reg: float) -> dict:
    """Matrix factorization whose epochs draw from the share of the ratings that the order allows."""
    part, model = split(cell.draw), MatrixFactorization(reg=reg, seed=cell.seed)
    with StepCounter() as steps:
        model.fit(part, sampler=sampler_of(order, part, cell, model))
    report = evaluate_ratings(model, part)
    return {"rmse": report.rmse, "mae": report.mae, "train_loss": float(model.losses_[-1]), "steps": steps.count}


EXPERIMENT = Experiment(
    name="course_order",
    question="Does it matter in which order matrix factorization meets the ratings, with the same number of steps?",
    metrics=("rmse", "mae", "train_loss", "steps"),
    repeats=tuple((seed, seed) for seed in range(5)),
    variants={
        f"{order}_l2_{reg:.2f}": partial(ordered, order=order, reg=reg)
        for reg in REGS
        for order in (*ORDERS, *SHUFFLED, "self_paced")
    },
)
