"""Samplers for `training.fit` and `MatrixFactorization.fit`: which rows an epoch uses, and in which order."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from course_lib.curriculum.pacing import Pacing


class PacedSampler:
    """The easiest c(t) · n rows, by chance among them, t being how much of training is over.

    difficulty (n,), higher is harder (a minus before it turns the order round); pacing: c(t), see `linear`, `competence`,
    `step`; parts: how often within an epoch the share is looked up. Rows of equal difficulty come in the order of the data,
    so shuffle or break ties before, if that order means something. Rows are drawn without replacement until the allowed ones
    are used up, then again; with c = 1 an epoch is a permutation.
    Raises ValueError for difficulties that are no numbers, a pacing outside (0, 1], parts below 1.
    Source: Platanios et al. (2019), Competence-based curriculum learning for neural machine translation, section 2.
    """

    def __init__(self, difficulty, pacing: Pacing, *, parts: int = 10):
        difficulty = np.asarray(difficulty, dtype=float)
        if difficulty.ndim != 1 or not len(difficulty) or not np.isfinite(difficulty).all():
            odd = np.count_nonzero(~np.isfinite(difficulty))
            raise ValueError(
                f"difficulty is one finite number per row, at least one; got shape {difficulty.shape}, {odd} not finite"
            )
        if parts < 1:
            raise ValueError(f"parts counts the looks at the pacing per epoch and starts at 1, not {parts}")
        self.order = np.argsort(difficulty, kind="stable")  # easiest first
        self.pacing, self.parts = pacing, parts

    @property
    def key(self) -> str:
        """What two samplers share that draw the same rows: a checkpoint keeps it."""
        shares = [self.pacing(t) for t in np.linspace(0, 1, 101)]
        seen_as = self.order.astype("<i8").tobytes() + np.array(shares, dtype="<f8").tobytes() + bytes(str(self.parts), "ascii")
        return f"PacedSampler {hashlib.sha256(seen_as).hexdigest()[:16]}"

    def size(self, t: float) -> int:
        """Rows that may be used at t: ⌈c(t) · n⌉."""
        return math.ceil(round(_share(self.pacing, t) * len(self.order), 6))

    def __call__(self, epoch: int, epochs: int, rng: np.random.Generator) -> np.ndarray:
        """Rows of epoch 1 … epochs in the order of use → (n,)."""
        n, rows, size, left = len(self.order), [], 0, np.empty(0, dtype=np.int64)
        for part in np.array_split(np.arange(n), min(self.parts, n)):
            allowed = self.size((epoch - 1 + part[0] / n) / epochs)
            if allowed != size:
                size, left = allowed, rng.permutation(self.order[:allowed])
            while len(left) < len(part):
                left = np.concatenate([left, rng.permutation(self.order[:size])])
            rows.append(left[: len(part)])
            left = left[len(part) :]
        return np.concatenate(rows)


class ShuffledSampler:
    """The rows that a whole paced run uses, each as often, in an order of chance: a curriculum without its order.

    What a paced run gains may come from when it shows a row, or from how often; this control keeps the how often.
    sampler: the paced one; seed: of what it draws, and of the shuffling.
    """

    def __init__(self, sampler: PacedSampler, *, seed: int = 0):
        self.sampler, self.seed = sampler, seed
        self._rows: dict[int, np.ndarray] = {}

    @property
    def key(self) -> str:
        """As of PacedSampler."""
        return f"ShuffledSampler {self.seed} of {self.sampler.key}"

    def __call__(self, epoch: int, epochs: int, rng: np.random.Generator) -> np.ndarray:
        """Rows of epoch 1 … epochs in the order of use → (n,)."""
        if epochs not in self._rows:
            drawn = [self.sampler(e, epochs, np.random.default_rng([self.seed, e])) for e in range(1, epochs + 1)]
            self._rows[epochs] = np.random.default_rng(self.seed).permutation(np.concatenate(drawn)).reshape(epochs, -1)
        return self._rows[epochs][epoch - 1]


def self_paced(losses, threshold: float) -> np.ndarray:
    """v_i = 1 where L_i < λ, else 0: the choice that makes Σ v_i L_i − λ Σ v_i smallest.

    losses L (n,), threshold λ, in the unit of the losses → bool (n,). The model itself says what is easy, and says it anew
    as it learns. Source: Kumar, Packer and Koller (2010), Self-paced learning for latent variable models, equation 3.
    """
    return np.asarray(losses) < threshold


class SelfPacedSampler:
    """Before each epoch: the c(t) · n rows that the model finds easiest now, each about equally often.

    losses(): the loss of every row under the model as it is, (n,); pacing as for PacedSampler. λ is the smallest threshold
    that `self_paced` needs to choose so many rows. Raises ValueError for losses that are no numbers.
    """

    def __init__(self, losses: Callable[[], np.ndarray], pacing: Pacing):
        self.losses, self.pacing = losses, pacing

    def __call__(self, epoch: int, epochs: int, rng: np.random.Generator) -> np.ndarray:
        """Rows of epoch 1 … epochs in the order of use → (n,)."""
        losses = np.asarray(self.losses(), dtype=float)
        if losses.ndim != 1 or not len(losses) or not np.isfinite(losses).all():
            raise ValueError(f"losses() gives one finite number per row; it gave shape {losses.shape}")
        count = math.ceil(round(_share(self.pacing, (epoch - 1) / epochs) * len(losses), 6))
        threshold = np.nextafter(np.sort(losses)[count - 1], np.inf)
        chosen = np.flatnonzero(self_paced(losses, threshold))
        rounds = -(-len(losses) // len(chosen))
        return np.concatenate([rng.permutation(chosen) for _ in range(rounds)])[: len(losses)]


def seen(sampler: PacedSampler, *, epochs: int, seed: int = 0) -> pd.DataFrame:
    """What a sampler does over a run, for a plot: one row per look at the pacing.

    progress t; allowed: share of the rows that may be used at t; met: share of the rows that were used at least once by the
    end of that part; used: draws so far, in epochs.
    """
    n = len(sampler.order)
    met, rows = np.zeros(n, dtype=bool), []
    for epoch in range(1, epochs + 1):
        order = sampler(epoch, epochs, np.random.default_rng([seed, epoch]))
        for part in np.array_split(np.arange(n), min(sampler.parts, n)):
            t = (epoch - 1 + part[0] / n) / epochs
            met[order[part]] = True
            rows.append({"progress": t, "allowed": sampler.size(t) / n, "met": met.mean(),
                         "used": epoch - 1 + (part[-1] + 1) / n})  # fmt: skip
    return pd.DataFrame(rows)


def _share(pacing: Pacing, t: float) -> float:
    share = float(pacing(t))
    if not 0 < share <= 1:
        raise ValueError(f"the pacing gives {share} at t = {t:.3g}; a share of the data is above 0 and at most 1")
    return share
