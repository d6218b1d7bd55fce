import json
import math
import shutil

import pytest
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file, save_file
from torch import nn

from course_lib.datasets import DataError, encoder_folder, load_movielens
from course_lib.transformer import (
    IGNORED,
    Embeddings,
    Encoder,
    EncoderBlock,
    EncoderConfig,
    FeedForward,
    MaskedLanguageModel,
    MultiHeadAttention,
    attention,
    bert_name,
    causal_mask,
    mask_tokens,
    mean_pool,
    padding_mask,
)

SMALL = EncoderConfig(vocabulary=50, hidden=12, layers=2, heads=3, intermediate=20, positions=16)
PAD, CLS, SEP, MASK = range(4)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def ids(*shape, seed=0):
    return torch.randint(4, 50, shape, generator=torch.Generator().manual_seed(seed))


def largest(a, b):
    return float((a - b).detach().abs().max())


@pytest.fixture(scope="module")
def bert():
    return transformers.BertModel.from_pretrained(encoder_folder(), attn_implementation="eager").eval()


@pytest.fixture(scope="module")
def texts():
    """Every 80th film as a text, short and long ones in one padded batch."""
    items = load_movielens().items.iloc[::80]
    lines = [f"{title}. {', '.join(genres)}" for title, genres in zip(items.title, items.genres, strict=True)]
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder_folder())
    batch = tokenizer(lines, padding=True, return_tensors="pt")
    assert not batch.attention_mask.all(), "the batch must hold padding"
    return batch


@pytest.fixture
def folder(tmp_path):
    """A small BERT, as transformers saves it: with a pooler, which our encoder leaves out."""
    sizes = {"vocab_size": 50, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20}
    config = transformers.BertConfig(**sizes, max_position_embeddings=16)
    transformers.BertModel(config).save_pretrained(tmp_path)
    return tmp_path


def rewrite(folder, change):
    """Change the weights of a folder."""
    weights = load_file(folder / "model.safetensors")
    save_file(change(weights), folder / "model.safetensors")


def describe(folder, **fields):
    """Change fields of a folder's configuration; None takes one out."""
    found = json.loads((folder / "config.json").read_text()) | fields
    (folder / "config.json").write_text(json.dumps({k: v for k, v in found.items() if v is not None}))


# attention


def test_attention_by_hand():
    q, k = torch.tensor([[2.0, 0, 0, 0]]), torch.tensor([[math.log(3.0), 0, 0, 0], [0, 5.0, 0, 0]])
    output, weights = attention(q, k, torch.tensor([[1.0, 0.0], [5.0, 8.0]]))  # scores log 3 and 0: odds of 3 to 1
    torch.testing.assert_close(weights, torch.tensor([[0.75, 0.25]]))
    torch.testing.assert_close(output, torch.tensor([[2.0, 2.0]]))


@pytest.mark.parametrize("masked", [False, True])
def test_attention_equals_torch(masked):
    q, k, v = draw(2, 3, 5, 4), draw(2, 3, 7, 4, seed=1), draw(2, 3, 7, 6, seed=2)
    mask = draw(2, 1, 5, 7, seed=3) > 0 if masked else None
    if masked:
        mask[..., 0] = True
    output, weights = attention(q, k, v, mask)
    assert largest(output, F.scaled_dot_product_attention(q, k, v, attn_mask=mask)) < 1e-6
    assert weights.shape == (2, 3, 5, 7)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 5))
    if masked:
        assert (weights[~mask.expand_as(weights)] == 0).all() and (weights[mask.expand_as(weights)] > 0).all()


def test_attention_mask_of_ones_and_zeros():
    q = draw(1, 4, 6)
    mask = torch.tensor([[1, 0, 1, 1]])
    assert torch.equal(attention(q, q, q, mask)[1], attention(q, q, q, mask.bool())[1])


