import numpy as np
import pytest
from small_split import random_split_of, split_of

from course_lib.datasets import load_movielens
from course_lib.models import EASE
from course_lib.models.ease import ease_weights, inverse_dual, inverse_primal, recency
from course_lib.splitting import leave_last_out


@pytest.mark.parametrize(("n_users", "n_items"), [(7, 9), (12, 6)])
def test_every_column_is_a_ridge_regression_on_the_other_items(n_users, n_items):
    split = random_split_of(n_users=n_users, n_items=n_items)
    x = split.matrix("train", values="binary").toarray()
    model = EASE(reg=1.7).fit(split)
    for item in range(n_items):
        others = np.delete(np.arange(n_items), item)
        gram = x[:, others].T @ x[:, others] + 1.7 * np.eye(n_items - 1)
        expected = np.linalg.solve(gram, x[:, others].T @ x[:, item])
        np.testing.assert_allclose(model.weights_[others, item], expected, atol=1e-10)
        assert model.weights_[item, item] == 0
    np.testing.assert_allclose(model.score(np.arange(n_users)), x @ model.weights_, atol=1e-12)


def test_fewer_users_than_items_take_the_dual(monkeypatch):
    called = []
    for name, solve in (("inverse_dual", inverse_dual), ("inverse_primal", inverse_primal)):
        monkeypatch.setattr(
            f"course_lib.models.ease.{name}", lambda *a, name=name, solve=solve: called.append(name) or solve(*a)
        )
    EASE().fit(random_split_of(n_users=7, n_items=9))
    EASE().fit(random_split_of(n_users=9, n_items=7))
    assert called == ["inverse_dual", "inverse_primal"]


def test_ratings_do_not_count_only_their_presence():
    rows = [(0, 0, 5, 0), (0, 1, 1, 1), (1, 1, 3, 0)]
    liked = [(u, i, 4, t) for u, i, _, t in rows]
    shape = {"n_users": 2, "n_items": 3}
    np.testing.assert_array_equal(EASE().fit(split_of(rows, **shape)).weights_, EASE().fit(split_of(liked, **shape)).weights_)


def test_recency_counts_the_newer_items_of_the_same_user():
    split = random_split_of(share=0.7)
    got = recency(split, half_life=2.0).toarray()
    for row in split.train.itertuples():
        newer = ((split.train["user"] == row.user) & (split.train["timestamp"] > row.timestamp)).sum()
        assert got[row.user, row.item] == pytest.approx(0.5 ** (newer / 2.0))
    assert (got > 0).sum() == len(split.train)
    assert len(np.unique(got)) > 3
    model = EASE(reg=2.0, half_life=2.0).fit(split)
    np.testing.assert_allclose(model.score(np.arange(7)), got @ model.weights_, atol=1e-12)
    np.testing.assert_array_equal(model.weights_, EASE(reg=2.0).fit(split).weights_)


@pytest.mark.parametrize("half_life", [None, 1.5])
def test_a_newcomer_with_the_same_history_gets_the_same_scores(half_life):
    rows = [(0, 2, 5, 10), (0, 0, 5, 30), (0, 3, 5, 20), (1, 1, 5, 0), (1, 2, 5, 1), (2, 3, 4, 0), (2, 1, 4, 0)]
    model = EASE(reg=1.0, half_life=half_life).fit(split_of(rows, n_users=3, n_items=5))
    np.testing.assert_allclose(model.score_history([2, 3, 0]), model.score(0)[0], atol=1e-12)
    assert not model.score_history([]).any()
    for unknown in ([5], [-1]):
        with pytest.raises(IndexError, match="items 0 … 4"):
            model.score_history(unknown)


@pytest.mark.parametrize("reg", [0, -1, float("nan")])
def test_reg_must_be_positive(reg):
    with pytest.raises(ValueError, match="reg > 0"):
        EASE(reg=reg)


@pytest.mark.parametrize("half_life", [0, -3.0])
def test_half_life_must_be_positive(half_life):
    with pytest.raises(ValueError, match="half_life counts items"):
        EASE(half_life=half_life)


@pytest.fixture(scope="module")
def splits():
    ratings = load_movielens()
    return [leave_last_out(ratings, min_rating=4, seed=seed) for seed in range(5)]


def mean_ndcg(splits, **options):
    values = []
    for split in splits:
        hits = EASE(**options).fit(split).recommend(split.test["user"], 10) == split.test["item"].to_numpy()[:, None]
        values.append((hits / np.log2(np.arange(2, 12))).sum(axis=1).mean())
    return np.mean(values)


def test_dual_equals_primal_on_movielens(splits):
    liked = splits[0].matrix("train", values="binary").astype(float)
    primal, dual = inverse_primal(liked, 250.0), inverse_dual(liked, 250.0)
    assert np.abs(ease_weights(dual) - ease_weights(primal)).max() < 1e-6
    assert np.abs(dual - primal).max() < 1e-6 * np.abs(primal).max()


def test_ndcg_on_movielens(splits):
    """One split moves by ± .005 with the seed that breaks the ties of its last likes, so five are averaged."""
    assert 0.070 < mean_ndcg(splits) < 0.080


def test_recency_wins_on_movielens(splits):
    assert 0.095 < mean_ndcg(splits[:3], half_life=3.0) < 0.105
