"""An encoder with a vocabulary of a dozen words and two layers of 16 numbers, for tests that must be quick."""

import hashlib

import numpy as np
import torch
from transformers import BertConfig, BertModel

WORDS = "pad cls blue red moon sky alone stand drama action comedy other green".split()


class SmallEncoder:
    """What a TextEncoder has, as far as a two-tower model asks for it."""

    folder, first_token, hidden_size = "small", False, 16

    def __init__(self, *, layers=2):
        config = BertConfig(vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=layers, num_attention_heads=2,
                            intermediate_size=32, max_position_embeddings=16, pad_token_id=0)  # fmt: skip
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.model = BertModel(config).eval()

    def tokenizer(self, texts, *, max_length, **_):
        rows = [[1] + [WORDS.index(w) if w in WORDS else 11 for w in text.lower().split()][: max_length - 1] for text in texts]
        width = max(map(len, rows))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
        return {"input_ids": ids, "attention_mask": (ids > 0).long()}

    tokenizer.all_special_ids, tokenizer.mask_token_id = [0, 1], WORDS.index("green")

    @torch.no_grad()
    def encode(self, texts):
        """One text at a time: an oracle for whatever is done in batches."""
        rows = []
        for text in texts:
            tokens = self.tokenizer([text], max_length=16)
            rows.append(self.model(**tokens).last_hidden_state[0].mean(dim=0).numpy())
        return np.array([row / np.linalg.norm(row) for row in rows], dtype=np.float32)

    def digest(self):
        """Of all weights: they must be the same before and after."""
        return hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in self.model.parameters())).hexdigest()
