"""The graph of facts: its numbers, what is left out of it, what items share in it, and the map to what people like."""

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import eigh
from sklearn.feature_extraction.text import TfidfTransformer
from small_graph import four_films, graph_of, named

from course_lib.datasets import load_movielens
from course_lib.experiments.cold_items import ranking
from course_lib.knowledge_graph import (
    HINDSIGHT,
    INVERSES,
    entity_names,
    fact_graph,
    item_vectors,
    neighbourhood,
    neighbourhood_features,
    neighbours,
)
from course_lib.models import FeatureMap, item_features
from course_lib.splitting import cold_item_split
from course_lib.text import TextEncoder, item_texts


@pytest.fixture(scope="module")
def ratings():
    return load_movielens()


@pytest.fixture(scope="module")
def graph(ratings):
    return fact_graph(ratings)


def small(**options):
    ratings, source = four_films()
    return fact_graph(ratings, source=source, **options)


# facts


def test_inverse_facts_are_turned_round_and_stand_once():
    assert named(small()) == {
        ("m.a", "film.film.directed_by", "m.ann"),
        ("m.b", "film.film.directed_by", "m.ann"),
        ("m.elsewhere", "film.film.directed_by", "m.ann"),
        ("m.b", "film.film.actor", "m.bob"),
        ("m.b", "film.film.sequel", "m.c"),
        ("m.b", "film.film.award_won", "m.prize"),
        ("m.c", "film.film.award_nomination", "m.prize"),
        ("m.a", "film.film.language", "m.english"),
    }
    assert len(small().triples) == 8 and len(small(merge_inverses=False).triples) == 10


def test_items_entities_and_degrees_point_at_each_other():
    graph = small()
    assert [graph.entities[e] if e >= 0 else None for e in graph.item_entity] == ["m.a", "m.b", "m.c", None]
    assert dict(zip(graph.entities, graph.degree, strict=True)) == {
        "m.a": 2, "m.b": 4, "m.c": 2, "m.ann": 3, "m.bob": 1, "m.prize": 2, "m.english": 1, "m.elsewhere": 1,
    }  # fmt: skip
    assert graph.item_degree.tolist() == [2, 4, 2, 0]
    assert [graph.entities.index(m) for m in ("m.a", "m.b", "m.c")] == [
        int(np.flatnonzero(graph.entity_item == i)[0]) for i in range(3)
    ]
    assert graph.entity_item[graph.entities.index("m.ann")] == -1
    assert repr(graph) == "FactGraph(8 facts, 8 entities, 6 relations, 3 of 4 items)"


@pytest.mark.parametrize("part", list(HINDSIGHT))
def test_without_leaves_out_what_it_names_and_nothing_else(part):
    graph, left_out = small(without=(part,)), set(HINDSIGHT[part])
    assert named(graph) == {fact for fact in named(small()) if fact[1] not in left_out}
    assert graph.without == (part,) and part in repr(graph)
    assert set(graph.relations).isdisjoint(left_out)
    assert len(small(without=part, merge_inverses=False).triples) == 10 - {"awards": 2, "sequels": 2, "degree": 0}[part]


def test_a_film_without_facts_stays_linked():
    graph = small(without=("awards", "sequels"))
    assert graph.item_degree.tolist() == [2, 2, 0, 0] and graph.item_entity[2] >= 0


def test_permuted_links_keep_the_facts_and_who_is_linked(graph, ratings):
    placebo = fact_graph(ratings, links="permuted", seed=1)
    np.testing.assert_array_equal(placebo.triples, graph.triples)
    np.testing.assert_array_equal(placebo.item_entity >= 0, graph.item_entity >= 0)
    np.testing.assert_array_equal(np.sort(placebo.item_entity), np.sort(graph.item_entity))
    assert (placebo.item_entity == graph.item_entity)[graph.item_entity >= 0].mean() < 0.01
    np.testing.assert_array_equal(fact_graph(ratings, links="permuted", seed=1).item_entity, placebo.item_entity)
    assert not np.array_equal(fact_graph(ratings, links="permuted", seed=2).item_entity, placebo.item_entity)


