from itertools import combinations

import numpy as np
import pytest
import torch
from scipy import sparse
from small_split import random_split_of

from course_lib.datasets import load_movielens
from course_lib.evaluation import evaluate_ratings
from course_lib.models import FactorizationMachine, MatrixFactorization, item_features, user_features
from course_lib.models.factorization_machine import factorization_machine, interactions
from course_lib.splitting import canonical_fold

RNG = np.random.default_rng(0)
USER, ITEM = RNG.normal(size=(7, 2)), sparse.random(9, 3, density=0.5, random_state=RNG, format="csr")
SMALL = {"embedding_size": 4, "epochs": 3, "user_features": USER, "item_features": ITEM}


def brute_force(x, bias, w, v):
    pairs = sum(v[a] @ v[b] * x[a] * x[b] for a, b in combinations(range(len(x)), 2))
    return bias + sum(w[a] * x[a] for a in range(len(x))) + pairs


def test_the_identity_equals_the_sum_over_pairs():
    x, w, v = RNG.normal(size=(5, 11)), RNG.normal(size=11), RNG.normal(size=(11, 3))
    expected = [brute_force(row, 2.5, w, v) for row in x]
    np.testing.assert_allclose(factorization_machine(x, 2.5, w, v), expected, atol=1e-10)
    as_tensors = factorization_machine(*(torch.from_numpy(a) for a in (x,)), 2.5, torch.from_numpy(w), torch.from_numpy(v))
    np.testing.assert_allclose(as_tensors.numpy(), expected, atol=1e-10)


def test_one_feature_has_nobody_to_interact_with():
    v = RNG.normal(size=(1, 3))
    assert interactions(2 * v[0], 4 * v[0] ** 2) == pytest.approx(0)


def test_the_model_scores_every_pair_as_brute_force_does():
    model = FactorizationMachine(**SMALL).fit(random_split_of())
    got, in_pairs = model.score(np.arange(7)), model.score(np.repeat(np.arange(7), 9), np.tile(np.arange(9), 7))
    w, v = model.weights_.double().numpy(), model.factors_.double().numpy()
    for u, i in np.ndindex(7, 9):
        x = np.concatenate([np.eye(7)[u], np.eye(9)[i], USER[u], ITEM.toarray()[i]])
        assert got[u, i] == pytest.approx(brute_force(x, model.bias_, w, v), abs=1e-5)
    np.testing.assert_allclose(in_pairs, got.ravel(), atol=1e-5)


def test_without_features_it_is_matrix_factorization():
    machine = FactorizationMachine(embedding_size=4, epochs=2).fit(random_split_of())
    twin = MatrixFactorization(embedding_size=4, epochs=1).fit(random_split_of())
    twin.mean_ = machine.bias_
    twin.user_factors_, twin.item_factors_ = machine.factors_[:7], machine.factors_[7:]
    twin.user_bias_, twin.item_bias_ = machine.weights_[:7], machine.weights_[7:]
    np.testing.assert_allclose(machine.score(np.arange(7)), twin.score(np.arange(7)), atol=1e-5)


def test_gradients_of_the_identity_equal_those_of_the_sum_over_pairs():
    x, w = torch.randn(6, dtype=torch.float64), torch.randn(6, dtype=torch.float64)
    v = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    (fast,) = torch.autograd.grad(factorization_machine(x, 1.0, w, v), v)
    (slow,) = torch.autograd.grad(brute_force(x, 1.0, w, v), v)
    torch.testing.assert_close(fast, slow)


def test_save_load_and_seed(tmp_path):
    split = random_split_of()
    model = FactorizationMachine(seed=3, **SMALL).fit(split)
    model.save(tmp_path / "fm")
    np.testing.assert_array_equal(FactorizationMachine.load(tmp_path / "fm").score(np.arange(7)), model.score(np.arange(7)))
    assert len(model.similar_items(0, 3)) == 3
    np.testing.assert_array_equal(FactorizationMachine(seed=3, **SMALL).fit(split).score([0]), model.score([0]))
    assert not np.array_equal(FactorizationMachine(seed=4, **SMALL).fit(split).score([0]), model.score([0]))


def test_errors_name_what_is_wrong():
    with pytest.raises(ValueError, match="user_features needs one row for each of the 7 users"):
        FactorizationMachine(user_features=np.ones((3, 2))).fit(random_split_of())
    with pytest.raises(ValueError, match="no reg is negative"):
        FactorizationMachine(reg_features=-1)


def test_side_features_help_on_a_canonical_fold():
    ratings = load_movielens()
    fold = canonical_fold(ratings, 1)
    sides = {"user_features": user_features(ratings)[0], "item_features": item_features(ratings)[0]}
    rich, plain = (evaluate_ratings(FactorizationMachine(**o).fit(fold), fold).rmse for o in (sides, {}))
    assert 0.9 < rich < 0.92
    assert rich < plain - 0.003
