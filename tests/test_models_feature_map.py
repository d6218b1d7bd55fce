"""The map from what is known of an item to the vector that its raters would have given it."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from small_split import random_split_of, split_of

from course_lib.evaluation import auc
from course_lib.models import ALS, FeatureMap, ModelError
from course_lib.models.feature_map import stacked

SMALL = {"embedding_size": 3, "epochs": 4, "liked": 3.0}


def blocks(n=9):
    rng = np.random.default_rng(0)
    return [rng.normal(3, 5, (n, 4)), rng.random((n, 2))]


def test_blocks_weigh_the_same():
    first, second = blocks()
    both = stacked([first, second])
    for part in (both[:, :4], both[:, 4:]):
        np.testing.assert_allclose(part.mean(axis=0), 0, atol=1e-12)
        assert np.square(part).sum(axis=1).mean() == pytest.approx(1.0)
    np.testing.assert_allclose(stacked(first), both[:, :4])
    np.testing.assert_allclose(stacked([1000 * first + 7, second]), both, atol=1e-9)
    assert not stacked(np.full((9, 2), 7.0)).any()


def test_score_is_the_dot_product_and_cold_items_are_mapped():
    split = random_split_of()
    model = FeatureMap(blocks(), reg=0.3, seed=4, **SMALL).fit(split)
    liked = replace(split, train=split.train[split.train["rating"] >= 3])
    als = ALS(feedback="implicit", embedding_size=3, epochs=4, reg=20.0, alpha=5.0, seed=4).fit(liked)
    warm = np.unique(liked.train["item"])
    cold = np.setdiff1d(np.arange(9), warm)
    assert 8 in cold
    features = stacked(blocks())
    ridge = Ridge(alpha=0.3).fit(features[warm], als.item_factors_[warm])
    np.testing.assert_allclose(model.item_factors_[warm], als.item_factors_[warm])
    np.testing.assert_allclose(model.item_factors_[cold], ridge.predict(features)[cold])
    mean = als.item_factors_[warm].mean(axis=0) + (features - features[warm].mean(axis=0)) @ model.map_
    np.testing.assert_allclose(model.item_factors_[cold], mean[cold], atol=1e-10)
    np.testing.assert_allclose(model.score(np.arange(7)), als.user_factors_ @ model.item_factors_.T)
    np.testing.assert_allclose(model.score([2, 5], [8, 0]), model.score([2, 5])[[0, 1], [8, 0]])


def test_taste_is_carried_to_items_that_nobody_has_rated():
    """Two kinds of users, two kinds of films; the features tell the kind, and 10 of the 40 films are new."""
    rng = np.random.default_rng(1)
    rows = [(u, i, 5.0, 0) for u in range(30) for i in range(30) if u % 2 == i % 2 and rng.random() < 0.5]
    split = split_of(rows, n_users=30, n_items=40)
    kind = (np.arange(40) % 2)[:, None] + rng.normal(0, 0.1, (40, 3))
    scores = FeatureMap(kind, embedding_size=4, reg_factors=1.0).fit(split).score(np.arange(30))[:, 30:]
    same = (np.arange(30)[:, None] % 2) == (np.arange(30, 40) % 2)
    assert auc(same.ravel(), scores.ravel()) > 0.95


def test_save_and_load(tmp_path):
    split = random_split_of()
    model = FeatureMap(blocks(), **SMALL).fit(split)
    model.save(tmp_path / "map")
    loaded = FeatureMap.load(tmp_path / "map")
    np.testing.assert_array_equal(loaded.score(np.arange(7)), model.score(np.arange(7)))
    np.testing.assert_array_equal(loaded.similar_items(0, 3), model.similar_items(0, 3))
    with pytest.raises(ModelError, match="holds no features.*FeatureMap\\(features\\)"):
        loaded.fit(split)


def test_errors_say_what_is_wrong():
    split = random_split_of()
    with pytest.raises(ValueError, match="8 rows, the split 9 items"):
        FeatureMap(blocks(8)).fit(split)
    with pytest.raises(ValueError, match="9, 8 rows: one for each item"):
        FeatureMap([blocks(9)[0], blocks(8)[0]])
    with pytest.raises(ValueError, match=r"finite numbers.*shape \(9,\)"):
        FeatureMap([np.ones(9)])
    with pytest.raises(ValueError, match="finite numbers"):
        FeatureMap([np.full((9, 2), np.nan)])
    with pytest.raises(ValueError, match="reg must be positive, not 0"):
        FeatureMap(blocks(), reg=0)
    with pytest.raises(ValueError, match="no train row has 6 stars or more: lower `liked`"):
        FeatureMap(blocks(), liked=6.0).fit(split)
