"""Can the missing end of a fact be found?  Held-out facts, the rank of the right answer, and a baseline that knows nothing."""

from __future__ import annotations

import numpy as np

from course_lib.knowledge_graph.facts import FactGraph
from course_lib.knowledge_graph.slots import Slots

CELLS = 4_000_000  # scores held at once while ranking


class DegreeRanker:
    """Score of a fact = how often its head stands in that slot of that relation in train × the same for its tail.

    For a missing tail the head's factor is the same for all candidates: the most frequent tail wins, whatever the question.
    """

    def __init__(self, graph: FactGraph):
        self.n_entities, self.n_relations = graph.n_entities, graph.n_relations

    def fit(self, triples) -> DegreeRanker:
        """Count triples (n, 3); returns self."""
        facts = Slots(triples, n_entities=self.n_entities, n_relations=self.n_relations).triples
        self.counts_ = np.zeros((2, self.n_relations, self.n_entities))
        for side, column in enumerate((0, 2)):
            np.add.at(self.counts_[side], (facts[:, 1], facts[:, column]), 1.0)
        return self

    def score(self, head, relation, tail) -> np.ndarray:
        """Broadcasts: (n, 1) and (c,) → (n, c).  Half a fact is added to each count, so that an unseen end is no zero."""
        return (self.counts_[0][relation, head] + 0.5) * (self.counts_[1][relation, tail] + 0.5)


def split_facts(graph: FactGraph, *, share: float = 0.1, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Train and test facts (n, 3): a random share is held out, save the last fact of an entity, which stays in train.

    With inverse relations kept in the graph, a test fact may stand in train the other way round.
    """
    if not 0 < share < 1:
        raise ValueError(f"share={share} is the share of the facts to hold out: between 0 and 1")
    order = np.random.default_rng(seed).permutation(len(graph.triples))
    left, wanted, test = graph.degree.copy(), round(share * len(order)), np.zeros(len(order), dtype=bool)
    for row in order:
        if test.sum() == wanted:
            break
        head, _, tail = graph.triples[row]
        if head != tail and left[head] > 1 and left[tail] > 1:
            test[row] = True
            left[head] -= 1
            left[tail] -= 1
    return graph.triples[~test], graph.triples[test]


def filtered_ranks(model, test, known, *, candidates: str = "typed") -> np.ndarray:
    """Rank of the right tail of each test fact, then of the right head, among the entities that might stand there.

    model: `score(head, relation, tail)` that broadcasts, `n_entities`, `n_relations`. test (n, 3), known (m, 3): every
    fact held to be true, train and test; other right answers are taken out of the list ("filtered"). candidates: "typed",
    entities that stand in that slot of that relation in `known`; "all": every entity. → (2n,) float, 1 is best; equal
    scores share their mean rank, so a model that cannot tell gets the middle and not the top.
    Raises ValueError for other words, or test facts that are not among the known ones.
    Source: Bordes et al. (2013), section 4.1.
    """
    if candidates not in ("typed", "all"):
        raise ValueError(f"candidates is {candidates!r}; it must be 'typed' or 'all'")
    sizes = {"n_entities": model.n_entities, "n_relations": model.n_relations}
    slots, test = Slots(known, **sizes), Slots(test, **sizes).triples
    number = np.array([model.n_relations * model.n_entities, model.n_entities, 1])  # one number for each possible fact
    unknown = test[~np.isin(test @ number, slots.triples @ number)]
    if len(unknown):
        raise ValueError(f"the test fact {tuple(unknown[0].tolist())} is not among the known ones: known holds train and test")
    ranks = np.zeros((2, len(test)))
    for side, name in enumerate(("tail", "head")):
        answers = _answers(slots, name)
        for relation in np.unique(test[:, 1]):
            pool = slots.entities(relation, side=name) if candidates == "typed" else np.arange(model.n_entities)
            rows = np.flatnonzero(test[:, 1] == relation)
            for part in np.array_split(rows, min(len(rows), -(-len(rows) * len(pool) // CELLS))):
                ranks[side, part] = _ranks(model, test[part], pool, answers, name)
    return ranks.ravel()


def _answers(slots: Slots, side: str) -> dict[tuple[int, int], np.ndarray]:
    """(known end, relation) → every right answer at the side that is asked for."""
    given, asked = (0, 2) if side == "tail" else (2, 0)
    facts = slots.triples[np.lexsort((slots.triples[:, 1], slots.triples[:, given]))]
    pairs, starts = np.unique(facts[:, [given, 1]], axis=0, return_index=True)
    return dict(zip(map(tuple, pairs.tolist()), np.split(facts[:, asked], starts[1:]), strict=True))


def _ranks(model, facts, pool, answers, side: str) -> np.ndarray:
    """Facts of one relation (n, 3), candidates (c,) in order → (n,)."""
    given, asked = (0, 2) if side == "tail" else (2, 0)
    relation, known = facts[0, 1], facts[:, given, None]
    scores = model.score(known, relation, pool) if side == "tail" else model.score(pool, relation, known)
    scores = np.array(scores, dtype=np.float64)
    place = np.searchsorted(pool, facts[:, asked])
    right = scores[np.arange(len(facts)), place]
    for row, (fact, own) in enumerate(zip(facts.tolist(), place, strict=True)):
        scores[row, np.searchsorted(pool, answers[fact[given], relation])] = -np.inf
        scores[row, own] = right[row]
    better, equal = (scores > right[:, None]).sum(axis=1), (scores == right[:, None]).sum(axis=1)
    return 1 + better + (equal - 1) / 2


def mrr(ranks) -> float:
    """Mean reciprocal rank: mean of 1 / rank.  ranks (n,), from 1 → between 0 and 1."""
    return float(np.mean(1 / _checked(ranks)))


def hits_at(ranks, k: int) -> float:
    """Share of the right answers among the first k.  ranks (n,), from 1 → between 0 and 1."""
    return float(np.mean(_checked(ranks) <= k))


def _checked(ranks) -> np.ndarray:
    ranks = np.asarray(ranks, dtype=np.float64)
    if ranks.ndim != 1 or not len(ranks) or not (ranks >= 1).all():
        raise ValueError("ranks are a list of numbers from 1 on, and there must be at least one")
    return ranks
