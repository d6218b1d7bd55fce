"""Facts about items: a graph of typed triples, what items share in it, and the geometry of its relations."""

from course_lib.knowledge_graph.facts import HINDSIGHT, INVERSES, FactGraph, fact_graph
from course_lib.knowledge_graph.features import item_vectors, neighbourhood, neighbourhood_features
from course_lib.knowledge_graph.links import (
    agreement,
    genre_agreement,
    liking_agreement,
    sequel_pairs,
    titles_alike,
)
from course_lib.knowledge_graph.ranking import DegreeRanker, filtered_ranks, hits_at, mrr, split_facts
from course_lib.knowledge_graph.slots import Slots
from course_lib.knowledge_graph.transe import TransE, margin_loss, translation_distance
from course_lib.knowledge_graph.walk import ROLES, entity_names, neighbours

__all__ = [
    "HINDSIGHT",
    "INVERSES",
    "ROLES",
    "DegreeRanker",
    "FactGraph",
    "Slots",
    "TransE",
    "agreement",
    "entity_names",
    "fact_graph",
    "filtered_ranks",
    "genre_agreement",
    "hits_at",
    "item_vectors",
    "liking_agreement",
    "margin_loss",
    "mrr",
    "neighbourhood",
    "neighbourhood_features",
    "neighbours",
    "sequel_pairs",
    "split_facts",
    "titles_alike",
    "translation_distance",
]
