import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from small_encoder import SmallEncoder
from small_service import small_package, small_ratings
from small_split import random_split_of, split_of

from course_lib.models import ALS, EASE, MatrixFactorization, TwoTower
from course_lib.models.als import implicit_step
from course_lib.serving import PackageError, load_package, package, write_package
from course_lib.serving.folding import FoldIn, text_map
from course_lib.serving.package import digest_of
from course_lib.text import item_texts
from course_lib.training import Training

TEXTS = item_texts(small_ratings().items)
MAKERS = {
    "als implicit": lambda: ALS(feedback="implicit", embedding_size=3, reg=0.5),
    "als explicit": lambda: ALS(embedding_size=2),
    "mf mse": lambda: MatrixFactorization(embedding_size=4, epochs=3),
    "mf bpr": lambda: MatrixFactorization(embedding_size=4, epochs=3, loss="bpr"),
    "two towers": lambda: TwoTower(TEXTS, encoder=SmallEncoder(), embedding_size=4, training=Training(epochs=1, batch_size=4)),
}


def write(folder, model, *, split=None, **options):
    split = random_split_of() if split is None else split
    options = {"split": split, "version": "1", "metrics": {"ndcg": 0.25}} | options
    return write_package(folder, model.fit(split), small_ratings(), **options)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_package_recommends_what_the_model_does(make, tmp_path):
    model = make()
    served = load_package(write(tmp_path / "p", model))
    wanted = model.recommend(np.arange(7), 9)
    for user in range(6):
        answer = served.recommend(f"u{user + 1}", 9)
        assert answer.kind == "known" and list(answer.rows) == [item for item in wanted[user] if item >= 0]
        gap = model.score([user], None)[0][answer.rows] - answer.scores
        assert np.ptp(gap) < 1e-5, "the same scores up to the user's own constant"
    assert served.metrics == {"ndcg": 0.25} and served.model == type(model).__name__
    assert [*served.user_ids] == [f"u{n}" for n in range(1, 8)] and served.titles[1] == "Blue Moon (1995)"


def test_the_folder_holds_no_pickle_and_is_read_without_torch(tmp_path):
    folder = small_package(tmp_path / "deep" / "p")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert [path.name for path in folder.parent.iterdir()] == ["p"]
    code = (
        f"import sys; from course_lib.serving import app, load_package; load_package({str(folder)!r});"
        "sys.exit(bool({'torch', 'pickle5', 'transformers', 'onnxruntime'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_listing_and_fallback(tmp_path):
    served = load_package(small_package(tmp_path / "p"))
    counts = random_split_of().train["item"].value_counts()
    best = sorted(range(9), key=lambda item: (-counts.get(item, 0), item))
    for unknown in ("u7", "nobody"):  # without train rows, and never heard of
        answer = served.recommend(unknown, 4)
        assert answer.kind == "fallback" and list(answer.rows) == best[:4]
        np.testing.assert_allclose(answer.scores, [counts.get(item, 0) / 7 for item in best[:4]])
    assert served.listing(answer)[0] == {"item_id": best[0] + 1, "title": served.titles[best[0]], "score": answer.scores[0]}
    assert len(served.recommend("u7", 99).rows) == 9


def test_who_has_seen_everything_gets_nothing(tmp_path):
    rows = [(0, i, 5, 0) for i in range(9)] + [(1, 0, 5, 0), (1, 3, 4, 0)]
    split = split_of(rows, n_users=7, n_items=9)
    served = load_package(write(tmp_path / "p", ALS(feedback="implicit", embedding_size=2), split=split))
    assert served.recommend("u1", 5).kind == "known" and served.recommend("u1", 5).scores == []
    assert len(served.recommend("u2", 99).rows) == 7


def test_equal_scores_go_to_the_lower_index_and_a_large_catalogue_through_the_index(tmp_path, monkeypatch):
    served = load_package(small_package(tmp_path / "p"))
    object.__setattr__(served, "item_vectors", np.ones_like(served.item_vectors))
    seen = set(served.seen(0))
    assert list(served.recommend("u1", 3).rows) == [item for item in range(9) if item not in seen][:3]
    monkeypatch.setattr(package, "MANY", 5)
    large = load_package(tmp_path / "p")
    monkeypatch.undo()
    plain = load_package(tmp_path / "p")
    assert large.index is not None and plain.index is None
    for user in range(1, 7):
        a, b = large.recommend(f"u{user}", 9), plain.recommend(f"u{user}", 9)
        assert list(a.rows) == list(b.rows)
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-6)


