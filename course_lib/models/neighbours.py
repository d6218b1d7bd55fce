"""Neighbours: what similar users thought of the item, or what the user thought of similar items."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from course_lib.models.base import Recommender
from course_lib.models.baselines import BiasBaseline


def similarity(values: sparse.csr_matrix, *, kind: str = "cosine", shrinkage: float = 0.0) -> np.ndarray:
    """Similarity of every two columns, 0 on the diagonal.

    cosine:  Σ_u x_ui x_uj / √(Σ_u x_ui² · Σ_u x_uj²), sums over all rows
    pearson: the same, each sum over the rows that have both i and j (x: deviations from a baseline)
    Both are multiplied by n_ij / (n_ij + shrinkage), n_ij the rows that have both: little evidence, little weight.
    values csr (rows, columns) → (columns, columns). Source: Koren (2010), Factor in the neighbors, equation 2.
    """
    dense = values.toarray()
    present = np.zeros_like(dense)
    present[np.repeat(np.arange(values.shape[0]), np.diff(values.indptr)), values.indices] = 1.0
    common = present.T @ present
    if kind == "pearson":
        squares = (dense**2).T @ present
        scale = np.sqrt(squares * squares.T)
    else:
        norms = np.sqrt((dense**2).sum(axis=0))
        scale = np.outer(norms, norms)
    result = np.divide(dense.T @ dense, scale, out=np.zeros_like(scale), where=scale > 1e-12)
    result *= np.divide(common, common + shrinkage, out=np.zeros_like(common), where=common > 0)
    np.fill_diagonal(result, 0.0)
    return result


class _Neighbours(Recommender):
    """Both models in one: contexts hold values for entities; a target entity is compared with those of its context.

    ItemKNN: context = user, entity = item. UserKNN: context = item, entity = user.
    """

    fitted = ("similarity_", "values_", "mean_", "user_bias_", "item_bias_")

    def __init__(self, *, k: int = 40, shrinkage: float | None = None, similarity: str | None = None, feedback="explicit"):
        defaults = {"explicit": ("pearson", 100.0), "implicit": ("cosine", 0.0)}
        if feedback not in defaults:
            raise ValueError(f'feedback must be "explicit" (ratings) or "implicit" (which items), not {feedback!r}')
        similarity = similarity or defaults[feedback][0]
        if similarity not in ("pearson", "cosine"):
            raise ValueError(f'similarity must be "pearson" or "cosine", not {similarity!r}')
        if (feedback, similarity) == ("implicit", "pearson"):
            raise ValueError('implicit feedback has no deviations to correlate: use similarity="cosine"')
        shrinkage = defaults[feedback][1] if shrinkage is None else shrinkage
        if k < 1 or shrinkage < 0:
            raise ValueError(f"k must be at least 1 and shrinkage not negative, not {k} and {shrinkage}")
        self.k, self.shrinkage, self.similarity, self.feedback = k, shrinkage, similarity, feedback

    def _fit(self, split) -> None:
        self.mean_, self.user_bias_, self.item_bias_ = 0.0, np.zeros(split.n_users), np.zeros(split.n_items)
        if self.feedback == "explicit":
            baseline = BiasBaseline()
            baseline._fit(split)
            self.mean_, self.user_bias_, self.item_bias_ = baseline.mean_, baseline.user_bias_, baseline.item_bias_
            values = baseline.residuals(split)
        else:
            values = sparse.csr_matrix(split.matrix("train", values="binary"), dtype=np.float64)
        self.values_ = self._by_context(values)
        self.similarity_ = similarity(self.values_, kind=self.similarity, shrinkage=self.shrinkage)

    def _around(self, context: int, targets: np.ndarray) -> np.ndarray:
        """What the k nearest entities of the context say of the targets.  (t,) → (t,)."""
        row = slice(self.values_.indptr[context], self.values_.indptr[context + 1])
        near = np.maximum(self.similarity_[np.ix_(targets, self.values_.indices[row])], 0.0)
        if near.shape[1] > self.k:
            threshold = np.partition(near, -self.k, axis=1)[:, -self.k, None]
            near[near < threshold] = 0.0
        total = near @ self.values_.data[row]
        if self.feedback == "implicit":
            return total
        weight = near.sum(axis=1)
        return np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)

    def _pairs(self, users, items):
        contexts, targets = self._roles(users, items)
        order = np.argsort(contexts, kind="stable")
        starts = np.flatnonzero(np.diff(contexts[order], prepend=-1))
        result = self.mean_ + self.user_bias_[users] + self.item_bias_[items]
        for rows in np.split(order, starts[1:]):
            if len(rows):
                result[rows] += self._around(contexts[rows[0]], targets[rows])
        return result

    def _scores(self, users):
        grid = np.repeat(users, self.n_items), np.tile(np.arange(self.n_items), len(users))
        return self._pairs(*grid).reshape(len(users), self.n_items)


class ItemKNN(_Neighbours):
    """What the user thought of the k items of hers that are most similar to this one.

    explicit: ŷ_ui = b_ui + Σ_j s_ij (r_uj − b_uj) / Σ_j s_ij over those j with s_ij > 0, b the BiasBaseline, in stars
    implicit: score = Σ_j s_ij, an order and not a rating
    Default similarity: "pearson" for explicit, "cosine" for implicit feedback; see `similarity`.
    Source: Koren (2010), Factor in the neighbors, equation 3; Deshpande and Karypis (2004) for implicit feedback.
    """

    @staticmethod
    def _by_context(values):
        return values

    @staticmethod
    def _roles(users, items):
        return users, items

    def _similarities(self, item):
        return self.similarity_[item].copy()


class UserKNN(_Neighbours):
    """What the k raters of this item who are most similar to the user thought of it.

    explicit: ŷ_ui = b_ui + Σ_v s_uv (r_vi − b_vi) / Σ_v s_uv over those v with s_uv > 0, b the BiasBaseline, in stars
    implicit: score = Σ_v s_uv, an order and not a rating
    Source: Herlocker et al. (1999), An algorithmic framework for performing collaborative filtering.
    """

    @staticmethod
    def _by_context(values):
        return sparse.csr_matrix(values.T)

    @staticmethod
    def _roles(users, items):
        return items, users