def test_words_that_mean_nothing_are_refused(ratings):
    with pytest.raises(ValueError, match="'mended'.*'repaired', 'shipped' or 'permuted'"):
        fact_graph(ratings, links="mended")
    with pytest.raises(ValueError, match="without names 'stars'; it may name awards, sequels, degree"):
        fact_graph(ratings, without=("awards", "stars"))


def test_the_graph_of_the_films(graph, ratings):
    assert (len(graph.triples), graph.n_entities, graph.n_relations, graph.n_items) == (72_535, 34_628, 14, 1_682)
    assert len(np.unique(graph.triples, axis=0)) == len(graph.triples)
    whole = fact_graph(ratings, merge_inverses=False)
    assert set(INVERSES) | set(INVERSES.values()) <= set(whole.relations) and len(whole.relations) == 24
    back = {(h, INVERSES[r], t) for t, r, h in named(whole) if r in INVERSES and r != "film.actor.film"}
    assert back <= named(whole), "an inverse fact whose other reading is missing: it is no mere inverse"
    assert {name for names in HINDSIGHT.values() for name in names} <= set(whole.relations)


def test_core_drops_until_every_end_has_a_second_fact():
    chain = graph_of([(0, 0, 1), (1, 0, 2), (2, 0, 0), (2, 0, 3), (3, 0, 4)], n_entities=5, n_relations=1)
    assert chain.core(2).triples.tolist() == [[0, 0, 1], [1, 0, 2], [2, 0, 0]]  # 4 goes first, then 3
    assert chain.core(1).triples.tolist() == chain.triples.tolist()
    assert len(chain.core(3).triples) == 0 and chain.core(2).degree.tolist() == [2, 2, 2, 0, 0]


def test_compact_renames_and_loses_nothing(graph):
    core = graph.core()
    small = core.compact()
    assert named(small) == named(core) and small.degree.min() >= 2
    known = {graph.entities[e] for e in np.flatnonzero(core.degree)}
    before = [graph.entities[e] if e >= 0 and graph.entities[e] in known else None for e in graph.item_entity]
    assert [small.entities[e] if e >= 0 else None for e in small.item_entity] == before and None in before


# a walk


def test_neighbours_of_a_film_and_of_a_person():
    graph = small()
    table = neighbours(graph, graph.item_entity[1])
    assert list(zip(table["relation"], table["direction"], table["name"], strict=True)) == [
        ("film.film.actor", "→", "actor of 1 film (m.bob)"),
        ("film.film.award_won", "→", "award (nominated for) of 1 film, award of 1 film (m.prize)"),
        ("film.film.directed_by", "→", "director of 3 films (m.ann)"),
        ("film.film.sequel", "→", "C"),
    ]
    back = neighbours(graph, graph.entities.index("m.ann"))
    assert back["direction"].tolist() == ["←"] * 3
    assert back["name"].tolist() == ["B", "A", "film outside the catalogue (m.elsewhere)"]  # most facts first
    assert entity_names(graph, [graph.item_entity[0]]) == ["A"]


def test_neighbours_of_what_is_not_there():
    with pytest.raises(IndexError, match="no entity -1.*0 … 7; −1 is an item without a link"):
        neighbours(small(), -1)
    with pytest.raises(IndexError, match="no entity 8"):
        neighbours(small(), 8)


# features


def test_neighbourhood_by_hand():
    matrix, facts = neighbourhood(small())
    held = {(i, *facts[f]) for i, f in np.argwhere(matrix.toarray())}
    assert set(matrix.data) == {1.0}
    assert held == {
        (0, "film.film.directed_by", "→", "m.ann"), (1, "film.film.directed_by", "→", "m.ann"),
        (1, "film.film.actor", "→", "m.bob"), (1, "film.film.sequel", "→", "m.c"), (2, "film.film.sequel", "←", "m.b"),
        (1, "film.film.award_won", "→", "m.prize"), (2, "film.film.award_nomination", "→", "m.prize"),
        (0, "film.film.language", "→", "m.english"),
    }  # fmt: skip


def test_features_are_scikit_learns_tf_idf_over_linked_items(graph):
    linked = graph.item_entity >= 0
    matrix, _ = neighbourhood(graph)
    shared = matrix[:, matrix.getnnz(axis=0) >= 2]
    expected = TfidfTransformer().fit(shared[linked]).transform(shared).toarray()
    np.testing.assert_allclose(neighbourhood_features(graph, unit=True), expected, atol=1e-12)
    raw = TfidfTransformer(norm=None).fit(shared[linked]).transform(shared).toarray()
    np.testing.assert_allclose(neighbourhood_features(graph), raw, atol=1e-12)
    assert not neighbourhood_features(graph)[~linked].any()


