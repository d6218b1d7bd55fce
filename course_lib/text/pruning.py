"""A vocabulary cut down to the word pieces that a catalogue uses."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from course_lib.text.encoder import tokenize


def used_pieces(texts: Iterable[str], *, tokenizer) -> torch.Tensor:
    """Ids of the word pieces that occur in the texts, and of the special ones such as [UNK] → (kept,) int64, rising.

    The texts are read in full, however long. Raises ValueError for anything but a list of str.
    """
    found = tokenize(texts, tokenizer=tokenizer, max_length=1_000_000)["input_ids"].flatten()
    return torch.cat([found, torch.tensor(tokenizer.all_special_ids)]).unique()


def prune_vocabulary(ids: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids that occur, and the new place of every id.

    ids int64 of any shape, each below `size` → kept (kept,), rising, and row (size,): row[i] is the place of id i in kept,
    and len(kept), a place that does not exist, for an id that was pruned. So table[kept][row[ids]] = table[ids].
    """
    kept = ids.unique()
    row = torch.full((size,), len(kept))
    row[kept] = torch.arange(len(kept))
    return kept, row


class PrunedEmbedding(nn.Module):
    """An embedding that holds the rows `used` of another; it is called with the ids of the other.

    ids int64 of any shape → (…, hidden). Raises IndexError for an id that was pruned.
    """

    def __init__(self, embedding: nn.Embedding, used: torch.Tensor):
        super().__init__()
        kept, row = prune_vocabulary(used, embedding.num_embeddings)
        self.register_buffer("row", row)
        self.kept = nn.Embedding.from_pretrained(embedding.weight.detach()[kept].clone(), freeze=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """The rows of the ids."""
        return self.kept(self.row[ids])
