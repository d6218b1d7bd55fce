"""A course of stages: one model, trained on one task after the other, and examined after each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import nn

from course_lib.training import Training, fit

Probe = Callable[[nn.Module], float]


@dataclass(frozen=True)
class Stage:
    """One task: the arguments of `training.fit`, and a name.

    parameters: as in `fit`, or a function of the model that gives them; options: more keywords of `fit` (collate, sampler,
    validate).
    """

    name: str
    data: object
    loss: Callable[[nn.Module, object], torch.Tensor]
    training: Training
    parameters: object = None
    options: dict = field(default_factory=dict)


def course(
    model: nn.Module, stages: list[Stage], *, probes: dict[str, Probe] | None = None, lower: tuple[str, ...] = ()
) -> pd.DataFrame:
    """Train the model on the stages in order, in place, and ask every probe before the first and after each.

    probes: name → function of the model (in eval mode, without gradients) that gives a number; lower: those of them where
    lower is better, a loss for instance.
    → one row per stage, the first ("before") being the model as it came: stage, name, steps (of the optimizer), rows (of the
    data used), loss (of the stage's last epoch), seconds, each probe, and NAME_forgotten for each probe: its best value so
    far, this row included, minus its value now (for `lower`: now minus best), so 0 is "nothing lost".
    Raises ValueError for no stages, two of one name, a probe in `lower` that is none, and what `fit` raises.
    Source of the measure of forgetting: Chaudhry et al. (2018), Riemannian walk for incremental learning, section 3.
    """
    stages, probes = list(stages), probes or {}
    names = [stage.name for stage in stages]
    if not names or len(set(names)) < len(names) or "before" in names:
        raise ValueError(f'a course has stages with names of their own, none of them "before"; got {names}')
    unknown = sorted(set(lower) - set(probes))
    if unknown:
        raise ValueError(f"lower names {', '.join(unknown)}, but the probes are {', '.join(probes) or 'none'}")
    rows = [{"stage": 0, "name": "before", "steps": 0, "rows": 0, "loss": math.nan, "seconds": 0.0} | _asked(model, probes)]
    for number, stage in enumerate(stages, start=1):
        rows.append({"stage": number, "name": stage.name} | _trained(model, stage) | _asked(model, probes))
    table = pd.DataFrame(rows)
    for name in probes:
        sign = -1 if name in lower else 1
        table[f"{name}_forgotten"] = (sign * table[name]).cummax() - sign * table[name]
    return table


def _trained(model: nn.Module, stage: Stage) -> dict:
    parameters = stage.parameters(model) if callable(stage.parameters) else stage.parameters
    options = {"loss": stage.loss, "config": stage.training, "parameters": parameters} | stage.options
    history = fit(model, stage.data, **options)
    used, rows = len(history.table), len(stage.data[0] if isinstance(stage.data, tuple) else stage.data)
    return {"steps": len(history.steps), "rows": used * rows, "loss": float(history.table["loss"].iloc[-1]),
            "seconds": float(history.table["seconds"].sum())}  # fmt: skip


def _asked(model: nn.Module, probes: dict[str, Probe]) -> dict[str, float]:
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return {name: float(probe(model)) for name, probe in probes.items()}
    finally:
        model.train(training)
