"""Guards of the links between films and facts: three checks that need no model, each of which the shipped links fail."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics.pairwise import cosine_similarity
from small_graph import four_films

from course_lib.datasets import load_movielens
from course_lib.knowledge_graph import (
    FactGraph,
    agreement,
    fact_graph,
    genre_agreement,
    liking_agreement,
    sequel_pairs,
    titles_alike,
)


@pytest.fixture(scope="module")
def ratings():
    return load_movielens()


@pytest.fixture(scope="module")
def graphs(ratings):
    return {links: fact_graph(ratings, links=links) for links in ("repaired", "shipped", "permuted")}


def alike(graph: FactGraph) -> float:
    """Share of the sequels whose titles resemble each other."""
    return titles_alike(graph.titles, sequel_pairs(graph)).mean()


def test_agreement_is_that_of_scipy():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(7, 4))
    first, second = cosine_similarity(rows), cosine_similarity(rng.normal(size=(7, 3)))
    pairs = [(i, j) for i in range(7) for j in range(i)]
    assert agreement(first, second) == pytest.approx(pearsonr(*([t[p] for p in pairs] for t in (first, second))).statistic)


def test_sequel_pairs_and_titles_by_hand():
    ratings, source = four_films()
    assert sequel_pairs(fact_graph(ratings, source=source)).tolist() == [[1, 2]]
    titles = ["Godfather, The", "GODFATHER: Part II, The", "Alien", "Aliens", "Seven", "Eleven, The", "Prophecy, The"]
    pairs = [(0, 1), (2, 3), (4, 5), (0, 6)]
    assert titles_alike(titles, pairs).tolist() == [True, True, False, False]  # "even" has four; articles do not count


def test_sequels_follow_each_other(graphs, ratings):
    assert len(sequel_pairs(graphs["repaired"])) > 40
    assert alike(graphs["repaired"]) > 0.6
    assert alike(graphs["shipped"]) < 0.2 and alike(graphs["permuted"]) < 0.2
    years = ratings.items["year"].to_numpy()
    assert np.mean([years[b] > years[a] for a, b in sequel_pairs(graphs["repaired"])]) > 0.9


def test_two_sources_agree_about_genres(graphs, ratings):
    found = {links: genre_agreement(graph, ratings) for links, graph in graphs.items()}
    assert found["repaired"] > 0.4
    assert abs(found["shipped"]) < 0.05 and abs(found["permuted"]) < 0.05


def test_films_with_the_same_facts_are_liked_by_the_same_people(graphs, ratings):
    found = {links: liking_agreement(graph, ratings) for links, graph in graphs.items()}
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
        values.append((alike(graph), genre_agreement(graph, ratings), liking_agreement(graph, ratings)))
    assert all(a > b for before, after in pairwise(values) for a, b in zip(before, after, strict=True)), values
