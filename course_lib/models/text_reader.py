"""The text side of a two-tower model: item indices in, vectors of their texts out, by an encoder that learns or rests."""

from __future__ import annotations

import copy
import itertools
import warnings
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.optim.optimizer import register_optimizer_step_post_hook

from course_lib.adapters import add_houlsby, add_lora, add_prompt
from course_lib.text import TextEncoder, tokenize

TUNES = {"none": None, "last": None, "lora": 8, "houlsby": 32, "prompt": 10, "adalora": 8, "full": None}
MAX_LENGTH = 64  # word pieces; a longer text is cut
BATCH = 64  # texts encoded at once where nothing is learned


class Reader(nn.Module):
    """e_i = (pool(BERT(text_i)) − centre) / scale, for the texts of a catalogue.

    Items are given by index, (n,) int → (n, hidden) float. pool: mean over the word pieces, then unit length, as the model
    card says. centre (hidden,) and scale: mean and standard deviation over the catalogue under the pretrained weights, so
    that what all texts share does not drown what tells them apart; fixed afterwards.
    tune: "none" (vectors kept from one pass), "last" (the last layer; the layers below it from one pass), "lora",
    "houlsby", "prompt", "adalora" (adapters of the given size: rank, bottleneck, tokens, rank) or "full".
    features: (n_items, f) of something else that is known, or None; centred and scaled to weigh as much as the texts, they
    stand beside e_i, which is then (n, hidden + f).
    """

    def __init__(self, texts: list[str], *, encoder: TextEncoder, tune: str, size: int | None, seed: int, features=None):
        super().__init__()
        self.tune, self.size, self.first_token = tune, TUNES[tune] if size is None else size, encoder.first_token
        frozen = torch.from_numpy(encoder.encode(texts))
        self._keep("centre", frozen.mean(dim=0))
        self._keep("scale", (frozen - self.centre).square().mean().sqrt().clamp_min(1e-6))
        self._keep("extra", None if features is None else _weighing_as(frozen.shape[1], features))
        self._keep("vectors", self._beside(self._standard(frozen), slice(None)))
        self.model = nn.Module() if tune == "none" else copy.deepcopy(encoder.model).cpu()
        if tune == "none":
            return
        for name, values in tokenize(texts, tokenizer=encoder.tokenizer, max_length=MAX_LENGTH).items():
            self._keep(name, values)
        if tune == "last":
            self._keep("lower", self._everything(self._below))
        self._prepare(seed)

    @property
    def learned(self) -> dict[str, nn.Parameter]:
        """The encoder's parameters that learn, by name."""
        return {name: parameter for name, parameter in self.model.named_parameters() if parameter.requires_grad}

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        """(n,) item indices → (n, hidden)."""
        if self.tune == "none":
            return self.vectors[items]
        ids, mask = self._tokens(items)
        if self.tune == "last":
            blocked = (1.0 - mask[:, None, None, :].to(self.lower.dtype)) * torch.finfo(self.lower.dtype).min
            hidden = self.model.encoder.layer[-1](self.lower[items, : mask.shape[1]], blocked)
        else:
            hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state[:, -mask.shape[1] :]
        return self._beside(self._standard(pool(hidden, mask, first_token=self.first_token)), items)

    @torch.no_grad()
    def catalogue(self) -> torch.Tensor:
        """The vectors of all items, dropout off → (n_items, hidden)."""
        if self.tune == "none":
            return self.vectors
        with _evaluating(self):
            return self._everything(lambda items: self(items))

    def _prepare(self, seed: int) -> None:
        """Let what `tune` names learn, and nothing else."""
        self.model.requires_grad_(self.tune == "full")
        if getattr(self.model, "pooler", None) is not None:
            self.model.pooler.requires_grad_(False)  # not used: its gradient would be None
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            if self.tune == "last":
                self.model.encoder.layer[-1].requires_grad_(True)
            elif self.tune == "lora":
                add_lora(self.model, rank=self.size, alpha=2 * self.size)
            elif self.tune == "houlsby":
                add_houlsby(self.model, bottleneck=self.size)
            elif self.tune == "prompt":
                add_prompt(self.model, tokens=self.size)
            elif self.tune == "adalora":
                self.model = _adalora(self.model, rank=self.size)

    def _keep(self, name: str, values: torch.Tensor | None) -> None:
        """A tensor that moves with the module and is no part of what it learns."""
        self.register_buffer(name, values, persistent=False)

    def _below(self, items: torch.Tensor) -> torch.Tensor:
        """What the last layer reads → (n, longest text of the catalogue, hidden)."""
        ids, mask = self._tokens(items)
        hidden = self.model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states[-2]
        return functional.pad(hidden, (0, 0, 0, self.input_ids.shape[1] - hidden.shape[1]))

    @torch.no_grad()
    def _everything(self, read) -> torch.Tensor:
        """`read` for every item, texts of like length together."""
        order = self.attention_mask.sum(dim=1).argsort(stable=True)
        with _evaluating(self):
            rows = torch.cat([read(items).float() for items in order.split(BATCH)])
        return torch.empty_like(rows).index_copy_(0, order, rows)

    def _tokens(self, items: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mask = self.attention_mask[items]
        longest = int(mask.sum(dim=1).max())
        return self.input_ids[items, :longest], mask[:, :longest]

    def _beside(self, vectors: torch.Tensor, items) -> torch.Tensor:
        """Text vectors (n, hidden) of items → with their features beside them (n, hidden + f)."""
        return vectors if self.extra is None else torch.cat([vectors, self.extra[items]], dim=-1)

    def _standard(self, pooled: torch.Tensor) -> torch.Tensor:
        return (pooled - self.centre) / self.scale


def _weighing_as(hidden: int, features) -> torch.Tensor:
    """Features (n, f), centred, with rows of mean squared length `hidden`, which is what the text vectors have."""
    features = torch.as_tensor(features, dtype=torch.float32)
    features = features - features.mean(dim=0)
    return features * (hidden / features.square().sum(dim=1).mean().clamp_min(1e-12)).sqrt()


def pool(hidden: torch.Tensor, mask: torch.Tensor, *, first_token: bool = False) -> torch.Tensor:
    """Mean over the word pieces (or the first of them), then unit length: hidden (n, t, h), mask (n, t) → (n, h)."""
    if first_token:
        return functional.normalize(hidden[:, 0], dim=-1)
    weights = mask[..., None].to(hidden.dtype)
    return functional.normalize((hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1), dim=-1)


def text_encoder(source) -> TextEncoder:
    """The encoder itself, or the one that `source` (a folder or name; None: the course's own) stands for."""
    return source if hasattr(source, "tokenizer") and hasattr(source, "model") else TextEncoder(source)


def flat(reader: Reader) -> np.ndarray:
    """Everything that the encoder learned, in one vector (n_parameters,) float32."""
    learned = [parameter.detach().cpu().float().ravel() for parameter in reader.learned.values()]
    return torch.cat(learned).numpy() if learned else np.zeros(0, dtype=np.float32)


def _adalora(model: nn.Module, *, rank: int):
    """AdaLoRA of the package peft: half as many ranks again as `rank` at first, `rank` on average in the end."""
    from peft import AdaLoraConfig, get_peft_model

    first = max(rank + 1, rank * 3 // 2)
    config = AdaLoraConfig(target_modules=["query", "value"], init_r=first, target_r=rank, lora_alpha=2 * rank,
                           lora_dropout=0.0, total_step=1000)  # fmt: skip
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")  # peft asks by an older name
        return get_peft_model(model, config)


@contextmanager
def ranks_allocated(reader: Reader, *, steps: int):
    """Inside, AdaLoRA takes ranks away where they matter least, after each step of an optimizer; others are left alone.

    From the first tenth of the `steps` to the last third.  Source: Zhang et al. (2023), AdaLoRA, sections 3.2 and 3.3.
    """
    if reader.tune != "adalora" or steps < 4:
        yield
        return
    config, done = reader.model.peft_config["default"], itertools.count(1)
    config.total_step, config.tinit, config.tfinal, config.deltaT = steps, steps // 10, steps // 3, max(1, steps // 20)
    handle = register_optimizer_step_post_hook(lambda *_: reader.model.base_model.update_and_allocate(next(done)))
    try:
        yield
    finally:
        handle.remove()


def orthogonality(reader: Reader) -> torch.Tensor | float:
    """What AdaLoRA adds to the loss: half the mean of ‖A Aᵀ − I‖ and ‖Bᵀ B − I‖ over its layers; 0 for other ways to tune."""
    if reader.tune != "adalora":
        return 0.0
    learned = [(name, p) for name, p in reader.learned.items() if "lora_A" in name or "lora_B" in name]
    products = [p @ p.T if "lora_A" in name else p.T @ p for name, p in learned]
    return 0.5 * torch.stack([(m - torch.eye(len(m), device=m.device)).norm() for m in products]).mean()


@contextmanager
def _evaluating(module: nn.Module):
    before = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(before)
