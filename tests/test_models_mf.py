import numpy as np
import pytest
import torch
from small_split import random_split_of, split_of

from course_lib.datasets import load_movielens
from course_lib.evaluation import evaluate_ranking, evaluate_ratings
from course_lib.models import MatrixFactorization, Popularity, bce_loss, bpr_loss, mse_loss
from course_lib.models.matrix_factorization import Unseen, falling_adam
from course_lib.splitting import canonical_fold, leave_last_out


def test_losses_by_hand():
    assert mse_loss(torch.tensor([4.0, 2.0]), torch.tensor([3.0, 4.0])).item() == pytest.approx(2.5)
    y, score = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    assert bce_loss(y, score).item() == pytest.approx((np.log(2) + np.log(1 + np.exp(2))) / 2)
    assert bpr_loss(torch.tensor([1.0]), torch.tensor([3.0])).item() == pytest.approx(np.log(1 + np.exp(2)))
    assert bpr_loss(torch.tensor([3.0]), torch.tensor([1.0])).item() == pytest.approx(np.log(1 + np.exp(-2)))


def test_losses_equal_those_of_torch_and_do_not_overflow():
    rng = torch.Generator().manual_seed(0)
    score, other = torch.randn(2, 50, generator=rng) * 5
    y = (other > 0).float()
    torch.testing.assert_close(bce_loss(y, score), torch.nn.functional.binary_cross_entropy_with_logits(score, y))
    torch.testing.assert_close(bpr_loss(score, other), -torch.nn.functional.logsigmoid(score - other).mean())
    assert bce_loss(torch.tensor([0.0]), torch.tensor([500.0])).item() == pytest.approx(500)
    assert bpr_loss(torch.tensor([-500.0]), torch.tensor([500.0])).item() == pytest.approx(1000)


@pytest.mark.parametrize("loss", ["mse", "bce", "bpr"])
def test_the_gradient_by_hand_equals_autograd(loss):
    """One pair: e is the derivative of the loss by the score, then dL/dp_u = e q_i + 2 reg p_u, and so on."""
    model = MatrixFactorization(embedding_size=3, loss=loss, reg=0.3, reg_bias=0.2)
    model.mean_ = 3.5 if loss == "mse" else 0.0
    model._start(2, 3, np.random.default_rng(0))
    user, item, other, rating = torch.tensor([1]), torch.tensor([2]), torch.tensor([0]), torch.tensor([5.0])
    sum(model.batch_loss(user, item, rating, other)).backward()
    p, q, j = model.user_factors_[1].detach(), model.item_factors_[2].detach(), model.item_factors_[0].detach()
    positive, negative = p @ q, p @ j
    if loss == "mse":
        up, down, both = -2 * (5.0 - 3.5 - positive), 0.0, 1.0
    elif loss == "bpr":
        up, both = -torch.sigmoid(negative - positive), 0.5
        down = -up
    else:
        up, down, both = -(1 - torch.sigmoid(positive)) / 2, torch.sigmoid(negative) / 2, 0.5
    torch.testing.assert_close(model.user_factors_.grad[1], up * q + down * j + 2 * 0.3 * p)
    torch.testing.assert_close(model.item_factors_.grad[2], up * p + both * 2 * 0.3 * q)
    torch.testing.assert_close(model.item_bias_.grad[2], torch.as_tensor(up))
    if loss != "mse":
        torch.testing.assert_close(model.item_factors_.grad[0], down * p + 0.3 * j)
    assert not model.user_factors_.grad[0].any()


def test_penalty_counts_once_per_rating():
    model = MatrixFactorization(embedding_size=2, reg=0.5, reg_bias=0.25)
    model.mean_ = 3.0
    model.user_factors_, model.item_factors_ = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    model.user_bias_, model.item_bias_ = torch.tensor([2.0]), torch.tensor([0.0, 4.0])
    loss, penalty = model.batch_loss(torch.tensor([0, 0]), torch.tensor([0, 1]), torch.tensor([8.0, 9.0]))
    assert loss.item() == pytest.approx(((8 - 8) ** 2 + (9 - 11) ** 2) / 2)
    assert penalty.item() == pytest.approx((0.5 * (5 + 9) + 0.25 * 4 + 0.5 * (5 + 1) + 0.25 * (4 + 16)) / 2)


