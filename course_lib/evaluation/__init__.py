"""Measures of a recommender, and the protocol that applies them to a model and a split."""

from course_lib.evaluation.catalogue import coverage, gini, mean_popularity, novelty
from course_lib.evaluation.classification import Confusion, accuracy, auc, confusion, f1, precision, recall, roc_curve
from course_lib.evaluation.intervals import Interval, bootstrap, mean_interval, paired
from course_lib.evaluation.protocol import RankingReport, RatingReport, cross_validate, evaluate_ranking, evaluate_ratings
from course_lib.evaluation.ranking import average_precision, hit_rate, hits, ndcg, reciprocal_rank, top_k
from course_lib.evaluation.ratings import mae, rmse

__all__ = [
    "Confusion",
    "Interval",
    "RankingReport",
    "RatingReport",
    "accuracy",
    "auc",
    "average_precision",
    "bootstrap",
    "confusion",
    "coverage",
    "cross_validate",
    "evaluate_ranking",
    "evaluate_ratings",
    "f1",
    "gini",
    "hit_rate",
    "hits",
    "mae",
    "mean_interval",
    "mean_popularity",
    "ndcg",
    "novelty",
    "paired",
    "precision",
    "recall",
    "reciprocal_rank",
    "rmse",
    "roc_curve",
    "top_k",
]
