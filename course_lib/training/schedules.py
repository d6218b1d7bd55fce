"""Learning rate over the steps, and which parameters decay."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
SCHEDULES = ("constant", "linear", "cosine")


def schedule(name: str, *, steps: int, warmup: float = 0.0) -> Callable[[int], float]:
    """Factor of the learning rate at step t = 0 … steps − 1, with w = ⌈warmup · steps⌉ steps of warm-up.

    t < w: t / w; then, with r = (t − w) / (steps − w): constant 1, linear 1 − r, cosine (1 + cos πr) / 2.

    Raises ValueError for an unknown name, steps < 1 or a warm-up that is no share. Source: Loshchilov and Hutter (2017),
    SGDR: Stochastic gradient descent with warm restarts, for the cosine.
    """
    if name not in SCHEDULES:
        raise ValueError(f"schedule is one of {', '.join(SCHEDULES)}, not {name!r}")
    if steps < 1 or not 0 <= warmup < 1:
        raise ValueError(f"steps starts at 1 and warmup is a share from 0 to below 1, not {steps} and {warmup}")
    rise = math.ceil(round(warmup * steps, 6))

    def factor(step: int) -> float:
        if step < rise:
            return step / rise
        gone = min(1.0, (step - rise) / max(1, steps - rise))
        return {"constant": 1.0, "linear": 1 - gone, "cosine": (1 + math.cos(math.pi * gone)) / 2}[name]

    return factor


def parameter_groups(model: nn.Module, *, weight_decay: float, parameters: Iterable[nn.Parameter] | None = None) -> list[dict]:
    """Two groups for AdamW: matrices, which decay, and the rest (biases, LayerNorm), which do not.

    A decayed w shrinks by learning_rate · weight_decay · w at each step, beside the gradient's step. Frozen parameters are
    left out; with `parameters`, all but those. A table whose name holds "bias" (one number per user, say) does not decay.
    Source: Loshchilov and Hutter (2019), Decoupled weight decay regularization.
    """
    names = {id(p): name for name, p in model.named_parameters()}
    norms = {id(p) for module in model.modules() if isinstance(module, NORMS) for p in module.parameters(recurse=False)}
    chosen = model.parameters() if parameters is None else parameters
    groups: list[list[torch.Tensor]] = [[], []]
    for p in chosen:
        if p.requires_grad:
            groups[p.ndim < 2 or id(p) in norms or "bias" in names.get(id(p), "")].append(p)
    pairs = zip(groups, (weight_decay, 0.0), strict=True)
    return [{"params": group, "weight_decay": decay} for group, decay in pairs if group]