def test_min_count_and_compression(graph):
    assert neighbourhood_features(small()).shape == (4, 1)  # the director; sequel and award differ in direction or relation
    assert neighbourhood_features(small(), min_count=1).shape == (4, 7)
    few, again = (neighbourhood_features(graph, components=8, seed=3) for _ in range(2))
    np.testing.assert_array_equal(few, again)
    full = neighbourhood_features(graph)
    assert few.shape == (1_682, 8)
    best = eigh(full @ full.T, eigvals_only=True, subset_by_index=[1_674, 1_681]).sum()
    assert 0.98 * best < np.square(few).sum() <= best * (1 + 1e-9)
    for components in (0, 1_682):
        with pytest.raises(ValueError, match=f"components={components} must lie between 1 and"):
            neighbourhood_features(graph, components=components)


def test_without_degree_no_row_is_longer_than_another(ratings):
    quiet = fact_graph(ratings, without=("degree",))
    for features in (neighbourhood_features(quiet), item_vectors(quiet, size=8)):
        length = np.linalg.norm(features, axis=1)
        np.testing.assert_allclose(length[length > 0], 1.0)
    loud = np.linalg.norm(neighbourhood_features(fact_graph(ratings)), axis=1)
    assert np.corrcoef(loud, quiet.item_degree)[0, 1] > 0.8  # what is hidden


def test_item_vectors_have_one_row_an_item_and_a_method():
    graph = small()
    places = item_vectors(graph, method="transe", size=5)
    np.testing.assert_allclose(np.linalg.norm(places, axis=1), [0, 1, 1, 0], atol=1e-6)  # A lost its only shared fact
    with pytest.raises(ValueError, match="'bert'.*'tfidf_svd' or 'transe'"):
        item_vectors(graph, method="bert")


def test_films_that_share_people_are_near(graph, ratings):
    """A check in names: a sequel shares a cast, which is known without the sequel edge."""
    vectors = neighbourhood_features(fact_graph(ratings, without=tuple(HINDSIGHT)))
    titles = pd.Series(ratings.items["title"])
    pairs = [("Jurassic Park", "Lost World: Jurassic Park, The"), ("Godfather, The", "Godfather: Part II, The")]
    for first, second in pairs:
        i, j = titles[titles == first].index[0], titles[titles == second].index[0]
        assert j in np.argsort(-(vectors @ vectors[i]))[1:6]


# cold items


def test_the_graph_alone_and_with_text_reaches_what_was_measured(ratings, graph):
    """168 items held out and ranked among themselves, five draws: the mean, as one draw says little.

    The floors of single draws hold for these five; of a dozen others two lay below each (0.28 and 0.32 the lowest).
    """
    facts, text = neighbourhood_features(graph, components=64), TextEncoder().encode(item_texts(ratings.items))
    metadata = item_features(ratings)[0]
    late = neighbourhood_features(fact_graph(ratings, without=tuple(HINDSIGHT)), components=64)
    placebo = neighbourhood_features(fact_graph(ratings, links="permuted"), components=64)
    broken = neighbourhood_features(fact_graph(ratings, links="shipped"), components=64)
    arms = {"graph": facts, "all": [facts, text, metadata], "words": [text, metadata], "honest": late, "placebo": placebo,
            "shipped": broken}  # fmt: skip
    found = pd.DataFrame([
        {name: ranking(FeatureMap(arm).fit(part).score(np.arange(part.n_users)), part)["ndcg"] for name, arm in arms.items()}
        for part in (cold_item_split(ratings, share=0.1, seed=draw) for draw in range(5))
    ])  # fmt: skip
    mean = found.mean()
    assert mean["graph"] >= 0.36 and found["graph"].min() >= 0.30
    assert mean["all"] >= 0.38 and found["all"].min() >= 0.34
    assert 0.15 < mean["honest"] < mean["graph"] - 0.08, "awards tell the future"
    assert (found["all"] > found["words"]).all()
    assert mean["placebo"] < 0.10 and mean["shipped"] < 0.10
