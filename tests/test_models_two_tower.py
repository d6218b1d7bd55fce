"""The two-tower model, with an encoder of two small layers."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_encoder import SmallEncoder
from small_split import random_split_of, small_items, split_of

from course_lib.evaluation import evaluate_ratings
from course_lib.models import ModelError, TwoTower, softmax_loss
from course_lib.models.text_reader import TUNES, Reader
from course_lib.models.two_tower import Rows
from course_lib.text import item_texts
from course_lib.training import Training

TEXTS = item_texts(small_items(), parts=("title", "genres"))
SHORT = Training(epochs=2, batch_size=4, learning_rate=1e-2, bf16=False, progress=False)


def model_of(*, tune="none", loss="mse", encoder=None, **options):
    options = {"embedding_size": 3, "head_epochs": 2, "training": SHORT, "size": 2 if TUNES[tune] else None} | options
    return TwoTower(TEXTS, encoder=encoder or SmallEncoder(), tune=tune, loss=loss, **options)


def test_softmax_loss_by_hand():
    """User 0 chose items 0 and 1 of three; each choice is compared with what was not chosen."""
    scores = torch.tensor([[1.0, 2.0, 0.5], [1.0, 2.0, 0.5], [0.0, 1.0, 3.0]])
    user, place = torch.tensor([0, 0, 4]), torch.tensor([0, 1, 2])
    e = np.exp
    terms = [e(1) / (e(1) + e(0.5)), e(2) / (e(2) + e(0.5)), e(3) / (e(0) + e(1) + e(3))]
    assert softmax_loss(scores, user, place).item() == pytest.approx(-np.mean(np.log(terms)))


def test_rows_of_items_by_hand():
    split = split_of([(0, 2, 5, 0), (1, 0, 3, 0), (2, 2, 1, 0)], n_users=3, n_items=4)
    rows = Rows(split.train, 4, "cpu")
    assert rows.items.tolist() == [0, 2]
    user, place, rating = rows.of(torch.tensor([2, 0]))
    assert user.tolist() == [0, 2, 1] and place.tolist() == [0, 0, 1] and rating.tolist() == [5, 1, 3]


@pytest.mark.parametrize("tune", ["none", "last", "full"])
def test_reader_in_batches_equals_the_encoder_text_by_text(tune):
    encoder = SmallEncoder()
    reader = Reader(TEXTS, encoder=encoder, tune=tune, size=None, seed=0).eval()
    vectors = encoder.encode(TEXTS)
    expected = (vectors - vectors.mean(0)) / np.sqrt(((vectors - vectors.mean(0)) ** 2).mean())
    np.testing.assert_allclose(reader.catalogue().detach(), expected, atol=2e-4)
    items = torch.tensor([7, 2, 4])
    np.testing.assert_allclose(reader(items).detach(), expected[items], atol=2e-4)


@pytest.mark.parametrize("tune", list(TUNES))
@pytest.mark.parametrize("loss", ["mse", "softmax"])
def test_score_is_the_formula_and_survives_the_disk(tune, loss, tmp_path):
    split, encoder = random_split_of(), SmallEncoder()
    before = encoder.digest()
    model = model_of(tune=tune, loss=loss, encoder=encoder).fit(split)
    assert encoder.digest() == before, "the encoder that was handed in stays as it was"
    dots = model.user_factors_ @ model.item_factors_.T
    np.testing.assert_allclose(model.score([0, 3]), (dots + model.user_bias_[:, None] + model.item_bias_)[[0, 3]], rtol=1e-6)
    np.testing.assert_allclose(model.score([0, 3], [2, 8]), model.score([0, 3])[[0, 1], [2, 8]], rtol=1e-6)
    assert np.isfinite(model.losses_).all() and len(model.losses_) == 4
    loaded = TwoTower.load(model.save(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.score([0, 1, 6]), model.score([0, 1, 6]))
    assert loaded.training == SHORT and loaded.trainable == model.trainable and loaded.tune == tune
    assert json.loads((tmp_path / "model" / "config.json").read_text())["options"]["encoder"] == "small"


@pytest.mark.parametrize("tune", [tune for tune in TUNES if tune != "none"])
def test_tuning_changes_what_is_read_and_only_what_may_learn(tune):
    """Forty steps of 0.1: AdaLoRA starts from B·0·A with A and B of 0.02, and moves least."""
    model = model_of(tune=tune, training=replace(SHORT, epochs=20, learning_rate=0.1)).fit(random_split_of())
    reader = model.towers_.reader
    untrained = Reader(TEXTS, encoder=SmallEncoder(), tune=tune, size=model.size, seed=model.seed)
    assert (reader.catalogue() - untrained.catalogue()).abs().max() > 1e-2
    original = dict(SmallEncoder().model.named_parameters())
    for name, parameter in reader.model.named_parameters():
        plain = name.replace("base_model.model.", "").replace(".base_layer.", ".").replace(".base.", ".")
        if plain in original and not parameter.requires_grad:
            torch.testing.assert_close(parameter, original[plain], rtol=0, atol=0)
    learned, everything = sum(p.numel() for p in reader.learned.values()), sum(p.numel() for p in original.values())
    assert model.trainable[0] == learned and (learned == everything - 16 * 17 if tune == "full" else learned < everything / 2)


def test_a_step_reads_each_of_its_items_once():
    """An epoch of tuning reads as many texts as there are items with ratings, however many ratings they have."""
    read = []
    model = model_of(tune="full")
    split = random_split_of()

    def count(reader, inputs):
        if reader.training:
            read.append(inputs[0].tolist())

    handle = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, inputs: count(module, inputs) if isinstance(module, Reader) else None
    )
    try:
        model.fit(split)
    finally:
        handle.remove()
    rated = split.train["item"].nunique()
    assert all(len(set(items)) == len(items) <= 4 for items in read)
    assert len(read) == 2 * -(-rated // 4) and sum(map(len, read)) == 2 * rated < 2 * len(split.train)


def test_gradient_by_hand_of_one_rating():
    """e = ŷ − y: dL/dδ_u = 2 e v_i + 2 reg x_u, dL/db_u = 2 e, and the hidden bias of the item learns nothing."""
    split = split_of([(0, 1, 5, 0)], n_users=1, n_items=9)
    model = model_of(reg=0.3, head_epochs=0).fit(split)
    towers, items = model.towers_, torch.tensor([1])
    towers.zero_grad()
    vectors = towers(items)
    sum(model.batch_loss(Rows(split.train, 9, "cpu"), items, vectors, None)).backward()
    x, v = (towers.shared + towers.users[0]).detach(), vectors[0].detach()
    e = (x @ v + towers.user_bias[0] - 5).item()
    torch.testing.assert_close(towers.users.grad[0], 2 * e * v + 2 * 0.3 * x)
    torch.testing.assert_close(towers.user_bias.grad[0], torch.tensor(2 * e))
    assert not towers.item_bias.grad.any()


COLOURED = [f"{colour} {word}" for word in ("moon", "sky", "stand", "alone") for colour in ("blue", "red")]


def coloured_split_of(stars):
    """Six users, six items with ratings and a blue and a red one without; stars(user, item)."""
    rows = [[(u, i, stars(u, i), 0) for u in range(6) for i in items] for items in (range(6), (6, 7))]
    return split_of(rows[0], n_users=6, n_items=8, test=rows[1])


def coloured_model_of(loss, **options):
    options = {"embedding_size": 4, "head_epochs": 60, "reg": 0.01, "training": SHORT} | options
    return TwoTower(COLOURED, encoder=SmallEncoder(), loss=loss, **options)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("loss", ["mse", "softmax"])
def test_what_texts_tell_is_learned_for_items_without_ratings(loss, seed):
    """Half of the users give the blue ones five stars and the red ones one, half the other way round; so with new ones."""
    split = coloured_split_of(lambda u, i: 5 if (u + i) % 2 == 0 else 1)
    model = coloured_model_of(loss, seed=seed).fit(split)
    scores = model.score(range(6))
    blue_first = np.arange(6) % 2 == 0
    assert ((scores[:, 6] - scores[:, 7]) * np.where(blue_first, 1, -1) > 1).all()
    assert (model.recommend(range(6), k=1).ravel() == np.where(blue_first, 6, 7)).all()
    assert not model.item_bias_[6:].any()
    if loss == "mse":
        assert evaluate_ratings(model, split).rmse < 1.5, "two stars off is what the mean would be"


def test_where_all_like_the_same_stars_tell_and_the_softmax_refuses():
    """Everybody gives the blue ones five stars and the red ones one: no item that one liked was left out by another."""
    split = coloured_split_of(lambda u, i: 5 if i % 2 == 0 else 1)
    model = coloured_model_of("mse").fit(split)
    scores = model.score(range(6))
    assert (scores[:, 6] > scores[:, 7] + 1).all() and (model.recommend(range(6), k=1) == 6).all()
    with pytest.raises(ValueError, match="nothing to tell apart"):
        coloured_model_of("softmax").fit(split)


def test_same_seed_same_model():
    first, second, other = (model_of(tune="lora", seed=seed).fit(random_split_of()).score([0]) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, other)


def test_adalora_takes_ranks_away():
    config = Training(epochs=10, batch_size=4, learning_rate=1e-2, bf16=False, progress=False)
    reader = model_of(tune="adalora", training=config).fit(random_split_of()).towers_.reader
    kept = [int((p != 0).sum()) for name, p in reader.model.named_parameters() if "lora_E" in name]
    assert len(kept) == 4 and sum(p.numel() for n, p in reader.model.named_parameters() if "lora_E" in n) == 4 * 3
    assert sum(kept) == 4 * 2, "from three ranks in each of four matrices to two on average"


@pytest.mark.parametrize("seed", range(3))
def test_early_stopping_holds_items_out(seed):
    """A bias is hidden in half of the steps: forty epochs of the head leave none of the other items without a bias."""
    config = Training(epochs=6, batch_size=4, learning_rate=1e-2, patience=1, bf16=False, progress=False)
    split = random_split_of()
    model = model_of(training=config, head_epochs=40, seed=seed)
    model.fit(split)
    without = np.flatnonzero(model.item_bias_ == 0)
    assert len(set(without) & set(split.train["item"])) == 1, "one item of eight has learned no bias"


def test_errors_say_what_to_do(tmp_path):
    split = random_split_of()
    with pytest.raises(ValueError, match='"mse".*"softmax".*bpr'):
        model_of(loss="bpr")
    with pytest.raises(ValueError, match="tune is one of none, last, .*half"):
        TwoTower(TEXTS, tune="half")
    with pytest.raises(ValueError, match="embedding_size starts at 1"):
        model_of(embedding_size=0)
    with pytest.raises(ValueError, match="3 texts for 9 items"):
        TwoTower(TEXTS[:3], encoder=SmallEncoder()).fit(split)
    with pytest.raises(ValueError, match="no train row has 6 stars"):
        model_of(loss="softmax", liked=6).fit(split)
    with pytest.raises(ModelError, match="not fitted"):
        _ = model_of().trainable
    loaded = TwoTower.load(model_of().fit(split).save(tmp_path / "model"))
    with pytest.raises(ModelError, match="holds no texts"):
        loaded.fit(split)


@pytest.mark.parametrize("tune", ["none", "last", "lora"])
def test_features_stand_beside_the_text_and_weigh_as_much(tune, tmp_path):
    split, features = random_split_of(), np.random.default_rng(0).normal(2, 9, (9, 5))
    model = model_of(tune=tune, features=features).fit(split)
    assert model.projection_.shape == (3, 16 + 5)
    reader = model.towers_.reader.eval()
    vectors = reader.catalogue().detach().numpy()
    centred = features - features.mean(axis=0)
    np.testing.assert_allclose(vectors[:, 16:], centred * np.sqrt(16 / np.square(centred).sum(axis=1).mean()), rtol=1e-4)
    assert np.square(reader.vectors.numpy()[:, :16]).sum(axis=1).mean() == pytest.approx(16, rel=1e-3)
    np.testing.assert_allclose(reader(torch.tensor([4, 1])).detach(), vectors[[4, 1]], atol=2e-4)
    np.testing.assert_allclose(model.item_factors_, vectors @ model.projection_.T, atol=1e-4)
    model.save(tmp_path / "towers")
    np.testing.assert_array_equal(TwoTower.load(tmp_path / "towers").score(np.arange(7)), model.score(np.arange(7)))


def test_features_tell_what_the_texts_do_not():
    """Every text is the same; only the features say which of two kinds a film is, and six of the films are new."""
    rng = np.random.default_rng(0)
    rows = [(u, i, 5.0, 0) for u in range(20) for i in range(18) if u % 2 == i % 2 and rng.random() < 0.7]
    split = split_of(rows, n_users=20, n_items=24)
    kind = np.eye(2)[np.arange(24) % 2]
    options = {"encoder": SmallEncoder(), "loss": "softmax", "embedding_size": 4, "head_epochs": 10, "training": SHORT}
    scores = TwoTower(["drama"] * 24, features=kind, **options).fit(split).score(np.arange(20))[:, 18:]
    same = (np.arange(20)[:, None] % 2) == (np.arange(18, 24) % 2)
    assert scores[same].min() > scores[~same].max() or np.mean(scores[same]) > np.mean(scores[~same]) + 1


@pytest.mark.parametrize(
    ("features", "message"),
    [(np.ones(9), r"shape \(9,\)"), (np.full((9, 1), np.inf), "finite"), (np.ones((8, 1)), "8 rows, the split 9 items")],
)
def test_features_that_do_not_fit_are_refused(features, message):
    with pytest.raises(ValueError, match=message):
        model_of(features=features).fit(random_split_of())
