"""Recommenders: one protocol (fit, score, recommend, save, load), from popularity to Bayesian factorization."""

from course_lib.models.als import ALS
from course_lib.models.base import ModelError, Recommender, predict
from course_lib.models.baselines import BiasBaseline, GlobalMean, Popularity
from course_lib.models.bayesian import BayesianMF
from course_lib.models.content import ContentBased
from course_lib.models.ease import EASE
from course_lib.models.features import item_features, user_features
from course_lib.models.neighbours import ItemKNN, UserKNN

__all__ = [
    "ALS",
    "EASE",
    "BayesianMF",
    "BiasBaseline",
    "ContentBased",
    "GlobalMean",
    "ItemKNN",
    "ModelError",
    "Popularity",
    "Recommender",
    "UserKNN",
    "item_features",
    "predict",
    "user_features",
]
