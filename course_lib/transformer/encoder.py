"""What happens inside BERT, top to bottom: attention, heads, feed-forward, block, embeddings, encoder."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from course_lib.datasets import verify_encoder
from course_lib.transformer.pretrained import EncoderConfig, read_config, read_weights


def attention(q, k, v, mask=None, *, dropout=0.0):
    """Every query takes an average of the values, weighted by how well it matches their keys.

    A = softmax(q kᵀ / √d), output = A v

    q (..., queries, d), k (..., keys, d), v (..., keys, values) → output (..., queries, values), A (..., queries, keys).
    mask: broadcastable to A, true (or 1) where a query may look; a query that may look nowhere gets equal weights.
    dropout: share of A set to zero, and the rest scaled up, before it meets v; A is returned as it was before.
    Source: Vaswani et al. (2017), Attention is all you need, section 3.2.1.
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (..., queries, keys)
    if mask is not None:
        scores = scores.masked_fill(~mask.bool(), torch.finfo(scores.dtype).min)
    weights = scores.softmax(-1)
    return F.dropout(weights, dropout) @ v, weights


def padding_mask(attention_mask):
    """Every query may look at the real tokens: (batch, time) of ones and zeros → bool (batch, 1, 1, time)."""
    return attention_mask.bool()[:, None, None, :]  # (batch, heads, queries, keys), the middle two by broadcasting


def causal_mask(time, *, device=None):
    """A query may look at itself and at what stands before it → bool (time, time), a lower triangle."""
    return torch.ones(time, time, dtype=torch.bool, device=device).tril()


class MultiHeadAttention(nn.Module):
    """Several attentions side by side, each in its own slice of the hidden vector.

    head_j = attention(x W_q,j, x W_k,j, x W_v,j), output = [head_1 … head_h] W_o

    x (batch, time, hidden), mask broadcastable to (batch, heads, time, time) →
    output (batch, time, hidden), weights (batch, heads, time, time). Raises ValueError if heads do not divide hidden.
    Source: Vaswani et al. (2017), section 3.2.2.
    """

    def __init__(self, hidden, heads, dropout=0.0):
        super().__init__()
        if heads < 1 or hidden % heads:
            raise ValueError(f"each head takes hidden / heads numbers, but {heads} heads do not divide hidden = {hidden}")
        self.heads, self.dropout = heads, dropout
        self.query, self.key, self.value = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)
        self.output = nn.Linear(hidden, hidden)

    def split(self, x):
        """Cut each vector into heads: (batch, time, hidden) → (batch, heads, time, dim)."""
        x = x.unflatten(-1, (self.heads, -1))  # (batch, time, heads, dim)
        return x.transpose(1, 2)  # (batch, heads, time, dim)

    def forward(self, x, mask=None):
        """Attend from x to x."""
        q, k, v = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))  # (batch, heads, time, dim)
        output, weights = attention(q, k, v, mask, dropout=self.dropout if self.training else 0.0)
        output = output.transpose(1, 2)  # (batch, heads, time, dim) → (batch, time, heads, dim)
        output = output.flatten(2)  # (batch, time, hidden)
        return self.output(output), weights


class FeedForward(nn.Module):
    """Each position by itself: x → W₂ GELU(W₁ x + b₁) + b₂, (batch, time, hidden) → the same.

    Source: Vaswani et al. (2017), section 3.3; GELU in place of ReLU: Devlin et al. (2019), BERT, appendix A.2.
    """

    def __init__(self, hidden, intermediate):
        super().__init__()
        self.inner = nn.Linear(hidden, intermediate)
        self.outer = nn.Linear(intermediate, hidden)

    def forward(self, x):
        """(batch, time, hidden) → (batch, time, intermediate) → (batch, time, hidden)."""
        return self.outer(F.gelu(self.inner(x)))


class EncoderBlock(nn.Module):
    """Attention, then feed-forward; each is added to what came in, and the sum is normalised.

    y = LayerNorm(x + MultiHeadAttention(x)), z = LayerNorm(y + FeedForward(y))

    x (batch, time, hidden) → z (batch, time, hidden), weights (batch, heads, time, time).
    Source: Vaswani et al. (2017), section 3.1 (the norm after the sum, as in BERT).
    """

    def __init__(self, hidden, heads, intermediate, dropout=0.0, *, epsilon=1e-12):
        super().__init__()
        self.attention = MultiHeadAttention(hidden, heads, dropout)
        self.attention_norm = nn.LayerNorm(hidden, eps=epsilon)
        self.feed_forward = FeedForward(hidden, intermediate)
        self.feed_forward_norm = nn.LayerNorm(hidden, eps=epsilon)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, mask=None):
        """One round of looking around and thinking it over."""
        attended, weights = self.attention(x, mask)
        x = self.attention_norm(x + self.dropout(attended))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x))), weights


