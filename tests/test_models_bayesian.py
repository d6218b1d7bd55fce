import numpy as np
import pytest
from scipy import sparse
from small_split import random_split_of

from course_lib.datasets import load_movielens
from course_lib.evaluation import evaluate_ratings
from course_lib.models import BayesianMF, ModelError, item_features, user_features
from course_lib.models.bayesian import Side, bartlett, normal, normal_wishart, orthogonal
from course_lib.splitting import canonical_fold


@pytest.fixture(scope="module")
def movielens():
    return load_movielens()


@pytest.fixture(scope="module")
def fold(movielens):
    return canonical_fold(movielens, 1)


@pytest.fixture(scope="module")
def fitted(fold):
    return BayesianMF(seed=0).fit(fold)


def test_normal_has_the_mean_and_covariance_of_the_linear_system():
    rng = np.random.default_rng(0)
    precision, target = np.array([[4.0, 1.0], [1.0, 2.0]]), np.array([3.0, -1.0])
    draws = normal(np.tile(precision, (40000, 1, 1)), np.tile(target, (40000, 1)), rng)
    np.testing.assert_allclose(draws.mean(0), np.linalg.solve(precision, target), atol=0.02)
    np.testing.assert_allclose(np.cov(draws.T), np.linalg.inv(precision), atol=0.02)


def test_bartlett_has_the_mean_and_variance_of_a_wishart():
    rng = np.random.default_rng(1)
    draws = np.array([(a := bartlett(7, 3, rng)) @ a.T for _ in range(6000)])
    np.testing.assert_allclose(draws.mean(0), 7 * np.eye(3), atol=0.2)
    np.testing.assert_allclose(draws.var(0), 7 * (1 + np.eye(3)), atol=1.2)


def test_normal_wishart_finds_the_centre_and_spread_of_many_vectors():
    rng = np.random.default_rng(2)
    covariance, centre = np.array([[0.5, 0.2], [0.2, 0.3]]), np.array([1.0, -2.0])
    vectors = rng.multivariate_normal(centre, covariance, size=20000)
    draws = [normal_wishart(vectors, np.zeros((0, 2)), 1.0, rng) for _ in range(50)]
    np.testing.assert_allclose(np.mean([m for m, _ in draws], axis=0), centre, atol=0.02)
    np.testing.assert_allclose(np.linalg.inv(np.mean([p for _, p in draws], axis=0)), covariance, atol=0.02)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6)])
def test_the_orthogonal_basis_spans_what_the_features_span(shape):
    features = np.random.default_rng(3).normal(size=shape)
    features[:, -1] = features[:, 0]  # a column that adds nothing
    basis = orthogonal(features)
    np.testing.assert_allclose(basis @ basis.T, features @ features.T, atol=1e-10)
    gram = basis.T @ basis
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-10)
    assert basis.shape == (shape[0], 3 if shape == (6, 4) else 4)


def test_a_side_reports_the_squared_error_of_its_new_vectors():
    rng = np.random.default_rng(4)
    values = sparse.random(8, 6, density=0.5, format="csr", random_state=np.random.default_rng(5))
    side, other = Side.start(values, rng.normal(size=(8, 2)), 3, rng), rng.normal(size=(6, 3))
    error = side.sample(other, 2.0, rng)
    guess = side.vectors[:, :2] @ other[:, :2].T + side.vectors[:, 2:] + other[:, 2]
    assert error == pytest.approx(((values.toarray() - guess)[values.toarray() != 0] ** 2).sum())


def test_intervals_shrink_with_the_number_of_ratings(fitted, fold):
    count = np.bincount(fold.train["item"], minlength=fold.n_items)
    users, widths = np.arange(0, fold.n_users, 10), []
    for low, high in ((0, 2), (5, 20), (100, 600)):
        items = np.flatnonzero((count >= low) & (count < high))[:60]
        pairs = np.repeat(users, len(items)), np.tile(items, len(users))
        below, above = fitted.interval(*pairs, level=0.9)
        widths.append((above - below).mean())
    assert widths[0] > 1.2 * widths[1] > 1.2 * 1.2 * widths[2]


def test_intervals_with_noise_cover_what_they_promise(fitted, fold):
    test = fold.test.sample(3000, random_state=0)
    draws = fitted.draws(test["user"].to_numpy(), test["item"].to_numpy())
    spread = np.sqrt(draws.var(axis=1) + fitted.noise_**2)
    inside = np.abs(test["rating"] - draws.mean(axis=1)) < 1.645 * spread
    assert 0.86 < inside.mean() < 0.94


def test_one_canonical_fold_reaches_the_target(fitted, fold):
    assert 0.895 < evaluate_ratings(fitted, fold).rmse < 0.912  # this fold is .01 harder than a shuffled one
    assert 0.75 < fitted.noise_ < 0.85


def test_features_and_implicit_feedback_help(fitted, movielens, fold):
    model = BayesianMF(
        samples=60,
        burn_in=20,
        implicit=True,
        item_features=item_features(movielens)[0],
        user_features=user_features(movielens)[0],
    ).fit(fold)
    rich, plain = evaluate_ratings(model, fold).rmse, evaluate_ratings(fitted, fold).rmse
    assert 0.87 < rich < 0.893
    assert rich < plain - 0.012


def test_features_reach_an_item_without_ratings():
    """Items of kind 0 get low stars, of kind 1 high ones; the last item of each kind has no ratings."""
    split = random_split_of(n_users=40, n_items=20, share=0.9)
    kind = np.arange(20) % 2
    split.train["rating"] = 1.0 + 3 * kind[split.train["item"]]
    shown = split.train["item"] < 18
    split = type(split)(split.name, split.train[shown], split.test, split.valid, 40, 20)
    model = BayesianMF(embedding_size=1, samples=60, item_features=np.eye(2)[kind]).fit(split)
    cold = model.score(np.arange(40))[:, 18:].mean(0)
    assert cold[1] > cold[0] + 1.5


def test_pairs_save_load_and_seed(tmp_path):
    split = random_split_of()
    options = {"embedding_size": 2, "samples": 5, "burn_in": 2, "implicit": True, "item_features": np.eye(9)[:, :3]}
    model = BayesianMF(seed=3, **options).fit(split)
    users, items = np.repeat(np.arange(7), 9), np.tile(np.arange(9), 7)
    np.testing.assert_allclose(model.score(users, items), model.score(np.arange(7)).ravel(), atol=1e-5)
    model.save(tmp_path / "bayesian")
    np.testing.assert_array_equal(BayesianMF.load(tmp_path / "bayesian").score(np.arange(7)), model.score(np.arange(7)))
    np.testing.assert_array_equal(BayesianMF(seed=3, **options).fit(split).score([0]), model.score([0]))
    assert not np.array_equal(BayesianMF(seed=4, **options).fit(split).score([0]), model.score([0]))


def test_errors_name_what_is_wrong():
    with pytest.raises(ValueError, match="item_features needs one row for each of the 9 items"):
        BayesianMF(item_features=np.ones((3, 2))).fit(random_split_of())
    with pytest.raises(ValueError, match="burn_in"):
        BayesianMF(samples=0)
    with pytest.raises(ModelError, match="not fitted"):
        BayesianMF().draws([0], [0])
