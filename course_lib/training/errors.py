"""What goes wrong in training, said in words that help."""

from __future__ import annotations

import re
from contextlib import contextmanager

import torch

MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory|failed to allocate", re.IGNORECASE)
INDEX = re.compile(r"index out of range in self|is out of bounds for dimension|index -?\d+ is out of range", re.IGNORECASE)
ASSERT = re.compile(r"device-side assert", re.IGNORECASE)


class TrainingError(RuntimeError):
    """Training cannot start or go on; the message says why and what to do."""


def smaller(batch_size: int, accumulate: int) -> str:
    """Advice when memory runs out: half the batch, twice the accumulation, the same gradient."""
    if batch_size == 1:
        return "batch_size is 1 already: shorten the texts (max_length), train fewer layers or take a smaller encoder"
    half = batch_size // 2
    accumulate = -(-batch_size * accumulate // half)
    return f"try batch_size={half}, accumulate={accumulate}: the gradient stays the same and the memory falls"


@contextmanager
def explained(batch_size: int, accumulate: int):
    """Memory and index errors of torch become TrainingError; every other error passes as it is."""
    try:
        yield
    except TrainingError:
        raise
    except (RuntimeError, IndexError, MemoryError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, torch.OutOfMemoryError | MemoryError) or MEMORY.search(text):
            advice = smaller(batch_size, accumulate)
            raise TrainingError(f"memory ran out with batch_size={batch_size}; {advice} ({text})") from error
        if INDEX.search(text):
            raise TrainingError(
                f"the batch holds an index that a table of the model has no row for ({text}); "
                "build the model with as many rows as there are users, items or tokens, or leave the unknown ones out"
            ) from error
        if ASSERT.search(text):
            raise TrainingError(
                "the GPU stopped at an index outside a table, most often an unknown item or token; restart Python "
                "and run on the CPU (COURSE_PROFILE=cpu) to see which"
            ) from error
        raise


@contextmanager
def watched_embeddings(model: torch.nn.Module, *, active: bool = True):
    """While open, an index outside an nn.Embedding of the model raises TrainingError that names index and table."""
    tables = {name: m for name, m in model.named_modules() if isinstance(m, torch.nn.Embedding)} if active else {}
    handles = [m.register_forward_pre_hook(_watch(name)) for name, m in tables.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _watch(name: str):
    def check(table, inputs):
        index = inputs[0]
        if index.numel() == 0:
            return
        low, high = (int(value) for value in index.aminmax())
        if low < 0 or high >= table.num_embeddings:
            wrong = low if low < 0 else high
            raise TrainingError(
                f"index {wrong} is outside the vocabulary of {name or 'the embedding'} (0 … {table.num_embeddings - 1}); "
                "build the table with as many rows as there are users, items or tokens, or leave the unknown ones out"
            )

    return check