class Embeddings(nn.Module):
    """The first vectors: LayerNorm(word + position + segment).

    input_ids (batch, time), segments the same or None (all in the first) → (batch, time, hidden).
    Raises ValueError for texts longer than the table of positions, IndexError for an id outside the vocabulary.
    Source: Devlin et al. (2019), figure 2.
    """

    def __init__(self, vocabulary, hidden, positions=512, *, segments=2, dropout=0.0, epsilon=1e-12):
        super().__init__()
        self.word = nn.Embedding(vocabulary, hidden)
        self.position = nn.Embedding(positions, hidden)
        self.segment = nn.Embedding(segments, hidden)
        self.norm = nn.LayerNorm(hidden, eps=epsilon)
        self.dropout = nn.Dropout(dropout)

    def forward(self, input_ids, segments=None):
        """Look up and add."""
        time, known = input_ids.shape[1], self.word.num_embeddings
        if time > self.position.num_embeddings:
            limit = self.position.num_embeddings
            raise ValueError(f"texts of {time} tokens, but there are {limit} positions: tokenize with max_length={limit}")
        if input_ids.device.type == "cpu" and input_ids.numel() and not 0 <= input_ids.min() <= input_ids.max() < known:
            wrong = int(input_ids[(input_ids < 0) | (input_ids >= known)][0])
            raise IndexError(f"token id {wrong}, but the vocabulary has 0 … {known - 1}: was another tokenizer used?")
        segments = torch.zeros_like(input_ids) if segments is None else segments
        place = torch.arange(time, device=input_ids.device)  # (time,)
        x = self.word(input_ids) + self.position(place) + self.segment(segments)  # (batch, time, hidden)
        return self.dropout(self.norm(x))


class Encoder(nn.Module):
    """BERT without its pooler: embeddings, then a stack of blocks.

    input_ids (batch, time), attention_mask (batch, time) of ones for tokens and zeros for padding → (batch, time, hidden).
    New weights are drawn from N(0, 0.02²) with `seed`, biases are zero.
    Source: Devlin et al. (2019), section 3 and appendix A.2.
    """

    def __init__(self, config: EncoderConfig, *, seed: int = 0):
        super().__init__()
        c = self.config = config
        self.embeddings = Embeddings(
            c.vocabulary, c.hidden, c.positions, segments=c.segments, dropout=c.dropout, epsilon=c.epsilon
        )
        blocks = [EncoderBlock(c.hidden, c.heads, c.intermediate, c.dropout, epsilon=c.epsilon) for _ in range(c.layers)]
        self.blocks = nn.ModuleList(blocks)
        initialise(self, seed=seed)

    @classmethod
    def from_pretrained(cls, folder=None) -> Encoder:
        """The encoder with the weights of a BERT's folder, in eval mode; None: the bundled MiniLM, its sha256 checked.

        Raises DataError where the folder lacks a file or a weight, or holds one that this encoder has no place for.
        """
        folder = verify_encoder().parent if folder is None else folder
        encoder = cls(read_config(folder))
        shapes = {name: tuple(weight.shape) for name, weight in encoder.state_dict().items()}
        encoder.load_state_dict(read_weights(folder, shapes))
        return encoder.eval()

    def forward(self, input_ids, attention_mask=None, *, segments=None, weights=False):
        """Hidden vectors of the last block; with weights=True also a list of (batch, heads, time, time), one per block."""
        x, seen = self.embeddings(input_ids, segments), []
        if attention_mask is not None and attention_mask.shape != x.shape[:2]:
            raise ValueError(f"attention_mask is {tuple(attention_mask.shape)}, the texts are {tuple(x.shape[:2])}")
        mask = None if attention_mask is None else padding_mask(attention_mask)  # (batch, 1, 1, time)
        for block in self.blocks:
            x, block_weights = block(x, mask)  # (batch, time, hidden), (batch, heads, time, time)
            if weights:
                seen.append(block_weights)
        return (x, seen) if weights else x


def mean_pool(hidden, mask):
    """One vector per text: the mean over its tokens, padding left out.

    hidden (batch, time, hidden), mask (batch, time) → (batch, hidden); a text without tokens becomes zeros.
    Source: Reimers and Gurevych (2019), Sentence-BERT, section 3.
    """
    mask = mask.to(hidden.dtype)[..., None]  # (batch, time, 1)
    return (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)


def initialise(module: nn.Module, *, seed: int) -> None:
    """Weights of Linear and Embedding from N(0, 0.02²), biases zero; the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=0.02, generator=generator)
        if isinstance(part, nn.Linear):
            nn.init.zeros_(part.bias)
