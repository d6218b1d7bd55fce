"""Recommenders: one protocol (fit, score, recommend, save, load), from popularity to Bayesian factorization."""

from course_lib.models.als import ALS
from course_lib.models.base import ModelError, Recommender, predict
from course_lib.models.baselines import BiasBaseline, GlobalMean, Popularity
from course_lib.models.bayesian import BayesianMF
from course_lib.models.content import ContentBased
from course_lib.models.ease import EASE, ease_weights, inverse_dual, inverse_primal
from course_lib.models.factorization_machine import FactorizationMachine, factorization_machine, interactions
from course_lib.models.feature_map import FeatureMap
from course_lib.models.features import item_features, user_features
from course_lib.models.matrix_factorization import MatrixFactorization, bce_loss, bpr_loss, mse_loss
from course_lib.models.neighbours import ItemKNN, UserKNN
from course_lib.models.two_tower import TwoTower, softmax_loss

__all__ = [
    "ALS",
    "EASE",
    "BayesianMF",
    "BiasBaseline",
    "ContentBased",
    "FactorizationMachine",
    "FeatureMap",
    "GlobalMean",
    "ItemKNN",
    "MatrixFactorization",
    "ModelError",
    "Popularity",
    "Recommender",
    "TwoTower",
    "UserKNN",
    "bce_loss",
    "bpr_loss",
    "ease_weights",
    "factorization_machine",
    "interactions",
    "inverse_dual",
    "inverse_primal",
    "item_features",
    "mse_loss",
    "predict",
    "softmax_loss",
    "user_features",
]
