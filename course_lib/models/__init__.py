"""Recommenders: one protocol (fit, score, recommend, save, load), from popularity to Bayesian factorization."""

from course_lib.models.base import ModelError, Recommender, predict
from course_lib.models.features import item_features, user_features

__all__ = [
    "ModelError",
    "Recommender",
    "item_features",
    "predict",
    "user_features",
]
