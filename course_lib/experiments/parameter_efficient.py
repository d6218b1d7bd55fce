"""What does it cost to tune a little, and what is lost?"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from course_lib.experiments import cold_items, fine_tuning
from course_lib.experiments.costs import peak_memory
from course_lib.experiments.runner import Cell, Experiment


def efficient(cell: Cell, *, tune: str, size: int | None = None) -> dict:
    """The two-tower model with the softmax loss, tuned in one way; its quality and its costs."""
    model = fine_tuning.tower(cell, tune=tune, loss="softmax", size=size)
    found = cold_items.ranking(model.score(range(model.n_users)), cold_items.split(cell.draw))
    found |= {"step_seconds": model.step_seconds_, "memory_mb": peak_memory(), "disk_mb": disk(model)}
    return found | {"trainable": model.trainable[0]}


def disk(model) -> float:
    """What has to be kept beside the pretrained encoder: the saved model's folder, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        return sum(path.stat().st_size for path in model.save(Path(folder, "model")).iterdir()) / 1e6


EXPERIMENT = Experiment(
    name="parameter_efficient",
    question="What is lost in quality, and won in parameters, seconds, memory and bytes, when only a little of a BERT learns?",
    metrics=("auc", "ndcg", "step_seconds", "memory_mb", "disk_mb"),
    isolated=True,
    variants={
        "frozen": partial(efficient, tune="none"),
        "last": partial(efficient, tune="last"),
        "lora_2": partial(efficient, tune="lora", size=2),
        "lora_8": partial(efficient, tune="lora", size=8),
        "houlsby_24": partial(efficient, tune="houlsby", size=24),
        "prompt_10": partial(efficient, tune="prompt", size=10),
        "adalora_8": partial(efficient, tune="adalora", size=8),
        "full": partial(efficient, tune="full"),
    },
)
