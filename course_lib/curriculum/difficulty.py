"""How hard is a rating, or a text?  One number per train row, higher is harder."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

WORD = re.compile(r"\w+")


def teacher_residual(split, teacher) -> np.ndarray:
    """|r − ŷ|: how far a model that is fitted already misses each train row.  → (n_train,), in stars.

    teacher: a Recommender that predicts stars. One that was fitted on the same rows has seen the answers: the more it has
    learned by heart, the less its residual says. Source: Hacohen and Weinshall (2019), On the power of curriculum learning
    in training deep networks, section 2.
    """
    user, item = split.train["user"].to_numpy(), split.train["item"].to_numpy()
    return np.abs(split.train["rating"].to_numpy() - teacher.score(user, item))


def rarity(split, *, by: str = "item") -> np.ndarray:
    """−ln (n_i / n): n_i train rows of the row's item (or user), of n in all.  → (n_train,), in nats.

    Raises ValueError where by is neither "item" nor "user".
    """
    index = _index(split, by)
    return -np.log(np.bincount(index)[index] / len(index))


def rating_noise(split, *, by: str = "item", reg: float = 5.0) -> np.ndarray:
    """How much the ratings of the row's item (or user) disagree.  → (n_train,), in stars.

    √((Σ (r − r̄_i)² + reg · s²) / (n_i + reg)), s² the mean of (r − r̄_i)² over all rows: an item with few ratings is taken to
    be as noisy as most. Raises ValueError where by is neither "item" nor "user", or reg is not positive.
    """
    if not reg > 0:
        raise ValueError(f"reg counts ratings of the usual noise and must be positive, not {reg}")
    index, rating = _index(split, by), split.train["rating"].to_numpy()
    count = np.bincount(index)
    mean = np.bincount(index, rating) / np.maximum(count, 1)
    square = (rating - mean[index]) ** 2
    return np.sqrt((np.bincount(index, square) + reg * square.mean()) / (count + reg))[index]


def text_length(texts: Iterable[str]) -> np.ndarray:
    """Words of each text → (n_texts,).  For train rows, take the length of each row's item: `[split.train["item"]]`.

    Raises ValueError for a single text in place of a list.
    """
    if isinstance(texts, str):
        raise ValueError(f"texts is one text, {texts[:30]!r}; put it into a list: [text]")
    return np.array([len(WORD.findall(text)) for text in texts], dtype=float)


def _index(split, by: str) -> np.ndarray:
    if by not in ("item", "user"):
        raise ValueError(f'by is "item" or "user", not {by!r}')
    if not len(split.train):
        raise ValueError("split.train has no rows, so there is nothing to be hard")
    return split.train[by].to_numpy()
