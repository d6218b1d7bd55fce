"""Errors in stars, and yes-or-no metrics."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from course_lib import evaluation
from course_lib.evaluation import accuracy, auc, confusion, f1, mae, precision, recall, rmse, roc_curve

few = settings(max_examples=40, deadline=None)
pairs = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30)
stars = st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1, max_size=30)
scored = st.lists(st.tuples(st.booleans(), st.integers(-4, 4)), min_size=2, max_size=30).filter(
    lambda rows: len({truth for truth, _ in rows}) == 2
)


def test_errors_by_hand():
    assert rmse([4, 2, 5], [3, 2, 3]) == pytest.approx(math.sqrt(5 / 3))
    assert mae([4, 2, 5], [3, 2, 3]) == pytest.approx(1.0)
    assert rmse([3.0], [3.0]) == 0 and isinstance(rmse([3], [3]), float)


@few
@given(stars)
def test_errors_against_loops_and_scikit_learn(rows):
    y, y_hat = zip(*rows, strict=True)
    assert rmse(y, y_hat) == pytest.approx(math.sqrt(sum((a - b) ** 2 for a, b in rows) / len(rows)))
    assert rmse(y, y_hat) == pytest.approx(metrics.root_mean_squared_error(y, y_hat))
    assert mae(y, y_hat) == pytest.approx(metrics.mean_absolute_error(y, y_hat))
    assert mae(y, y_hat) <= rmse(y, y_hat) + 1e-9


def test_tensors_of_every_float_type_are_taken():
    y = torch.tensor([1.0, 2.0], requires_grad=True)
    assert rmse(y, torch.tensor([2.0, 4.0], dtype=torch.bfloat16)) == pytest.approx(math.sqrt(2.5))
    assert accuracy(torch.tensor([1, 0]), torch.tensor([True, True])) == 0.5


@pytest.mark.parametrize("metric", [rmse, mae])
def test_errors_refuse_bad_input(metric):
    with pytest.raises(ValueError, match="y has 2 values and y_hat has 3"):
        metric([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="empty"):
        metric([], [])
    with pytest.raises(ValueError, match="y_hat holds NaN, 1 of 2"):
        metric([1, 2], [1, math.nan])
    with pytest.raises(ValueError, match="1 dimension"):
        metric([[1, 2]], [[1, 2]])


def test_yes_or_no_by_hand():
    y, y_hat = [1, 1, 1, 0, 0, 0, 0], [1, 1, 0, 1, 0, 0, 0]
    assert confusion(y, y_hat) == (2, 1, 1, 3)
    assert confusion(y, y_hat)._fields == ("tp", "fp", "fn", "tn")
    assert accuracy(y, y_hat) == pytest.approx(5 / 7)
    assert precision(y, y_hat) == recall(y, y_hat) == f1(y, y_hat) == pytest.approx(2 / 3)
    assert (precision([1, 1, 0], [1, 0, 0]), recall([1, 1, 0], [1, 0, 0])) == (1.0, 0.5)


@few
@given(pairs)
def test_yes_or_no_against_scikit_learn(rows):
    y, y_hat = (list(column) for column in zip(*rows, strict=True))
    tn, fp, fn, tp = metrics.confusion_matrix(y, y_hat, labels=[False, True]).ravel()
    assert confusion(y, y_hat) == (tp, fp, fn, tn)
    assert accuracy(y, y_hat) == pytest.approx(metrics.accuracy_score(y, y_hat))
    assert precision(y, y_hat) == pytest.approx(metrics.precision_score(y, y_hat, zero_division=0))
    assert recall(y, y_hat) == pytest.approx(metrics.recall_score(y, y_hat, zero_division=0))
    assert f1(y, y_hat) == pytest.approx(metrics.f1_score(y, y_hat, zero_division=0))


@pytest.mark.parametrize("metric", [confusion, accuracy, precision, recall, f1])
def test_yes_or_no_refuses_bad_input(metric):
    with pytest.raises(ValueError, match="y_hat must hold only true and false"):
        metric([1, 0], [0.7, 0.2])
    with pytest.raises(ValueError, match="give one for each"):
        metric([1, 0], [1])
    with pytest.raises(ValueError, match="empty"):
        metric([], [])


def test_roc_by_hand():
    fpr, tpr, thresholds = roc_curve([1, 0, 1, 0], [0.9, 0.8, 0.8, 0.1])
    np.testing.assert_allclose(fpr, [0, 0, 0.5, 1])
    np.testing.assert_allclose(tpr, [0, 0.5, 1, 1])
    np.testing.assert_allclose(thresholds, [np.inf, 0.9, 0.8, 0.1])
    assert auc([1, 0, 1, 0], [0.9, 0.8, 0.8, 0.1]) == pytest.approx(3.5 / 4)
    assert auc([1, 0], [5, 5]) == 0.5


@few
@given(scored)
def test_roc_against_scikit_learn_and_all_pairs(rows):
    y, score = (np.array(column) for column in zip(*rows, strict=True))
    for ours, theirs in zip(roc_curve(y, score), metrics.roc_curve(y, score, drop_intermediate=False), strict=True):
        np.testing.assert_allclose(ours, theirs)
    wins = [(a > b) + (a == b) / 2 for a in score[y] for b in score[~y]]
    assert auc(y, score) == pytest.approx(np.mean(wins))
    assert auc(y, score) == pytest.approx(metrics.roc_auc_score(y, score))
    fpr, tpr, _ = roc_curve(y, score)
    assert auc(y, score) == pytest.approx(np.trapezoid(tpr, fpr))


@pytest.mark.parametrize("metric", [roc_curve, auc])
def test_roc_refuses_bad_input(metric):
    for truths in ([1, 1], [0, 0]):
        with pytest.raises(ValueError, match="only one of the two truths"):
            metric(truths, [0.1, 0.2])
    with pytest.raises(ValueError, match="score holds NaN"):
        metric([1, 0], [math.nan, 0.2])
    with pytest.raises(ValueError, match="give one for each"):
        metric([1, 0], [0.2])
    with pytest.raises(ValueError, match="empty"):
        metric([], [])


def test_every_public_name_exists():
    assert len(evaluation.__all__) == len(set(evaluation.__all__))
    assert all(hasattr(evaluation, name) for name in evaluation.__all__)
