"""What every metric does first: lists, arrays and tensors become checked numpy arrays."""

from __future__ import annotations

import numpy as np


def array(values, *, name: str, ndim: int | None = None, dtype=None) -> np.ndarray:
    """A numpy array from a list, array, frame column or torch tensor (on any device, of any float type).

    Raises ValueError for a wrong number of dimensions, and for NaN.
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = (values.double() if values.is_floating_point() else values).numpy()
    result = np.asarray(values, dtype=dtype)
    if ndim is not None and result.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimension{'s' * (ndim > 1)}, got shape {result.shape}")
    if result.dtype.kind == "f" and np.isnan(result).any():
        raise ValueError(f"{name} holds NaN, {np.isnan(result).sum()} of {result.size} values: find out where it comes from")
    return result


def same_length(first, second, *, names: tuple[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Two float arrays (n,) of one length, n ≥ 1; ValueError otherwise."""
    first, second = (array(v, name=name, ndim=1, dtype=float) for v, name in zip((first, second), names, strict=True))
    if len(first) != len(second):
        raise ValueError(f"{names[0]} has {len(first)} values and {names[1]} has {len(second)}: give one for each")
    if len(first) == 0:
        raise ValueError(f"{names[0]} and {names[1]} are empty: there is nothing to measure")
    return first, second


def truths(values, *, name: str) -> np.ndarray:
    """Booleans (n,) from booleans or 0 and 1; ValueError for anything else."""
    result = array(values, name=name, ndim=1)
    if not np.isin(result, (0, 1)).all():
        raise ValueError(f"{name} must hold only true and false (or 1 and 0): compare with a threshold first")
    return result.astype(bool)
