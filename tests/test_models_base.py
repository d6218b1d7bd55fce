import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from small_split import random_split_of, small_items, split_of

from course_lib.datasets import load_movielens
from course_lib.models import (
    EASE,
    BiasBaseline,
    ContentBased,
    GlobalMean,
    ItemKNN,
    ModelError,
    Popularity,
    Recommender,
    UserKNN,
    item_features,
    predict,
    user_features,
)
from course_lib.splitting import k_fold, leave_last_out

MAKERS = {
    "popularity": lambda: Popularity(),
    "mean": lambda: GlobalMean(),
    "bias": lambda: BiasBaseline(reg_user=2.0, reg_item=1.0),
    "item": lambda: ItemKNN(k=np.int64(3), shrinkage=2.0),
    "item implicit": lambda: ItemKNN(k=3, feedback="implicit"),
    "user": lambda: UserKNN(k=2, similarity="cosine"),
    "user implicit": lambda: UserKNN(k=2, feedback="implicit"),
    "ease": lambda: EASE(reg=3.0),
    "ease recency": lambda: EASE(reg=3.0, half_life=2.0),
    "content": lambda: ContentBased(small_items()),
    "content stars": lambda: ContentBased(small_items(), feedback="explicit", parts=["genres", "title"]),
}
every_model = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


class Table(Recommender):
    """Scores read from a table: the shortest model, with an option and a learned value that are arrays."""

    fitted = ("scores_", "offset_")

    def __init__(self, *, table, side=None):
        self.table, self.side = np.asarray(table, dtype=float), side

    def _fit(self, split):
        if split.name == "broken":
            raise ValueError("no")
        self.scores_, self.offset_ = torch.tensor(self.table), sparse.csr_matrix(np.eye(2))

    def _scores(self, users):
        return self.scores_[users].numpy()


class Other(Table):
    """The same under another name."""


def test_predict_is_the_dot_product_plus_the_bias():
    x_u, v_i, b = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]), torch.tensor(0.5)
    assert predict(x_u, v_i, b) == 11.5
    assert predict(torch.zeros(0), torch.zeros(0), 0.5) == 0.5


def test_predict_works_on_batches_and_carries_gradients():
    generator = torch.Generator().manual_seed(0)
    x_u, v_i = torch.randn(2, 5, 3, generator=generator)
    x_u.requires_grad_()
    b = torch.randn(5, generator=generator)
    rows = torch.stack([x_u[n] @ v_i[n] + b[n] for n in range(5)])
    assert torch.allclose(predict(x_u, v_i, b), rows)
    predict(x_u, v_i, b).sum().backward()
    assert torch.allclose(x_u.grad, v_i)
    assert predict(x_u[:, None], v_i[None], b).shape == (5, 5)


@every_model
def test_scores_have_the_promised_shapes_and_pairs_agree_with_rows(make):
    split = random_split_of()
    model = make().fit(split)
    full = model.score(np.arange(7))
    assert full.shape == (7, 9) and full.dtype == np.float64 and np.isfinite(full).all()
    users, items = np.array([6, 0, 3, 0, 0]), np.array([8, 2, 8, 5, 2])
    np.testing.assert_allclose(model.score(users, items), full[users, items], atol=1e-12)
    np.testing.assert_array_equal(model.score([4, 1]), full[[4, 1]])
    assert model.score([]).shape == (0, 9) and model.score([], []).shape == (0,)


@every_model
def test_recommend_sorts_the_unseen_items(make):
    split = random_split_of(share=0.3)
    model = make().fit(split)
    full, got = model.score(np.arange(7)), model.recommend(np.arange(7), 4)
    for user in range(7):
        seen = set(split.train.loc[split.train["user"] == user, "item"])
        unseen = sorted(set(range(9)) - seen, key=lambda item: (-full[user, item], item))
        assert list(got[user]) == (unseen + [-1] * 4)[:4]
        everything = sorted(range(9), key=lambda item: (-full[user, item], item))
        assert list(model.recommend(user, 9, exclude_seen=False)[0]) == everything


