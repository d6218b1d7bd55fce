"""Yes or no: did the user like the item, and did we say so?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from course_lib.evaluation.inputs import array, same_length, truths


class Confusion(NamedTuple):
    """Counts of the four outcomes: said yes and right (tp) or wrong (fp), said no and wrong (fn) or right (tn)."""

    tp: int
    fp: int
    fn: int
    tn: int


def confusion(y, y_hat) -> Confusion:
    """Count the four outcomes of answers y_hat to truths y.

    y, y_hat: booleans (n,), or 0 and 1. Raises ValueError for unequal lengths, no values, or values that are neither.
    """
    y, y_hat = truths(y, name="y"), truths(y_hat, name="y_hat")
    same_length(y, y_hat, names=("y", "y_hat"))
    outcomes = (y & y_hat, ~y & y_hat, y & ~y_hat, ~y & ~y_hat)
    return Confusion(*(int(outcome.sum()) for outcome in outcomes))


def accuracy(y, y_hat) -> float:
    """Share of right answers: (tp + tn) / n.  y, y_hat: booleans (n,)."""
    c = confusion(y, y_hat)
    return (c.tp + c.tn) / sum(c)


def precision(y, y_hat) -> float:
    """Share of the yeses that are right: tp / (tp + fp); 0 where nothing was said yes to.  y, y_hat: booleans (n,)."""
    c = confusion(y, y_hat)
    return c.tp / max(c.tp + c.fp, 1)


def recall(y, y_hat) -> float:
    """Share of the liked that were found: tp / (tp + fn); 0 where nothing was liked.  y, y_hat: booleans (n,)."""
    c = confusion(y, y_hat)
    return c.tp / max(c.tp + c.fn, 1)


def f1(y, y_hat) -> float:
    """Harmonic mean of precision and recall: 2·tp / (2·tp + fp + fn); 0 without any yes.  y, y_hat: booleans (n,)."""
    c = confusion(y, y_hat)
    return 2 * c.tp / max(2 * c.tp + c.fp + c.fn, 1)


def roc_curve(y, score) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every trade-off of a score: shares of false and of true positives as the threshold falls.

    y: booleans (n,), score: (n,) → (fpr, tpr, thresholds), each (distinct scores + 1,), from (0, 0) at ∞ to (1, 1).
    "Yes" is score ≥ threshold. Raises ValueError where y holds only one of the two truths.
    """
    y, score = _both_truths(y, score)
    order = np.argsort(-score, kind="stable")
    y, score = y[order], score[order]
    last = np.append(score[1:] != score[:-1], True)  # equal scores cross the threshold together
    tpr, fpr = np.cumsum(y)[last] / y.sum(), np.cumsum(~y)[last] / (~y).sum()
    return np.append(0.0, fpr), np.append(0.0, tpr), np.append(np.inf, score[last])


def auc(y, score) -> float:
    """Chance that a liked item scores above a disliked one, ties counting half: the area under the ROC curve.

    AUC = (Σ ranks of the liked − n₊(n₊ + 1)/2) / (n₊ n₋)

    y: booleans (n,), score: (n,) → float. Raises ValueError where y holds only one of the two truths.
    Source: Hanley and McNeil (1982).
    """
    y, score = _both_truths(y, score)
    positive, negative = int(y.sum()), int((~y).sum())
    return float((rankdata(score)[y].sum() - positive * (positive + 1) / 2) / (positive * negative))


def _both_truths(y, score) -> tuple[np.ndarray, np.ndarray]:
    y, score = truths(y, name="y"), array(score, name="score", ndim=1, dtype=float)
    same_length(y, score, names=("y", "score"))
    if y.all() or not y.any():
        raise ValueError("y holds only one of the two truths: a ROC curve needs liked and disliked items")
    return y, score