def test_items_are_folded_in_as_the_model_would(tmp_path):
    model = ALS(feedback="implicit", embedding_size=3, reg=0.5, alpha=2.0)
    served = load_package(write(tmp_path / "p", model))
    row = sparse.csr_matrix(np.isin(np.arange(9), [1, 4, 6])[None].astype(float))
    expected = implicit_step(row, model.item_factors_, model.reg, model.alpha)[0]
    found = served.fold(served.item_vectors[[1, 4, 6]], served.item_bias[[1, 4, 6]])
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    answer = served.recommend_for([2, "5", 7, 7, "none", 99], 9)
    assert answer.kind == "cold_items" and answer.unknown == ["none", 99] and not {1, 4, 6} & set(answer.rows.tolist())
    order = [i for i in np.argsort(-model.item_factors_ @ expected, kind="stable") if i not in (1, 4, 6)]
    assert list(answer.rows) == order
    nobody = served.recommend_for(["none"], 2)
    assert nobody.kind == "fallback" and nobody.unknown == ["none"]


def test_fold_in_is_the_minimum_of_its_objective():
    rng = np.random.default_rng(0)
    items, bias = rng.normal(size=(20, 4)), rng.normal(size=20)
    fold, named = FoldIn(weight=3.0, rest=0.5, target=4.0, reg=0.7, power=0.5, biased=True), [2, 5, 11]

    def cost(x):
        some, every = fold.target - bias[named] - items[named] @ x, items @ x
        others = np.delete(every, named)
        return 3 * (some**2).sum() + 0.5 * (others**2).sum() + 0.7 * 3**0.5 * (x @ x)

    x = fold.vector(items[named], bias[named], items.T @ items).astype(float)
    steps = 1e-3 * rng.normal(size=(200, 4))
    assert all(cost(x) < cost(x + step) for step in steps)
    scaled = FoldIn(weight=1.0, rest=1.0, target=1.0, reg=0.1, length=2.5).vector(items[named], bias[named], items.T @ items)
    assert np.linalg.norm(scaled) == pytest.approx(2.5)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_what_a_newcomer_likes_moves_like_items_up(make, tmp_path):
    """The fold-in of a user's own items puts them above the rest, as the user's own vector does."""
    served = load_package(write(tmp_path / "p", make()))
    x = served.fold(served.item_vectors[[2, 3]], served.item_bias[[2, 3]])
    plain = served.item_vectors @ x
    assert plain[[2, 3]].mean() > plain.mean()


def test_a_linear_map_from_texts_is_recovered_and_folded_in(tmp_path):
    rng = np.random.default_rng(0)
    texts, matrix, shift = rng.normal(size=(60, 5)), rng.normal(size=(5, 3)), np.array([1.0, -2.0, 0.5])
    counts = rng.integers(0, 4, size=60)
    items = texts @ matrix + shift
    items[counts == 0] = 99.0  # nobody rated them: they must not be learned from
    found, intercept = text_map(texts, items, counts)
    np.testing.assert_allclose(found, matrix, atol=0.02)
    np.testing.assert_allclose(intercept, shift, atol=0.02)
    encoder = SmallEncoder()
    served = load_package(small_package(tmp_path / "p", text_encoder=encoder))
    vector = encoder.encode(["blue moon"])[0]
    item = vector @ served.text_map + served.text_intercept
    answer = served.recommend_text(vector, 4)
    scores = served.item_vectors @ served.fold(item[None], served.item_bias.mean(keepdims=True)) + served.item_bias
    assert answer.kind == "cold_text" and list(answer.rows) == list(np.argsort(-scores, kind="stable")[:4])
    with pytest.raises(PackageError, match="packed without a text encoder"):
        load_package(small_package(tmp_path / "q")).recommend_text(vector)


