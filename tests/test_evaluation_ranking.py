import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import sparse
from sklearn import metrics

from course_lib.evaluation import average_precision, hit_rate, hits, ndcg, reciprocal_rank, top_k

NO, YES = False, True
few = settings(max_examples=40, deadline=None)


@st.composite
def rankings(draw, *, distinct=False):
    """Scores (users, items), relevance of the same shape with at least one relevant item a user, and k."""
    shape = draw(st.tuples(st.integers(1, 4), st.integers(2, 8)))
    if distinct:
        scores = np.array([draw(st.permutations(range(shape[1]))) for _ in range(shape[0])], dtype=float)
    else:
        scores = draw(arrays.arrays(float, shape, elements=st.integers(-3, 3).map(float)))
    relevant = draw(arrays.arrays(bool, shape))
    relevant[np.arange(shape[0]), [draw(st.integers(0, shape[1] - 1)) for _ in range(shape[0])]] = True
    return scores, relevant, draw(st.integers(1, shape[1]))


def by_loops(scores, relevant, k):
    """All four metrics of one user, written out."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:k]
    gains = [bool(relevant[i]) for i in order]
    n = int(sum(relevant))
    dcg = sum(g / math.log2(place + 2) for place, g in enumerate(gains))
    best = sum(1 / math.log2(place + 2) for place in range(min(n, k)))
    precisions = [sum(gains[: place + 1]) / (place + 1) for place, g in enumerate(gains) if g]
    first = next((1 / (place + 1) for place, g in enumerate(gains) if g), 0.0)
    return order, (float(any(gains)), dcg / best, first, sum(precisions) / min(n, k))


def test_top_k_by_hand():
    scores = [[0.1, 0.9, 0.5], [2.0, 2.0, 3.0]]
    np.testing.assert_array_equal(top_k(scores, 2), [[1, 2], [2, 0]])  # the tie of items 0 and 1 goes to 0
    np.testing.assert_array_equal(top_k([[-np.inf, 1, -np.inf]], 2), [[1, -1]])  # not on offer: an empty place
    np.testing.assert_array_equal(top_k(torch.tensor(scores), 1), [[1], [2]])


def test_top_k_of_many_ties_is_in_the_order_of_the_catalogue():
    scores = np.random.default_rng(0).integers(0, 3, (5, 1000)).astype(float)
    expected = [sorted(range(1000), key=lambda i, row=row: (-row[i], i)) for row in scores]
    np.testing.assert_array_equal(top_k(scores, 1000), expected)


@pytest.mark.parametrize("k", [0, 4])
def test_top_k_refuses_a_k_beyond_the_catalogue(k):
    with pytest.raises(ValueError, match=r"number of items \(3\)"):
        top_k(np.zeros((2, 3)), k)


def test_top_k_refuses_nan_and_a_single_row():
    with pytest.raises(ValueError, match="scores holds NaN, 1 of 2"):
        top_k([[math.nan, 1.0]], 1)
    with pytest.raises(ValueError, match="2 dimensions"):
        top_k([1.0, 2.0], 1)


def test_hits_take_relevance_in_every_form():
    recommended = np.array([[3, 0], [1, 2], [0, -1]])
    several = [[YES, NO], [YES, YES], [NO, NO]]
    as_matrix = sparse.csr_matrix(([1, 1, 1, 1], ([0, 1, 1, 2], [3, 1, 2, 2])), shape=(3, 4))
    for relevant in ([{3}, {1, 2}, {2}], [[3], np.array([2, 1]), (2,)], as_matrix, [frozenset({3}), [1, 2], [2]]):
        np.testing.assert_array_equal(hits(recommended, relevant), several)
    one = [[YES, NO], [NO, YES], [YES, NO]]
    for relevant in ([3, 2, 0], np.array([3, 2, 0]), torch.tensor([3, 2, 0])):
        np.testing.assert_array_equal(hits(recommended, relevant), one)


def test_an_empty_place_is_never_a_hit_and_users_do_not_mix():
    assert not hits([[-1, -1]], [{0}]).any()
    assert not hits([[0], [3]], [{3}, {0}]).any()
    assert not hits([[0, -1], [0, -1]], [{1}, {1}]).any()  # −1 must not reach the last item of the user before
    assert not hits([[0], [1]], [set(), set()]).any()


def test_hits_refuse_another_number_of_users():
    with pytest.raises(ValueError, match="2 users, relevant has 1"):
        hits([[0], [1]], [{0}])
    with pytest.raises(ValueError, match="1 users, relevant has 0"):
        hits([[0]], [])


def test_metrics_by_hand():
    found = np.array([[NO, YES, NO, YES], [NO, NO, NO, NO]])
    np.testing.assert_allclose(hit_rate(found), [1, 0])
    np.testing.assert_allclose(reciprocal_rank(found), [1 / 2, 0])
    dcg = 1 / math.log2(3) + 1 / math.log2(5)
    np.testing.assert_allclose(ndcg(found, [2, 1]), [dcg / (1 + 1 / math.log2(3)), 0])
    np.testing.assert_allclose(average_precision(found, [2, 1]), [(1 / 2 + 2 / 4) / 2, 0])
    np.testing.assert_allclose(average_precision(found, [3, 1]), [(1 / 2 + 2 / 4) / 3, 0])
    np.testing.assert_allclose(average_precision(found, 9), [(1 / 2 + 2 / 4) / 4, 0])  # only four places to win


def test_a_perfect_list_scores_one_even_when_more_is_relevant_than_fits():
    perfect = np.ones((1, 3), dtype=bool)
    for metric in (ndcg, average_precision):
        np.testing.assert_allclose(metric(perfect, 7), 1)


@few
@given(rankings())
def test_metrics_against_loops(case):
    scores, relevant, k = case
    recommended = top_k(scores, k)
    found, n = hits(recommended, sparse.csr_matrix(relevant)), relevant.sum(axis=1)
    ours = hit_rate(found), ndcg(found, n), reciprocal_rank(found), average_precision(found, n)
    for user in range(len(scores)):
        order, expected = by_loops(scores[user], relevant[user], k)
        assert list(recommended[user]) == order
        np.testing.assert_allclose([metric[user] for metric in ours], expected)


@few
@given(rankings(distinct=True))
def test_metrics_against_scikit_learn(case):
    scores, relevant, k = case
    n = relevant.sum(axis=1)
    cut, full = (
        hits(top_k(scores, k), sparse.csr_matrix(relevant)),
        hits(top_k(scores, scores.shape[1]), sparse.csr_matrix(relevant)),
    )
    assert ndcg(cut, n).mean() == pytest.approx(metrics.ndcg_score(relevant, scores, k=k))
    for user in range(len(scores)):
        theirs = metrics.average_precision_score(relevant[user], scores[user])
        assert average_precision(full, n)[user] == pytest.approx(theirs)


@few
@given(rankings(distinct=True))
def test_one_relevant_item_against_scikit_learn(case):
    scores, _, k = case
    assume(2 < scores.shape[1] > k)
    target = np.arange(len(scores)) % scores.shape[1]
    one_hot = np.eye(scores.shape[1], dtype=int)[target]
    full, cut = hits(top_k(scores, scores.shape[1]), target), hits(top_k(scores, k), target)
    theirs = metrics.label_ranking_average_precision_score(one_hot, scores)
    assert reciprocal_rank(full).mean() == pytest.approx(theirs)
    labels = np.arange(scores.shape[1])
    assert hit_rate(cut).mean() == pytest.approx(metrics.top_k_accuracy_score(target, scores, k=k, labels=labels))


@few
@given(rankings(), st.integers(0, 7))
def test_a_hit_further_up_never_lowers_a_metric(case, place):
    scores, relevant, k = case
    found, n = hits(top_k(scores, k), sparse.csr_matrix(relevant)), relevant.sum(axis=1)
    place %= k
    better = found.copy()
    better[:, [0, place]] = np.sort(better[:, [0, place]], axis=1)[:, ::-1] if place else better[:, [0, 0]]
    for metric in (ndcg, average_precision):
        before, after = metric(found, n), metric(better, n)
        assert (after >= before - 1e-12).all() and (0 <= before).all() and (after <= 1 + 1e-12).all()
    assert (reciprocal_rank(better) >= reciprocal_rank(found)).all()


def test_a_user_without_relevant_items_is_nan_and_warns_nobody(recwarn):
    for metric in (ndcg, average_precision):
        values = metric([[NO, NO], [YES, NO]], [0, 1])
        assert math.isnan(values[0]) and values[1] == 1
    assert len(recwarn) == 0


@pytest.mark.parametrize("metric", [ndcg, average_precision])
def test_counts_must_fit_the_lists(metric):
    with pytest.raises(ValueError, match="one for each of the 2 users"):
        metric([[YES], [NO]], [1, 1, 1])
    with pytest.raises(ValueError, match="user 1 has more hits than relevant items"):
        metric([[YES, NO], [YES, YES]], [1, 1])


@pytest.mark.parametrize("metric", [hit_rate, reciprocal_rank, lambda h: ndcg(h, 1), lambda h: average_precision(h, 1)])
def test_lists_are_checked(metric):
    with pytest.raises(ValueError, match="length 0"):
        metric(np.zeros((2, 0), dtype=bool))
    with pytest.raises(ValueError, match="only true and false"):
        metric([[3, 0]])
    with pytest.raises(ValueError, match="2 dimensions"):
        metric([True, False])
    assert metric(np.zeros((0, 3), dtype=bool)).shape == (0,)
