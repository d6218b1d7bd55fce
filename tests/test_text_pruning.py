import numpy as np
import pytest
import torch
from small_encoder import WORDS, SmallEncoder
from torch import nn

from course_lib.text import PrunedEmbedding, prune_vocabulary, used_pieces


def test_prune_by_hand():
    kept, row = prune_vocabulary(torch.tensor([[5, 2], [5, 0]]), 6)
    assert kept.tolist() == [0, 2, 5] and row.tolist() == [0, 3, 1, 3, 3, 2]


def test_the_pruned_table_reads_the_same_rows_and_learns():
    generator = torch.Generator().manual_seed(0)
    ids, whole = torch.randint(0, 40, (6, 5), generator=generator), nn.Embedding(60, 3)
    part = PrunedEmbedding(whole, ids.flatten())
    assert torch.equal(part(ids), whole(ids)) and part.kept.num_embeddings == len(ids.unique()) < 60
    part(ids).sum().backward()
    counts = [int((ids == i).sum()) for i in ids.unique()]
    np.testing.assert_allclose(part.kept.weight.grad[:, 0], counts)
    assert whole.weight.grad is None


def test_a_pruned_id_is_an_error():
    part = PrunedEmbedding(nn.Embedding(6, 3), torch.tensor([1, 4]))
    with pytest.raises(IndexError):
        part(torch.tensor([2]))


def test_used_pieces_keep_the_special_ones():
    class Tokenizer:
        all_special_ids = [0, 1]
        __call__ = staticmethod(SmallEncoder().tokenizer)

    found = used_pieces(["blue sky", "sky " * 50 + "drama"], tokenizer=Tokenizer())
    assert [WORDS[i] for i in found] == ["pad", "cls", "blue", "sky", "drama"]
    assert used_pieces([], tokenizer=Tokenizer()).tolist() == [0, 1]
    with pytest.raises(ValueError, match="list"):
        used_pieces("blue sky", tokenizer=Tokenizer())
