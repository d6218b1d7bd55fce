"""TransE and the ranking of held-out facts: by hand, by brute force, and on the graph of the films."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_graph import graph_of

from course_lib.datasets import load_movielens
from course_lib.evaluation import paired
from course_lib.knowledge_graph import (
    DegreeRanker,
    Slots,
    TransE,
    fact_graph,
    filtered_ranks,
    hits_at,
    margin_loss,
    mrr,
    split_facts,
    translation_distance,
)


class Table:
    """Scores that are given, small whole numbers so that many are equal."""

    def __init__(self, n_entities, n_relations, seed):
        self.n_entities, self.n_relations = n_entities, n_relations
        self.scores = np.random.default_rng(seed).integers(0, 4, (n_entities, n_relations, n_entities))

    def score(self, head, relation, tail):
        return self.scores[head, relation, tail]


def brute_force(model, test, known, *, typed):
    """One fact, one candidate at a time."""
    facts, ranks = set(map(tuple, known)), []
    for column in (2, 0):
        for fact in map(list, test):
            own, better, equal = model.score(*fact), 0, 0
            slot = {f[column] for f in facts if f[1] == fact[1]} if typed else range(model.n_entities)
            for entity in slot:
                other = list(fact)
                other[column] = entity
                if tuple(other) not in facts:
                    better += model.score(*other) > own
                    equal += model.score(*other) == own
            ranks.append(1 + better + equal / 2)
    return ranks


FACTS = st.sets(st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(0, 5)), min_size=1, max_size=40)


@given(FACTS, st.integers(0, 1000), st.sampled_from(["typed", "all"]), st.data())
@settings(max_examples=150, deadline=None)
def test_filtered_ranks_equal_brute_force(facts, seed, candidates, data):
    known = sorted(facts)
    test = data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=8))
    model = Table(6, 3, seed)
    got = filtered_ranks(model, test, known, candidates=candidates)
    np.testing.assert_array_equal(got, brute_force(model, test, known, typed=candidates == "typed"))


def test_ranks_in_pieces_are_the_same(monkeypatch):
    known = np.unique(np.random.default_rng(0).integers(0, [8, 3, 8], (60, 3)), axis=0)
    model = Table(8, 3, 1)
    whole = filtered_ranks(model, known, known)
    monkeypatch.setattr("course_lib.knowledge_graph.ranking.CELLS", 5)
    np.testing.assert_array_equal(filtered_ranks(model, known, known), whole)


def test_ranks_by_hand():
    """Facts (0, r, 1), (0, r, 2), (3, r, 4): tails 1, 2, 4; asked for 2, the tail 1 is true as well and steps aside."""
    model = Table(5, 1, 0)
    model.scores[0, 0] = [0, 9, 5, 0, 7]
    model.scores[:, 0, 2] = [5, 8, 8, 5, 8]
    known = [(0, 0, 1), (0, 0, 2), (3, 0, 4)]
    assert filtered_ranks(model, [(0, 0, 2)], known).tolist() == [2.0, 1.5]  # 4 stands above; head 3 is as good as 0
    assert filtered_ranks(model, [(0, 0, 2)], known, candidates="all").tolist() == [2.0, 4.5]


def test_ranking_refuses_what_it_cannot_rank():
    model = Table(5, 2, 0)
    with pytest.raises(ValueError, match=r"\(0, 0, 2\) is not among the known ones"):
        filtered_ranks(model, [(0, 0, 2)], [(0, 0, 1), (1, 0, 2)])
    with pytest.raises(ValueError, match="not among the known"):
        filtered_ranks(model, [(0, 1, 2)], [(0, 0, 2)])
    with pytest.raises(ValueError, match="'near'.*'typed' or 'all'"):
        filtered_ranks(model, [(0, 0, 2)], [(0, 0, 2)], candidates="near")
    for wrong, message in (([], "at least one"), ([(0, 1)], "head, relation, tail"), ([(0, 0, 5)], "beyond the 5 entities")):
        with pytest.raises(ValueError, match=message):
            filtered_ranks(model, wrong, [(0, 0, 2)])
    with pytest.raises(ValueError, match="beyond the 5 entities and 2 relations"):
        Slots([(0, 0, -1)], n_entities=5, n_relations=2)


def test_mrr_and_hits_by_hand():
    assert mrr([1, 2, 4, 1.5]) == pytest.approx((1 + 0.5 + 0.25 + 1 / 1.5) / 4)
    assert hits_at([1, 2, 4, 1.5], 2) == 0.75
    for wrong in ([], [0.5], [[1, 2]], [np.nan]):
        with pytest.raises(ValueError, match="from 1 on"):
            mrr(wrong)
        with pytest.raises(ValueError, match="from 1 on"):
            hits_at(wrong, 1)


def test_split_holds_facts_out_and_leaves_every_entity_one():
    rng = np.random.default_rng(0)
    graph = graph_of(np.unique(rng.integers(0, [40, 3, 40], (150, 3)), axis=0), n_entities=40, n_relations=3)
    train, test = split_facts(graph, share=0.3, seed=1)
    both = np.concatenate([train, test])
    assert len(test) == round(0.3 * len(graph.triples))
    np.testing.assert_array_equal(both[np.lexsort(both.T[::-1])], graph.triples)
    assert set(test[:, [0, 2]].ravel()) <= set(train[:, [0, 2]].ravel())
    np.testing.assert_array_equal(split_facts(graph, share=0.3, seed=1)[1], test)
    assert not np.array_equal(split_facts(graph, share=0.3, seed=2)[1], test)
    star = graph_of([(0, 0, i) for i in range(1, 9)], n_entities=9, n_relations=1)
    assert len(split_facts(star, share=0.5, seed=0)[1]) == 0  # every tail has this fact only
    for share in (0, 1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            split_facts(graph, share=share, seed=0)


def test_degree_ranker_by_hand():
    graph = graph_of([(0, 0, 1), (2, 0, 1), (2, 0, 3), (3, 1, 1)], n_entities=4, n_relations=2)
    ranker = DegreeRanker(graph).fit(graph.triples)
    assert ranker.score(2, 0, 1) == 2.5 * 2.5
    np.testing.assert_array_equal(ranker.score([[0], [2]], 0, np.arange(4)), np.outer([1.5, 2.5], [0.5, 2.5, 0.5, 1.5]))


def test_corrupted_facts_stay_in_their_slot_and_cover_it():
    facts = np.array([(0, 0, 1), (2, 0, 3), (2, 0, 1), (4, 1, 5), (5, 1, 4)])
    slots = Slots(facts, n_entities=7, n_relations=2)
    assert slots.entities(0, side="head").tolist() == [0, 2] and slots.entities(1, side="tail").tolist() == [4, 5]
    right = torch.from_numpy(np.tile(facts, (200, 1)))
    wrong = slots.corrupt(right, torch.Generator().manual_seed(0))
    changed = wrong != right
    assert not changed[:, 1].any() and (changed.sum(dim=1) <= 1).all()
    for relation, heads, tails in ((0, {0, 2}, {1, 3}), (1, {4, 5}, {4, 5})):
        rows = wrong[right[:, 1] == relation]
        assert set(rows[:, 0].tolist()) == heads and set(rows[:, 2].tolist()) == tails
    assert 0.4 < changed[:, 0].sum() / changed.sum() < 0.6
    anything = slots.corrupt(right, torch.Generator().manual_seed(0), typed=False)
    assert set(anything[:, 0].tolist()) == set(anything[:, 2].tolist()) == set(range(7))
    assert ((anything != right).sum(dim=1) <= 1).all()


def test_distance_and_loss_by_hand():
    head, step, tail = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([0.5, -2.0]), torch.tensor([[1.5, 0.0], [3.5, 2.0]])
    distance = translation_distance(head, step, tail)
    assert distance.tolist() == pytest.approx([0.0, 5.0])
    assert margin_loss(distance, torch.tensor([0.4, 9.0]), 1.0).item() == pytest.approx((0.6 + 0.0) / 2)


def towns(*, countries=6, each=10):
    """Towns 0 … 59 lie in countries 60 … 65, whose languages are 66 … 71: relation 0 country, 1 language; 72 is nowhere."""
    n = countries * each
    facts = [(i, r, n + r * countries + i // each) for i in range(n) for r in (0, 1)]
    return graph_of(facts, n_entities=n + 2 * countries + 1, n_relations=2)


def test_transe_learns_what_two_relations_have_in_common():
    """A town's language is that of the other towns of its country; how often a language is spoken tells nothing."""
    graph = towns()
    held = (np.arange(len(graph.triples)) % 8) == 1
    test, train = graph.triples[held], graph.triples[~held]
    assert set(test[:, 1]) == {1}
    model = TransE(graph, embedding_size=8, epochs=60, batch_size=32, seed=0).fit(train)
    ranks, counted = (filtered_ranks(m, test, graph.triples)[: len(test)] for m in (model, DegreeRanker(graph).fit(train)))
    assert mrr(ranks) > 0.9 > 0.5 > mrr(counted)
    assert model.losses_.shape == (60,) and model.losses_[-1] < 0.3 * model.losses_[0]
    np.testing.assert_allclose(np.linalg.norm(model.entity_vectors_[:-1], axis=1), 1.0, atol=1e-6)
    assert not model.entity_vectors_[-1].any()  # nothing is known of it


