"""What every recommender shares: one small protocol (fit, score, recommend, save, load) and the rating as a dot product."""

from __future__ import annotations

import hashlib
import inspect
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors
from scipy import sparse

from course_lib.models.storage import CONFIG, FORMAT, TENSORS, ModelError, pack, read, unpack, write


def predict(x_u, v_i, b):
    """Rating that the model expects.

    ŷ = ⟨x_u, v_i⟩ + b

    x_u, v_i: tensors (..., factors); b: scalar or (...,) → (...,), in stars.
    Source: Koren, Bell and Volinsky (2009), Matrix factorization techniques, equation 4.
    """
    return (x_u * v_i).sum(-1) + b


class Recommender:
    """A model that scores items for users.

    A subclass writes `_fit(split)` and `_scores(users)`, names in `fitted` the attributes that it learned (arrays, csr
    matrices, tensors or floats; these are what `save` stores), and keeps each keyword-only option of its constructor
    under the option's own name.
    """

    fitted: tuple[str, ...] = ()
    seen_: sparse.csr_matrix | None = None

    def fit(self, split):
        """Learn from `split.train`; returns self. Raises ValueError when it is empty."""
        if len(split.train) == 0:
            raise ValueError(f"{type(self).__name__}.fit: split.train has no rows; nothing can be learned from it")
        self.seen_ = None  # a fit that fails leaves no half-fitted model behind
        self._fit(split)
        self.seen_ = sparse.csr_matrix(split.matrix("train", values="binary"))
        return self

    @property
    def n_users(self) -> int:
        """Number of users the model was fitted on."""
        return self._ready().shape[0]

    @property
    def n_items(self) -> int:
        """Number of items in the catalogue the model was fitted on."""
        return self._ready().shape[1]

    def score(self, users, items=None) -> np.ndarray:
        """Scores; higher is better (stars, for a model of ratings).

        users (n,), items None → (n, n_items); users (n,), items (n,) in pairs → (n,).
        Raises IndexError for an index outside the fitted range, ModelError before `fit`.
        """
        users = _indices(users, self.n_users, "user")
        if items is None:
            return np.asarray(self._scores(users), dtype=np.float64)
        items = _indices(items, self.n_items, "item")
        if len(users) != len(items):
            raise ValueError(f"score takes users and items in pairs, but got {len(users)} users and {len(items)} items")
        return np.asarray(self._pairs(users, items), dtype=np.float64)

    def recommend(self, users, k: int = 10, *, exclude_seen: bool = True) -> np.ndarray:
        """Indices of the k best items of each user, best first; ties go to the lower index.

        users (n,) → (n, k) int. With `exclude_seen`, items of the user's train rows are left out, and a user with fewer
        than k items left gets −1 in the places that remain.
        """
        if not 1 <= k <= self.n_items:
            raise ValueError(f"k must lie between 1 and the number of items ({self.n_items}), not {k}")
        users = _indices(users, self.n_users, "user")
        scores = self.score(users)
        if exclude_seen:
            scores[self.seen_[users].nonzero()] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.where(np.isneginf(np.take_along_axis(scores, best, axis=1)), -1, best)

    def similar_items(self, item: int, k: int = 10) -> np.ndarray:
        """Indices of the k items most similar to `item`, best first, `item` left out.

        Similar: by the model's own similarity where it learns one, else by the cosine of its item vectors. Raises
        ModelError where the model has neither.
        """
        item = int(_indices(item, self.n_items, "item")[0])
        if not 1 <= k < self.n_items:
            raise ValueError(f"k must lie between 1 and the number of other items ({self.n_items - 1}), not {k}")
        near = self._similarities(item)
        near[item] = -np.inf
        return np.argsort(-near, kind="stable")[:k]

    def save(self, folder) -> Path:
        """Write `model.safetensors` and `config.json` to `folder`: complete or not at all, and never a pickle."""
        self._ready()
        folder = Path(folder)
        tensors, kinds = pack({name: getattr(self, name) for name in (*self.fitted, "seen_")} | self._array_options())
        data = save_tensors(tensors)
        options = {name: value for name, value in self._options().items() if name not in kinds}
        config = {"class": type(self).__name__, "format": FORMAT, "options": options, "kinds": kinds}
        config["sha256"] = hashlib.sha256(data).hexdigest()
        write(folder, config, data)
        return folder

    @classmethod
    def load(cls, folder):
        """The model that `save` wrote to `folder`. Raises ModelError for a missing, altered, foreign or newer file."""
        folder = Path(folder)
        config, data = read(folder)
        if config["class"] != cls.__name__:
            raise ModelError(f"{folder} holds {config['class']}, not {cls.__name__}: use {config['class']}.load")
        try:
            state = unpack(load_tensors(data), config["kinds"])
        except (KeyError, SafetensorError) as error:
            raise ModelError(f"{folder / TENSORS} does not hold what {CONFIG} lists ({error}); save the model again") from None
        missing = [name for name in (*cls.fitted, "seen_") if name not in state]
        if missing:
            raise ModelError(f"{folder / CONFIG} lacks {', '.join(missing)}; save the model again")
        learned = {name: state.pop(name) for name in (*cls.fitted, "seen_")}
        model = cls._from_options(config["options"] | state)
        for name, value in learned.items():
            setattr(model, name, value)
        return model

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self._options().items() if np.ndim(value) == 0)
        return f"{type(self).__name__}({options})"

    # what a subclass writes

    def _fit(self, split) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no _fit")

    def _scores(self, users: np.ndarray) -> np.ndarray:
        """(n,) checked user indices → (n, n_items)."""
        raise NotImplementedError(f"{type(self).__name__} has no _scores")

    def _pairs(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """(n,) users and (n,) items → (n,); each distinct user is scored once."""
        distinct, row = np.unique(users, return_inverse=True)
        return np.asarray(self._scores(distinct))[row, items]

    def _similarities(self, item: int) -> np.ndarray:
        """One item with every item → (n_items,), an array of its own."""
        vectors = np.asarray(self._item_vectors(), dtype=np.float64)
        norms = np.linalg.norm(vectors, axis=1)
        return vectors @ vectors[item] / np.maximum(norms * norms[item], 1e-12)

    def _item_vectors(self) -> np.ndarray:
        """(n_items, d), for `similar_items`."""
        raise ModelError(f"{type(self).__name__} has no item vectors, so it cannot say which items are similar")

    @classmethod
    def _from_options(cls, options: dict):
        return cls(**options)

    # inner workings

    def _ready(self):
        if self.seen_ is None:
            raise ModelError(f"this {type(self).__name__} is not fitted: call fit(split) first")
        return self.seen_

    def _options(self) -> dict:
        parameters = inspect.signature(type(self).__init__).parameters.values()
        options = {p.name: getattr(self, p.name) for p in parameters if p.kind is p.KEYWORD_ONLY}
        return {name: value.item() if isinstance(value, np.generic) else value for name, value in options.items()}

    def _array_options(self) -> dict:
        held = (np.ndarray, torch.Tensor)
        return {name: v for name, v in self._options().items() if isinstance(v, held) or sparse.issparse(v)}


def _indices(values, size: int, noun: str) -> np.ndarray:
    """(n,) int64 indices in [0, size); a single index becomes an array of one."""
    array = np.atleast_1d(np.asarray(values))
    if array.size == 0:
        array = array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise TypeError(f"{noun} indices must be whole numbers in one dimension, not {array.dtype} of shape {array.shape}")
    wrong = array[(array < 0) | (array >= size)]
    if wrong.size:
        raise IndexError(f"unknown {noun} index {wrong[0]}: the model was fitted on {noun}s 0 … {size - 1}")
    return array.astype(np.int64)
