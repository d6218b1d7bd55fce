"""What a run costs: the peak memory of its process, and the card that ends a lesson."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import torch
from torch import nn


def peak_memory() -> float:
    """The most memory that this process has held so far, in MB; on a GPU, that torch has held there."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    status = Path("/proc/self/status")
    if status.exists():  # unlike ru_maxrss it does not start from what the parent process held
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) * 1.024e-3
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 1e6
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def cost_card(model: nn.Module | None = None, *, kept: int = 0) -> pd.Series:
    """The bill of a notebook: CPU seconds and peak memory of its kernel so far, parameters that learned, size on disk.

    model: its parameters that require a gradient have learned, and are kept at their own precision; kept: further bytes to
    keep, such as stored vectors.
    """
    learned = [] if model is None else [parameter for parameter in model.parameters() if parameter.requires_grad]
    card = {
        "CPU seconds of this notebook": time.process_time(),
        "peak memory, MB": peak_memory(),
        "parameters that learned": sum(parameter.numel() for parameter in learned),
        "on disk, MB": (kept + sum(parameter.numel() * parameter.element_size() for parameter in learned)) / 1e6,
    }
    return pd.Series(card, name="cost card").round(2)
