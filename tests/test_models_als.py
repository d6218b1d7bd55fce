import numpy as np
import pytest
from scipy import sparse
from small_split import random_split_of

from course_lib.datasets import load_movielens
from course_lib.evaluation import cross_validate, evaluate_ranking
from course_lib.models import ALS, Popularity
from course_lib.models.als import explicit_objective, explicit_step, gram, implicit_objective, implicit_step, solve
from course_lib.splitting import k_fold, leave_last_out

OPTIONS = {"explicit": (0.7, 2.0, 0.5), "implicit": (0.7, 3.0)}
STEPS = {"explicit": (explicit_step, explicit_objective), "implicit": (implicit_step, implicit_objective)}


@pytest.fixture(scope="module")
def small():
    """Values (7, 9) with an empty row and column, and vectors for both sides (3 numbers each)."""
    rng = np.random.default_rng(4)
    split = random_split_of()
    explicit = sparse.csr_matrix(split.matrix("train"))
    explicit.data = rng.normal(size=explicit.nnz)
    return {"explicit": explicit, "implicit": split.matrix("train", values="binary")}, rng.normal(size=(9, 3)), rng


def test_gram_sums_outer_products(small):
    values, vectors, rng = small
    pattern = values["explicit"]
    slow = np.zeros((7, 3, 3))
    for (u, i), m in zip(np.argwhere(pattern.toarray() != 0), pattern.toarray()[pattern.toarray() != 0], strict=True):
        slow[u] += m * np.outer(vectors[i], vectors[i])
    np.testing.assert_allclose(gram(pattern, vectors), slow, atol=1e-12)


def test_solve_is_a_linear_system_per_row():
    rng = np.random.default_rng(0)
    half, targets = rng.normal(size=(5, 4, 4)), rng.normal(size=(5, 4))
    matrices = half @ half.transpose(0, 2, 1) + np.eye(4)
    for matrix, target, answer in zip(matrices, targets, solve(matrices, targets), strict=True):
        np.testing.assert_allclose(matrix @ answer, target, atol=1e-10)


def test_an_explicit_step_is_a_ridge_regression_per_user(small):
    values, fixed, _ = small
    got = explicit_step(values["explicit"], fixed, 0.7, 2.0, 0.5)
    dense = values["explicit"].toarray()
    for u in range(6):
        rated = dense[u] != 0
        design = np.hstack([fixed[rated, :2], np.ones((rated.sum(), 1))])
        ridge = np.diag([0.7 * rated.sum() ** 0.5] * 2 + [2.0])
        expected = np.linalg.solve(design.T @ design + ridge, design.T @ (dense[u, rated] - fixed[rated, 2]))
        np.testing.assert_allclose(got[u], expected, atol=1e-10)
    np.testing.assert_array_equal(got[6], 0)


def test_an_implicit_step_is_a_weighted_ridge_regression_on_all_items(small):
    values, fixed, _ = small
    got = implicit_step(values["implicit"], fixed, 0.7, 3.0)
    for u, y in enumerate(values["implicit"].toarray()):
        confidence = np.diag(1 + 3.0 * y)
        expected = np.linalg.solve(fixed.T @ confidence @ fixed + 0.7 * np.eye(3), fixed.T @ confidence @ y)
        np.testing.assert_allclose(got[u], expected, atol=1e-10)


def test_objectives_equal_the_sums_written_out(small):
    values, items, rng = small
    users = rng.normal(size=(7, 3))
    dense, y = values["explicit"].toarray(), values["implicit"].toarray()
    slow = sum((dense[u, i] - users[u, :2] @ items[i, :2] - users[u, 2] - items[i, 2]) ** 2 for u, i in np.argwhere(dense != 0))
    for vectors, count in ((users, (dense != 0).sum(1)), (items, (dense != 0).sum(0))):
        slow += (0.7 * np.maximum(count, 1) ** 0.5 * (vectors[:, :2] ** 2).sum(1) + 2.0 * vectors[:, 2] ** 2).sum()
    assert explicit_objective(values["explicit"], users, items, *OPTIONS["explicit"]) == pytest.approx(slow)
    slow = ((1 + 3.0 * y) * (y - users @ items.T) ** 2).sum() + 0.7 * ((users**2).sum() + (items**2).sum())
    assert implicit_objective(values["implicit"], users, items, *OPTIONS["implicit"]) == pytest.approx(slow)


@pytest.mark.parametrize("feedback", ["explicit", "implicit"])
def test_no_change_of_the_new_vectors_lowers_the_objective(small, feedback):
    values, items, rng = small
    step, objective = STEPS[feedback]
    users = step(values[feedback], items, *OPTIONS[feedback])
    best = objective(values[feedback], users, items, *OPTIONS[feedback])
    for _ in range(20):
        assert objective(values[feedback], users + rng.normal(0, 1e-2, users.shape), items, *OPTIONS[feedback]) > best


@pytest.mark.parametrize("feedback", ["explicit", "implicit"])
def test_every_epoch_lowers_the_objective(feedback):
    model = ALS(feedback=feedback, embedding_size=3, epochs=6, reg=0.5).fit(random_split_of(n_users=20, n_items=15))
    assert len(model.objective_) == 7
    assert (np.diff(model.objective_) < 0).all()


@pytest.mark.parametrize("feedback", ["explicit", "implicit"])
def test_pairs_save_load_and_seed(feedback, tmp_path):
    split = random_split_of()
    model = ALS(feedback=feedback, embedding_size=2, seed=3).fit(split)
    users, items = np.repeat(np.arange(7), 9), np.tile(np.arange(9), 7)
    np.testing.assert_allclose(model.score(users, items), model.score(np.arange(7)).ravel(), atol=1e-12)
    model.save(tmp_path / "als")
    np.testing.assert_array_equal(ALS.load(tmp_path / "als").score(np.arange(7)), model.score(np.arange(7)))
    again, other = (ALS(feedback=feedback, embedding_size=2, seed=seed).fit(split).score([0]) for seed in (3, 4))
    np.testing.assert_array_equal(again, model.score([0]))
    assert not np.array_equal(other, model.score([0]))


@pytest.mark.parametrize("options", [{"feedback": "stars"}, {"reg": 0}, {"embedding_size": 0}, {"power": 2}, {"alpha": -1}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="reg|feedback|embedding_size"):
        ALS(**options)


def test_five_folds_reach_the_target():
    table = cross_validate(ALS, k_fold(load_movielens(), seed=0))
    assert 0.895 < table["rmse"].mean() < 0.912


def test_implicit_ranks_better_than_popularity():
    split = leave_last_out(load_movielens(), min_rating=4, seed=0)
    model = ALS(feedback="implicit", embedding_size=16).fit(split)
    ndcg = [evaluate_ranking(m, split).per_user["ndcg"].mean() for m in (model, Popularity().fit(split))]
    assert 0.055 < ndcg[0] < 0.09
    assert ndcg[0] > ndcg[1] + 0.01
