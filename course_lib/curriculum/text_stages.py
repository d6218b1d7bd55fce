"""The article's first two courses, for an encoder of texts: the language of the catalogue, then the facts behind it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from sklearn.preprocessing import normalize
from torch import nn
from torch.nn import functional

from course_lib.curriculum.stages import Stage
from course_lib.models.text_reader import MAX_LENGTH, pool
from course_lib.text import tokenize
from course_lib.training import Training
from course_lib.transformer import EncoderConfig, MaskedLanguageModel, mask_tokens
from course_lib.transformer.pretrained import FIELDS

TEMPERATURE = 0.1  # of the contrastive loss
HEAD_RATE = 1e-3  # learning rate of what is not pretrained
BATCH = 64  # texts read at once by a probe


def contrastive_loss(queries, keys, temperature):
    """Each query must find its own key among all of the batch, and each key its own query.

    ℓ = −½ mean_i [log softmax_j(⟨q_i, k_j⟩ / τ)_i + log softmax_j(⟨q_j, k_i⟩ / τ)_i], q and k at unit length

    queries, keys (batch, d), row i of the one belonging to row i of the other; temperature τ → scalar, in nats.
    Source: Radford et al. (2021), Learning transferable visual models from natural language supervision, section 2.3.
    """
    scores = functional.normalize(queries, dim=-1) @ functional.normalize(keys, dim=-1).T / temperature  # (batch, batch)
    own = torch.arange(len(scores), device=scores.device)
    return (functional.cross_entropy(scores, own) + functional.cross_entropy(scores.T, own)) / 2


class TextStudent(nn.Module):
    """The encoder of a TextEncoder, which it trains in place, with a head for each stage before the task.

    texts: one per item; encoder: a TextEncoder of your own (its `model` changes: hand it to TwoTower(encoder=…) afterwards);
    facts (n_items, f): a vector of what a graph knows of each item, zeros where it knows nothing; None for no graph stage.
    The head of the graph stage is linear and starts as the ridge regression (`reg`) of the facts on the encoder's vectors.
    Raises ValueError for facts that do not fit the texts, or know nothing of any item.
    """

    def __init__(self, texts: list[str], *, encoder, facts=None, reg: float = 1.0, seed: int = 0):
        super().__init__()
        self.first_token, self.bert = encoder.first_token, encoder.model
        self.language = MaskedLanguageModel(_Plain(self.bert), seed=seed)
        for name, values in tokenize(texts, tokenizer=encoder.tokenizer, max_length=MAX_LENGTH).items():
            self.register_buffer(name, values, persistent=False)
        self.vocabulary, self.special, self.mask_id = _vocabulary(encoder)
        vectors = torch.from_numpy(encoder.encode(texts))
        self.register_buffer("centre", vectors.mean(dim=0), persistent=False)
        self.facts = None
        if facts is not None:
            self._learn_head(vectors - self.centre, np.asarray(facts, dtype=np.float32), reg)

    def _learn_head(self, vectors: torch.Tensor, facts: np.ndarray, reg: float) -> None:
        if facts.ndim != 2 or len(facts) != len(vectors):
            raise ValueError(f"facts has shape {facts.shape}; it needs one row for each of the {len(vectors)} texts")
        self.known = torch.from_numpy(np.flatnonzero(facts.any(axis=1)))
        if not len(self.known):
            raise ValueError("facts is zero everywhere: the graph knows none of these items; check the links")
        del self.facts  # a plain attribute so far
        self.register_buffer("facts", functional.normalize(torch.from_numpy(facts), dim=-1), persistent=False)
        x, y = vectors[self.known], self.facts[self.known]
        weight = torch.linalg.solve(x.T @ x + reg * torch.eye(x.shape[1]), x.T @ y)  # (hidden, f)
        self.project = nn.Linear(*weight.shape, bias=False)
        self.project.weight.data.copy_(weight.T)

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        """Vectors of the items' texts, minus the mean text before any training: (n,) int → (n, hidden)."""
        ids, mask = self._tokens(items)
        hidden = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        return pool(hidden, mask, first_token=self.first_token) - self.centre

    def language_loss(self, items: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Cross-entropy of hidden word pieces of the items' texts, in nats; see `mask_tokens`."""
        ids, mask = self._tokens(items)
        options = {"special": self.special, "mask_id": self.mask_id, "vocabulary": self.vocabulary}
        inputs, labels = mask_tokens(ids, **options, generator=generator or torch.default_generator)
        return self.language.loss(inputs, mask, labels)

    def graph_loss(self, items: torch.Tensor) -> torch.Tensor:
        """`contrastive_loss` between what the head makes of a text and the item's facts."""
        if self.facts is None:
            raise ValueError("this student has no facts: build it with TextStudent(texts, encoder=…, facts=…)")
        return contrastive_loss(self.project(self(items)), self.facts[items], TEMPERATURE)

    def language_stage(self, training: Training, *, name: str = "language", items=None) -> Stage:
        """Masked language modelling on the texts of `items`: (n,) indices, which may repeat; None: all."""
        items = torch.arange(len(self.input_ids)) if items is None else torch.as_tensor(np.asarray(items))
        heads = [p for part in (self.language.dense, self.language.norm) for p in part.parameters()] + [self.language.bias]
        return Stage(name, items, lambda model, batch: model.language_loss(batch), training, self._groups(heads, training))

    def graph_stage(self, training: Training, *, name: str = "graph", items=None) -> Stage:
        """Texts to facts, by `contrastive_loss`, for the items that the graph knows of `items` (see above)."""
        if self.facts is None:
            raise ValueError("this student has no facts: build it with TextStudent(texts, encoder=…, facts=…)")
        items = self.known if items is None else torch.as_tensor(np.asarray(items))
        items = items[torch.isin(items, self.known)]
        heads = list(self.project.parameters())
        return Stage(name, items, lambda model, batch: model.graph_loss(batch), training, self._groups(heads, training))

    def language_probe(self, items, *, seed: int = 0) -> float:
        """`language_loss` of items (n,) with the same pieces hidden at every call: a number to watch for forgetting."""
        items = torch.as_tensor(np.asarray(items))
        generator, batches = torch.Generator().manual_seed(seed), items.split(BATCH)
        with torch.no_grad():
            losses = [float(self.language_loss(batch, generator)) * len(batch) for batch in batches]
        return sum(losses) / len(items)

    def vectors(self, items) -> np.ndarray:
        """`forward` in small batches, without gradients → (n, hidden)."""
        with torch.no_grad():
            return torch.cat([self(batch) for batch in torch.as_tensor(np.asarray(items)).split(BATCH)]).float().numpy()

    def _groups(self, heads: list[nn.Parameter], training: Training) -> list[dict]:
        """The encoder at the stage's learning rate, the stage's own head at HEAD_RATE; the unused pooler rests."""
        unused = {id(p) for p in self.bert.pooler.parameters()} if getattr(self.bert, "pooler", None) is not None else set()
        encoder = [p for p in self.bert.parameters() if id(p) not in unused]
        return [
            {"params": encoder, "weight_decay": training.weight_decay},
            {"params": heads, "lr": HEAD_RATE, "weight_decay": 0.0},
        ]

    def _tokens(self, items: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mask = self.attention_mask[items]
        longest = int(mask.sum(dim=1).max())
        return self.input_ids[items, :longest], mask[:, :longest]


def neighbour_auc(vectors, facts, *, neighbours: int = 5) -> float:
    """Do texts of like things lie close?  The chance that a graph neighbour of an item stands nearer than another item.

    vectors (n, d), facts (n, f): of the same items; graph neighbours of an item: the `neighbours` with the largest cosine of
    facts; nearness: cosine of vectors. → mean over items, .5 for vectors that know nothing of the facts. No head is needed,
    so encoders that never saw the graph can be asked as well. Raises ValueError for too few items.
    """
    vectors, facts = (normalize(np.asarray(a, dtype=float)) for a in (vectors, facts))
    n = len(vectors)
    if len(facts) != n or n < neighbours + 2 or neighbours < 1:
        raise ValueError(f"{n} vectors and {len(facts)} facts: as many of each, and more than {neighbours + 1}")
    others = ~np.eye(n, dtype=bool)
    near, like = ((a @ a.T)[others].reshape(n, n - 1) for a in (vectors, facts))
    best = np.argsort(-like, axis=1, kind="stable")[:, :neighbours]
    own = np.take_along_axis(near, best, axis=1)
    below = (near[:, None, :] < own[:, :, None]).sum(-1) + 0.5 * (near[:, None, :] == own[:, :, None]).sum(-1)
    among = (own[:, None, :] < own[:, :, None]).sum(-1) + 0.5 * (own[:, None, :] == own[:, :, None]).sum(-1)
    return float(((below - among) / (n - 1 - neighbours)).mean())


class _Plain(nn.Module):
    """A BERT of transformers with the face of our Encoder, as far as MaskedLanguageModel looks."""

    def __init__(self, bert: nn.Module):
        super().__init__()
        self.bert = bert
        self.config = EncoderConfig(**{ours: getattr(bert.config, theirs) for ours, theirs in FIELDS.items()})

    @property
    def embeddings(self) -> SimpleNamespace:
        """The table of word vectors, under our name."""
        return SimpleNamespace(word=self.bert.get_input_embeddings())

    def forward(self, input_ids, attention_mask=None) -> torch.Tensor:
        """(batch, time) → (batch, time, hidden)."""
        return self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


def _vocabulary(encoder) -> tuple[int, list[int], int]:
    """Number of word pieces, the ids that are none (padding, [CLS], …), and the id of the mask."""
    tokenizer = encoder.tokenizer
    return encoder.model.config.vocab_size, list(tokenizer.all_special_ids), tokenizer.mask_token_id
