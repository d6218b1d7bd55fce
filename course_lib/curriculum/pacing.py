"""Pacing: how large a share of the data, the easiest first, may be used at which point of training.

Each function here gives c(t): t is how much of training is over, from 0 to 1; c the share of the data, above 0 and at most 1.
All of them begin at `start` and reach 1 at t = `full`. Raises ValueError for options out of range.
"""

from __future__ import annotations

from collections.abc import Callable

Pacing = Callable[[float], float]


def linear(start: float = 0.2, *, full: float = 0.5) -> Pacing:
    """c(t) = min(1, c₀ + (1 − c₀) t / full)."""
    return competence(start, root=1, full=full)


def competence(start: float = 0.2, *, root: float = 2, full: float = 0.5) -> Pacing:
    """c(t) = min(1, (c₀ᵖ + (1 − c₀ᵖ) t / full)^(1/p)), p the root.

    With p = 2 the share grows fast at first and then ever slower, so that each new row is met about as often as the others.
    Source: Platanios et al. (2019), Competence-based curriculum learning for neural machine translation, section 2.2.
    """
    _check(start, full)
    if not root > 0:
        raise ValueError(f"root must be positive (1 is linear, 2 the square root), not {root}")
    return lambda t: 1.0 if t >= full else min(1.0, (start**root + (1 - start**root) * t / full) ** (1 / root))


def step(start: float = 0.2, *, steps: int = 3, full: float = 0.5) -> Pacing:
    """c(t) = min(1, c₀ + (1 − c₀) ⌊t · steps / full⌋ / steps): jumps of equal height, after equal times.

    Source: Bengio et al. (2009), Curriculum learning, section 5, who switch once from the easy set to all of it.
    """
    _check(start, full)
    if steps < 1:
        raise ValueError(f"steps counts the jumps and starts at 1, not {steps}")
    return lambda t: 1.0 if t >= full else start + (1 - start) * int(t * steps / full + 1e-9) / steps


def _check(start: float, full: float) -> None:
    if not 0 < start <= 1:
        raise ValueError(f"start is the share of the data at the beginning, above 0 and at most 1, not {start}")
    if not 0 < full <= 1:
        raise ValueError(f"full is the part of training after which all data are used, above 0 and at most 1, not {full}")