def test_attention_that_may_look_nowhere_is_even():
    q = draw(1, 4, 6)
    _, weights = attention(q, q, q, torch.zeros(1, 4, 4))
    torch.testing.assert_close(weights, torch.full((1, 4, 4), 0.25))


def test_attention_dropout_falls_on_the_weights():
    torch.manual_seed(0)
    q = draw(1, 64, 8)
    plain = attention(q, q, torch.eye(64)[None])[0]
    dropped, weights = attention(q, q, torch.eye(64)[None], dropout=0.25)
    torch.testing.assert_close(weights, plain)
    gone = dropped == 0
    assert 0.2 < gone.float().mean() < 0.3
    torch.testing.assert_close(dropped[~gone], plain[~gone] / 0.75)


def test_padding_mask_hides_padding_from_every_query():
    mask = padding_mask(torch.tensor([[1, 1, 0], [1, 1, 1]]))
    assert mask.shape == (2, 1, 1, 3) and mask.dtype == torch.bool
    assert mask[:, 0, 0].tolist() == [[True, True, False], [True, True, True]]


def test_causal_mask_hides_what_follows():
    assert causal_mask(3).tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    q = draw(2, 5, 6)
    changed = torch.cat([q[:, :3], draw(2, 2, 6, seed=1)], 1)
    before, after = (attention(x, x, x, causal_mask(5))[0] for x in (q, changed))
    assert torch.equal(before[:, :3], after[:, :3]) and largest(before[:, 3:], after[:, 3:]) > 0.1


# heads, feed-forward, block


def test_multi_head_attention_equals_torch():
    ours, peer = MultiHeadAttention(12, 3).eval(), nn.MultiheadAttention(12, 3, batch_first=True).eval()
    with torch.no_grad():
        parts = [ours.query, ours.key, ours.value]
        peer.in_proj_weight.copy_(torch.cat([p.weight for p in parts]))
        peer.in_proj_bias.copy_(torch.cat([p.bias for p in parts]))
    peer.out_proj.load_state_dict(ours.output.state_dict())
    x, real = draw(2, 5, 12), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    output, weights = ours(x, padding_mask(real))
    expected, expected_weights = peer(x, x, x, key_padding_mask=real == 0, average_attn_weights=False)
    assert output.shape == (2, 5, 12) and weights.shape == (2, 3, 5, 5)
    assert largest(output, expected) < 1e-6 and largest(weights, expected_weights) < 1e-6


@pytest.mark.parametrize("heads", [5, 0])
def test_heads_divide_the_hidden_vector(heads):
    with pytest.raises(ValueError, match=f"{heads} heads do not divide hidden = 12"):
        MultiHeadAttention(12, heads)


def test_feed_forward_sees_one_position_at_a_time():
    layer, x = FeedForward(12, 20), draw(2, 5, 12)
    expected = F.gelu(x[1, 2] @ layer.inner.weight.T + layer.inner.bias) @ layer.outer.weight.T + layer.outer.bias
    assert largest(layer(x)[1, 2], expected) < 1e-6


def test_block_equals_bert(bert):
    block, layer = EncoderBlock(384, 12, 1536).eval(), bert.encoder.layer[0]
    theirs = layer.state_dict()
    short = {name: bert_name(f"blocks.0.{name}").removeprefix("encoder.layer.0.") for name in block.state_dict()}
    block.load_state_dict({ours: theirs[name] for ours, name in short.items()})
    x, mask = draw(2, 6, 384), padding_mask(torch.tensor([[1] * 6, [1, 1, 1, 1, 0, 0]]))
    far = torch.zeros(2, 1, 1, 6).masked_fill(~mask, torch.finfo(torch.float32).min)
    expected = layer(x, far)
    assert largest(block(x, mask)[0], expected[0] if isinstance(expected, tuple) else expected) < 1e-5


def test_block_that_drops_everything_only_normalises():
    block, x = EncoderBlock(12, 3, 20, dropout=1.0), draw(2, 5, 12)
    block.attention.eval()
    assert largest(block(x)[0], block.feed_forward_norm(block.attention_norm(x))) < 1e-6


