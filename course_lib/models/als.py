"""Alternating least squares: hold one side's vectors still, and the other side's are a ridge regression each."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse

from course_lib.models.base import Recommender


class ALS(Recommender):
    """ŷ = ⟨p_u, q_i⟩ + μ + b_u + b_i, each side in closed form while the other waits.

    explicit: min Σ_ui (r_ui − ŷ_ui)² + Σ_u (reg n_u^power ‖p_u‖² + reg_bias b_u²) + the same for items, n = number of train
    ratings, r and ŷ in stars; power 1 is Zhou's weighted regularisation, 0 the same pull on everyone.
    implicit: min Σ_ui c_ui (y_ui − ⟨p_u, q_i⟩)² + reg (Σ_u ‖p_u‖² + Σ_i ‖q_i‖²) over all pairs, where y = 1 and
    c = 1 + alpha for the train rows (whatever their rating), else y = 0 and c = 1; no μ and b, ŷ is a preference.
    Without train rows a vector is zero. `objective_` holds the objective before the first and after each epoch. Raises
    ValueError for options out of range.
    Source: Zhou et al. (2008), Large-scale parallel collaborative filtering for the Netflix Prize, section 3; Hu, Koren
    and Volinsky (2008), Collaborative filtering for implicit feedback datasets, section 4.
    """

    fitted = ("mean_", "user_factors_", "item_factors_", "user_bias_", "item_bias_", "objective_")

    def __init__(
        self,
        *,
        embedding_size: int = 8,
        reg: float | None = None,
        reg_bias: float = 3.0,
        power: float = 0.5,
        epochs: int = 12,
        feedback: str = "explicit",
        alpha: float = 5.0,
        seed: int = 0,
    ):
        if feedback not in ("explicit", "implicit"):
            raise ValueError(
                f'feedback is "explicit" (predict the stars) or "implicit" (predict what is rated), not {feedback!r}'
            )
        reg = {"explicit": 1.3, "implicit": 20.0}[feedback] if reg is None else reg
        if embedding_size < 1 or epochs < 1:
            raise ValueError(f"embedding_size and epochs start at 1, but are {embedding_size} and {epochs}")
        if not (reg > 0 and reg_bias > 0 and alpha > 0 and 0 <= power <= 1):
            raise ValueError(f"reg, reg_bias, alpha must be positive, power between 0 and 1: {reg, reg_bias, alpha, power}")
        self.embedding_size, self.reg, self.reg_bias, self.power = embedding_size, reg, reg_bias, power
        self.epochs, self.feedback, self.alpha, self.seed = epochs, feedback, alpha, seed

    def _fit(self, split) -> None:
        explicit = self.feedback == "explicit"
        values = sparse.csr_matrix(split.matrix("train", values="rating" if explicit else "binary"), dtype=np.float64)
        self.mean_ = float(values.data.mean()) if explicit else 0.0
        values.data -= self.mean_
        rng = np.random.default_rng(self.seed)
        size = self.embedding_size + explicit  # the last number of a vector is its bias
        users, items = np.zeros((split.n_users, size)), rng.normal(0, 0.1, (split.n_items, size))
        items[:, self.embedding_size :] = 0.0
        step, objective = (explicit_step, explicit_objective) if explicit else (implicit_step, implicit_objective)
        options = (self.reg, self.reg_bias, self.power) if explicit else (self.reg, self.alpha)
        by_user, by_item = values, values.T.tocsr()
        losses = [objective(by_user, users, items, *options)]
        for _ in range(self.epochs):
            users = step(by_user, items, *options)
            items = step(by_item, users, *options)
            losses.append(objective(by_user, users, items, *options))
        self.objective_ = np.array(losses)
        self.user_factors_, self.item_factors_ = users[:, : self.embedding_size], items[:, : self.embedding_size]
        biases = (users[:, -1], items[:, -1]) if explicit else (np.zeros(split.n_users), np.zeros(split.n_items))
        self.user_bias_, self.item_bias_ = biases

    def _scores(self, users):
        return self.mean_ + self.user_bias_[users][:, None] + self.item_bias_ + self.user_factors_[users] @ self.item_factors_.T

    def _pairs(self, users, items):
        product = (self.user_factors_[users] * self.item_factors_[items]).sum(-1)
        return self.mean_ + self.user_bias_[users] + self.item_bias_[items] + product

    def _item_vectors(self):
        return self.item_factors_


def gram(pattern: sparse.csr_matrix, vectors: np.ndarray) -> np.ndarray:
    """A_u = Σ_i m_ui q_i q_iᵀ for every row u at once: a sparse matrix times the outer products of the vectors.

    pattern m (n, m), vectors q (m, k) → (n, k, k).
    """
    row, column = np.triu_indices(vectors.shape[1])
    upper = pattern @ (vectors[:, row] * vectors[:, column])
    full = np.empty((pattern.shape[0], vectors.shape[1], vectors.shape[1]))
    full[:, row, column] = full[:, column, row] = upper
    return full


def solve(matrices: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """A_u x_u = b_u for every u, by Cholesky.  (n, k, k) positive definite, (n, k) → (n, k)."""
    lower = torch.linalg.cholesky(torch.from_numpy(matrices))
    return torch.cholesky_solve(torch.from_numpy(targets)[..., None], lower)[..., 0].numpy()


def explicit_step(values: sparse.csr_matrix, fixed: np.ndarray, reg: float, reg_bias: float, power: float) -> np.ndarray:
    """The best w_u = [p_u, b_u] for fixed [q_i, b_i]: (Σ_i z_i z_iᵀ + Λ_u) w_u = Σ_i (r_ui − b_i) z_i, with z_i = [q_i, 1].

    Λ_u is diagonal: reg n_u^power for each factor, reg_bias for the bias.
    values r (n, m) centred on μ, fixed (m, k + 1) → (n, k + 1).
    """
    known = _like(values, np.ones(values.nnz))
    design = np.hstack([fixed[:, :-1], np.ones((len(fixed), 1))])
    matrices, diagonal = gram(known, design), np.arange(design.shape[1])
    matrices[:, diagonal, diagonal] += _ridge(values, design.shape[1], reg, reg_bias, power)
    return solve(matrices, values @ design - known @ (fixed[:, -1:] * design))


def implicit_step(values: sparse.csr_matrix, fixed: np.ndarray, reg: float, alpha: float) -> np.ndarray:
    """The best p_u for fixed q_i: (QᵀQ + alpha Σ_{i rated} q_i q_iᵀ + reg I) p_u = (1 + alpha) Σ_{i rated} q_i.

    values (n, m) of ones, fixed (m, k) → (n, k).
    """
    matrices = alpha * gram(values, fixed) + fixed.T @ fixed + reg * np.eye(fixed.shape[1])
    return solve(matrices, (1 + alpha) * (values @ fixed))


def explicit_objective(values, users, items, reg: float, reg_bias: float, power: float) -> float:
    """Σ (r − ŷ)² and what the vectors cost, in squared stars.

    values csr (n, m) centred, users (n, k + 1), items (m, k + 1).
    """
    row, column = values.tocoo().coords
    guess = np.einsum("nk,nk->n", users[row, :-1], items[column, :-1]) + users[row, -1] + items[column, -1]
    cost = sum(
        (_ridge(side, vectors.shape[1], reg, reg_bias, power) * vectors**2).sum()
        for side, vectors in ((values, users), (values.T.tocsr(), items))
    )
    return float(((values.data - guess) ** 2).sum() + cost)


def implicit_objective(values, users, items, reg: float, alpha: float) -> float:
    """Σ c (y − ⟨p, q⟩)² + reg (‖P‖² + ‖Q‖²) over all pairs, without writing them all down."""
    row, column = values.tocoo().coords
    guess = np.einsum("nk,nk->n", users[row], items[column])
    everywhere = np.sum((users.T @ users) * (items.T @ items))
    rated = ((1 + alpha) * (1 - guess) ** 2 - guess**2).sum()
    return float(everywhere + rated + reg * ((users**2).sum() + (items**2).sum()))


def _ridge(values: sparse.csr_matrix, size: int, reg: float, reg_bias: float, power: float) -> np.ndarray:
    """What each number of each vector costs → (n, size); a row without values costs as one with a single value."""
    count = np.maximum(np.diff(values.indptr), 1)
    return np.column_stack([np.repeat(reg * count[:, None] ** power, size - 1, axis=1), np.full(len(count), reg_bias)])


def _like(matrix: sparse.csr_matrix, data: np.ndarray) -> sparse.csr_matrix:
    return sparse.csr_matrix((data, matrix.indices, matrix.indptr), shape=matrix.shape)
