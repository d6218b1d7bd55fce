"""Graphs small enough to work out by hand."""

import numpy as np
import pandas as pd

from course_lib.datasets import KnowledgeGraph, Ratings
from course_lib.knowledge_graph import FactGraph


def graph_of(triples, *, n_entities, n_relations, item_entity=(), without=()) -> FactGraph:
    """Entities e0, e1, …, relations r0, r1, …, items "film 0", …"""
    titles = [f"film {i}" for i in range(len(item_entity))]
    names = [f"e{i}" for i in range(n_entities)], [f"r{i}" for i in range(n_relations)]
    facts = np.array(triples, dtype=np.int64).reshape(-1, 3)
    return FactGraph(facts, *names, np.array(item_entity, dtype=np.int64), titles, tuple(without))


def four_films():
    """Ratings of four films and a source of facts on three of them: a and b share a director, b has a sequel and an award."""
    facts = [
        ("m.a", "film.film.directed_by", "m.ann"), ("m.ann", "film.director.film", "m.a"),
        ("m.b", "film.film.directed_by", "m.ann"), ("m.bob", "film.actor.film", "m.b"),
        ("m.c", "film.film.prequel", "m.b"), ("m.b", "film.film.sequel", "m.c"),
        ("m.b", "film.film.award_won", "m.prize"), ("m.c", "film.film.award_nomination", "m.prize"),
        ("m.elsewhere", "film.film.directed_by", "m.ann"), ("m.a", "film.film.language", "m.english"),
    ]  # fmt: skip
    items = pd.DataFrame({"item_id": [1, 2, 3, 4], "title": ["A", "B", "C", "D"], "year": 1990, "genres": [["Drama"]] * 4})
    table = pd.DataFrame({"user": [0] * 4, "item": range(4), "rating": 4.0, "timestamp": 0})
    ratings = Ratings("four films", table, items, pd.DataFrame({"user_id": [1]}), (1.0, 5.0))
    links = pd.DataFrame({"item_id": [1, 2, 3], "entity": ["m.a", "m.b", "m.c"], "item": [0, 1, 2]})
    return ratings, KnowledgeGraph(triples=pd.DataFrame(facts, columns=["head", "relation", "tail"]), links=links)


def named(graph: FactGraph) -> set[tuple[str, str, str]]:
    """The facts in words."""
    return {(graph.entities[h], graph.relations[r], graph.entities[t]) for h, r, t in graph.triples.tolist()}
