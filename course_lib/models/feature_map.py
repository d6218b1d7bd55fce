"""Cold items in the dot product: guess the vector that an item's raters would have given it from what is known of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from sklearn.linear_model import Ridge

from course_lib.models.als import ALS
from course_lib.models.base import ModelError, Recommender


class FeatureMap(Recommender):
    """score_ui = ⟨p_u, q_i⟩, with q_i = q̄ + B (f_i − f̄) for an item that nobody has liked.

    p_u and q_i are learned from the train rows of `liked` stars or more (implicit ALS; `embedding_size`, `alpha`, `epochs`,
    `reg_factors` are its own), B by ridge regression of the q_i of liked items on their features:
    min Σ_i ‖q_i − q̄ − B (f_i − f̄)‖² + reg ‖B‖². An order, not stars.
    features: (n_items, f), or a list of such blocks (graph, text, genres), each centred and scaled so that its rows have a
    mean squared length of 1: no block speaks louder for having more columns. A block of one constant row counts nothing.
    `item_factors_` (n_items, d) holds the q_i in use, `map_` (f, d) is B.
    Raises ValueError for features that do not fit or are no numbers, or where no row is liked.
    Source: Gantner et al. (2010), Learning attribute-to-feature mappings for cold-start recommendations, section 4.
    """

    fitted = ("user_factors_", "item_factors_", "map_")

    def __init__(
        self,
        features,
        *,
        embedding_size: int = 16,
        reg: float = 1.0,
        reg_factors: float = 20.0,
        alpha: float = 5.0,
        epochs: int = 8,
        liked: float = 4.0,
        seed: int = 0,
    ):
        if not reg > 0:
            raise ValueError(f"reg must be positive, not {reg}")
        self.features = None if features is None else stacked(features)
        self.embedding_size, self.reg, self.reg_factors, self.alpha = embedding_size, reg, reg_factors, alpha
        self.epochs, self.liked, self.seed = epochs, liked, seed

    def _fit(self, split) -> None:
        if self.features is None:
            raise ModelError("a loaded FeatureMap holds no features: build a new one with FeatureMap(features) to fit again")
        if len(self.features) != split.n_items:
            raise ValueError(f"the features have {len(self.features)} rows, the split {split.n_items} items: give one for each")
        train = split.train[split.train["rating"] >= self.liked]
        if train.empty:
            raise ValueError(f"no train row has {self.liked:g} stars or more: lower `liked`")
        options = {"embedding_size": self.embedding_size, "epochs": self.epochs, "seed": self.seed}
        als = ALS(feedback="implicit", reg=self.reg_factors, alpha=self.alpha, **options).fit(replace(split, train=train))
        warm = np.unique(train["item"].to_numpy())
        ridge = Ridge(alpha=self.reg).fit(self.features[warm], als.item_factors_[warm])
        self.user_factors_, self.map_ = als.user_factors_, np.ascontiguousarray(ridge.coef_.T)
        self.item_factors_ = ridge.predict(self.features)
        self.item_factors_[warm] = als.item_factors_[warm]

    def _scores(self, users):
        return self.user_factors_[users] @ self.item_factors_.T

    def _pairs(self, users, items):
        return np.einsum("nd,nd->n", self.user_factors_[users], self.item_factors_[items])

    def _item_vectors(self):
        return self.item_factors_

    @classmethod
    def _from_options(cls, options):
        return cls(None, **options)


def stacked(features) -> np.ndarray:
    """Blocks (n_items, f_b), each centred and scaled to rows of mean squared length 1, side by side → (n_items, Σ f_b)."""
    blocks = features if isinstance(features, list | tuple) else [features]
    ready = []
    for block in blocks:
        block = np.asarray(block, dtype=np.float64)
        if block.ndim != 2 or not np.isfinite(block).all():
            raise ValueError(f"features are finite numbers, one row for each item; got shape {block.shape}")
        block = block - block.mean(axis=0)
        ready.append(block / max(np.sqrt(np.square(block).sum(axis=1).mean()), 1e-12))
    if len({len(block) for block in ready}) != 1:
        raise ValueError(f"the blocks of features have {', '.join(str(len(b)) for b in ready)} rows: one for each item")
    return np.hstack(ready)
