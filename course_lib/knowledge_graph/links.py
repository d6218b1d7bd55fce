"""Are the facts tied to the right items?  Three checks without a model: sources that agree must speak of the same films."""

from __future__ import annotations

from difflib import SequenceMatcher

import numpy as np
from sklearn.metrics.pairwise import cosine_similarity

from course_lib.datasets import Ratings
from course_lib.knowledge_graph.facts import FactGraph
from course_lib.knowledge_graph.features import neighbourhood, neighbourhood_features
from course_lib.models import item_features

RUN = 5  # letters in a row that two titles must share


def agreement(first, second):
    """Correlation of two tables of similarities over the pairs i < j.  (n, n), (n, n), symmetric → −1 … 1."""
    above = np.triu_indices(len(first), 1)
    return float(np.corrcoef(first[above], second[above])[0, 1])


def sequel_pairs(graph: FactGraph) -> np.ndarray:
    """Items of which the second is said to be the first one's sequel → (n, 2) int, in the order of the facts."""
    facts = graph.triples[graph.triples[:, 1] == graph.relations.index("film.film.sequel")]
    pairs = graph.entity_item[facts[:, [0, 2]]]
    return pairs[(pairs >= 0).all(axis=1)]


def titles_alike(titles: list[str], pairs) -> np.ndarray:
    """Do the titles of each pair share five letters or more in a row, case and a last ", The" apart?  → (n,) bool."""
    plain = [title.replace(", The", "").lower() for title in titles]
    runs = [SequenceMatcher(None, plain[a], plain[b]).find_longest_match().size for a, b in pairs]
    return np.array(runs, dtype=int) >= RUN


def genre_agreement(graph: FactGraph, ratings: Ratings) -> float:
    """Agreement of the graph's genres with MovieLens' own, over pairs of films that have some in both."""
    matrix, facts = neighbourhood(graph)
    matrix = matrix[:, [f for f, (relation, _, _) in enumerate(facts) if relation == "film.film.genre"]].toarray()
    own, names = item_features(ratings)
    own = own[:, [f for f, name in enumerate(names) if name.startswith("genre=") and name != "genre=unknown"]]
    films = np.flatnonzero(matrix.any(axis=1) & own.any(axis=1))
    return agreement(cosine_similarity(matrix[films]), cosine_similarity(own[films]))


def liking_agreement(graph: FactGraph, ratings: Ratings, *, liked: float = 4.0, min_likes: int = 20) -> float:
    """Agreement of the facts that two films share (TF-IDF) with the people who like both, over films with enough likes."""
    likes = ratings.table[ratings.table["rating"] >= liked]
    matrix = np.zeros((ratings.n_items, ratings.n_users))
    matrix[likes["item"], likes["user"]] = 1
    warm = np.flatnonzero((matrix.sum(axis=1) >= min_likes) & (graph.item_entity >= 0))
    return agreement(cosine_similarity(neighbourhood_features(graph)[warm]), cosine_similarity(matrix[warm]))