def edit(folder, *, signed=True, **changes):
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | changes
    if signed:
        config["sha256"] = digest_of(config)
    path.write_text(json.dumps(config), encoding="utf-8")


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "an altered byte": (lambda f: flip(f / "model.safetensors"), r"model.safetensors does not match the sha256"),
    "half the tensors": (lambda f: os.truncate(f / "model.safetensors", 100), "does not match the sha256"),
    "no tensors": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing, but config.json lists it"),
    "no config": (lambda f: (f / "config.json").unlink(), "config.json is missing: .* holds no package"),
    "half a config": (lambda f: (f / "config.json").write_text('{"kind":'), "not a package's configuration"),
    "another json": (lambda f: (f / "config.json").write_text("[" * 100_000), "not a package's configuration"),
    "a saved model": (lambda f: edit(f, kind="model"), "not a package's configuration"),
    "a newer format": (lambda f: edit(f, format=2), "format 2, this course_lib reads up to 1: update course_lib"),
    "an edited id map": (lambda f: edit(f, signed=False, item_ids=list(range(9))), "config.json does not match its own sha256"),
    "a lost encoder": (lambda f: edit(f, files={"model.safetensors": "0", "encoder.onnx": "0"}), "encoder.onnx is missing"),
    "a way out": (lambda f: edit(f, files={"model.safetensors": "0", "../../x": "0"}), "plain file names"),
    "no tensors listed": (lambda f: edit(f, files={}), "must list model.safetensors"),
    "a missing field": (lambda f: edit(f, fold_in={}), "does not hold what a package must"),
    "too few ids": (lambda f: edit(f, item_ids=[1, 2]), "item_ids of 7 users and 9 items do not fit"),
    "an id twice": (lambda f: edit(f, user_ids=["u1"] * 7), "user_ids of 7 users"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_package_is_refused(damage, message, tmp_path):
    folder = small_package(tmp_path / "p")
    load_package(folder)
    damage(folder)
    with pytest.raises(PackageError, match=message):
        load_package(folder)


def test_what_cannot_be_packed_is_said(tmp_path):
    split = random_split_of()
    model = ALS(feedback="implicit", embedding_size=2)
    with pytest.raises(PackageError, match="EASE has no user and item vectors"):
        write(tmp_path / "p", EASE())
    for bad in ("", "a/b", "x" * 65, "1 2", None):
        with pytest.raises(PackageError, match="version is"):
            write(tmp_path / "p", model, version=bad)
    with pytest.raises(PackageError, match="name is 'a b'"):
        write(tmp_path / "p", model, name="a b")
    with pytest.raises(PackageError, match="7 users and 9 items, the ratings 6 and 9"):
        write_package(tmp_path / "p", model.fit(split), small_ratings(n_users=6), split=split, version="1", metrics={})
    with pytest.raises(PackageError, match="a metric is no finite number"):
        write(tmp_path / "p", model, metrics={"ndcg": float("nan")})
    with pytest.raises(PackageError, match="give the encoder itself too"):
        write(tmp_path / "p", model, onnx=tmp_path / "encoder.onnx")
    model.fit(split)
    model.item_bias_ = model.item_bias_ + np.arange(9)  # no longer what score() uses
    model._scores = lambda users: np.zeros((len(users), 9))
    with pytest.raises(PackageError, match="score is not ⟨user, item⟩"):
        write_package(tmp_path / "p", model, small_ratings(), split=split, version="1", metrics={})
    assert not list(tmp_path.iterdir())


def test_writing_replaces_packages_only_and_never_halfway(tmp_path, monkeypatch):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("x")
    with pytest.raises(PackageError, match="exists and is no package"):
        small_package(tmp_path / "letters")
    folder = small_package(tmp_path / "p")
    rename = os.replace

    def no_new_package(source, target):
        if Path(source).name == "new":
            raise OSError("not now")
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", no_new_package)
        with pytest.raises(OSError, match="not now"):
            small_package(folder, version="2")
    assert load_package(folder).version == "1" and sorted(p.name for p in tmp_path.iterdir()) == ["letters", "p"]
    assert load_package(small_package(folder, version="2")).version == "2"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["letters", "p"]
