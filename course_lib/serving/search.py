"""The k best items of a query: exactly, in numpy or torch, or with faiss where there are very many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

BACKENDS = ("numpy", "torch", "faiss")
MANY = 100_000  # items above which faiss is worth its installation
_AT_ONCE = 2**25  # scores held in memory, 128 MiB


class Found(NamedTuple):
    """items (n, k) int64 and their scores (n, k) float32, best first; −1 and −∞ where there is no item left."""

    items: np.ndarray
    scores: np.ndarray


class SearchError(RuntimeError):
    """A search cannot be set up; the message says why and what to do."""


def top_k(scores, k: int) -> np.ndarray:
    """Indices of the k largest scores of each row, largest first; equal scores: the lower index first.

    scores (n, m) → (n, k) int64; −1 in place of a score of −∞. The same as `evaluation.top_k`, without sorting all m.
    Raises ValueError for NaN, and for a k that is not between 1 and m.
    """
    scores = np.asarray(scores)
    if scores.ndim != 2 or not 1 <= k <= scores.shape[1]:
        raise ValueError(f"scores must have two axes and k lie between 1 and the second, but are {scores.shape} and {k}")
    if k == scores.shape[1]:
        return _ordered(scores, np.broadcast_to(np.arange(k), scores.shape))
    items = np.argpartition(scores, -k, axis=1)[:, -k:]  # NaN counts as the largest, so it is among these
    return _ordered(scores, _fair(scores, items))


class Index:
    """ŷ = ⟨q, v_i⟩ + b_i over all items, and its k best.

    item_vectors (n_items, d), bias (n_items,) or None: float32 copies are kept. backend: "numpy" and "torch" compute every
    score; "faiss" does so too with cells=0, and with cells > 0 it looks only into the `probes` of so many k-means cells whose
    centres score best, which finds most of the best and not surely all; "auto" is faiss above 100,000 items where it is
    installed, else numpy. seed: of the k-means. Raises ValueError for shapes and values that make no index, and SearchError
    for faiss where it is not installed.
    Source: Johnson, Douze and Jégou (2019), Billion-scale similarity search with GPUs.
    """

    def __init__(self, item_vectors, bias=None, *, backend: str = "auto", cells: int = 0, probes: int = 8, seed: int = 0):
        vectors = np.ascontiguousarray(item_vectors, dtype=np.float32)
        if vectors.ndim != 2 or 0 in vectors.shape:
            raise ValueError(f"item_vectors must be (items, d) with at least one of each, but are {vectors.shape}")
        bias = np.zeros(len(vectors), np.float32) if bias is None else np.asarray(bias, dtype=np.float32)
        if bias.shape != (len(vectors),):
            raise ValueError(f"bias must hold one number for each of the {len(vectors)} items, but is {bias.shape}")
        if not (np.isfinite(vectors).all() and np.isfinite(bias).all()):
            raise ValueError("item_vectors and bias must be finite; was the model fitted to the end?")
        if backend not in (*BACKENDS, "auto"):
            raise ValueError(f"backend is one of {', '.join(BACKENDS)}, auto; not {backend!r}")
        if not (0 <= cells <= len(vectors) and 1 <= probes) or (cells and backend != "faiss"):
            raise ValueError("cells lie between 0 and the number of items and are for backend='faiss' only; probes start at 1")
        self.n_items, self.size = vectors.shape
        self.backend = _automatic(self.n_items) if backend == "auto" else backend
        self._table = np.hstack([vectors, bias[:, None]])  # a query gets a 1 at its end, so the bias is one more product
        if self.backend == "torch":
            import torch

            self._transposed = torch.from_numpy(self._table).T
        elif self.backend == "faiss":
            self._faiss = _faiss_index(self._table, cells, probes, seed)

    def search(self, queries, k: int = 10, *, exclude: Sequence | None = None) -> Found:
        """The k best items of each query → `Found`.

        queries (n, d) or one (d,); exclude: for each query the indices of items that are not on offer, such as those seen.
        Equal scores: the lower index first (faiss: any). Raises ValueError for queries of another size or not finite, and for
        a k that is not between 1 and the number of items.
        """
        queries = np.atleast_2d(np.asarray(queries, dtype=np.float32))
        if queries.ndim != 2 or queries.shape[1] != self.size or not np.isfinite(queries).all():
            raise ValueError(f"queries must be finite numbers (n, {self.size}), but are {queries.shape}")
        if not 1 <= k <= self.n_items:
            raise ValueError(f"k must lie between 1 and the number of items ({self.n_items}), not {k}")
        exclude = [np.empty(0, np.int64)] * len(queries) if exclude is None else [np.asarray(e, np.int64) for e in exclude]
        if len(exclude) != len(queries):
            raise ValueError(f"exclude must hold one list for each of the {len(queries)} queries, but holds {len(exclude)}")
        outside = next((e for e in exclude if e.size and not (0 <= e.min() and e.max() < self.n_items)), None)
        if outside is not None:
            raise ValueError(f"exclude names items outside 0 … {self.n_items - 1}: {outside.min()} … {outside.max()}")
        queries = np.hstack([queries, np.ones((len(queries), 1), np.float32)])
        search = self._by_faiss if self.backend == "faiss" else self._by_scores
        step = max(1, _AT_ONCE // self.n_items)
        parts = [search(queries[i : i + step], k, exclude[i : i + step]) for i in range(0, len(queries), step)]
        if not parts:
            return Found(np.empty((0, k), np.int64), np.empty((0, k), np.float32))
        return Found(*map(np.concatenate, zip(*parts, strict=True)))

    def _by_scores(self, queries: np.ndarray, k: int, exclude: list[np.ndarray]) -> Found:
        if self.backend == "numpy":
            scores = queries @ self._table.T
        else:
            import torch

            scores = (torch.from_numpy(queries) @ self._transposed).numpy()
        for row, items in enumerate(exclude):
            scores[row, items] = -np.inf
        if self.backend == "numpy" or k == self.n_items:
            best = top_k(scores, k)
        else:
            best = _ordered(scores, _fair(scores, torch.topk(torch.from_numpy(scores), k, sorted=False).indices.numpy()))
        return Found(best, np.where(best < 0, -np.inf, np.take_along_axis(scores, best, axis=1)).astype(np.float32))

    def _by_faiss(self, queries: np.ndarray, k: int, exclude: list[np.ndarray]) -> Found:
        """More than k are asked for, so that k remain when what is excluded has been struck out."""
        most = min(self.n_items, k + max(map(len, exclude)))
        scores, items = self._faiss.search(queries, most)
        for row, left_out in enumerate(exclude):
            scores[row, np.isin(items[row], left_out)] = -np.inf
        scores[items < 0] = -np.inf
        places = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        scores, items = np.take_along_axis(scores, places, axis=1), np.take_along_axis(items, places, axis=1)
        return Found(np.where(np.isneginf(scores), -1, items), scores)


def overlap(a, b, *, k: int = 10) -> float:
    """Share of each item's k nearest that stay when vectors a are replaced by b, averaged over items; 1: the same lists.

    a (n, h), b (n, h′): vectors of the same items in the same order; nearest by cosine, the item itself left out.
    Raises ValueError unless there are equally many of both and more than k.
    """
    a, b = (np.asarray(vectors, dtype=np.float32) for vectors in (a, b))
    if a.ndim != 2 or b.ndim != 2 or len(a) != len(b) or not 1 <= k < len(a):
        raise ValueError(f"a and b must be vectors of the same items, more than k={k}; but are {a.shape} and {b.shape}")
    kept = (_nearest(a, k)[:, :, None] == _nearest(b, k)[:, None, :]).sum()
    return float(kept / (len(a) * k))


def _nearest(vectors: np.ndarray, k: int) -> np.ndarray:
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return Index(unit, backend="numpy").search(unit, k, exclude=np.arange(len(unit))[:, None]).items


def _fair(scores: np.ndarray, items: np.ndarray) -> np.ndarray:
    """The k best of each row, chosen anew by lower index where the last place has equals outside."""
    values = np.take_along_axis(scores, items, axis=1)
    if np.isnan(values).any():
        raise ValueError("scores hold NaN; was the model fitted to the end?")
    least = values.min(axis=1, keepdims=True)
    crowded = np.flatnonzero((scores == least).sum(axis=1) > (values == least).sum(axis=1))
    if len(crowded):
        items = items.copy()
    for row in crowded:
        above = np.flatnonzero(scores[row] > least[row])
        equal = np.flatnonzero(scores[row] == least[row])
        items[row] = np.concatenate([above, equal])[: items.shape[1]]
    return items


def _ordered(scores: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Items of each row by falling score, then by rising index; −1 where the score is −∞."""
    values = np.take_along_axis(scores, items, axis=1)
    if np.isnan(values).any():
        raise ValueError("scores hold NaN; was the model fitted to the end?")
    order = np.lexsort((items, -values), axis=1)
    items, values = np.take_along_axis(items, order, axis=1), np.take_along_axis(values, order, axis=1)
    return np.where(np.isneginf(values), -1, items)


def _automatic(n_items: int) -> str:
    if n_items <= MANY:
        return "numpy"
    try:
        import faiss  # noqa: F401
    except ImportError:
        return "torch"
    return "faiss"


def _faiss_index(table: np.ndarray, cells: int, probes: int, seed: int):
    try:
        import faiss
    except ImportError:
        raise SearchError("faiss is not installed: pip install 'course_lib[search]', or choose backend='torch'") from None
    flat = faiss.IndexFlatIP(table.shape[1])
    if not cells:
        flat.add(table)
        return flat
    index = faiss.IndexIVFFlat(flat, table.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed, index.nprobe = seed, min(probes, cells)
    index.train(table)
    index.add(table)
    return index
