"""Masked language modelling: hide some tokens, and let the encoder say what stood there."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from course_lib.transformer.encoder import Encoder, initialise

IGNORED = -100  # label of a position that the loss leaves out


def mask_tokens(input_ids, *, special, mask_id, vocabulary, generator, share=0.15):
    """Choose tokens at random; of the chosen, 80 % become the mask, 10 % another token, 10 % stay.

    input_ids (batch, time) int64 → inputs (batch, time), labels (batch, time): the token where one was chosen, else −100.
    special: ids that are never chosen and never put in ([CLS], [SEP], [PAD], …); vocabulary: number of ids; generator: a
    torch.Generator on the CPU, also for ids on a GPU. Raises ValueError for a share outside 0 … 1.
    Source: Devlin et al. (2019), BERT, section 3.1 and appendix A.1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is the part of the tokens to hide, above 0 and at most 1, not {share}")
    special = torch.as_tensor(sorted({*special, mask_id}))
    draw = torch.rand(2, *input_ids.shape, generator=generator).to(input_ids.device)  # whether, and what becomes of it
    chosen = (draw[0] < share) & ~torch.isin(input_ids, special.to(input_ids.device))
    words = torch.arange(vocabulary)
    words = words[~torch.isin(words, special)]
    other = words[torch.randint(len(words), input_ids.shape, generator=generator)].to(input_ids.device)  # (batch, time)
    inputs = torch.where(chosen & (draw[1] < 0.8), mask_id, input_ids)
    inputs = torch.where(chosen & (draw[1] >= 0.9), other, inputs)
    return inputs, torch.where(chosen, input_ids, IGNORED)


class MaskedLanguageModel(nn.Module):
    """An encoder that names the token at each position; its decoder is the table of word vectors itself.

    logits = E LayerNorm(GELU(W h + b)) + c, E the word embeddings (vocabulary, hidden)

    input_ids, attention_mask (batch, time) → logits (batch, time, vocabulary). The encoder's weights are used, not copied.
    Source: Devlin et al. (2019), section 3.1; Press and Wolf (2017), Using the output embedding to improve language models.
    """

    def __init__(self, encoder: Encoder, *, seed: int = 0):
        super().__init__()
        hidden, vocabulary = encoder.config.hidden, encoder.config.vocabulary
        self.dense = nn.Linear(hidden, hidden)
        self.norm = nn.LayerNorm(hidden, eps=encoder.config.epsilon)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        initialise(self, seed=seed)
        self.encoder = encoder  # after the initialisation of the head, which must not touch it

    def decode(self, hidden):
        """Hidden vectors (..., hidden) → logits (..., vocabulary)."""
        return F.linear(self.norm(F.gelu(self.dense(hidden))), self.encoder.embeddings.word.weight, self.bias)

    def forward(self, input_ids, attention_mask=None):
        """Logits at every position."""
        return self.decode(self.encoder(input_ids, attention_mask))

    def loss(self, input_ids, attention_mask, labels):
        """Mean cross-entropy in nats over the chosen positions; 0 if there are none. labels (batch, time), −100: left out."""
        chosen = labels != IGNORED
        hidden = self.encoder(input_ids, attention_mask)[chosen]  # (chosen, hidden): the vocabulary is wide, so only these
        total = F.cross_entropy(self.decode(hidden), labels[chosen], reduction="sum")
        return total / max(len(hidden), 1)
