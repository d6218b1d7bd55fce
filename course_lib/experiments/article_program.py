"""The article's own program: a BERT reads a title and predicts the film's mean score.  How low can its error go?"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from torch import nn

from course_lib.experiments import cold_items, fine_tuning
from course_lib.experiments.runner import Cell, Experiment
from course_lib.models import item_features
from course_lib.models.text_reader import Reader
from course_lib.text import TextEncoder, item_texts
from course_lib.training import Training, fit


def scores(draw: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each film's mean score (n_items,), NaN where nobody rated it, and the films to train and to test on."""
    ratings, part = cold_items.movielens(), cold_items.split(draw)
    mean = ratings.table.groupby("item")["rating"].mean().reindex(range(ratings.n_items)).to_numpy()
    return mean, np.unique(part.train["item"].to_numpy()), cold_items.cold(part)


def noise_floor(items: np.ndarray) -> dict[str, float]:
    """How far the mean scores of `items` are from what they would be with endless ratings, in stars².

    within: variance of the ratings of one film, pooled: s² = Σ (r − mean_i)² / Σ (n_i − 1); noise: mean of s² / n_i: the
    error that is left when the title is read perfectly and no single film is learned by heart.
    """
    table = cold_items.movielens().table
    groups = table[table["item"].isin(items)].groupby("item")["rating"]
    counts = groups.size()
    within = float((groups.var(ddof=0) * counts).sum() / (counts - 1).sum())
    return {"within": within, "noise": float((within / counts).mean())}


def measured(predicted: np.ndarray, draw: int, *, trainable: int) -> dict:
    """The row of a model that predicts (n_items,) scores."""
    mean, train, test = scores(draw)
    error = predicted - mean
    found = {"test_rmse": float(np.sqrt(np.mean(error[test] ** 2))), "train_mse": float(np.mean(error[train] ** 2))}
    return found | {"train_variance": float(mean[train].var()), "trainable": trainable} | noise_floor(train)


def constant(cell: Cell) -> dict:
    """The mean of the train films' mean scores, for every film."""
    mean, train, _ = scores(cell.draw)
    return measured(np.full(len(mean), mean[train].mean()), cell.draw, trainable=1)


def ridge(cell: Cell, *, words: bool) -> dict:
    """Ridge regression on genres and decade, or on TF-IDF; the penalty chosen on the train films alone."""
    mean, train, _ = scores(cell.draw)
    features = fine_tuning.tfidf() if words else item_features(cold_items.movielens())[0]
    model = RidgeCV(alphas=np.logspace(-1, 3, 17)).fit(features[train], mean[train])
    return measured(model.predict(features), cell.draw, trainable=features.shape[1] + 1)


def bert(cell: Cell, *, parts: tuple[str, ...], epochs: int) -> dict:
    """The encoder and one linear layer on it, all learned on squared error. Texts are padded to the longest of a batch."""
    mean, train, _ = scores(cell.draw)
    texts = item_texts(cold_items.movielens().items, parts=parts)
    reader = Reader(texts, encoder=TextEncoder(), tune="full", size=None, seed=cell.seed)
    model = Scorer(reader, start=float(mean[train].mean()))
    config = Training(epochs=epochs, batch_size=32, learning_rate=5e-5, seed=cell.seed, bf16=False, progress=False)
    data = torch.from_numpy(train), torch.tensor(mean[train], dtype=torch.float32)
    fit(model, data, loss=lambda model, batch: (model(batch[0]) - batch[1]).square().mean(), config=config)
    with torch.no_grad():
        predicted = model.head(reader.catalogue()).squeeze(-1).numpy().astype(float)
    return measured(predicted, cell.draw, trainable=sum(p.numel() for p in model.parameters() if p.requires_grad))


class Scorer(nn.Module):
    """score_i = ⟨w, e_i⟩ + c, from the mean score and w = 0 on."""

    def __init__(self, reader: Reader, *, start: float):
        super().__init__()
        self.reader, self.head = reader, nn.Linear(reader.vectors.shape[1], 1)
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, start)

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        """Item indices (n,) → (n,), in stars."""
        return self.head(self.reader(items)).squeeze(-1)


EXPERIMENT = Experiment(
    name="article_program",
    question="Can a BERT that reads titles predict mean scores with a train loss of 0.001?",
    metrics=("test_rmse", "train_mse", "train_variance", "within", "noise"),
    variants={
        "mean": constant,
        "genre_year_ridge": partial(ridge, words=False),
        "tfidf_ridge": partial(ridge, words=True),
        "bert_title": partial(bert, parts=("title",), epochs=3),
        "bert_title_year_genres": partial(bert, parts=("title", "year", "genres"), epochs=2),
    },
)
