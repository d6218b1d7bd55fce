"""Content: recommend what is described like the things the user liked, rated by anybody or not."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import linalg, sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from course_lib.models.base import ModelError, Recommender
from course_lib.models.baselines import BiasBaseline
from course_lib.models.features import item_features

PARTS = ("title", "genres", "decade")


class ContentBased(Recommender):
    """Scores an item by its description alone, so that an item nobody has rated can be ranked too.

    v_i (n_items, f): TF-IDF of title words, genres and decade, minus the catalogue's mean vector (`centred`).
    implicit: score = ⟨Σ_j w_uj v_j, v_i⟩ over the user's train items j, w_uj = r_uj − `neutral`: an order, not a rating
    explicit: ŷ_ui = b_ui + ⟨x_u, v_i⟩, x_u the ridge regression (`reg`) of the user's r_uj − b_uj on v_j, b the
    BiasBaseline, in stars; an item without ratings has the bias 0
    `items` is a Ratings, or its table of items (columns title, year, genres); rows are item indices.
    Source: Pazzani and Billsus (2007), Content-based recommendation systems, sections 10.2 and 10.4.
    """

    fitted = ("vectors_", "profiles_", "mean_", "user_bias_", "item_bias_")

    def __init__(self, items, *, parts=PARTS, centred: bool = True, feedback: str = "implicit", neutral=2.0, reg=20.0):
        if feedback not in ("explicit", "implicit"):
            raise ValueError(f'feedback must be "explicit" (predict stars) or "implicit" (rank), not {feedback!r}')
        if not parts or not set(parts) <= set(PARTS):
            raise ValueError(f"parts must be one or more of {', '.join(PARTS)}, not {tuple(parts)}")
        if not reg > 0:
            raise ValueError(f"reg must be positive, not {reg}")
        self.items = items if items is None or isinstance(items, pd.DataFrame) else items.items
        self.parts, self.centred, self.feedback = tuple(parts), centred, feedback
        self.neutral, self.reg = float(neutral), float(reg)

    def _fit(self, split) -> None:
        if self.items is None:
            raise ModelError("a loaded ContentBased holds no item table: build a new one with ContentBased(items) to fit again")
        if len(self.items) != split.n_items:
            raise ValueError(f"the item table has {len(self.items)} rows, the split {split.n_items} items: pass ratings.items")
        self.vectors_ = describe(self.items, parts=self.parts, centred=self.centred)
        self.mean_, self.user_bias_, self.item_bias_ = 0.0, np.zeros(split.n_users), np.zeros(split.n_items)
        if self.feedback == "implicit":
            weights = sparse.csr_matrix(split.matrix("train"), dtype=np.float64, copy=True)
            weights.data -= self.neutral
            self.profiles_ = weights @ self.vectors_
            return
        baseline = BiasBaseline()
        baseline._fit(split)
        self.mean_, self.user_bias_, self.item_bias_ = baseline.mean_, baseline.user_bias_, baseline.item_bias_
        self.profiles_ = ridge_profiles(baseline.residuals(split), self.vectors_, reg=self.reg)

    def _scores(self, users):
        bias = self.mean_ + self.user_bias_[users][:, None] + self.item_bias_
        return bias + self.profiles_[users] @ self.vectors_.T

    def _pairs(self, users, items):
        bias = self.mean_ + self.user_bias_[users] + self.item_bias_[items]
        return bias + np.einsum("nf,nf->n", self.profiles_[users], self.vectors_[items])

    def _item_vectors(self):
        return self.vectors_

    @classmethod
    def _from_options(cls, options):
        return cls(None, **options)


def describe(items: pd.DataFrame, *, parts=PARTS, centred: bool = True) -> np.ndarray:
    """One vector per item of the catalogue: TF-IDF of title words, genres and decade → (n_items, f) float64.

    Title words that only one item has are left out: they connect nothing. With `centred` the mean item is subtracted;
    without it, what most items share (drama, the nineties) makes everything look similar to everything. Rows are not
    scaled: the more is known of an item, the further it may rise or fall.
    """
    prefix = {"genres": "genre=", "decade": "decade="}
    features, names = item_features(items)
    blocks = []
    for part in parts:
        if part == "title":
            blocks.append(_title_words(items["title"].fillna("")))
        else:
            blocks.append(features[:, [name.startswith(prefix[part]) for name in names]])
    vectors = np.hstack(blocks)
    return vectors - vectors.mean(axis=0) if centred else vectors


def _title_words(titles: pd.Series) -> np.ndarray:
    """TF-IDF of the words of at least two titles → (n_items, words), rows of unit length, or no columns at all."""
    words = TfidfVectorizer(token_pattern=r"[^\W\d_]{2,}", stop_words="english", min_df=2, dtype=np.float64)
    try:
        return words.fit_transform(titles).toarray()
    except ValueError:  # scikit-learn's answer where no word is left
        return np.zeros((len(titles), 0))


def ridge_profiles(targets: sparse.csr_matrix, vectors: np.ndarray, *, reg: float) -> np.ndarray:
    """x_u = Vᵀ (V Vᵀ + reg I)⁻¹ t_u for each user, V the vectors of her items: ridge, solved over her items.

    targets csr (n_users, n_items), vectors (n_items, f) → (n_users, f); a user without items has x_u = 0.
    """
    products = vectors @ vectors.T
    products[np.diag_indices_from(products)] += reg
    weights = targets.copy()  # of the user's items, in x_u = Σ_j weight_j v_j
    for start, stop in zip(targets.indptr, targets.indptr[1:], strict=False):
        if start < stop:
            items = targets.indices[start:stop]
            weights.data[start:stop] = linalg.solve(products[np.ix_(items, items)], targets.data[start:stop], assume_a="pos")
    return weights @ vectors
