"""Matrix factorization by gradient descent: the article's formula, and the three losses one may train it with."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional

from course_lib.models.base import Recommender, predict
from course_lib.training.batches import sampled


def mse_loss(y, y_hat):
    """Mean squared error: (y − ŷ)², averaged.  y, y_hat: tensors (batch,), in stars → scalar, in squared stars."""
    return (y - y_hat).square().mean()


def bce_loss(y, score):
    """Cross-entropy of a yes/no answer: −y log σ(s) − (1 − y) log(1 − σ(s)), averaged.

    y: tensor (batch,) of 0 and 1, score s: (batch,) in log-odds → scalar, in nats. Written as softplus(s) − y s, which is
    the same and does not overflow.
    """
    return (functional.softplus(score) - y * score).mean()


def bpr_loss(positive, negative):
    """Bayesian personalised ranking: −log σ(s⁺ − s⁻), averaged: what was chosen should score above what was not.

    positive, negative: tensors (batch,) of scores → scalar, in nats.
    Source: Rendle et al. (2009), BPR: Bayesian personalized ranking from implicit feedback, section 4.1.
    """
    return functional.softplus(negative - positive).mean()


class MatrixFactorization(Recommender):
    """ŷ = ⟨p_u, q_i⟩ + μ + b_u + b_i, learned in small batches with Adam.

    Each rating of a batch costs loss + reg (‖p_u‖² + ‖q_i‖²) + reg_bias (b_u² + b_i²): a vector that is used often is
    pulled often. Losses: "mse" on the stars; "bce" and "bpr" on what was chosen, where every train row counts as chosen
    and meets one item drawn at random that the user has no train row for (so μ = 0, scores are log-odds or mere order).
    The learning rate falls linearly to 0. `losses_` (epochs,) is each epoch's mean loss, penalty left out.
    Raises ValueError for options out of range. Source: Koren, Bell and Volinsky (2009), Matrix factorization techniques.
    """

    fitted = ("mean_", "user_factors_", "item_factors_", "user_bias_", "item_bias_", "losses_")

    def __init__(
        self,
        *,
        embedding_size: int = 64,
        epochs: int | None = None,
        learning_rate: float = 0.02,
        reg: float | None = None,
        reg_bias: float = 0.01,
        loss: str = "mse",
        batch_size: int = 2048,
        seed: int = 0,
    ):
        if loss not in ("mse", "bce", "bpr"):
            raise ValueError(f'loss is "mse", "bce" or "bpr", not {loss!r}')
        epochs = {"mse": 12, "bce": 25, "bpr": 25}[loss] if epochs is None else epochs
        reg = {"mse": 0.11, "bce": 0.01, "bpr": 0.01}[loss] if reg is None else reg
        if min(embedding_size, epochs, batch_size) < 1 or not learning_rate > 0 or min(reg, reg_bias) < 0:
            raise ValueError(
                "embedding_size, epochs and batch_size start at 1, learning_rate is positive, no reg is negative: "
                f"{embedding_size, epochs, batch_size, learning_rate, reg, reg_bias}"
            )
        self.embedding_size, self.epochs, self.learning_rate, self.reg = embedding_size, epochs, learning_rate, reg
        self.reg_bias, self.loss, self.batch_size, self.seed = reg_bias, loss, batch_size, seed

    def fit(self, split, *, sampler=None):
        """Learn from `split.train`; returns self.

        sampler(epoch, epochs, rng) → the train rows of an epoch in their order of use, int (n,), as in `training.fit`; None:
        every row once, by chance. The number of steps is the same, and so are the first vectors.
        Raises ValueError when train is empty, TrainingError for wrong row numbers.
        """
        self.sampler_ = sampler
        try:
            return super().fit(split)
        finally:
            del self.sampler_

    def _fit(self, split) -> None:
        rng = np.random.default_rng(self.seed)
        user, item = (torch.tensor(split.train[name].to_numpy()) for name in ("user", "item"))
        rating = torch.tensor(split.train["rating"].to_numpy(), dtype=torch.float32)
        self.mean_ = float(rating.mean()) if self.loss == "mse" else 0.0
        self._start(split.n_users, split.n_items, rng)
        learned = [self.user_factors_, self.item_factors_, self.user_bias_, self.item_bias_]
        unseen = None if self.loss == "mse" else Unseen(user.numpy(), item.numpy(), split.n_items)
        step = falling_adam(learned, self.learning_rate, self.epochs * math.ceil(len(user) / self.batch_size))
        self.losses_ = np.zeros(self.epochs)
        for epoch in range(self.epochs):
            other = None if unseen is None else torch.from_numpy(unseen.draw(rng))
            for rows in torch.from_numpy(self._order(len(user), epoch, rng)).split(self.batch_size):
                loss, penalty = self.batch_loss(user[rows], item[rows], rating[rows], None if other is None else other[rows])
                step(loss + penalty)
                self.losses_[epoch] += loss.item() * len(rows) / len(user)
        self.user_factors_, self.item_factors_, self.user_bias_, self.item_bias_ = (t.detach() for t in learned)

    def _order(self, n: int, epoch: int, rng: np.random.Generator) -> np.ndarray:
        """Rows of an epoch (from 0) in their order of use → (n,)."""
        sampler = getattr(self, "sampler_", None)
        if sampler is None:
            return rng.permutation(n)
        return sampled(sampler, n, epoch=epoch + 1, epochs=self.epochs, rng=rng)

    def _start(self, n_users: int, n_items: int, rng: np.random.Generator) -> None:
        """Small random vectors: at zero both gradients would vanish, for each is a multiple of the other vector."""
        for name, size in (("user", n_users), ("item", n_items)):
            vectors = rng.normal(0, 0.1, (size, self.embedding_size))
            setattr(self, f"{name}_factors_", torch.tensor(vectors, dtype=torch.float32, requires_grad=True))
            setattr(self, f"{name}_bias_", torch.zeros(size, requires_grad=True))

    def batch_loss(self, user, item, rating=None, other=None) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss and penalty of a batch.  user, item, rating, other (unseen items, for bce and bpr): tensors (batch,)."""
        score, cost = self._rows(user, item)
        if self.loss == "mse":
            return mse_loss(rating, score), cost.mean()
        negative, other_cost = self._rows(user, other)
        if self.loss == "bpr":
            return bpr_loss(score, negative), (cost + other_cost).mean() / 2
        answers = torch.cat([torch.ones_like(score), torch.zeros_like(negative)])
        return bce_loss(answers, torch.cat([score, negative])), (cost + other_cost).mean() / 2

    def _rows(self, user, item) -> tuple[torch.Tensor, torch.Tensor]:
        """Score and cost of each pair → (batch,) and (batch,)."""
        p, q, b_u, b_i = self.user_factors_[user], self.item_factors_[item], self.user_bias_[user], self.item_bias_[item]
        cost = self.reg * (p.square().sum(-1) + q.square().sum(-1)) + self.reg_bias * (b_u.square() + b_i.square())
        return predict(p, q, self.mean_ + b_u + b_i), cost

    def _scores(self, users):
        users = torch.from_numpy(users)
        bias = self.mean_ + self.user_bias_[users][:, None] + self.item_bias_
        return (self.user_factors_[users] @ self.item_factors_.T + bias).numpy()

    def _pairs(self, users, items):
        return self._rows(torch.from_numpy(users), torch.from_numpy(items))[0].numpy()

    def _item_vectors(self):
        return self.item_factors_.numpy()


class Unseen:
    """Draws, for each train row, an item that its user has no train row for."""

    def __init__(self, user: np.ndarray, item: np.ndarray, n_items: int):
        self.user, self.n_items = user, n_items
        self.seen = np.unique(user * n_items + item)

    def draw(self, rng: np.random.Generator, *, rounds: int = 50) -> np.ndarray:
        """One item per row, evenly drawn → (rows,). A user who has seen (nearly) all keeps the last attempt."""
        items = rng.integers(self.n_items, size=len(self.user))
        for _ in range(rounds):
            code = self.user * self.n_items + items
            again = self.seen[np.minimum(np.searchsorted(self.seen, code), len(self.seen) - 1)] == code
            if not again.any():
                break
            items[again] = rng.integers(self.n_items, size=again.sum())
        return items


def falling_adam(parameters: list[torch.Tensor], learning_rate: float, steps: int):
    """A function step(loss): one step of Adam, whose learning rate falls linearly from `learning_rate` to 0 after `steps`."""
    adam = torch.optim.Adam(parameters, lr=learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, lambda done: 1 - done / steps)

    def step(loss: torch.Tensor) -> None:
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()

    return step
