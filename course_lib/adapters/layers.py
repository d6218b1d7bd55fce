"""The three additions, each a module by itself: LoRA, Houlsby's adapter, and a prompt of learned vectors."""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import nn


class AdapterError(RuntimeError):
    """Adapters cannot be added, merged, saved or loaded; the message says why and what to do."""


class LoRALinear(nn.Module):
    """A linear layer that rests, and beside it a change of low rank that learns.

    y = W x + c + (alpha / rank) B A x, A (rank, in) drawn at random, B (out, rank) zero, so that the start is W itself

    x (..., in) → y (..., out). dropout: share of x set to zero on its way to A. seed: of A.
    Raises ValueError for a rank outside 1 … min(in, out).
    Source: Hu et al. (2022), LoRA: low-rank adaptation of large language models, section 4.1.
    """

    def __init__(self, linear, *, rank=8, alpha=16, dropout=0.0, seed=0):
        super().__init__()
        if not 1 <= rank <= min(linear.in_features, linear.out_features):
            limit = min(linear.in_features, linear.out_features)
            raise ValueError(f"a change of {linear} has a rank between 1 and {limit}, not {rank}")
        self.base = linear.requires_grad_(False)
        self.scale = alpha / rank
        self.dropout = nn.Dropout(dropout)
        bound = 1 / math.sqrt(linear.in_features)
        a = torch.rand(rank, linear.in_features, generator=torch.Generator().manual_seed(seed)) * 2 - 1
        self.a = nn.Parameter((bound * a).to(linear.weight))
        self.b = nn.Parameter(linear.weight.new_zeros(linear.out_features, rank))

    def forward(self, x):
        """Through W, and through the narrow path beside it."""
        return self.base(x) + self.scale * F.linear(F.linear(self.dropout(x), self.a), self.b)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """One linear layer that does the same, W + (alpha / rank) B A, with no more cost than W; a copy."""
        linear = copy.deepcopy(self.base)
        linear.weight += self.scale * self.b @ self.a
        return linear


class HoulsbyAdapter(nn.Module):
    """A bottleneck with a way around it.

    x → x + U GELU(D x + d) + u, D (bottleneck, hidden) and U (hidden, bottleneck) near zero, so that the start is near x

    x (..., hidden) → the same shape; 2 · hidden · bottleneck + hidden + bottleneck parameters. seed: of D and U.
    Source: Houlsby et al. (2019), Parameter-efficient transfer learning for NLP, section 2.1 and figure 2.
    """

    def __init__(self, hidden, *, bottleneck=32, seed=0):
        super().__init__()
        if bottleneck < 1:
            raise ValueError(f"bottleneck is the width of the narrow layer, at least 1, not {bottleneck}")
        self.down, self.up = nn.Linear(hidden, bottleneck), nn.Linear(bottleneck, hidden)
        generator = torch.Generator().manual_seed(seed)
        for layer in (self.down, self.up):
            nn.init.trunc_normal_(layer.weight, std=0.01, a=-0.02, b=0.02, generator=generator)
            nn.init.zeros_(layer.bias)

    def forward(self, x):
        """Down, bend, up, and add."""
        return x + self.up(F.gelu(self.down(x)))


class Adapted(nn.Module):
    """A linear layer that rests, followed by an adapter: x (..., in) → adapter(W x + c) (..., out)."""

    def __init__(self, linear, adapter):
        super().__init__()
        self.base, self.adapter = linear.requires_grad_(False), adapter.to(linear.weight)

    def forward(self, x):
        """First the layer, then the adapter."""
        return self.adapter(self.base(x))


class PromptTuning(nn.Module):
    """Learned vectors that stand before the words of every text; the table of word vectors rests.

    [p_1 … p_tokens, e(w_1) … e(w_time)], each p drawn from the table: the start is a prompt of random words

    input_ids (batch, tokens + time), whose first `tokens` columns are place-holders → (batch, tokens + time, hidden).
    tokens · hidden parameters. seed: of the words.
    Source: Lester, Al-Rfou and Constant (2021), The power of scale for parameter-efficient prompt tuning, section 2.
    """

    def __init__(self, embeddings, *, tokens=10, seed=0):
        super().__init__()
        if tokens < 1:
            raise ValueError(f"tokens is the number of vectors before each text, at least 1, not {tokens}")
        self.base, self.tokens = embeddings.requires_grad_(False), tokens
        words = torch.randint(embeddings.num_embeddings, (tokens,), generator=torch.Generator().manual_seed(seed))
        self.prompt = nn.Parameter(embeddings.weight[words.to(embeddings.weight.device)].detach().clone())

    @property
    def weight(self):
        """The table of word vectors (vocabulary, hidden)."""
        return self.base.weight

    @property
    def num_embeddings(self):
        """Number of words in the table."""
        return self.base.num_embeddings

    def forward(self, input_ids):
        """The prompt, then the word vectors."""
        prompt = self.prompt.expand(len(input_ids), -1, -1)  # (batch, tokens, hidden)
        return torch.cat([prompt, self.base(input_ids[:, self.tokens :])], 1)

    def extend(self, ids, value):
        """`tokens` columns of `value` before ids: (batch, time) → (batch, tokens + time)."""
        return torch.cat([ids.new_full((len(ids), self.tokens), value), ids], 1)

    def widen(self, model, args, kwargs):
        """Before a model's forward: place-holders before the ids, ones before the mask, zeros before the segments."""
        inputs = dict(zip(("input_ids", "attention_mask", "token_type_ids"), args, strict=False)) | kwargs
        ids = inputs.get("input_ids")
        if ids is None:
            raise AdapterError("a model with a prompt takes input_ids (batch, time), and none were given")
        mask = inputs.get("attention_mask")
        inputs["attention_mask"] = self.extend(torch.ones_like(ids) if mask is None else mask, 1)
        inputs["input_ids"] = self.extend(ids, 0)
        for name in ("token_type_ids", "segments"):
            if inputs.get(name) is not None:
                inputs[name] = self.extend(inputs[name], 0)
        return (), inputs

    def narrow(self, model, args, output):
        """After a model's forward: the hidden vectors of the words alone, so that they fit the mask of the caller.

        What a pooler makes of the first vector is made again, of the first word's; attention weights stay whole.
        """
        pooler = getattr(model, "pooler", None)
        hidden = (output if isinstance(output, torch.Tensor) else output[0])[:, self.tokens :]
        if isinstance(output, torch.Tensor):
            return hidden
        if isinstance(output, tuple):
            return hidden, *(output[1:] if pooler is None else (pooler(hidden), *output[2:]))
        output.last_hidden_state = hidden
        if pooler is not None:
            output.pooler_output = pooler(hidden)
        return output


def adapter_parameters(model) -> dict[str, nn.Parameter]:
    """The added parameters by name, without those of the model they were added to."""
    parts = [(name, part) for name, part in model.named_modules() if isinstance(part, KINDS)]
    named = [(f"{name}.{own}", p) for name, part in parts for own, p in part.named_parameters() if not own.startswith("base.")]
    return dict(named)


KINDS = (LoRALinear, HoulsbyAdapter, PromptTuning)
