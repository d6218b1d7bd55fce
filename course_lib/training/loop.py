"""The training loop: batches → loss → gradient → step, and after each epoch validation and a checkpoint."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import torch
from torch import nn
from tqdm.auto import tqdm

from course_lib.training.adversarial import adversary
from course_lib.training.batches import Batches, epoch_seed, to_device
from course_lib.training.checkpoint import Checkpoint, digest
from course_lib.training.config import Training, has_bf16
from course_lib.training.errors import TrainingError, explained, watched_embeddings
from course_lib.training.log import Log
from course_lib.training.schedules import parameter_groups, schedule

QUIET = ("progress", "log", "checkpoint")  # options that do not change what is learned


@dataclass(frozen=True)
class History:
    """What happened in a run.

    table: one row per epoch with epoch, step (steps done), loss (mean over the rows), validation (NaN without), learning_rate
    (of the last step), seconds. steps: one row per step with step, epoch, loss, learning_rate, gradient_norm (before
    clipping). best_epoch: the epoch whose parameters the model has. resumed_from: epochs that a checkpoint brought, 0 for none.
    """

    table: pd.DataFrame
    steps: pd.DataFrame
    best_epoch: int
    resumed_from: int = 0


def fit(
    model: nn.Module,
    data,
    *,
    loss: Callable[[nn.Module, object], torch.Tensor],
    config: Training,
    validate: Callable[[nn.Module], float] | None = None,
    collate: Callable | None = None,
    parameters=None,
    sampler: Callable | None = None,
) -> History:
    """Train `model` with AdamW; the parameters that require a gradient learn, in place, and the model is left in eval mode.

    data: see `Batches`; loss(model, batch) → scalar, the mean over the batch; validate(model) → one number, called in eval
    mode without gradients after each epoch; parameters: those to learn (tensors), or groups as torch's optimizers take them.
    sampler(epoch, epochs, rng) → the row numbers of an epoch in their order of use, as many as there are rows; rng is a numpy
    generator that depends on seed and epoch alone. None: every row once, by chance.
    Order of rows and dropout follow config.seed alone: the loss may draw from torch's default generator, which is seeded
    here at each epoch and given back to the caller as it was.
    Raises TrainingError: nothing to learn, no data, an empty batch, an unknown index, a loss or gradient that is no number,
    no memory left, a wrong row number of the sampler, a checkpoint that is damaged or another run's.
    Source: Loshchilov and Hutter (2019), Decoupled weight decay regularization, for AdamW.
    """
    if config.patience is not None and validate is None:
        raise TrainingError("patience needs validate=: a function of the model that gives the number to watch")
    batches = Batches(data, batch_size=config.batch_size, accumulate=config.accumulate, collate=collate)
    run = Run(model, batches, loss=loss, config=config, validate=validate, parameters=parameters, sampler=sampler)
    devices = [run.device] if run.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), watched_embeddings(model, active=not run.compiles):
        return run.train()


class Run:
    """One training run: the model, its optimizer, and how far it has come."""

    def __init__(self, model, batches: Batches, *, loss, config: Training, validate=None, parameters=None, sampler=None):
        self.model, self.batches, self.loss, self.config, self.validate = model, batches, loss, config, validate
        self.sampler = sampler
        self.optimizer = torch.optim.AdamW(_groups(model, parameters, config.weight_decay), lr=config.learning_rate, fused=True)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.learning = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.device = self.learning[0].device
        self.bf16 = has_bf16(self.device) if config.bf16 is None else config.bf16
        self.compiles = config.compile is not False and on_gpu(self.device)
        self.called = torch.compile(model) if self.compiles else model
        self.factor = schedule(config.schedule, steps=batches.steps * config.epochs, warmup=config.warmup)
        self.rows: list[dict] = []  # per epoch
        self.step_rows: list[dict] = []
        self.best: dict[str, torch.Tensor] = {}
        self.adversary = adversary(model, config)
        self.checkpoint = None if config.checkpoint is None else Checkpoint(config.checkpoint, run=self._record())

    def train(self) -> History:
        """All epochs that are left, and the best parameters restored where patience asks for it."""
        resumed = self._resume()
        log = Log(self.config.log, options=self._options(), first_step=len(self.step_rows) + 1)
        bar = tqdm(total=self.batches.steps * self.config.epochs, initial=len(self.step_rows), desc="training",
                   unit="step", disable=not self.config.progress)  # fmt: skip
        try:
            while len(self.rows) < self.config.epochs and not self._stale():
                self._epoch(log, bar)
        finally:
            log.close()
            bar.close()
            self.model.eval()
        if self.best:
            self._restore(self.best)
        best = self._best_epoch() if self.config.patience is not None else len(self.rows)
        return History(pd.DataFrame(self.rows), pd.DataFrame(self.step_rows), best, resumed)

    def _epoch(self, log: Log, bar) -> None:
        epoch, start, total = len(self.rows) + 1, time.perf_counter(), 0.0
        torch.manual_seed(epoch_seed(self.config.seed, epoch))
        self.model.train()
        with explained(self.config.batch_size, self.config.accumulate):
            order = {"seed": self.config.seed, "epoch": epoch, "epochs": self.config.epochs, "sampler": self.sampler}
            for group in self.batches.groups(**order):
                row = self._step([(to_device(batch, self.device), rows) for batch, rows in group], epoch)
                self.step_rows.append(row)
                log.write(row["step"], **{name: row[name] for name in ("loss", "learning_rate", "gradient_norm")})
                bar.set_postfix(epoch=epoch, loss=f"{row['loss']:.4f}", refresh=False)
                bar.update()
                total += row["loss"] * sum(rows for _, rows in group) / self.batches.n
        value = self._validate(epoch)
        self.rows.append({"epoch": epoch, "step": len(self.step_rows), "loss": total, "validation": value,
                          "learning_rate": row["learning_rate"], "seconds": time.perf_counter() - start})  # fmt: skip
        if self.validate is not None:
            log.write(len(self.step_rows), validation=value)
        if self.config.patience is not None and self._best_epoch() == epoch:
            self.best = {name: tensor.detach().clone() for name, tensor in self._state().items()}
        if self.checkpoint is not None:
            self._write()

    def _step(self, group: list, epoch: int) -> dict:
        """One step of AdamW on the batches of a group → its row of the history."""
        step = len(self.step_rows) + 1
        rates = [rate * self.factor(step - 1) for rate in self.rates]
        for parameters, rate in zip(self.optimizer.param_groups, rates, strict=True):
            parameters["lr"] = rate
        self.optimizer.zero_grad()
        value = self._gradient(group, step)
        norm = float(nn.utils.clip_grad_norm_(self.learning, self.config.clip or math.inf))
        if not math.isfinite(norm):
            raise TrainingError(f"the gradient is {norm} at step {step} of epoch {epoch}; {self._calmer()}")
        self.optimizer.step()
        return {"step": step, "epoch": epoch, "loss": value, "learning_rate": rates[0], "gradient_norm": norm}

    def _gradient(self, group: list, step: int) -> float:
        """Gradient of the group's mean loss, the adversary's added → the mean loss."""
        if self.adversary is None:
            return self._backward(group, step)
        self.adversary.open()
        try:
            value = self._backward(group, step)
            self.adversary.learn(lambda: self._backward(group, step), self.learning)
        finally:
            self.adversary.close()
        return value

    def _backward(self, group: list, step: int) -> float:
        total, size = 0.0, sum(rows for _, rows in group)
        for batch, rows in group:
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
                value = self.loss(self.called, batch)
            if not isinstance(value, torch.Tensor) or value.numel() != 1 or not value.requires_grad:
                raise TrainingError("loss(model, batch) must give one number as a tensor that depends on the parameters")
            number = value.item()
            if not math.isfinite(number):
                raise TrainingError(f"the loss is {number} at step {step}; {self._calmer()}")
            (value.float() * (rows / size)).backward()
            total += number * rows / size
        return total

    def _calmer(self) -> str:
        told = f"try a learning_rate below {self.config.learning_rate:g}, a warm-up, clip=1.0"
        return f"{told}{' or bf16=False' if self.bf16 else ''}, and look for NaN or infinity in the data"

    def _validate(self, epoch: int) -> float:
        if self.validate is None:
            return math.nan
        self.model.eval()
        with torch.no_grad(), explained(self.config.batch_size, self.config.accumulate):
            value = float(self.validate(self.model))
        if math.isnan(value):
            raise TrainingError(f"validate gave NaN after epoch {epoch}; check that its data are there and the metric defined")
        return value

    # which epoch was best

    def _best_epoch(self) -> int:
        """Epoch of the best validation, the first of equals; 0 before any."""
        sign = 1 if self.config.better == "lower" else -1
        return min(self.rows, key=lambda row: sign * row["validation"])["epoch"] if self.rows else 0

    def _stale(self) -> bool:
        return self.config.patience is not None and len(self.rows) - self._best_epoch() >= self.config.patience

    # what a checkpoint keeps

    def _options(self) -> dict:
        options = {k: v for k, v in dataclasses.asdict(self.config).items() if k not in QUIET}
        return options | {"bf16": self.bf16, "compile": self.compiles}

    def _named(self) -> dict[str, torch.Tensor]:
        """The learning parameters by name; those that are not the model's own are numbered."""
        names = {id(p): name for name, p in self.model.named_parameters()}
        return {names.get(id(p), f"parameter.{i}"): p for i, p in enumerate(self.learning)}

    def _state(self) -> dict[str, torch.Tensor]:
        """What learning changes: the learning parameters, and the buffers (a batch norm's running mean, say)."""
        return self._named() | dict(self.model.named_buffers())

    def _record(self) -> dict:
        """What a checkpoint must share with this run to be continued: options, shapes, rows, frozen weights, the sampler."""
        named = self._named()
        frozen = {name: p for name, p in self.model.named_parameters() if name not in named}
        shapes = {f"shape of {name}": list(tensor.shape) for name, tensor in named.items()}
        record = self._options() | shapes | {"rows of data": self.batches.n, "frozen weights": digest(frozen)}
        return record if self.sampler is None else record | {"sampler": _told(self.sampler)}

    def _write(self) -> None:
        tensors = {f"model.{name}": t for name, t in self._state().items()} | {f"best.{n}": t for n, t in self.best.items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{key}": value for key, value in state.items()}
        self.checkpoint.write(len(self.rows), tensors, {"rows": self.rows, "steps": self.step_rows})

    def _resume(self) -> int:
        """Take up the checkpoint, where there is one → the epochs it brings."""
        found = None if self.checkpoint is None else self.checkpoint.read()
        if found is None:
            return 0
        epoch, tensors, state = found
        parts: dict[str, dict] = {"model": {}, "best": {}, "optimizer": {}}
        for key, tensor in tensors.items():
            part, name = key.split(".", 1)
            parts[part][name] = tensor
        self._restore(parts["model"])
        self.best = parts["best"]
        states: dict[int, dict] = {}
        for key, tensor in parts["optimizer"].items():
            index, name = key.split(".", 1)
            states.setdefault(int(index), {})[name] = tensor
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": states})
        self.rows, self.step_rows = state["rows"], state["steps"]
        return epoch

    @torch.no_grad()
    def _restore(self, state: dict[str, torch.Tensor]) -> None:
        own = self._state()
        for name, tensor in state.items():
            own[name].copy_(tensor)


def _groups(model: nn.Module, parameters, weight_decay: float) -> list[dict]:
    parameters = None if parameters is None else list(parameters)
    if parameters and isinstance(parameters[0], dict):
        groups = [group | {"params": [p for p in group["params"] if p.requires_grad]} for group in parameters]
        groups = [group for group in groups if group["params"]]
    else:
        groups = parameter_groups(model, weight_decay=weight_decay, parameters=parameters)
    if not groups:
        raise TrainingError("no parameter requires a gradient, so nothing can be learned; unfreeze some or add an adapter")
    return groups


def _told(sampler) -> str:
    """What a sampler says of itself (`key`), else its name."""
    return str(getattr(sampler, "key", None) or getattr(sampler, "__qualname__", type(sampler).__qualname__))


def on_gpu(device: torch.device) -> bool:
    """Whether a device is a GPU, where torch.compile pays."""
    return device.type == "cuda"