def test_score_is_minus_the_distance_and_broadcasts():
    model = TransE(towns(), embedding_size=4, epochs=2).fit(towns().triples)
    e, r = model.entity_vectors_, model.relation_vectors_
    assert model.score(3, 1, 8) == pytest.approx(-np.linalg.norm(e[3] + r[1] - e[8]), abs=1e-6)
    table = model.score(np.array([[3], [4]]), 1, np.arange(73))
    assert table.shape == (2, 73) and table[1, 9] == pytest.approx(float(model.score(4, 1, 9)), abs=1e-6)


def test_one_step_against_autograd_by_hand():
    """One fact, one negative drawn by the model's own generator: the loss of the first epoch is that of the first vectors."""
    graph = graph_of([(0, 0, 1), (2, 0, 3)], n_entities=4, n_relations=1)
    model = TransE(graph, embedding_size=3, epochs=1, batch_size=2, negatives=1, seed=5).fit(graph.triples)
    generator = torch.Generator().manual_seed(5)
    unit = torch.nn.functional.normalize
    e, r = unit(torch.randn(4, 3, generator=generator), dim=-1), unit(torch.randn(1, 3, generator=generator), dim=-1)
    facts = torch.from_numpy(graph.triples)[torch.randperm(2, generator=generator)]
    wrong = Slots(graph.triples, n_entities=4, n_relations=1).corrupt(facts, generator)
    terms = []
    for (h, _, t), (a, _, b) in zip(facts.tolist(), wrong.tolist(), strict=True):
        terms.append(max(0.0, float(0.5 + (e[h] + r[0] - e[t]).norm() - (e[a] + r[0] - e[b]).norm())))
    assert model.losses_[0] == pytest.approx(np.mean(terms), abs=1e-6)


