"""Is it worth to let a language model learn, for items that nobody has rated?"""

from __future__ import annotations

from functools import partial

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge

from course_lib.experiments import cold_items
from course_lib.experiments.runner import Cell, Experiment
from course_lib.models import BiasBaseline, ContentBased, TwoTower, item_features
from course_lib.training import Training

RATES = {"none": 1e-3, "last": 3e-4, "lora": 1e-3, "houlsby": 1e-3, "prompt": 1e-2, "adalora": 1e-3, "full": 5e-5}
REG = 30.0  # of the ridge regressions, in ratings


def training(tune: str, cell: Cell, **options) -> Training:
    """How every two-tower model of the experiments is trained: two epochs, a learning rate for each way to tune."""
    usual = {"epochs": 2, "batch_size": 64, "learning_rate": RATES[tune], "seed": cell.seed, "bf16": False, "progress": False}
    return Training(**usual | options)


def tower(cell: Cell, *, tune: str, loss: str, size: int | None = None, encoder=None, **options) -> TwoTower:
    """A two-tower model fitted on the items that the cell's draw does not hold out."""
    config = training(tune, cell, **options)
    model = TwoTower(cold_items.texts(), encoder=encoder, tune=tune, loss=loss, size=size, training=config, seed=cell.seed)
    return model.fit(cold_items.split(cell.draw))


def two_tower(cell: Cell, *, tune: str, loss: str) -> dict:
    """Metrics of `tower` on the held-out items."""
    model = tower(cell, tune=tune, loss=loss)
    found = cold_items.everything(model, cold_items.split(cell.draw), stars=loss == "mse")
    return found | {"trainable": sum(model.trainable)}


def user_mean(cell: Cell) -> dict:
    """ŷ = μ + b_u: what is known where nothing is known of the item."""
    part = cold_items.split(cell.draw)
    return cold_items.everything(BiasBaseline().fit(part), part, stars=True)


def ridge(cell: Cell, *, words: bool) -> dict:
    """ŷ = μ + b_u + ⟨w, f_i⟩, w by ridge regression of the known items' b_i, each weighted by its number of ratings."""
    part = cold_items.split(cell.draw)
    model, counts = BiasBaseline().fit(part), np.bincount(part.train["item"], minlength=part.n_items)
    known = np.flatnonzero(counts)
    features = tfidf() if words else item_features(cold_items.movielens())[0]
    learned = Ridge(alpha=REG).fit(features[known], model.item_bias_[known], counts[known])
    model.item_bias_ = learned.predict(features)
    return cold_items.everything(model, part, stars=True) | {"trainable": features.shape[1] + 1}


def profile(cell: Cell, *, parts: tuple[str, ...]) -> dict:
    """A user is the sum of the descriptions of what they rated, above and below a neutral rating: an order, no stars."""
    part = cold_items.split(cell.draw)
    return cold_items.everything(ContentBased(cold_items.movielens(), parts=parts).fit(part), part, stars=False)


def tfidf() -> np.ndarray:
    """TF-IDF of the words of the items' texts → (n_items, words)."""
    return TfidfVectorizer(min_df=2, token_pattern=r"[^\W_]{2,}").fit_transform(cold_items.texts()).toarray()


EXPERIMENT = Experiment(
    name="fine_tuning",
    question="Does a fine-tuned encoder beat a frozen one, and word counts, on items that nobody has rated?",
    metrics=("rmse", "auc", "ndcg"),
    variants={
        "user_mean": user_mean,
        "genre_year_ridge": partial(ridge, words=False),
        "tfidf_ridge": partial(ridge, words=True),
        "genre_year_profile": partial(profile, parts=("genres", "decade")),
        "tfidf_profile": partial(profile, parts=("title", "genres", "decade")),
        "frozen_softmax": partial(two_tower, tune="none", loss="softmax"),
        "frozen_mse": partial(two_tower, tune="none", loss="mse"),
        "last_softmax": partial(two_tower, tune="last", loss="softmax"),
        "last_mse": partial(two_tower, tune="last", loss="mse"),
        "full_softmax": partial(two_tower, tune="full", loss="softmax"),
        "full_mse": partial(two_tower, tune="full", loss="mse"),
    },
)
