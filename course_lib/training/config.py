"""How a model is trained: one frozen record, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from course_lib.training.schedules import SCHEDULES


@dataclass(frozen=True)
class Training:
    """Options of `fit`.

    epochs, batch_size, learning_rate: as everywhere; schedule: "constant", "linear" or "cosine", after `warmup` (share of
    all steps) of linear rise; weight_decay: on matrices only; clip: largest norm of the gradient, None for no clipping;
    accumulate: batches per step (batch_size × accumulate rows make a step); bf16: None for "where the processor has it".
    adversarial: "fgm" or "pgd", with a perturbation of the word embeddings of norm `epsilon`; PGD walks `attacks` steps of
    `attack_size` (None: 1.5 epsilon / attacks). patience: stop after so many epochs without a better validation and restore
    the best; better: "lower" or "higher". compile: None or True compiles on a GPU, never on a CPU.
    log: folder for TensorBoard (and offline W&B where installed); checkpoint: folder written after every epoch, from which a
    run that was stopped goes on; seed: order of the rows and dropout; progress: a bar on stderr.
    Raises ValueError for options out of range.
    """

    epochs: int = 1
    learning_rate: float = 2e-5
    batch_size: int = 16
    schedule: str = "linear"
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip: float | None = 1.0
    accumulate: int = 1
    bf16: bool | None = None
    adversarial: str | None = None
    epsilon: float = 1.0
    attacks: int = 3
    attack_size: float | None = None
    patience: int | None = None
    better: str = "lower"
    compile: bool | None = None
    log: str | Path | None = None
    checkpoint: str | Path | None = None
    seed: int = 0
    progress: bool = True

    def __post_init__(self):
        for name in ("epochs", "batch_size", "accumulate", "attacks"):
            _require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        _require(self.patience is None or self.patience >= 1, "patience", "None or at least 1", self.patience)
        for name in ("learning_rate", "epsilon"):
            _require(getattr(self, name) > 0, name, "positive", getattr(self, name))
        for name in ("clip", "attack_size"):
            _require(getattr(self, name) is None or getattr(self, name) > 0, name, "None or positive", getattr(self, name))
        _require(0 <= self.warmup < 1, "warmup", "a share of the steps, from 0 to below 1", self.warmup)
        _require(self.weight_decay >= 0, "weight_decay", "0 or larger", self.weight_decay)
        _require(self.schedule in SCHEDULES, "schedule", f"one of {', '.join(SCHEDULES)}", self.schedule)
        _require(self.adversarial in (None, "fgm", "pgd"), "adversarial", 'None, "fgm" or "pgd"', self.adversarial)
        _require(self.better in ("lower", "higher"), "better", '"lower" or "higher"', self.better)


def _require(holds: bool, name: str, rule: str, value) -> None:
    if not holds:
        raise ValueError(f"Training: {name} must be {rule}, not {value!r}")


def has_bf16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 itself: a CPU with avx512_bf16, a GPU of Ampere or later."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())
