"""Factorization machine: the same dot product, between everything that is known of a user and everything of an item."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import sparse

from course_lib.models.base import Recommender
from course_lib.models.matrix_factorization import falling_adam, mse_loss


def interactions(total, squares):
    """Sum over all pairs of features, in O(kn) and not O(kn²).

    Σ_{a<b} ⟨v_a, v_b⟩ x_a x_b = ½ Σ_f [(Σ_a v_af x_a)² − Σ_a (v_af x_a)²]
    total Σ_a v_a x_a and squares Σ_a (v_a x_a)²: (..., k) → (...,).
    Source: Rendle (2010), Factorization machines, lemma 3.1.
    """
    return 0.5 * (total**2 - squares).sum(-1)


def factorization_machine(x, bias, w, v):
    """ŷ = b + Σ_a w_a x_a + Σ_{a<b} ⟨v_a, v_b⟩ x_a x_b.

    x (..., n) features, bias scalar, w (n,), v (n, k) → (...,), in the unit of b.
    Source: Rendle (2010), Factorization machines, equation 1.
    """
    return bias + x @ w + interactions(x @ v, x**2 @ v**2)


class FactorizationMachine(Recommender):
    """`factorization_machine` on x = [one-hot user, one-hot item, user features, item features], learned with Adam.

    Without features ŷ = μ + w_u + w_i + ⟨v_u, v_i⟩: matrix factorization. With them every pair interacts: user with genre,
    age with item, age with genre. A rating costs (r − ŷ)² + reg (‖v_u‖² + ‖v_i‖²) + reg_bias (w_u² + w_i²) + reg_features
    times the same for the features, once for each batch. Whoever has no ratings is judged by features alone.
    `user_features` (n_users, f) and `item_features` (n_items, g), dense or sparse. Ratings in stars. Raises ValueError for
    options out of range or features with a wrong number of rows.
    """

    fitted = ("bias_", "weights_", "factors_", "losses_")

    def __init__(
        self,
        *,
        embedding_size: int = 32,
        epochs: int = 12,
        learning_rate: float = 0.02,
        reg: float = 0.11,
        reg_bias: float = 0.01,
        reg_features: float = 0.02,
        batch_size: int = 2048,
        seed: int = 0,
        item_features=None,
        user_features=None,
    ):
        if min(embedding_size, epochs, batch_size) < 1 or not learning_rate > 0 or min(reg, reg_bias, reg_features) < 0:
            raise ValueError(
                "embedding_size, epochs and batch_size start at 1, learning_rate is positive, no reg is negative: "
                f"{embedding_size, epochs, batch_size, learning_rate, reg, reg_bias, reg_features}"
            )
        self.embedding_size, self.epochs, self.learning_rate, self.reg = embedding_size, epochs, learning_rate, reg
        self.reg_bias, self.reg_features, self.batch_size, self.seed = reg_bias, reg_features, batch_size, seed
        self.item_features, self.user_features = item_features, user_features

    def _fit(self, split) -> None:
        rng = np.random.default_rng(self.seed)
        sides = self._sides(split.n_users, split.n_items)
        size = split.n_users + split.n_items + sum(side.shape[1] for side in sides)
        user, item = (torch.tensor(split.train[name].to_numpy()) for name in ("user", "item"))
        rating = torch.tensor(split.train["rating"].to_numpy(), dtype=torch.float32)
        self.bias_ = float(rating.mean())
        start = rng.normal(0, 0.1, (size, self.embedding_size))
        start[split.n_users + split.n_items :] *= 0.1  # many features are on at once
        factors = torch.tensor(start, dtype=torch.float32, requires_grad=True)
        weights = torch.zeros(size, requires_grad=True)
        step = falling_adam([factors, weights], self.learning_rate, self.epochs * math.ceil(len(user) / self.batch_size))
        self.losses_ = np.zeros(self.epochs)
        for epoch in range(self.epochs):
            for rows in torch.from_numpy(rng.permutation(len(user))).split(self.batch_size):
                u, i = user[rows], item[rows] + split.n_users
                loss = mse_loss(rating[rows], self._predict(user[rows], item[rows], weights, factors, sides))
                step(loss + self._penalty(u, i, weights, factors, split.n_users + split.n_items))
                self.losses_[epoch] += loss.item() * len(rows) / len(user)
        self.weights_, self.factors_ = weights.detach(), factors.detach()

    def _penalty(self, u, i, weights, factors, n_ids: int) -> torch.Tensor:
        cost = self.reg * (factors[u].square().sum(-1) + factors[i].square().sum(-1))
        cost = (cost + self.reg_bias * (weights[u].square() + weights[i].square())).mean()
        return cost + self.reg_features * (factors[n_ids:].square().sum() + weights[n_ids:].square().sum())

    def _sides(self, n_users: int, n_items: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The features of users (n_users, f) and items (n_items, g); f or g may be 0."""
        out = []
        for noun, given, size in (("user", self.user_features, n_users), ("item", self.item_features, n_items)):
            dense = np.zeros((size, 0)) if given is None else given.toarray() if sparse.issparse(given) else np.asarray(given)
            if dense.ndim != 2 or len(dense) != size:
                raise ValueError(f"{noun}_features needs one row for each of the {size} {noun}s, not shape {dense.shape}")
            out.append(torch.tensor(dense, dtype=torch.float32))
        return tuple(out)

    def _halves(self, weights, factors, sides) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """For users, then items: what each alone adds to ŷ, (n,), to the total of `interactions`, (n, k), and its squares."""
        first, out = 0, []
        feature = sum(len(side) for side in sides)
        for side in sides:
            own = slice(first, first + len(side))
            rest = slice(feature, feature + side.shape[1])
            linear = weights[own] + side @ weights[rest]
            total = factors[own] + side @ factors[rest]
            squares = factors[own] ** 2 + side**2 @ factors[rest] ** 2
            out.append((linear, total, squares))
            first, feature = own.stop, rest.stop
        return out

    def _predict(self, user, item, weights, factors, sides) -> torch.Tensor:
        """ŷ of pairs.  user, item: tensors (batch,) → (batch,)."""
        (w_u, t_u, s_u), (w_i, t_i, s_i) = self._halves(weights, factors, sides)
        return self.bias_ + w_u[user] + w_i[item] + interactions(t_u[user] + t_i[item], s_u[user] + s_i[item])

    def _fitted_halves(self):
        return self._halves(self.weights_, self.factors_, self._sides(self.n_users, self.n_items))

    def _scores(self, users):
        (w_u, t_u, s_u), (w_i, t_i, s_i) = self._fitted_halves()
        users = torch.from_numpy(users)
        alone_u, alone_i = w_u + interactions(t_u, s_u), w_i + interactions(t_i, s_i)  # the rest is one dot product
        return (self.bias_ + alone_u[users][:, None] + alone_i + t_u[users] @ t_i.T).numpy()

    def _pairs(self, users, items):
        sides = self._sides(self.n_users, self.n_items)
        return self._predict(torch.from_numpy(users), torch.from_numpy(items), self.weights_, self.factors_, sides).numpy()

    def _item_vectors(self):
        return self._fitted_halves()[1][1].numpy()