# embeddings and encoder


def test_embeddings_refuse_what_they_have_no_vector_for():
    table = Embeddings(50, 12, 16)
    with pytest.raises(ValueError, match="texts of 17 tokens, but there are 16 positions.*max_length=16"):
        table(ids(2, 17))
    for wrong in (50, -1):
        with pytest.raises(IndexError, match=f"token id {wrong}, but the vocabulary has 0 … 49"):
            table(torch.tensor([[3, wrong]]))


def test_pretrained_encoder_equals_bert(bert, texts):
    encoder = Encoder.from_pretrained(encoder_folder())
    assert not encoder.training and encoder.config.layers == 6
    with torch.no_grad():
        output, weights = encoder(texts.input_ids, texts.attention_mask, weights=True)
        expected = bert(**texts, output_attentions=True)
    real = texts.attention_mask.bool()
    assert largest(output[real], expected.last_hidden_state[real]) < 1e-5
    assert len(weights) == 6
    for ours, theirs in zip(weights, expected.attentions, strict=True):
        assert ours.shape == theirs.shape == (len(real), 12, real.shape[1], real.shape[1])
        assert largest(ours, theirs) < 1e-5


def test_pretrained_encoder_by_default_is_the_bundled_one():
    one, two = Encoder.from_pretrained(), load_file(encoder_folder() / "model.safetensors")
    assert torch.equal(one.embeddings.word.weight, two["embeddings.word_embeddings.weight"])


def test_segments_equal_bert(folder):
    peer = transformers.BertModel.from_pretrained(folder).eval()
    tokens, segments = ids(2, 7), torch.tensor([[0, 0, 0, 1, 1, 1, 1]] * 2)
    ours = Encoder.from_pretrained(folder)(tokens, segments=segments)
    assert largest(ours, peer(input_ids=tokens, token_type_ids=segments).last_hidden_state) < 1e-5


def test_padding_changes_nothing():
    encoder = Encoder(SMALL).eval()
    tokens, mask = ids(1, 6), torch.tensor([[1, 1, 1, 1, 0, 0]])
    assert largest(encoder(tokens, mask)[:, :4], encoder(tokens[:, :4])) < 1e-6
    assert largest(encoder(tokens)[:, :4], encoder(tokens[:, :4])) > 1e-4  # without the mask it does


def test_mask_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"attention_mask is \(1, 5\), the texts are \(1, 6\)"):
        Encoder(SMALL)(ids(1, 6), torch.ones(1, 5))


def test_dropout_works_in_training_only():
    encoder, tokens = Encoder(SMALL), ids(2, 6)
    torch.manual_seed(0)
    assert largest(encoder.train()(tokens), encoder(tokens)) > 1e-3
    assert torch.equal(encoder.eval()(tokens), encoder(tokens))


@pytest.mark.parametrize("part", ["embeddings.dropout", "blocks.1.dropout", "blocks.1.attention"])
def test_each_dropout_is_felt(part):
    encoder, tokens = Encoder(SMALL).eval(), ids(2, 6)
    before = encoder(tokens)
    encoder.get_submodule(part).train()
    torch.manual_seed(0)
    assert largest(encoder(tokens), before) > 1e-4


def test_new_weights_come_from_the_seed():
    one, two, other = (Encoder(SMALL, seed=s).state_dict() for s in (1, 1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["blocks.0.feed_forward.inner.weight"], other["blocks.0.feed_forward.inner.weight"])
    big = Encoder(EncoderConfig(vocabulary=2000, hidden=60, layers=1, heads=3, intermediate=20)).embeddings.word.weight
    assert abs(float(big.std().detach()) - 0.02) < 0.0005


def test_mean_pool_leaves_padding_out():
    hidden = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [99.0, 99.0]], [[5.0, 5.0]] * 3])
    pooled = mean_pool(hidden, torch.tensor([[1, 1, 0], [0, 0, 0]]))
    assert pooled.tolist() == [[2.0, 4.0], [0.0, 0.0]]


