"""Models that know nothing personal about taste: what every other model has to beat."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from course_lib.models.base import Recommender


class Popularity(Recommender):
    """Every user gets the items that most users rated: score = number of train rows of the item."""

    fitted = ("count_",)

    def _fit(self, split) -> None:
        self.count_ = np.bincount(split.train["item"], minlength=split.n_items).astype(np.float64)

    def _scores(self, users):
        return np.tile(self.count_, (len(users), 1))

    def _pairs(self, users, items):
        return self.count_[items]


class GlobalMean(Recommender):
    """ŷ = μ, the mean train rating, whoever asks and whatever the item."""

    fitted = ("mean_",)

    def _fit(self, split) -> None:
        self.mean_ = float(split.train["rating"].mean())

    def _scores(self, users):
        return np.full((len(users), self.n_items), self.mean_)

    def _pairs(self, users, items):
        return np.full(len(users), self.mean_)


class BiasBaseline(Recommender):
    """ŷ = μ + b_u + b_i: the mean, how generous the user is, how well liked the item is.

    b_i = Σ_u (r_ui − μ − b_u) / (reg_item + n_i) and b_u likewise, in turn, `epochs` times; both regularisers count in
    ratings, so someone seen once keeps 1 / (1 + reg) of the deviation. Ratings, μ and b in stars. A user or an item
    without train ratings has b = 0.
    Source: Koren (2010), Factor in the neighbors, section 2.1.
    """

    fitted = ("mean_", "user_bias_", "item_bias_")

    def __init__(self, *, reg_user: float = 5.0, reg_item: float = 3.0, epochs: int = 10):
        if min(reg_user, reg_item) < 0 or epochs < 1:
            raise ValueError(f"reg_user and reg_item must not be negative and epochs at least 1: {reg_user, reg_item, epochs}")
        self.reg_user, self.reg_item, self.epochs = reg_user, reg_item, epochs

    def _fit(self, split) -> None:
        user, item, rating = (split.train[name].to_numpy() for name in ("user", "item", "rating"))
        self.mean_ = float(rating.mean())
        centred = rating - self.mean_
        self.user_bias_, self.item_bias_ = np.zeros(split.n_users), np.zeros(split.n_items)
        for _ in range(self.epochs):
            self.item_bias_ = _shrunk_mean(item, centred - self.user_bias_[user], split.n_items, self.reg_item)
            self.user_bias_ = _shrunk_mean(user, centred - self.item_bias_[item], split.n_users, self.reg_user)

    def _scores(self, users):
        return self.mean_ + self.user_bias_[users][:, None] + self.item_bias_

    def _pairs(self, users, items):
        return self.mean_ + self.user_bias_[users] + self.item_bias_[items]

    def residuals(self, split) -> sparse.csr_matrix:
        """What the baseline leaves unexplained in the train ratings: r_ui − ŷ_ui → csr (n_users, n_items), in stars."""
        user, item, rating = (split.train[name].to_numpy() for name in ("user", "item", "rating"))
        return sparse.csr_matrix((rating - self._pairs(user, item), (user, item)), shape=(split.n_users, split.n_items))


def _shrunk_mean(index: np.ndarray, values: np.ndarray, size: int, reg: float) -> np.ndarray:
    """Σ values / (reg + count) for each index; 0 where nothing was counted."""
    count = np.bincount(index, minlength=size)
    return np.bincount(index, values, minlength=size) / np.where(count, reg + count, 1)
