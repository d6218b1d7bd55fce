import numpy as np
import pytest
from small_split import random_split_of

from course_lib.datasets import load_movielens
from course_lib.models import BiasBaseline, ItemKNN, UserKNN
from course_lib.models.neighbours import similarity
from course_lib.splitting import k_fold, leave_last_out


def slow_similarity(x, present, i, j, *, kind, shrinkage):
    """The definition, one pair of columns at a time."""
    both = [u for u in range(len(x)) if present[u, i] and present[u, j]]
    rows = both if kind == "pearson" else range(len(x))
    scale = np.sqrt(sum(x[u, i] ** 2 for u in rows) * sum(x[u, j] ** 2 for u in rows))
    if i == j or not both or scale == 0:
        return 0.0
    return sum(x[u, i] * x[u, j] for u in both) / scale * len(both) / (len(both) + shrinkage)


def slow_scores(split, *, by, k, shrinkage, kind, explicit):
    """Both models from their definitions, with loops; (n_users, n_items)."""
    present = split.matrix("train", values="binary").toarray() > 0
    baseline = BiasBaseline().fit(split)
    base = baseline.score(np.arange(split.n_users)) if explicit else np.zeros(present.shape)
    x = np.where(present, split.matrix("train").toarray() - base, 0) if explicit else present.astype(float)
    flip = (lambda m: m) if by == "item" else (lambda m: m.T)
    x, present, base = flip(x), flip(present), flip(base)
    result = base.copy()
    for context in range(len(x)):
        for target in range(x.shape[1]):
            near = [
                (slow_similarity(x, present, target, j, kind=kind, shrinkage=shrinkage), x[context, j])
                for j in range(x.shape[1])
                if present[context, j]
            ]
            near = sorted([pair for pair in near if pair[0] > 0], reverse=True)[:k]
            total = sum(s * value for s, value in near)
            if near:
                result[context, target] += total / sum(s for s, _ in near) if explicit else total
    return flip(result)


@pytest.mark.parametrize("kind", ["pearson", "cosine"])
@pytest.mark.parametrize("shrinkage", [0.0, 2.5])
def test_similarity_is_its_definition(kind, shrinkage):
    split = random_split_of(share=0.4, seed=3)
    values = BiasBaseline().fit(split).residuals(split)
    dense, present = values.toarray(), split.matrix("train", values="binary").toarray() > 0
    got = similarity(values, kind=kind, shrinkage=shrinkage)
    for i in range(9):
        for j in range(9):
            expected = slow_similarity(dense, present, i, j, kind=kind, shrinkage=shrinkage)
            assert got[i, j] == pytest.approx(expected, abs=1e-12)
    np.testing.assert_allclose(got, got.T, atol=1e-12)
    assert np.abs(got).max() <= 1 + 1e-12


@pytest.mark.parametrize("model", [ItemKNN, UserKNN])
@pytest.mark.parametrize("kind", ["pearson", "cosine"])
@pytest.mark.parametrize("k", [1, 2, 40])
def test_explicit_prediction_is_its_definition(model, kind, k):
    split = random_split_of(n_users=9, n_items=8, share=0.6, seed=5)
    by = "item" if model is ItemKNN else "user"
    expected = slow_scores(split, by=by, k=k, shrinkage=1.5, kind=kind, explicit=True)
    fitted = model(k=k, shrinkage=1.5, similarity=kind).fit(split)
    np.testing.assert_allclose(fitted.score(np.arange(9)), expected, atol=1e-10)


@pytest.mark.parametrize("model", [ItemKNN, UserKNN])
def test_implicit_score_is_its_definition(model):
    split = random_split_of(n_users=9, n_items=8, share=0.6, seed=5)
    by = "item" if model is ItemKNN else "user"
    expected = slow_scores(split, by=by, k=40, shrinkage=0.5, kind="cosine", explicit=False)
    fitted = model(k=40, shrinkage=0.5, feedback="implicit").fit(split)
    np.testing.assert_allclose(fitted.score(np.arange(9)), expected, atol=1e-12)


def test_nobody_known_means_the_baseline():
    split = random_split_of()
    baseline = BiasBaseline().fit(split)
    for model in (ItemKNN(), UserKNN()):
        model.fit(split)
        assert model.score([6], [0]) == pytest.approx(baseline.score([6], [0]))
        assert model.score([0], [8]) == pytest.approx(baseline.score([0], [8]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"feedback": "clicks"}, "feedback must be"),
        ({"similarity": "euclid"}, "similarity must be"),
        ({"feedback": "implicit", "similarity": "pearson"}, "no deviations to correlate"),
        ({"k": 0}, "k must be at least 1"),
        ({"shrinkage": -1}, "shrinkage not negative"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ItemKNN(**options)


@pytest.fixture(scope="module")
def ratings():
    return load_movielens()


def test_rmse_on_movielens(ratings):
    errors = {ItemKNN: [], UserKNN: []}
    for split in k_fold(ratings, folds=5, seed=0)[:3]:
        for model, values in errors.items():
            predicted = model().fit(split).score(split.test["user"], split.test["item"])
            values.append(np.sqrt(np.mean((np.clip(predicted, 1, 5) - split.test["rating"]) ** 2)))
    assert 0.905 < np.mean(errors[ItemKNN]) < 0.920
    assert 0.915 < np.mean(errors[UserKNN]) < 0.930


def test_ndcg_on_movielens(ratings):
    values = []
    for seed in range(2):
        split = leave_last_out(ratings, min_rating=4, seed=seed)
        hits = ItemKNN(feedback="implicit").fit(split).recommend(split.test["user"], 10)
        hits = hits == split.test["item"].to_numpy()[:, None]
        values.append((hits / np.log2(np.arange(2, 12))).sum(axis=1).mean())
    assert 0.056 < np.mean(values) < 0.071  # .0678 and .0601: ties among last likes
