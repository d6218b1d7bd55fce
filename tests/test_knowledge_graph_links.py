"""Guards of the links between films and facts: three checks that need no model, each of which the shipped links fail."""

from difflib import SequenceMatcher
from itertools import pairwise

import numpy as np
import pytest

from course_lib.datasets import load_movielens
from course_lib.knowledge_graph import FactGraph, fact_graph, neighbourhood, neighbourhood_features
from course_lib.models import item_features


@pytest.fixture(scope="module")
def ratings():
    return load_movielens()


@pytest.fixture(scope="module")
def graphs(ratings):
    return {links: fact_graph(ratings, links=links) for links in ("repaired", "shipped", "permuted")}


def cosine(rows):
    rows = np.asarray(rows, dtype=np.float64)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return rows @ rows.T


def correlation(first, second):
    """Over pairs of items (n, n), (n, n)."""
    above = np.triu_indices(len(first), 1)
    return np.corrcoef(first[above], second[above])[0, 1]


def sequels(graph: FactGraph, ratings) -> list[tuple[int, int]]:
    """Pairs of items of which the second is the first one's sequel."""
    facts = graph.triples[graph.triples[:, 1] == graph.relations.index("film.film.sequel")]
    pairs = graph.entity_item[facts[:, [0, 2]]]
    return [tuple(pair) for pair in pairs[(pairs >= 0).all(axis=1)].tolist()]


def alike(ratings, pairs) -> float:
    """Share of the pairs whose titles have a run of five characters or more in common, articles left out."""
    titles = [title.replace(", The", "").lower() for title in ratings.items["title"]]
    runs = [SequenceMatcher(None, titles[a], titles[b]).find_longest_match().size for a, b in pairs]
    return float(np.mean(np.array(runs) >= 5))


def genres(graph: FactGraph, ratings) -> float:
    """Correlation over pairs of linked films: genres in the graph, genres in MovieLens."""
    matrix, facts = neighbourhood(graph)
    matrix = matrix[:, [f for f, (relation, _, _) in enumerate(facts) if relation == "film.film.genre"]].toarray()
    own, names = item_features(ratings)
    own = own[:, [f for f, name in enumerate(names) if name.startswith("genre=") and name != "genre=unknown"]]
    assert own.shape[1] == 18
    films = np.flatnonzero(matrix.any(axis=1) & own.any(axis=1))
    return correlation(cosine(matrix[films]), cosine(own[films]))


def liking(graph: FactGraph, ratings) -> float:
    """Correlation over pairs of films with 20 likes or more: the facts they share, the people who like both."""
    likes = ratings.table[ratings.table["rating"] >= 4]
    matrix = np.zeros((ratings.n_items, ratings.n_users))
    matrix[likes["item"], likes["user"]] = 1
    warm = np.flatnonzero((matrix.sum(axis=1) >= 20) & (graph.item_entity >= 0))
    return correlation(cosine(neighbourhood_features(graph)[warm]), cosine(matrix[warm]))


def test_sequels_follow_each_other(graphs, ratings):
    found = {links: sequels(graph, ratings) for links, graph in graphs.items()}
    assert len(found["repaired"]) > 40
    assert alike(ratings, found["repaired"]) > 0.6
    assert alike(ratings, found["shipped"]) < 0.2 and alike(ratings, found["permuted"]) < 0.2
    years = ratings.items["year"].to_numpy()
    assert np.mean([years[b] > years[a] for a, b in found["repaired"]]) > 0.9


def test_two_sources_agree_about_genres(graphs, ratings):
    found = {links: genres(graph, ratings) for links, graph in graphs.items()}
    assert found["repaired"] > 0.4
    assert abs(found["shipped"]) < 0.05 and abs(found["permuted"]) < 0.05


def test_films_with_the_same_facts_are_liked_by_the_same_people(graphs, ratings):
    found = {links: liking(graph, ratings) for links, graph in graphs.items()}
    assert found["repaired"] > 0.2
    assert abs(found["shipped"]) < 0.05 and abs(found["permuted"]) < 0.05


def test_the_guards_notice_a_tenth_of_wrong_links(graphs, ratings):
    """A damaged copy of the repaired links falls in every check, and the more is wrong the lower."""
    right = graphs["repaired"]
    order = np.random.default_rng(0).permutation(np.flatnonzero(right.item_entity >= 0))
    values = []
    for share in (0.0, 0.1, 0.3, 1.0):
        entity = right.item_entity.copy()
        wrong = order[: round(share * len(order))]
        entity[wrong] = np.roll(entity[wrong], 1)
        graph = FactGraph(right.triples, right.entities, right.relations, entity, right.titles)
        values.append((alike(ratings, sequels(graph, ratings)), genres(graph, ratings), liking(graph, ratings)))
    assert all(a > b for before, after in pairwise(values) for a, b in zip(before, after, strict=True)), values