@every_model
def test_a_saved_model_gives_the_same_numbers(make, tmp_path):
    model = make().fit(random_split_of())
    folder = model.save(tmp_path / "deep" / "model")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    loaded = type(model).load(folder)
    users = np.arange(7)
    np.testing.assert_array_equal(loaded.score(users), model.score(users))
    np.testing.assert_array_equal(loaded.score(users, users + 1), model.score(users, users + 1))
    np.testing.assert_array_equal(loaded.recommend(users, 5), model.recommend(users, 5))
    assert repr(loaded) == repr(model) and loaded.n_users == 7 and loaded.n_items == 9
    before = (folder / "model.safetensors").read_bytes()
    assert (loaded.save(folder) / "model.safetensors").read_bytes() == before


@every_model
def test_an_unfitted_model_says_so(make, tmp_path):
    model = make()
    for use in (lambda: model.score([0]), lambda: model.recommend([0]), lambda: model.similar_items(0), lambda: model.n_items):
        with pytest.raises(ModelError, match=r"not fitted: call fit"):
            use()
    with pytest.raises(ModelError, match="not fitted"):
        model.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="split.train has no rows"):
        model.fit(split_of([], n_users=2, n_items=9))


def test_a_fit_that_fails_leaves_no_model():
    model = Table(table=np.eye(2)).fit(split_of([(0, 0, 5, 0)], n_users=2, n_items=2))
    broken = split_of([(0, 0, 5, 0)], n_users=2, n_items=2)
    object.__setattr__(broken, "name", "broken")
    with pytest.raises(ValueError, match="no"):
        model.fit(broken)
    with pytest.raises(ModelError, match="not fitted"):
        model.score([0])


@pytest.mark.parametrize("bad", [-1, 7, [0, 99]])
def test_an_unknown_index_is_named(bad):
    model = Popularity().fit(random_split_of())
    with pytest.raises(IndexError, match=rf"unknown user index {np.max(bad)}: .* users 0 … 6"):
        model.score(bad)
    with pytest.raises(IndexError, match="unknown item index"):
        model.score([0, 1], [0, 9])
    with pytest.raises(IndexError, match="unknown user index"):
        model.recommend(bad, 3)


def test_indices_of_the_wrong_kind_are_refused():
    model = Popularity().fit(random_split_of())
    for bad in ([0.5], ["a"], [[0, 1]], [True]):
        with pytest.raises(TypeError, match="user indices must be whole numbers"):
            model.score(bad)
    with pytest.raises(ValueError, match="2 users and 3 items"):
        model.score([0, 1], [0, 1, 2])
    assert model.score(pd.Series([0, 1])).shape == model.score(torch.tensor([0, 1])).shape == (2, 9)


@pytest.mark.parametrize("k", [0, -1, 10])
def test_k_must_fit_the_catalogue(k):
    model = ItemKNN(k=3).fit(random_split_of())
    with pytest.raises(ValueError, match=r"between 1 and the number of items \(9\)"):
        model.recommend([0], k)
    with pytest.raises(ValueError, match=r"between 1 and the number of other items \(8\)"):
        model.similar_items(0, k if k < 1 else 9)


def test_similar_items_by_vectors_by_similarity_or_not_at_all():
    split = random_split_of()
    content = ContentBased(small_items()).fit(split)
    vectors = content.vectors_ / np.linalg.norm(content.vectors_, axis=1, keepdims=True)
    expected = [i for i in np.argsort(-vectors @ vectors[2], kind="stable") if i != 2]
    assert list(content.similar_items(2, 8)) == expected
    for model, similarity in ((ItemKNN().fit(split), "similarity_"), (EASE(reg=2).fit(split), "weights_")):
        table = getattr(model, similarity).copy()
        best = [i for i in np.argsort(-table[2], kind="stable") if i != 2][:3]
        assert list(model.similar_items(2, 3)) == best
        np.testing.assert_array_equal(getattr(model, similarity), table)
    for model in (Popularity(), UserKNN()):
        with pytest.raises(ModelError, match="no item vectors"):
            model.fit(split).similar_items(0, 3)