# folders that are not what they should be


def test_missing_and_unknown_weights_are_named(folder):
    name = "encoder.layer.1.output.dense.bias"
    rewrite(folder, lambda w: {("strange.bias" if k == name else k): v for k, v in w.items()})
    with pytest.raises(DataError, match=rf"model\.safetensors.*missing: {name}; unknown: strange\.bias$"):
        Encoder.from_pretrained(folder)


def test_weights_of_another_shape_are_named(folder):
    describe(folder, max_position_embeddings=12)
    with pytest.raises(DataError, match=r"another shape: embeddings\.position_embeddings\.weight is \(16, 12\).*\(12, 12\)"):
        Encoder.from_pretrained(folder)


def test_more_layers_than_described_are_named_briefly(folder):
    describe(folder, num_hidden_layers=1)
    with pytest.raises(DataError, match=r"unknown: encoder\.layer\.1\.[^,]+(, [^,]+){4} and 11 more$"):
        Encoder.from_pretrained(folder)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_missing_and_broken_files_are_named(folder, file):
    (folder / file).write_text("{")
    with pytest.raises(DataError, match=f"{file} is not"):
        Encoder.from_pretrained(folder)
    (folder / file).unlink()
    with pytest.raises(DataError, match=f"{file} is missing"):
        Encoder.from_pretrained(folder)


@pytest.mark.parametrize("fields", [{"model_type": "roberta"}, {"hidden_act": "relu"}, {"position_embedding_type": "relative"}])
def test_other_kinds_of_model_are_refused(folder, fields):
    describe(folder, **fields)
    with pytest.raises(DataError, match=f"{next(iter(fields))} is '{next(iter(fields.values()))}'"):
        Encoder.from_pretrained(folder)


def test_every_field_is_read(folder):
    describe(folder, hidden_dropout_prob=0.3, layer_norm_eps=1e-7)
    config = Encoder.from_pretrained(folder).config
    assert config == EncoderConfig(50, 12, 2, 3, 20, positions=16, segments=2, dropout=0.3, epsilon=1e-7)


def test_lacking_fields_are_named(folder):
    describe(folder, hidden_size=None, vocab_size=None)
    with pytest.raises(DataError, match="lacks vocab_size, hidden_size"):
        Encoder.from_pretrained(folder)


def test_checkpoints_with_a_head_and_old_names_are_read(folder, tmp_path):
    expected = Encoder.from_pretrained(folder).state_dict()
    old = shutil.copytree(folder, tmp_path / "old")
    swap = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}

    def dress(weights):
        for new, name in swap.items():
            weights = {k.replace(new, name): v for k, v in weights.items()}
        return {f"bert.{k}": v for k, v in weights.items()} | {"cls.predictions.bias": torch.zeros(50)}

    rewrite(old, dress)
    found = Encoder.from_pretrained(old).state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_half_precision_weights_become_float32(folder):
    rewrite(folder, lambda w: {k: v.half() for k, v in w.items()})
    assert {p.dtype for p in Encoder.from_pretrained(folder).parameters()} == {torch.float32}


# masked language modelling


