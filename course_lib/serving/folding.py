"""A vector for a user whom the model has never met: from the items that the user names, or from a text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FoldIn:
    """x = argmin Σ_{i named} w (y − b_i − ⟨x, v_i⟩)² + w₀ Σ_{all i} ⟨x, v_i⟩² + reg n^power ‖x‖², the model's own half-step.

    With n items named: x = (w₀ VᵀV + (w − w₀) Σ v vᵀ + reg n^power I)⁻¹ w Σ (y − b_i) v_i.
    weight w, rest w₀, target y; biased: whether b_i is taken off the target (a model of stars); length: x is scaled to it
    where the loss has no half-step in closed form (None: not scaled).
    Source: Hu, Koren and Volinsky (2008), section 4, equation 4, for one user and fixed items.
    """

    weight: float
    rest: float
    target: float
    reg: float
    power: float = 0.0
    biased: bool = False
    length: float | None = None

    def vector(self, named: np.ndarray, bias: np.ndarray, gram: np.ndarray) -> np.ndarray:
        """Vectors of the named items (n, d), their biases (n,), VᵀV (d, d) → x (d,) float32."""
        d = len(gram)
        wanted = self.target - bias if self.biased else np.full(len(named), self.target)
        matrix = self.rest * gram + (self.weight - self.rest) * (named.T @ named)
        matrix[np.diag_indices(d)] += self.reg * len(named) ** self.power
        x = np.linalg.solve(matrix, self.weight * (wanted @ named))
        if self.length is not None:
            x *= self.length / max(np.linalg.norm(x), 1e-12)
        return x.astype(np.float32)


def fold_in_of(model, user_vectors: np.ndarray, item_vectors: np.ndarray, top: float) -> FoldIn:
    """The fold-in that belongs to a fitted model.  top: the highest rating of the scale, which a named item stands for.

    Implicit ALS: its own half-step. Models of stars (explicit ALS, "mse" losses): ridge regression on the named items alone.
    Other losses (bce, bpr, softmax): each item weighs the same, and x gets the usual length of the model's users.
    """
    if getattr(model, "feedback", None) == "implicit":
        return FoldIn(weight=1 + float(model.alpha), rest=1.0, target=1.0, reg=float(model.reg))
    if getattr(model, "feedback", None) == "explicit":
        return FoldIn(weight=1.0, rest=0.0, target=top, reg=float(model.reg), power=float(model.power), biased=True)
    if getattr(model, "loss", None) == "mse":
        reg = max(float(model.reg), 1e-3)
        return FoldIn(weight=1.0, rest=0.0, target=top, reg=reg, power=1.0, biased=True)
    usual = float(np.median(np.linalg.norm(user_vectors, axis=1)))
    reg = float(np.square(item_vectors).sum() / item_vectors.shape[1]) * 0.1
    return FoldIn(weight=1.0, rest=1.0, target=1.0, reg=reg, length=usual)


def text_map(texts: np.ndarray, item_vectors: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression from text vectors to item vectors → M (h, d) and m (d,): v̂ = t M + m.

    texts (n, h), item_vectors (n, d), counts (n,) of train rows: an item weighs by the root of its count, one without rows
    is left out. The penalty is the one of thirteen from .001 to 1,000 with the least leave-one-out error.
    """
    from sklearn.linear_model import RidgeCV

    known = counts > 0
    ridge = RidgeCV(alphas=np.logspace(-3, 3, 13))
    ridge.fit(texts[known], item_vectors[known], sample_weight=np.sqrt(counts[known]))
    return ridge.coef_.T.astype(np.float32), np.asarray(ridge.intercept_, dtype=np.float32)
