"""Bayesian matrix factorization: not one pair of vectors but a few hundred plausible ones, and their average."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import linalg, sparse

from course_lib.models.als import gram
from course_lib.models.base import Recommender


class BayesianMF(Recommender):
    """r_ui ~ Normal(μ + ⟨p_u, q_i⟩ + b_u + b_i, 1/α), and the prediction is the mean over Gibbs samples of all the rest.

    With w_u = [p_u, b_u]: w_u ~ Normal(m + f_u Γ, Λ⁻¹), (m, Λ) ~ Normal–Wishart, Γ ~ Normal(0, (λΛ)⁻¹), λ and α ~ Gamma;
    items likewise. f_u are the features of a user: `user_features` (n_users, f), and with `implicit` also which items she
    rated, each 1/√n_u (who rated an item, for items: `item_features`). Features reach whoever has no ratings.
    `samples` sweeps are kept after `burn_in` others. Ratings in stars; `noise_` is 1/√α. Raises ValueError for options out
    of range or features with a wrong number of rows.
    Source: Salakhutdinov and Mnih (2008), Bayesian probabilistic matrix factorization using MCMC, section 3; Simm et al.
    (2017), Macau: scalable Bayesian factorization with high-dimensional side information, section 2.
    """

    fitted = ("mean_", "noise_", "user_samples_", "item_samples_")

    def __init__(
        self,
        *,
        embedding_size: int = 8,
        samples: int = 160,
        burn_in: int = 40,
        seed: int = 0,
        implicit: bool = False,
        item_features=None,
        user_features=None,
    ):
        if embedding_size < 1 or samples < 1 or burn_in < 0:
            raise ValueError(f"embedding_size and samples start at 1, burn_in at 0: {embedding_size, samples, burn_in}")
        self.embedding_size, self.samples, self.burn_in, self.seed = embedding_size, samples, burn_in, seed
        self.implicit, self.item_features, self.user_features = implicit, item_features, user_features

    def _fit(self, split) -> None:
        rng = np.random.default_rng(self.seed)
        values = sparse.csr_matrix(split.matrix("train", values="rating"), dtype=np.float64)
        self.mean_ = float(values.data.mean())
        values.data -= self.mean_
        by_user, by_item, size = values, values.T.tocsr(), self.embedding_size + 1
        user_features, item_features = self._features(split, by_user, by_item)
        users = Side.start(by_user, user_features, size, rng)
        items = Side.start(by_item, item_features, size, rng)
        kept, alpha, noise = ([], []), 1.0, 0.0
        for sweep in range(self.burn_in + self.samples):
            users.sample(items.vectors, alpha, rng)
            error = items.sample(users.vectors, alpha, rng)
            alpha = rng.gamma(1 + values.nnz / 2, 1 / (1 + error / 2))
            if sweep >= self.burn_in:
                noise += alpha**-0.5 / self.samples
                for samples, side in zip(kept, (users, items), strict=True):
                    samples.append(side.vectors.astype(np.float32))
        self.noise_ = float(noise)
        self.user_samples_, self.item_samples_ = (np.stack(samples, axis=1) for samples in kept)

    def _features(self, split, by_user, by_item) -> tuple:
        """What the two priors may look at: (n_users, f) and (n_items, g), or None."""
        out = []
        for noun, given, rated, size in (
            ("user", self.user_features, by_user, split.n_users),
            ("item", self.item_features, by_item, split.n_items),
        ):
            blocks = [] if given is None else [_dense(given)]
            if blocks and (blocks[0].ndim != 2 or len(blocks[0]) != size):
                raise ValueError(f"{noun}_features needs one row for each of the {size} {noun}s, not shape {blocks[0].shape}")
            if self.implicit:
                blocks.append(known(rated).toarray() / np.sqrt(np.maximum(np.diff(rated.indptr), 1))[:, None])
            out.append(np.hstack(blocks) if blocks else None)
        return tuple(out)

    def _scores(self, users):
        size = self.embedding_size
        p, q = self.user_samples_[users], self.item_samples_
        p = np.concatenate([p, np.ones_like(p[..., :1])], axis=-1).reshape(len(p), -1)  # [p, b_u, 1] · [q, 1, b_i]
        q = np.concatenate([q[..., :size], np.ones_like(q[..., :1]), q[..., size:]], axis=-1).reshape(len(q), -1)
        return self.mean_ + (p @ q.T) / self.samples

    def _pairs(self, users, items):
        return self.draws(users, items).mean(axis=1)

    def draws(self, users, items) -> np.ndarray:
        """What each kept sample expects of each pair.  users (n,), items (n,) → (n, samples), in stars, without noise."""
        self._ready()
        users, items, size = np.atleast_1d(users), np.atleast_1d(items), self.embedding_size
        out = np.empty((len(users), self.samples))
        for start in range(0, len(users), 1024):
            part = slice(start, start + 1024)
            p, q = self.user_samples_[users[part]], self.item_samples_[items[part]]
            out[part] = self.mean_ + (p[..., :size] * q[..., :size]).sum(-1) + p[..., size] + q[..., size]
        return out

    def interval(self, users, items, *, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Where the expected rating of each pair lies with probability `level` → (n,) low and (n,) high, in stars."""
        if not 0 < level < 1:
            raise ValueError(f"level is a probability between 0 and 1, not {level}")
        return tuple(np.quantile(self.draws(users, items), [(1 - level) / 2, (1 + level) / 2], axis=1))

    def _item_vectors(self):
        return self.item_samples_[..., : self.embedding_size].reshape(self.n_items, -1)


