"""EASE: the best linear map from what a user liked to what she will like, in closed form."""

from __future__ import annotations

import numpy as np
from scipy import linalg, sparse

from course_lib.models.base import Recommender


class EASE(Recommender):
    """score(u) = x_u B, where B = argmin ‖X − X B‖² + reg ‖B‖² with diag B = 0.

    With P = (XᵀX + reg I)⁻¹: B = I − P diag(1 / P_ii). X (n_users, n_items) is binary: 1 for every train row, whatever its
    rating, so give it a split of liked items. With `half_life`, the user's vector at scoring weighs each item by
    .5^(age / half_life), where age is the number of newer train items of that user (equal times: equal age).
    Source: Steck (2019), Embarrassingly shallow autoencoders for sparse data, equation 8.
    """

    fitted = ("weights_", "history_")

    def __init__(self, *, reg: float = 250.0, half_life: float | None = None):
        if not reg > 0:
            raise ValueError(f"EASE needs reg > 0 (without it the matrix may have no inverse), not {reg}")
        if half_life is not None and not half_life > 0:
            raise ValueError(f"half_life counts items and must be positive, or None for equal weights, not {half_life}")
        self.reg, self.half_life = reg, half_life

    def _fit(self, split) -> None:
        liked = sparse.csr_matrix(split.matrix("train", values="binary"), dtype=np.float64)
        invert = inverse_dual if split.n_users < split.n_items else inverse_primal
        self.weights_ = ease_weights(invert(liked, self.reg))
        self.history_ = liked if self.half_life is None else recency(split, half_life=self.half_life)

    def _scores(self, users):
        return self.history_[users] @ self.weights_

    def score_history(self, items) -> np.ndarray:
        """Scores for someone the model has never met: her items, oldest first → (n_items,)."""
        items = np.asarray(items, dtype=np.int64)
        if items.size and not 0 <= items.min() <= items.max() < self.n_items:
            raise IndexError(f"unknown item index: the model was fitted on items 0 … {self.n_items - 1}")
        age = np.arange(len(items))[::-1]
        decay = np.ones(len(items)) if self.half_life is None else 0.5 ** (age / self.half_life)
        return decay @ self.weights_[items]

    def _similarities(self, item):
        return self.weights_[item].copy()


def inverse_primal(liked: sparse.csr_matrix, reg: float) -> np.ndarray:
    """P = (XᵀX + reg I)⁻¹, solved over items.  liked (n_users, n_items) → (n_items, n_items)."""
    gram = (liked.T @ liked).toarray()
    gram[np.diag_indices_from(gram)] += reg
    return linalg.inv(gram, overwrite_a=True, check_finite=False)


def inverse_dual(liked: sparse.csr_matrix, reg: float) -> np.ndarray:
    """The same P, solved over users: cheaper when there are fewer of them.

    (XᵀX + reg I)⁻¹ = (I − Xᵀ (XXᵀ + reg I)⁻¹ X) / reg (Woodbury). With XXᵀ + reg I = L Lᵀ and A = L⁻¹X the bracket is
    I − AᵀA.  liked (n_users, n_items) → (n_items, n_items).
    """
    gram = (liked @ liked.T).toarray()
    gram[np.diag_indices_from(gram)] += reg
    lower = linalg.cholesky(gram, lower=True, overwrite_a=True, check_finite=False)
    half = linalg.solve_triangular(lower, liked.toarray(), lower=True, overwrite_b=True, check_finite=False)
    inverse = half.T @ half
    inverse /= -reg
    inverse[np.diag_indices_from(inverse)] += 1 / reg
    return inverse


def ease_weights(inverse: np.ndarray) -> np.ndarray:
    """B = I − P diag(1 / P_ii): zero on the diagonal, −P_ij / P_jj elsewhere.  (n_items, n_items) → the same."""
    b = inverse / -np.diag(inverse)
    np.fill_diagonal(b, 0.0)
    return b


def recency(split, *, half_life: float) -> sparse.csr_matrix:
    """.5^(age / half_life) for every train row, age = number of the user's newer rows → csr (n_users, n_items)."""
    age = split.train.groupby("user")["timestamp"].rank(method="min", ascending=False).to_numpy() - 1
    index = (split.train["user"].to_numpy(), split.train["item"].to_numpy())
    return sparse.csr_matrix((0.5 ** (age / half_life), index), shape=(split.n_users, split.n_items))
