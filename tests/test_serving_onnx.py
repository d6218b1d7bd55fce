import os
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime.quantization
import pytest
import torch

from course_lib.serving.onnx import OnnxEncoder, OnnxError, export_encoder, quantize
from course_lib.serving.precision import in_bfloat16
from course_lib.text import TextEncoder, used_pieces

PIECES = "[PAD] [UNK] [CLS] [SEP] [MASK] red blue green sky moon sea ##s a film of".split()
TEXTS = [
    "red sky",
    "blue moon",
    "a film of green seas",
    "sky",
    "",
    "Wörter 电影",
    "red red red blue moon of a film of green seas",
]
KEPT = ["red sky", "a film of blue seas"]  # no green, no moon


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A BERT of one layer with random weights."""
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(PIECES), max_position_embeddings=24, initializer_range=0.3, **sizes)
    BertModel(config).save_pretrained(folder)
    BertTokenizer(vocab={piece: i for i, piece in enumerate(PIECES)}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(folder):
    return TextEncoder(folder, device="cpu")


@pytest.fixture(scope="module")
def exported(encoder):
    return export_encoder(encoder, encoder.folder / "made" / "encoder.onnx")


@pytest.fixture(scope="module")
def trained(folder):
    """An encoder that is no longer the one on the disk, pooled by its first piece, in training mode."""
    encoder = TextEncoder(folder, device="cpu")
    encoder.first_token = True
    with torch.no_grad():
        encoder.model.encoder.layer[0].output.dense.weight.mul_(2)
    encoder.model.train()
    return encoder


@pytest.fixture(scope="module")
def pruned(trained):
    kept = used_pieces(KEPT, tokenizer=trained.tokenizer)
    return export_encoder(trained, trained.folder / "made" / "pruned.onnx", vocabulary=kept)


def metadata(path):
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_the_vectors_of_torch(encoder, exported, batch_size):
    ours = OnnxEncoder(exported, tokenizer=encoder.folder, batch_size=batch_size)
    rows = ours.encode(TEXTS)
    assert rows.shape == (len(TEXTS), 32) and rows.dtype == np.float32
    np.testing.assert_allclose(rows, encoder.encode(TEXTS, cache=False), atol=1e-6)
    plain = ours.encode(TEXTS, normalise=False)
    np.testing.assert_allclose(plain, encoder.encode(TEXTS, cache=False, normalise=False), atol=1e-5)
    assert np.abs(np.linalg.norm(plain, axis=1) - 1).max() > 0.1, "these are not of unit length"


def test_long_texts_are_cut_at_the_same_place(encoder, exported):
    ours = OnnxEncoder(exported, tokenizer=encoder.folder)
    assert ours.max_length == encoder.max_length == 24
    np.testing.assert_allclose(ours.encode(["sky " * 100]), encoder.encode(["sky " * 100], cache=False), atol=1e-6)


def test_nothing_to_encode_and_what_is_no_list(encoder, exported):
    ours = OnnxEncoder(exported, tokenizer=encoder.folder)
    assert ours.encode([]).shape == (0, 32)
    with pytest.raises(ValueError, match=r"\[text\]"):
        ours.encode("red sky")
    with pytest.raises(ValueError, match=r"texts\[1\] is None"):
        ours.encode(["sky", None])


def test_every_way_to_give_the_tokenizer(encoder, exported):
    expected = encoder.encode(TEXTS, cache=False)
    before = encoder.tokenizer.backend_tokenizer.to_str()
    for given in (encoder.folder, encoder.folder / "tokenizer.json", str(encoder.folder), encoder.tokenizer):
        np.testing.assert_allclose(OnnxEncoder(exported, tokenizer=given).encode(TEXTS), expected, atol=1e-6)
    assert encoder.tokenizer.backend_tokenizer.to_str() == before, "the given tokenizer stays as it is"


def test_the_export_leaves_the_encoder_alone(encoder, exported, trained, pruned):
    assert encoder.unchanged and encoder.model.config._attn_implementation != "eager"
    assert trained.model.training and trained.model.get_input_embeddings().num_embeddings == len(PIECES)
    assert metadata(exported)["weights_sha256"] == encoder.weights_sha
    assert "weights_sha256" not in metadata(pruned), "trained weights have no name"


def test_a_trained_pruned_encoder(trained, pruned, exported):
    ours, kept = OnnxEncoder(pruned, tokenizer=trained.folder), ["red seas", "a sky of film", "sky"]
    np.testing.assert_allclose(ours.encode(kept), trained.encode(kept, cache=False), atol=1e-6)
    untrained = OnnxEncoder(exported, tokenizer=trained.folder).encode(kept)
    assert np.abs(ours.encode(kept) - untrained).max() > 0.1
    table = [tensor for tensor in onnx.load(pruned).graph.initializer if list(tensor.dims) == [len(PIECES), 32]]
    assert not table, "the whole table is not in the file"


def test_pruned_pieces_are_an_error_or_unknown(trained, pruned):
    with pytest.raises(ValueError, match=r"lacks green, moon: export .* or open it with unknown='unk'"):
        OnnxEncoder(pruned, tokenizer=trained.folder).encode(["red sky", "green moon"])
    rows = OnnxEncoder(pruned, tokenizer=trained.folder, unknown="unk").encode(["red sky", "green sky"])
    np.testing.assert_allclose(rows, trained.encode(["red sky", "[UNK] sky"], cache=False), atol=1e-6)


def test_lost_words_are_named(trained, pruned, encoder, exported):
    texts = ["Green seas of GREEN green red red moons", "red sky", "", "Wörter of blue sky !"]
    lost = OnnxEncoder(pruned, tokenizer=trained.folder).lost(texts)
    assert lost == [["Green", "GREEN", "green", "moons"], [], [], ["Wörter", "!"]], "as written, each once, whole words"
    whole = OnnxEncoder(exported, tokenizer=encoder.folder)
    assert whole.lost(texts) == [[], [], [], ["Wörter", "!"]], "the tokenizer itself does not know these"
    assert whole.lost(["sky " * 100 + "Wörter"]) == [[]] and whole.lost([]) == []
    with pytest.raises(ValueError, match=r"\[text\]"):
        whole.lost("red sky")


def test_what_pruning_would_do_before_it_is_done(trained, pruned, tmp_path):
    kept = used_pieces(KEPT, tokenizer=trained.tokenizer)
    whole = export_encoder(trained, tmp_path / "whole.onnx")
    texts = ["red sky", "green seas", "blue moon"]
    as_if = OnnxEncoder(whole, tokenizer=trained.folder, vocabulary=kept, unknown="unk")
    really = OnnxEncoder(pruned, tokenizer=trained.folder, unknown="unk")
    np.testing.assert_allclose(as_if.encode(texts), really.encode(texts), atol=1e-6)
    assert as_if.lost(texts) == really.lost(texts) == [[], ["green"], ["moon"]]
    with pytest.raises(ValueError, match="lacks green"):
        OnnxEncoder(whole, tokenizer=trained.folder, vocabulary=kept).encode(texts)
    fewer = OnnxEncoder(pruned, tokenizer=trained.folder, vocabulary=[i for i in kept if PIECES[i] != "red"])
    assert fewer.lost(["red sky", "green sky"]) == [["red"], ["green"]], "what the file lacks stays lost"


def test_eight_bits(encoder, exported, tmp_path):
    small = quantize(exported, tmp_path / "deep" / "int8.onnx")
    assert sorted(os.listdir(small.parent)) == ["int8.onnx"] and metadata(small).items() >= metadata(exported).items()
    rows, exact = OnnxEncoder(small, tokenizer=encoder.folder).encode(TEXTS), encoder.encode(TEXTS, cache=False)
    assert np.abs(rows - exact).max() > 1e-4 and (rows * exact).sum(1).min() > 0.97
    weights = [tensor for tensor in onnx.load(small).graph.initializer if len(tensor.dims) == 2 and min(tensor.dims) > 1]
    assert len(weights) >= 6 and {w.data_type for w in weights} <= {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}


def test_texts_and_their_tokenizer_come_together(exported, encoder, tmp_path):
    for given in ({"texts": TEXTS}, {"tokenizer": encoder.folder}):
        with pytest.raises(ValueError, match="both or neither"):
            quantize(exported, tmp_path / "int8.onnx", **given)


def test_channels_that_stick_out_are_balanced_first(trained, pruned, tmp_path):
    """One channel behind the GELU is made a hundred times as large, and the weights after it undo that."""
    model = onnx.load(pruned)
    weights = {t.name: t for t in model.graph.initializer}
    gelu = next(node for node in model.graph.node if node.op_type == "Gelu")
    product = next(node for node in model.graph.node if node.op_type == "MatMul" and gelu.output[0] in node.input)
    large = np.ones(64, np.float32)
    large[3] = 100
    table = onnx.numpy_helper.to_array(weights[product.input[1]]) / large[:, None]
    weights[product.input[1]].CopyFrom(onnx.numpy_helper.from_array(table, product.input[1]))
    model.graph.initializer.append(onnx.numpy_helper.from_array(large, "large"))
    place = list(model.graph.node).index(product)
    product.input[0] = "grown"
    model.graph.node.insert(place, onnx.helper.make_node("Mul", [gelu.output[0], "large"], ["grown"], name="grown"))
    onnx.save(model, tmp_path / "grown.onnx")
    texts = ["red seas", "a sky of film", "sky", "blue seas of sky"]
    exact = trained.encode(texts, cache=False)

    def difference(path):
        return np.abs(OnnxEncoder(path, tokenizer=trained.folder).encode(texts) - exact).max()

    assert difference(tmp_path / "grown.onnx") < 1e-5
    plain = difference(quantize(tmp_path / "grown.onnx", tmp_path / "plain.onnx"))
    balanced = difference(quantize(tmp_path / "grown.onnx", tmp_path / "balanced.onnx", texts=texts, tokenizer=trained.folder))
    assert balanced < plain / 2


def test_a_failed_quantization_leaves_what_was_there(exported, tmp_path, monkeypatch):
    def breaks(source, target, **_):
        target.write_bytes(b"half")
        raise RuntimeError("disk full")

    (tmp_path / "int8.onnx").write_bytes(b"old")
    monkeypatch.setattr(onnxruntime.quantization, "quantize_dynamic", breaks)
    with pytest.raises(RuntimeError, match="disk full"):
        quantize(exported, tmp_path / "int8.onnx")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("int8.onnx", b"old")]


def test_an_export_that_computes_something_else_is_not_written(encoder, trained, exported, tmp_path, monkeypatch):
    wrong = SimpleNamespace(
        model=SimpleNamespace(metadata_props={}),
        save=lambda path, **_: path.write_bytes(exported.read_bytes()),
    )
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: wrong)
    assert export_encoder(encoder, tmp_path / "right.onnx").is_file()
    with pytest.raises(OnnxError, match="differ by"):
        export_encoder(trained, tmp_path / "wrong.onnx")
    assert os.listdir(tmp_path) == ["right.onnx"]


def test_files_that_are_refused(encoder, exported, tmp_path):
    def opened(path):
        return OnnxEncoder(path, tokenizer=encoder.folder)

    with pytest.raises(OnnxError, match="missing: write it with export_encoder"):
        opened(tmp_path / "none.onnx")
    (tmp_path / "cut.onnx").write_bytes(exported.read_bytes()[:5000])
    with pytest.raises(OnnxError, match=r"cut\.onnx cannot be opened"):
        opened(tmp_path / "cut.onnx")
    model = onnx.load(exported)
    next(entry for entry in model.metadata_props if entry.key == "format").value = "2"
    onnx.save(model, tmp_path / "newer.onnx")
    with pytest.raises(OnnxError, match="of format 2, this version reads 1"):
        opened(tmp_path / "newer.onnx")
    with pytest.raises(OnnxError, match="of format 2"):
        quantize(tmp_path / "newer.onnx", tmp_path / "out.onnx")
    with pytest.raises(OnnxError, match="is no tokenizer"):
        OnnxEncoder(exported, tokenizer=tmp_path)
    for options in ({"batch_size": 0}, {"threads": 0}, {"unknown": "skip"}):
        with pytest.raises(ValueError, match="batch_size and threads start at 1"):
            OnnxEncoder(exported, tokenizer=encoder.folder, **options)


def test_bfloat16(encoder, fresh_settings, monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "data"))
    exact = encoder.encode(TEXTS)
    half = in_bfloat16(encoder)
    rows = half.encode(TEXTS)
    assert {p.dtype for p in half.model.parameters()} == {torch.bfloat16} and rows.dtype == np.float32
    assert 1e-4 < np.abs(rows - exact).max() and (rows * exact).sum(1).min() > 0.99
    assert encoder.unchanged and (encoder.encode(TEXTS) == exact).all() and not half.unchanged
    half.encode(["green moon"])
    fresh = TextEncoder(encoder.folder, device="cpu")
    np.testing.assert_allclose(fresh.encode(["green moon"]), encoder.encode(["green moon"], cache=False), atol=1e-6)
