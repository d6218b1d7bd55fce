"""Data sets: fetched once, verified, and returned as one shape, `Ratings`."""

from course_lib.datasets.encoder import encoder_folder, verify_encoder
from course_lib.datasets.fetch import fetch_movielens, sha256, sources, verify_movielens
from course_lib.datasets.knowledge_graph import KnowledgeGraph, load_knowledge_graph
from course_lib.datasets.larger import load_amazon_reviews, load_movielens_file
from course_lib.datasets.movielens import load_movielens
from course_lib.datasets.ratings import DataError, Ratings, build_ratings

__all__ = [
    "DataError",
    "KnowledgeGraph",
    "Ratings",
    "build_ratings",
    "encoder_folder",
    "fetch_movielens",
    "load_amazon_reviews",
    "load_knowledge_graph",
    "load_movielens",
    "load_movielens_file",
    "sha256",
    "sources",
    "verify_encoder",
    "verify_movielens",
]