def test_arrays_among_the_options_are_saved_too(tmp_path):
    side = sparse.csr_matrix(np.array([[0, 1.5], [0, 0]]))
    model = Table(table=[[1, 2], [4, 3]], side=side).fit(split_of([(0, 0, 5, 0)], n_users=2, n_items=2))
    loaded = Table.load(model.save(tmp_path / "m"))
    np.testing.assert_array_equal(loaded.table, model.table)
    np.testing.assert_array_equal(loaded.side.toarray(), side.toarray())
    assert isinstance(loaded.scores_, torch.Tensor) and sparse.issparse(loaded.offset_)
    assert loaded.recommend([0, 1], 1, exclude_seen=False).tolist() == [[1], [0]]


def test_load_refuses_what_is_not_this_model(tmp_path):
    model = Table(table=np.eye(2)).fit(split_of([(0, 0, 5, 0)], n_users=2, n_items=2))
    folder = model.save(tmp_path / "m")
    config, tensors = folder / "config.json", folder / "model.safetensors"
    text, data = config.read_text(encoding="utf-8"), tensors.read_bytes()
    with pytest.raises(ModelError, match=r"holds Table, not Other: use Table\.load"):
        Other.load(folder)
    config.write_text(json.dumps(json.loads(text) | {"format": 2}))
    with pytest.raises(ModelError, match=r"format 2.*update course_lib"):
        Table.load(folder)
    for broken in ("{", "[]", "{}", text.replace('"sha256"', '"md5"')):
        config.write_text(broken)
        with pytest.raises(ModelError, match="not a model's configuration"):
            Table.load(folder)
    config.write_text(json.dumps(json.loads(text) | {"kinds": {"offset_": "csr", "seen_": "csr"}}))
    with pytest.raises(ModelError, match="lacks scores_"):
        Table.load(folder)
    config.write_text(json.dumps(json.loads(text) | {"kinds": {"scores_": "tensor", "lost_": "array"}}))
    with pytest.raises(ModelError, match="does not hold what config.json lists"):
        Table.load(folder)
    config.write_text(text)
    tensors.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ModelError, match="does not match the sha256"):
        Table.load(folder)
    for missing in (tensors, config):
        missing.unlink()
        with pytest.raises(ModelError, match=rf"{missing.name} is missing"):
            Table.load(folder)


def test_save_overwrites_models_only_and_never_halfway(tmp_path, monkeypatch):
    split = split_of([(0, 0, 5, 0)], n_users=2, n_items=2)
    first, second = Table(table=np.eye(2)).fit(split), Table(table=2 * np.eye(2)).fit(split)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("x")
    (tmp_path / "file").write_text("x")
    for taken in ("letters", "file"):
        with pytest.raises(ModelError, match="is not a saved model"):
            first.save(tmp_path / taken)
    folder = first.save(tmp_path / "m")

    def full_disk(*_args, **_options):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full_disk)
        with pytest.raises(OSError, match="disk full"):
            second.save(folder)
    rename = os.replace

    def no_new_model(source, target):
        if Path(source).name == "new":
            raise OSError("not now")
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", no_new_model)
        with pytest.raises(OSError, match="not now"):
            second.save(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "letters", "m"]
    assert Table.load(folder).score([0], [0]) == 1
    assert Table.load(second.save(folder)).score([0], [0]) == 2