def test_same_seed_same_vectors_and_options_are_checked():
    graph = towns()
    first, again, other = (TransE(graph, embedding_size=4, epochs=2, seed=s).fit(graph.triples) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.entity_vectors_, again.entity_vectors_)
    assert not np.allclose(first.entity_vectors_, other.entity_vectors_)
    with pytest.raises(ValueError, match="start at 1"):
        TransE(graph, negatives=0)
    with pytest.raises(ValueError, match="margin and learning_rate must be positive, not 0"):
        TransE(graph, margin=0)
    with pytest.raises(RuntimeError, match="call fit"):
        TransE(graph).score(0, 0, 1)
    with pytest.raises(ValueError, match="beyond the 73 entities"):
        TransE(graph).fit([(0, 0, 73)])


@pytest.mark.parametrize(("typed", "candidates"), [(True, "typed"), (False, "all")])
def test_transe_beats_degree_on_the_films(typed, candidates):
    """The mean gain in reciprocal rank, with its interval over facts (each fact is asked for its tail and its head)."""
    graph = fact_graph(load_movielens()).core()
    train, test = split_facts(graph, share=0.1, seed=0)
    test = test[np.random.default_rng(0).permutation(len(test))[: 600 if typed else 300]]
    places = TransE(graph, embedding_size=32 if typed else 64, epochs=16, typed=typed).fit(train)
    counts = DegreeRanker(graph).fit(train)
    ranks = [filtered_ranks(model, test, graph.triples, candidates=candidates) for model in (places, counts)]
    gain = paired(*((1 / r).reshape(2, -1).mean(axis=0) for r in ranks))
    assert gain.low > 0.04, str(gain)
    assert hits_at(ranks[0], 10) > hits_at(ranks[1], 10) + 0.05
