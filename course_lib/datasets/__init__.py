"""Data of the course: fetched once, verified, and handed out as one type."""

from course_lib.datasets.fetch import encoder_folder, fetch_movielens, sha256, sources, verify_encoder
from course_lib.datasets.knowledge_graph import KnowledgeGraph, load_knowledge_graph
from course_lib.datasets.movielens import load_movielens
from course_lib.datasets.ratings import DataError, Ratings, build_ratings

__all__ = [
    "DataError",
    "KnowledgeGraph",
    "Ratings",
    "build_ratings",
    "encoder_folder",
    "fetch_movielens",
    "load_knowledge_graph",
    "load_movielens",
    "sha256",
    "sources",
    "verify_encoder",
]
