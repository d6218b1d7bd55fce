"""From facts to one vector per item: which facts it has, or where the graph's geometry puts it."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.preprocessing import normalize

from course_lib.knowledge_graph.facts import FactGraph
from course_lib.knowledge_graph.transe import TransE


def neighbourhood(graph: FactGraph) -> tuple[sparse.csr_matrix, list[tuple[str, str, str]]]:
    """Which facts each item has, the item itself taken out of the fact.

    → csr (n_items, f) of 0 and 1, and the f facts as (relation, direction, entity), direction "→" where the item is the head
    and "←" where it is the tail. Only facts that some item has; items that the graph does not know have none.
    """
    blocks = []
    for direction, (own, other) in enumerate(((0, 2), (2, 0))):
        item = graph.entity_item[graph.triples[:, own]]
        rows = graph.triples[item >= 0]
        blocks.append(np.column_stack([item[item >= 0], rows[:, 1], np.full(len(rows), direction), rows[:, other]]))
    table = np.concatenate(blocks)
    facts, column = np.unique(table[:, 1:], axis=0, return_inverse=True)
    ones = np.ones(len(table))
    matrix = sparse.csr_matrix((ones, (table[:, 0], column.ravel())), shape=(graph.n_items, len(facts)))
    return matrix, [(graph.relations[r], "→←"[d], graph.entities[e]) for r, d, e in facts]


def neighbourhood_features(
    graph: FactGraph, *, components: int | None = None, min_count: int = 2, unit: bool | None = None, seed: int = 0
) -> np.ndarray:
    """TF-IDF of the facts that items share → (n_items, f) float64, or (n_items, components) after a truncated SVD.

    v_if = log((1 + n) / (1 + n_f)) + 1 where item i has fact f, else 0; n linked items, n_f of them with the fact.
    A fact of fewer than `min_count` items is left out: it connects nothing. unit: rows of length one, so that their length
    does not count the facts (None: for a graph without "degree"). Items that the graph does not know are zero.
    Raises ValueError for options out of range.
    """
    matrix, _ = neighbourhood(graph)
    count = matrix.getnnz(axis=0)
    matrix, count = matrix[:, count >= min_count], count[count >= min_count]
    weights = np.log((1 + (graph.item_entity >= 0).sum()) / (1 + count)) + 1
    features = matrix @ sparse.diags_array(weights)
    if components is not None:
        if not 1 <= components < min(features.shape):
            raise ValueError(f"components={components} must lie between 1 and {min(features.shape) - 1} for {features.shape}")
        features = TruncatedSVD(components, random_state=seed).fit_transform(features)
    features = features if isinstance(features, np.ndarray) else features.toarray()
    return normalize(features) if unit or (unit is None and "degree" in graph.without) else features


def item_vectors(graph: FactGraph, *, method: str = "tfidf_svd", size: int = 64, seed: int = 0) -> np.ndarray:
    """A short vector for each item → (n_items, size) float64; zero for an item that the graph does not know.

    "tfidf_svd": which facts items share, compressed; "transe": the item's place among all entities, learned from facts
    whose ends have two facts or more (it is of unit length, or zero where no such fact is left).
    """
    if method == "tfidf_svd":
        return neighbourhood_features(graph, components=size, seed=seed)
    if method != "transe":
        raise ValueError(f"method is {method!r}; it must be 'tfidf_svd' or 'transe'")
    model = TransE(graph, embedding_size=size, seed=seed).fit(graph.core().triples)
    return np.vstack([model.entity_vectors_, np.zeros(size)])[graph.item_entity].astype(np.float64)