@dataclass
class Side:
    """The users (or the items) within the sampler: their ratings, what is known of them, their present vectors."""

    values: sparse.csr_matrix  # (n, m), centred ratings
    rated: sparse.csr_matrix  # (n, m), ones in the same places
    basis: np.ndarray | None  # (n, r) float32, the features turned so that its columns are orthogonal
    vectors: np.ndarray  # (n, k), the last column is the bias
    weights: np.ndarray  # (r, k), Γ for `basis`
    centres: np.ndarray | float = 0.0  # (n, k), basis Γ
    strength: float = 1.0  # λ

    @classmethod
    def start(cls, values, features, size: int, rng: np.random.Generator) -> Side:
        """Small random vectors, no weights yet."""
        basis = None if features is None else orthogonal(features).astype(np.float32)
        vectors = rng.normal(0, 0.1, (values.shape[0], size))
        return cls(values, known(values), basis, vectors, np.zeros((0 if basis is None else basis.shape[1], size)))

    def sample(self, other: np.ndarray, alpha: float, rng: np.random.Generator) -> float:
        """New m, Λ, Γ, λ and vectors, given the other side's vectors (m, k); returns Σ (r − ŷ)² with the new ones."""
        mean, precision = normal_wishart(self.vectors - self.centres, self.weights, self.strength, rng)
        if self.basis is not None:
            self._sample_weights(self.vectors - mean, precision, rng)
        design = np.hstack([other[:, :-1], np.ones((len(other), 1))])
        matrices = gram(self.rated, design)
        targets = self.values @ design - self.rated @ (other[:, -1:] * design)
        self.vectors = normal(alpha * matrices + precision, alpha * targets + (mean + self.centres) @ precision, rng)
        explained = np.einsum("nk,nk->", self.vectors, np.einsum("nkl,nl->nk", matrices, self.vectors) - 2 * targets)
        offsets = self.values.data - other[self.values.indices, -1]
        return float(offsets @ offsets + explained)

    def _sample_weights(self, deviations: np.ndarray, precision: np.ndarray, rng: np.random.Generator) -> None:
        """Γ and λ. In the orthogonal basis each row of Γ is on its own: Normal(sᵀd / (s² + λ), ((s² + λ) Λ)⁻¹)."""
        total = np.einsum("nr,nr->r", self.basis, self.basis)[:, None] + self.strength
        noise = linalg.solve_triangular(np.linalg.cholesky(precision).T, rng.normal(size=self.weights.shape).T)
        self.weights = self.basis.T @ deviations.astype(np.float32) / total + noise.T / np.sqrt(total)
        size = np.einsum("rk,kl,rl->", self.weights, precision, self.weights)
        self.strength = rng.gamma(1 + self.weights.size / 2, 1 / (1 + size / 2))
        self.centres = (self.basis @ self.weights.astype(np.float32)).astype(np.float64)


def normal_wishart(deviations, weights, strength: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw m and Λ given the n vectors around them and Γ (r, k); prior: mean 0 seen once, k degrees of freedom, scale I.

    deviations (n, k), weights (r, k) → (k,) and (k, k).
    """
    n, k = deviations.shape
    average = deviations.mean(0)
    centred = deviations - average
    scatter = np.eye(k) + centred.T @ centred + n / (n + 1) * np.outer(average, average) + strength * weights.T @ weights
    half = np.linalg.cholesky(np.linalg.inv(scatter)) @ bartlett(k + n + len(weights), k, rng)
    precision = half @ half.T
    return n / (n + 1) * average + linalg.solve_triangular(half.T, rng.normal(size=k)) / np.sqrt(n + 1), precision


def bartlett(freedom: float, size: int, rng: np.random.Generator) -> np.ndarray:
    """Lower triangle A with A Aᵀ ~ Wishart(I, freedom), by Bartlett's decomposition → (size, size)."""
    lower = np.tril(rng.normal(size=(size, size)), -1)
    lower[np.diag_indices(size)] = np.sqrt(rng.chisquare(freedom - np.arange(size)))
    return lower


def normal(precisions: np.ndarray, targets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One draw of Normal(A⁻¹h, A⁻¹) for every A (n, k, k) and h (n, k) → (n, k); with A = L Lᵀ it is L⁻ᵀ(L⁻¹h + ε)."""
    lower = torch.linalg.cholesky(torch.from_numpy(precisions))
    half = torch.linalg.solve_triangular(lower, torch.from_numpy(targets)[..., None], upper=False)
    half += torch.from_numpy(rng.normal(size=(*targets.shape, 1)))
    return torch.linalg.solve_triangular(lower.mT, half, upper=True)[..., 0].numpy()


def orthogonal(features: np.ndarray) -> np.ndarray:
    """Features F (n, f) turned into F V (n, r), r ≤ min(n, f), columns orthogonal: F Γ stays within reach, costs less."""
    wide = features.shape[0] <= features.shape[1]
    values, vectors = linalg.eigh(features @ features.T if wide else features.T @ features, check_finite=False)
    large = values > 1e-9 * values[-1]
    return vectors[:, large] * np.sqrt(values[large]) if wide else features @ vectors[:, large]


def known(values: sparse.csr_matrix) -> sparse.csr_matrix:
    """Ones wherever a value is stored."""
    return sparse.csr_matrix((np.ones(values.nnz), values.indices, values.indptr), shape=values.shape)


def _dense(features) -> np.ndarray:
    return np.asarray(features.toarray() if sparse.issparse(features) else features, dtype=np.float64)
