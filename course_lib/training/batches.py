"""Rows of data → batches: in an order that seed and epoch fix, in groups that make one step each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch.utils.data import default_collate

from course_lib.training.errors import TrainingError


class Batches:
    """Data in batches.

    data: a tuple or dict of tensors or arrays with one row per example (a batch is then a tuple or dict of their rows), one
    tensor, or anything with len() and [i] (a batch is then collate([data[i], …]); default: torch's default_collate). With
    `collate`, rows of tensors reach it one by one as well, as from a list.
    Raises TrainingError for empty data, columns of different lengths, and a batch without rows.
    """

    def __init__(self, data, *, batch_size: int, accumulate: int, collate: Callable | None = None):
        self.columns = _columns(data)
        self.data, self.batch_size, self.accumulate, self.collate = data, batch_size, accumulate, collate
        self.n = self._count()
        if self.n == 0:
            raise TrainingError("the data are empty: fit needs at least one row; check the split or the filter before it")
        self.steps = -(-self.n // (batch_size * accumulate))  # per epoch

    def groups(self, *, seed: int, epoch: int, epochs: int = 1, sampler=None) -> Iterator[list[tuple[object, int]]]:
        """The steps of an epoch: each a list of (batch, its number of rows). sampler: see `sampled`; None: all by chance."""
        if sampler is None:
            order = torch.randperm(self.n, generator=torch.Generator().manual_seed(epoch_seed(seed, epoch)))
        else:
            rng = np.random.default_rng(epoch_seed(seed, epoch))
            order = torch.from_numpy(sampled(sampler, self.n, epoch=epoch, epochs=epochs, rng=rng))
        for rows in order.split(self.batch_size * self.accumulate):
            yield [(self.batch(part), len(part)) for part in rows.split(self.batch_size)]

    def batch(self, rows: torch.Tensor):
        """Rows (batch,) of the data, collated."""
        if self.columns is not None and self.collate is None:
            batch = _map(self.columns, lambda column: column[rows])
        elif self.columns is not None:
            batch = self.collate([_map(self.columns, lambda column, i=i: column[i]) for i in rows.tolist()])
        else:
            batch = (self.collate or default_collate)([self.data[i] for i in rows.tolist()])
        if _length(batch) == 0:
            raise TrainingError(
                f"collate made an empty batch of {len(rows)} rows (the first is row {int(rows[0])}); "
                "leave rows without content out of the data before fit"
            )
        return batch

    def _count(self) -> int:
        if self.columns is None:
            try:
                return len(self.data)
            except TypeError:
                raise TrainingError(
                    f"fit needs data with len() and [i], not {type(self.data).__name__}; make a list of it first"
                ) from None
        sizes = {len(column) for column in _leaves(self.columns)}
        if len(sizes) > 1:
            raise TrainingError(f"the columns of the data have different lengths: {sorted(sizes)}; give one row per example")
        return sizes.pop() if sizes else 0


def epoch_seed(seed: int, epoch: int) -> int:
    """Seed of one epoch: a run that goes on after an interruption needs no other memory."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


def sampled(sampler: Callable, n: int, *, epoch: int, epochs: int, rng: np.random.Generator) -> np.ndarray:
    """sampler(epoch, epochs, rng) → the rows of epoch 1 … epochs in the order of use, int64 (n,).

    A row may stand several times and another not at all, but there are n: whatever the sampler, an epoch has the same number
    of steps. Raises TrainingError for another length, for what are no whole numbers, and for a row that the data do not have.
    """
    rows = np.asarray(sampler(epoch, epochs, rng))
    if rows.shape != (n,):
        raise TrainingError(
            f"the sampler gave rows of shape {rows.shape} in epoch {epoch}, the data have {n} rows: it must give {n} row "
            "numbers (repeat some where others are left out), so that every order has the same number of steps"
        )
    if rows.dtype.kind not in "iu":
        raise TrainingError(f"the sampler gave {rows.dtype}, not row numbers: for a mask, take np.flatnonzero(mask) and repeat")
    if rows.min() < 0 or rows.max() >= n:
        wrong = rows.min() if rows.min() < 0 else rows.max()
        raise TrainingError(f"the sampler gave row {wrong} in epoch {epoch}; the data have the rows 0 … {n - 1}")
    return rows.astype(np.int64)


def to_device(batch, device: torch.device):
    """The batch with its tensors on `device`; whatever is no tensor stays."""
    return _map(batch, lambda leaf: leaf.to(device) if isinstance(leaf, torch.Tensor) else leaf)


def _columns(data):
    """Tensors with one row per example, or None where the data are rows."""
    held = (torch.Tensor, np.ndarray)
    if not isinstance(data, held) and not (
        isinstance(data, tuple | Mapping) and all(isinstance(d, held) for d in _leaves(data))
    ):
        return None
    return _map(data, lambda column: torch.as_tensor(column))


def _map(batch, change: Callable):
    if isinstance(batch, Mapping):
        return {name: _map(part, change) for name, part in batch.items()}
    if hasattr(batch, "_fields"):  # a named tuple
        return type(batch)(*(_map(part, change) for part in batch))
    if isinstance(batch, tuple | list):
        return type(batch)(_map(part, change) for part in batch)
    return change(batch)


def _leaves(batch) -> list:
    if isinstance(batch, Mapping):
        return [leaf for part in batch.values() for leaf in _leaves(part)]
    return [leaf for part in batch for leaf in _leaves(part)] if isinstance(batch, tuple | list) else [batch]


def _length(batch) -> int:
    """Rows of a batch: the length of its first tensor, or of the batch itself where it holds none."""
    tensors = [leaf for leaf in _leaves(batch) if isinstance(leaf, torch.Tensor) and leaf.ndim]
    if tensors:
        return len(tensors[0])
    return len(batch) if hasattr(batch, "__len__") else 1
