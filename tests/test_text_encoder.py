import os
import shutil
import sqlite3

import numpy as np
import pytest
import torch

from course_lib.datasets import DataError, encoder_folder, load_movielens, sha256
from course_lib.text import TextEncoder, encoder_source, item_texts, tokenize

PIECES = "[PAD] [UNK] [CLS] [SEP] [MASK] red blue green sky moon sea ##s a film of".split()
TEXTS = ["red sky", "blue moon", "a film of green seas", "sky", "", "red red red red red red blue moon of a film of green seas"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A BERT of two layers with random weights."""
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("encoder")
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(PIECES), max_position_embeddings=24, **sizes)).save_pretrained(folder)
    BertTokenizer(vocab={piece: i for i, piece in enumerate(PIECES)}).save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def own_data(fresh_settings, monkeypatch, tmp_path):
    """Vectors are stored in a folder of this test."""
    monkeypatch.delenv("COURSE_ENCODER", raising=False)
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "data"))


@pytest.fixture
def encoder(folder):
    return TextEncoder(folder, batch_size=4)


def runs(encoder) -> list:
    """Grows by the number of texts of each step that runs the model."""
    steps = []
    encoder.model.register_forward_hook(lambda module, given, out: steps.append(len(out.last_hidden_state)))
    return steps


def entries(encoder) -> list:
    (path,) = (encoder_data() / "vectors").glob("*.sqlite")
    with sqlite3.connect(path) as base:
        return base.execute("SELECT key, vector FROM vectors").fetchall()


def encoder_data():
    from course_lib.config import settings

    return settings().cache


@pytest.mark.slow
def test_equals_sentence_transformers_on_every_film(monkeypatch):
    from sentence_transformers import SentenceTransformer

    monkeypatch.delenv("COURSE_DATA")
    texts = item_texts(load_movielens().items)
    ours = TextEncoder().encode(texts, cache=False)
    theirs = SentenceTransformer(str(encoder_folder()), device="cpu").encode(texts, show_progress_bar=False)
    assert ours.shape == theirs.shape == (1682, 384) and ours.dtype == np.float32
    assert (ours * theirs).sum(1).min() >= 0.99999
    assert np.abs(np.linalg.norm(ours, axis=1) - 1).max() < 1e-6


def test_bundled_by_default():
    encoder = TextEncoder()
    assert encoder.folder == encoder_folder() == encoder_source()
    assert encoder.hidden_size == 384 and encoder.max_length == 256
    assert encoder.weights_sha == sha256(encoder_folder() / "model.safetensors")


def test_mean_of_the_last_vectors_at_unit_length(encoder):
    rows = encoder.encode(["red sky", "sky"], normalise=False)
    for row, text in zip(rows, ["red sky", "sky"], strict=True):
        ids = torch.tensor([encoder.tokenizer(text)["input_ids"]])
        hidden = encoder.model(ids).last_hidden_state[0].mean(0).detach().numpy()
        np.testing.assert_allclose(row, hidden, atol=1e-6)
    np.testing.assert_allclose(encoder.encode(["sky"])[0], rows[1] / np.linalg.norm(rows[1]), atol=1e-6)


def test_order_does_not_matter(encoder):
    whole = encoder.encode(TEXTS, cache=False)
    order = np.random.default_rng(0).permutation(len(TEXTS))
    assert (encoder.encode([TEXTS[i] for i in order], cache=False) == whole[order]).all()


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_padding_does_not_matter(folder, batch_size):
    alone = np.vstack([TextEncoder(folder).encode([text], cache=False) for text in TEXTS])
    together = TextEncoder(folder, batch_size=batch_size).encode(TEXTS, cache=False)
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_a_text_twice_is_computed_once(encoder):
    steps = runs(encoder)
    rows = encoder.encode(["sky", "red sky", "sky"], cache=False)
    assert sum(steps) == 2 and (rows[0] == rows[2]).all() and (rows[0] != rows[1]).any()


def test_centred(encoder):
    plain, centred = encoder.encode(TEXTS), encoder.encode(TEXTS, centred=True)
    np.testing.assert_allclose(centred, plain - plain.mean(0), atol=1e-6)
    assert centred.dtype == np.float32


def test_nothing_to_encode(encoder):
    for options in ({}, {"centred": True}, {"cache": False}, {"progress": True}):
        assert encoder.encode([], **options).shape == (0, 16)
    assert np.isfinite(encoder.encode([""])).all()
    assert np.isfinite(encoder.encode(["", "sky"], centred=True)).all()


def test_long_texts_are_cut(folder, encoder):
    assert encoder.max_length == 24
    assert encoder.encode(["sky " * 100]).shape == (1, 16)
    short = TextEncoder(folder, max_length=3)
    assert (short.encode(["red sky"]) == short.encode(["red moon"])).all()
    assert (encoder.encode(["red sky"]) != short.encode(["red sky"])).any(), "vectors of another length are not read"


def test_dropout_is_off_and_the_mode_kept(encoder):
    before = encoder.encode(TEXTS, cache=False)
    encoder.model.train()
    assert (encoder.encode(TEXTS, cache=False) == before).all()
    assert encoder.model.training


def test_what_is_no_list_of_texts(encoder):
    with pytest.raises(ValueError, match=r"\[text\]"):
        encoder.encode("red sky")
    with pytest.raises(ValueError, match=r"texts\[1\] is None"):
        encoder.encode(["sky", None])
    with pytest.raises(ValueError, match="batch_size"):
        TextEncoder(encoder.folder, batch_size=0)


def test_stored_vectors_need_no_model(folder, encoder):
    rows = encoder.encode(TEXTS)
    again = TextEncoder(folder)
    assert (again.encode(TEXTS[::-1]) == rows[::-1]).all()
    assert "model" not in again.__dict__, "the model was not even loaded"
    steps = runs(again)
    again.encode([*TEXTS, "blue sea"])
    assert steps == [1], "only the new text was computed"
    again.encode(TEXTS, cache=False)
    assert sum(steps) == 1 + len(TEXTS)


def test_damaged_entries_are_computed_again(folder, encoder):
    rows = encoder.encode(TEXTS)
    (path,) = (encoder_data() / "vectors").glob("*.sqlite")
    (key_a, blob), (key_b, other), (key_c, _) = entries(encoder)[:3]
    with sqlite3.connect(path) as base:
        base.execute("UPDATE vectors SET vector = ? WHERE key = ?", (bytes([blob[0] ^ 1]) + blob[1:], key_a))
        base.execute("UPDATE vectors SET vector = ? WHERE key = ?", (other[:-4], key_b))
        base.execute("UPDATE vectors SET vector = ? WHERE key = ?", (blob, key_c))  # another text's, sealed for that text
    again = TextEncoder(folder)
    steps = runs(again)
    np.testing.assert_allclose(again.encode(TEXTS), rows, atol=1e-6)
    assert sum(steps) == 3
    again.encode(TEXTS)
    assert sum(steps) == 3, "and stored again"


def test_a_damaged_file_is_begun_anew(folder, encoder):
    rows = encoder.encode(TEXTS)
    (path,) = (encoder_data() / "vectors").glob("*.sqlite")
    path.write_bytes(b"no data base" * 500)
    again = TextEncoder(folder)
    assert (again.encode(TEXTS) == rows).all()
    assert len(entries(again)) == len(TEXTS)


def test_without_a_place_to_store(encoder):
    encoder_data().mkdir(parents=True)
    (encoder_data() / "vectors").write_text("in the way")
    assert encoder.encode(TEXTS).shape == (6, 16)


def test_other_weights_have_other_vectors(folder, encoder, tmp_path):
    from safetensors.torch import load_file, save_file

    rows, other = encoder.encode(TEXTS), tmp_path / "other"
    shutil.copytree(folder, other)
    tensors = load_file(other / "model.safetensors")
    tensors["encoder.layer.1.output.dense.weight"] *= 2
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    changed = TextEncoder(other)
    assert changed.weights_sha != encoder.weights_sha
    steps = runs(changed)
    assert np.abs(changed.encode(TEXTS) - rows).max() > 1e-3 and sum(steps) == len(TEXTS)


@pytest.mark.parametrize("fused", [False, True])
def test_a_trained_model_is_neither_read_nor_stored(encoder, fused):
    rows = encoder.encode(TEXTS)
    assert encoder.unchanged
    optimizer = torch.optim.AdamW(encoder.model.parameters(), lr=0.1, fused=fused)
    hidden = encoder.model(**tokenize(TEXTS, tokenizer=encoder.tokenizer)).last_hidden_state
    hidden[:, 0, 0].sum().backward()
    optimizer.step()
    assert not encoder.unchanged
    before = entries(encoder)
    assert np.abs(encoder.encode(TEXTS) - rows).max() > 1e-3
    encoder.encode(["blue sea"])
    assert entries(encoder) == before


def test_an_extended_model_is_no_longer_the_stored_one(encoder):
    encoder.model.encoder.layer[0].adapter = torch.nn.Linear(16, 16)
    assert not encoder.unchanged


def test_altered_weights_are_refused(folder, monkeypatch):
    monkeypatch.setattr("course_lib.datasets.encoder.encoder_folder", lambda: folder)
    monkeypatch.setattr("course_lib.text.source.encoder_folder", lambda: folder)
    with pytest.raises(DataError, match="sha256 is .* data/sources.toml says"):
        TextEncoder()


def test_course_encoder_names_a_folder(folder, monkeypatch):
    monkeypatch.setenv("COURSE_ENCODER", str(folder))
    assert encoder_source() == folder
    assert TextEncoder().hidden_size == 16
    assert TextEncoder(encoder_folder()).hidden_size == 384, "an argument comes before the environment"


def test_course_encoder_names_the_hub(monkeypatch):
    monkeypatch.setenv("COURSE_ENCODER", "nobody/no-such-encoder")
    assert encoder_source() == "nobody/no-such-encoder"
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    with pytest.raises(DataError, match="neither a folder nor an encoder that can be fetched"):
        TextEncoder()


def test_what_is_no_encoder(folder, tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        TextEncoder(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no config.json"):
        TextEncoder(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        TextEncoder(tmp_path)
    (tmp_path / "config.json").write_text('{"d_model": 8}')
    with pytest.raises(DataError, match="BERT-like"):
        TextEncoder(tmp_path)
    shutil.copy(folder / "config.json", tmp_path)
    with pytest.raises(DataError, match="no .safetensors"):
        TextEncoder(tmp_path)


@pytest.mark.parametrize("config", ['{"pooling_mode_cls_token": true}', '{"pooling_mode": "cls"}'])
def test_first_piece_where_published_so(folder, tmp_path, config):
    shutil.copytree(folder, tmp_path / "first")
    (tmp_path / "first" / "1_Pooling").mkdir()
    (tmp_path / "first" / "1_Pooling" / "config.json").write_text(config)
    encoder = TextEncoder(tmp_path / "first")
    hidden = encoder.model(**tokenize(TEXTS, tokenizer=encoder.tokenizer)).last_hidden_state[:, 0].detach().numpy()
    np.testing.assert_allclose(encoder.encode(TEXTS, normalise=False), hidden, atol=1e-6)
    (tmp_path / "first" / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')
    with pytest.raises(DataError, match="max_tokens"):
        TextEncoder(tmp_path / "first")


def test_loading_is_silent_and_the_bar_on_demand(folder, capfd):
    encoder = TextEncoder(folder)
    encoder.encode(TEXTS)
    assert capfd.readouterr() == ("", "")
    encoder.encode(TEXTS, progress=True, cache=False)
    assert "6/6" in capfd.readouterr().err


def test_tokenize(encoder):
    rows = tokenize(["red seas", "sky"], tokenizer=encoder.tokenizer)
    assert set(rows) == {"input_ids", "attention_mask"}
    assert rows["input_ids"].tolist() == [[2, 5, 10, 11, 3], [2, 8, 3, 0, 0]]
    assert rows["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert tokenize(["red " * 50], tokenizer=encoder.tokenizer, max_length=8)["input_ids"].shape == (1, 8)
    assert tokenize([], tokenizer=encoder.tokenizer)["input_ids"].shape == (0, 0)
    with pytest.raises(ValueError, match="list"):
        tokenize("red sky", tokenizer=encoder.tokenizer)


def test_a_model_of_other_numbers_is_a_changed_one(encoder):
    assert encoder.unchanged
    encoder.model.to(torch.bfloat16)
    assert not encoder.unchanged