def masked(tokens, *, share=0.15, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return mask_tokens(tokens, special=[PAD, CLS, SEP], mask_id=MASK, vocabulary=50, generator=generator, share=share)


def test_mask_tokens_shares():
    tokens = ids(400, 500)
    inputs, labels = masked(tokens)
    chosen = labels != IGNORED
    assert abs(float(chosen.float().mean()) - 0.15) < 0.003
    hidden, kept = inputs[chosen] == MASK, inputs[chosen] == tokens[chosen]
    assert abs(float(hidden.float().mean()) - 0.8) < 0.01
    assert abs(float(kept.float().mean()) - (0.1 + 0.1 / 46)) < 0.01  # another token is the same by chance, once in 46
    replaced = inputs[chosen][~hidden & ~kept]
    assert set(replaced.tolist()) == set(range(4, 50)), "every word, and no special token"
    assert torch.equal(labels[chosen], tokens[chosen]) and torch.equal(inputs[~chosen], tokens[~chosen])


def test_mask_tokens_never_touches_special_tokens():
    tokens = ids(50, 20)
    tokens[:, 0], tokens[:, 8], tokens[:, 9:], tokens[:, 4] = CLS, SEP, PAD, MASK
    inputs, labels = masked(tokens, share=1.0)
    special = tokens < 4
    assert torch.equal(labels == IGNORED, special) and torch.equal(inputs[special], tokens[special])


def test_mask_tokens_follows_its_generator():
    tokens = ids(20, 20)
    one, two, other = masked(tokens), masked(tokens), masked(tokens, seed=1)
    assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1]) and not torch.equal(one[1], other[1])


@pytest.mark.parametrize("share", [0, 1.5])
def test_mask_tokens_refuses_other_shares(share):
    with pytest.raises(ValueError, match="share"):
        masked(ids(2, 5), share=share)


def test_loss_is_the_cross_entropy_of_all_logits():
    model, tokens, mask = MaskedLanguageModel(Encoder(SMALL)).eval(), ids(4, 10), torch.ones(4, 10)
    mask[2, 7:] = 0
    inputs, labels = masked(tokens, share=0.5)
    logits = model(inputs, mask)
    assert logits.shape == (4, 10, 50)
    expected = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
    assert largest(model.loss(inputs, mask, labels), expected) < 1e-6


def test_loss_of_nothing_chosen_is_zero():
    model = MaskedLanguageModel(Encoder(SMALL))
    loss = model.loss(ids(2, 5), None, torch.full((2, 5), IGNORED))
    loss.backward()
    assert loss.item() == 0 and not model.bias.grad.any()


def test_decoder_is_the_table_of_words():
    model = MaskedLanguageModel(Encoder(SMALL))
    assert sum(p.shape == (50, 12) for p in model.parameters()) == 1
    model.decode(draw(3, 12)).square().sum().backward()  # no encoder in between: the gradient comes through the decoder
    assert (model.encoder.embeddings.word.weight.grad.abs().sum(1) > 0).all()


def test_head_equals_bert(folder):
    peer = transformers.BertForMaskedLM.from_pretrained(folder).eval()
    ours, theirs = MaskedLanguageModel(Encoder.from_pretrained(folder)).eval(), peer.cls.predictions
    nn.init.normal_(theirs.bias, generator=torch.Generator().manual_seed(0))
    ours.dense.load_state_dict(theirs.transform.dense.state_dict())
    ours.norm.load_state_dict(theirs.transform.LayerNorm.state_dict())
    ours.bias.data.copy_(theirs.bias)
    tokens, mask = ids(2, 7), torch.tensor([[1] * 7, [1] * 5 + [0] * 2])
    real = mask.bool()
    assert largest(ours(tokens, mask)[real], peer(input_ids=tokens, attention_mask=mask).logits[real]) < 1e-5


def test_head_leaves_the_encoder_as_it_was():
    encoder = Encoder(SMALL, seed=3)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    after = MaskedLanguageModel(encoder, seed=5).encoder.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_masked_language_model_learns():
    """Two words that always stand together: after training, one is told from the other."""
    tokens = ids(64, 1).repeat(1, 4)
    model = MaskedLanguageModel(Encoder(SMALL)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for step in range(150):
        loss = model.loss(*_with_mask(masked(tokens, share=0.3, seed=step)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert abs(losses[0] - math.log(50)) < 0.3 and losses[-1] < 2.5, (losses[0], losses[-1])


def _with_mask(pair):
    inputs, labels = pair
    return inputs, torch.ones_like(inputs), labels