def test_popularity_counts_ratings_and_the_mean_is_the_mean():
    split = split_of([(0, 1, 5, 0), (1, 1, 2, 0), (1, 2, 4, 0)], n_users=3, n_items=4)
    assert Popularity().fit(split).score([2]).tolist() == [[0, 2, 1, 0]]
    assert Popularity().fit(split).recommend([1, 2], 2).tolist() == [[0, 3], [1, 2]]
    assert GlobalMean().fit(split).score([0, 2], [3, 0]).tolist() == [11 / 3, 11 / 3]


def test_bias_baseline_solves_its_two_equations():
    split = random_split_of()
    model = BiasBaseline(reg_user=2.0, reg_item=3.0, epochs=200).fit(split)
    train = split.train
    left = train["rating"] - model.score(train["user"], train["item"])
    by_user = left.groupby(train["user"]).sum().reindex(range(7), fill_value=0)
    by_item = left.groupby(train["item"]).sum().reindex(range(9), fill_value=0)
    np.testing.assert_allclose(by_user, 2.0 * model.user_bias_, atol=1e-9)
    np.testing.assert_allclose(by_item, 3.0 * model.item_bias_, atol=1e-9)
    assert model.score([6], [8]) == pytest.approx(train["rating"].mean())
    assert np.abs(model.user_bias_[:6]).min() > 0


@pytest.mark.parametrize("options", [{"reg_user": -1}, {"reg_item": -0.1}, {"epochs": 0}])
def test_bias_baseline_refuses_impossible_options(options):
    with pytest.raises(ValueError, match="must not be negative"):
        BiasBaseline(**options)


def test_features_are_zeros_and_ones_with_names():
    values, names = item_features(small_items())
    assert names[:3] == ["genre=Action", "genre=Comedy", "genre=Drama"]
    assert names[3:] == ["decade=1940", "decade=1980", "decade=1990"]
    assert values[1].tolist() == [0, 1, 1, 0, 0, 1]
    assert not values[3].any()
    users = pd.DataFrame({"age": [17, 18, 60], "gender": ["M", "F", "F"], "occupation": ["artist", None, "writer"]})
    values, names = user_features(users)
    assert names == [f"age={bucket}" for bucket in ("0-17", "18-24", "56-199")] + [
        "gender=F", "gender=M", "occupation=artist", "occupation=writer",
    ]  # fmt: skip
    assert values.tolist() == [[1, 0, 0, 0, 1, 1, 0], [0, 1, 0, 1, 0, 0, 0], [0, 0, 1, 1, 0, 0, 1]]
    for wrong in (users, 3):
        with pytest.raises(ValueError, match="table of items with the columns genres and year"):
            item_features(wrong)
    with pytest.raises(ValueError, match="table of users with the columns age"):
        user_features(small_items())


@pytest.fixture(scope="module")
def ratings():
    return load_movielens()


def test_bias_baseline_reaches_its_rmse_on_movielens(ratings):
    errors = []
    for split in k_fold(ratings, folds=5, seed=0):
        predicted = BiasBaseline().fit(split).score(split.test["user"], split.test["item"])
        errors.append(np.sqrt(np.mean((np.clip(predicted, 1, 5) - split.test["rating"]) ** 2)))
    assert 0.935 < np.mean(errors) < 0.950


def test_popularity_reaches_its_ndcg_on_movielens(ratings):
    values = []
    for seed in range(3):
        split = leave_last_out(ratings, min_rating=4, seed=seed)
        best = Popularity().fit(split).recommend(split.test["user"], 10)
        hits = best == split.test["item"].to_numpy()[:, None]
        values.append((hits / np.log2(np.arange(2, 12))).sum(axis=1).mean())
    assert 0.033 < np.mean(values) < 0.042


def test_features_of_movielens(ratings):
    items, names = item_features(ratings)
    assert items.shape == (1682, len(names)) and sum(name.startswith("genre=") for name in names) in (18, 19)
    users, names = user_features(ratings)
    assert users.shape == (943, 7 + 2 + 21) and (users.sum(axis=1) == 3).all()