def test_unseen_items_are_unseen_and_even():
    user, item = np.array([0, 0, 1]), np.array([0, 2, 1])
    unseen, rng = Unseen(user, item, 5), np.random.default_rng(0)
    drawn = np.stack([unseen.draw(rng) for _ in range(3000)])
    assert set(drawn[:, 0]) == set(drawn[:, 1]) == {1, 3, 4}
    assert set(drawn[:, 2]) == {0, 2, 3, 4}
    assert np.bincount(drawn[:, 0])[[1, 3, 4]].min() > 900
    assert len(Unseen(np.zeros(2, int), np.arange(2), 2).draw(rng)) == 2  # nothing unseen: ends all the same


def test_the_learning_rate_falls_to_zero():
    weight = torch.zeros(1, requires_grad=True)
    step, places = falling_adam([weight], 0.1, 4), [0.0]
    for _ in range(4):
        step(-weight.sum())
        places.append(weight.item())
    np.testing.assert_allclose(np.diff(places), [0.1, 0.075, 0.05, 0.025], atol=1e-5)


def test_it_recovers_ratings_of_low_rank():
    rng = np.random.default_rng(0)
    full = 3 + rng.normal(size=(30, 2)) @ rng.normal(size=(2, 20))
    rows = [(u, i, full[u, i], 0) for u, i in np.ndindex(30, 20) if (u + 3 * i) % 5]
    options = {"embedding_size": 2, "epochs": 300, "reg": 1e-4, "reg_bias": 1e-4, "batch_size": 64}
    model = MatrixFactorization(**options).fit(split_of(rows, n_users=30, n_items=20))
    hidden = np.array([(u, i) for u, i in np.ndindex(30, 20) if not (u + 3 * i) % 5])
    error = model.score(hidden[:, 0], hidden[:, 1]) - full[tuple(hidden.T)]
    assert np.sqrt((error**2).mean()) < 0.15 * full.std()
    assert model.losses_[-1] < 0.01 * model.losses_[0]


@pytest.mark.parametrize("loss", ["mse", "bce", "bpr"])
def test_pairs_save_load_and_seed(loss, tmp_path):
    split = random_split_of()
    model = MatrixFactorization(loss=loss, embedding_size=4, epochs=3, seed=3).fit(split)
    users, items = np.repeat(np.arange(7), 9), np.tile(np.arange(9), 7)
    np.testing.assert_allclose(model.score(users, items), model.score(np.arange(7)).ravel(), atol=1e-5)
    assert len(model.similar_items(0, 3)) == 3
    model.save(tmp_path / "mf")
    np.testing.assert_array_equal(MatrixFactorization.load(tmp_path / "mf").score(np.arange(7)), model.score(np.arange(7)))
    torch.manual_seed(99)  # the global generator plays no part
    again, other = (MatrixFactorization(loss=loss, embedding_size=4, epochs=3, seed=s).fit(split).score([0]) for s in (3, 4))
    np.testing.assert_array_equal(again, model.score([0]))
    assert not np.array_equal(other, model.score([0]))


@pytest.mark.parametrize(
    "options", [{"loss": "hinge"}, {"reg": -1}, {"embedding_size": 0}, {"learning_rate": 0}, {"epochs": 0}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="loss is|embedding_size"):
        MatrixFactorization(**options)


def test_one_canonical_fold_reaches_the_target_and_regularisation_is_why():
    fold = canonical_fold(load_movielens(), 1)
    strong, weak = (evaluate_ratings(MatrixFactorization(**o).fit(fold), fold).rmse for o in ({}, {"reg": 0.05}))
    assert 0.91 < strong < 0.927  # this fold is .015 harder than the mean of five shuffled ones
    assert weak > strong + 0.015


@pytest.mark.parametrize("loss", ["bce", "bpr"])
def test_ranking_losses_rank_better_than_popularity(loss):
    split = leave_last_out(load_movielens(), min_rating=4, seed=0)
    model = MatrixFactorization(loss=loss, embedding_size=32, epochs=15).fit(split)
    ndcg = [evaluate_ranking(m, split).per_user["ndcg"].mean() for m in (model, Popularity().fit(split))]
    assert 0.048 < ndcg[0] < 0.08
    assert ndcg[0] > ndcg[1] + 0.008
