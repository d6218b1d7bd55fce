"""TransE: a relation is a step from one place to another, the same step for every fact that it makes."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from course_lib.knowledge_graph.facts import FactGraph
from course_lib.knowledge_graph.slots import Slots


def translation_distance(head, relation, tail):
    """How far the head lands from the tail after the relation's step: ‖h + r − t‖₂.

    head, relation, tail: tensors (..., d) → (...,), 0 for a perfect fact.
    Source: Bordes et al. (2013), Translating embeddings for modeling multi-relational data, section 2.
    """
    return (head + relation - tail).norm(dim=-1)


def margin_loss(true, false, margin):
    """max(0, margin + d(true) − d(false)), averaged: a wrong fact should lie `margin` further off than the right one.

    true, false: tensors (batch,) of distances → scalar. Source: Bordes et al. (2013), equation 1.
    """
    return functional.relu(margin + true - false).mean()


class TransE:
    """Vectors of entities and relations with h + r ≈ t for facts, and not for the same fact with a wrong end.

    min Σ max(0, margin + ‖h + r − t‖ − ‖h' + r − t'‖), where (h', t') is (h, t) with one end, drawn by chance, replaced by
    an entity that stands in the same slot of the same relation somewhere (`negatives` of them for each fact and step): a
    director by a director, as telling a director from a country is no art. Not `typed`: by any entity.
    ‖entity‖ = 1, restored before each step; an entity without facts is 0. Adam, its rate falling to zero.
    `entity_vectors_` (n_entities, d), `relation_vectors_` (n_relations, d), `losses_` (epochs,): mean loss. Raises
    ValueError for options out of range, RuntimeError before `fit`.
    Source: Bordes et al. (2013), algorithm 1; slots: Krompass, Baier and Tresp (2015), Type-constrained representation
    learning in knowledge graphs.
    """

    def __init__(
        self,
        graph: FactGraph,
        *,
        embedding_size: int = 64,
        margin: float = 0.5,
        epochs: int = 20,
        learning_rate: float = 0.02,
        batch_size: int = 2048,
        negatives: int = 4,
        typed: bool = True,
        seed: int = 0,
    ):
        if min(embedding_size, epochs, batch_size, negatives) < 1:
            raise ValueError("embedding_size, epochs, batch_size and negatives start at 1")
        if not (margin > 0 and learning_rate > 0):
            raise ValueError(f"margin and learning_rate must be positive, not {margin} and {learning_rate}")
        self.n_entities, self.n_relations, self.embedding_size = graph.n_entities, graph.n_relations, embedding_size
        self.margin, self.epochs, self.learning_rate = margin, epochs, learning_rate
        self.batch_size, self.negatives, self.typed, self.seed = batch_size, negatives, typed, seed

    def fit(self, triples) -> TransE:
        """Learn from triples (n, 3); returns self."""
        given = Slots(triples, n_entities=self.n_entities, n_relations=self.n_relations).triples
        known, place = np.unique(given[:, [0, 2]], return_inverse=True)  # only what has facts learns
        place = place.reshape(-1, 2)
        facts = np.column_stack([place[:, 0], given[:, 1], place[:, 1]])
        slots = Slots(facts, n_entities=len(known), n_relations=self.n_relations)
        generator = torch.Generator().manual_seed(self.seed)
        entities = torch.randn(len(known), self.embedding_size, generator=generator)
        relations = torch.randn(self.n_relations, self.embedding_size, generator=generator)
        relations = functional.normalize(relations, dim=-1)
        self.losses_ = self._descend(entities.requires_grad_(), relations.requires_grad_(), slots, generator)
        self.entity_vectors_ = np.zeros((self.n_entities, self.embedding_size), dtype=np.float32)
        self.entity_vectors_[known] = functional.normalize(entities.detach(), dim=-1).numpy()
        self.relation_vectors_ = relations.detach().numpy()
        return self

    def _descend(self, entities, relations, slots: Slots, generator: torch.Generator) -> np.ndarray:
        """Move entities (n, d) and relations (m, d) in place → mean loss of each epoch."""
        facts = torch.from_numpy(slots.triples)
        steps = self.epochs * -(-len(facts) // self.batch_size)
        optimizer = torch.optim.Adam([entities, relations], lr=self.learning_rate, fused=True)
        falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
        losses = np.zeros(self.epochs)
        for epoch in range(self.epochs):
            for rows in torch.randperm(len(facts), generator=generator).split(self.batch_size):
                with torch.no_grad():
                    entities.copy_(functional.normalize(entities, dim=-1))
                loss = self._loss(entities, relations, facts[rows], slots, generator)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                falling.step()
                losses[epoch] += loss.item() * len(rows) / len(facts)
        return losses

    def _loss(self, entities, relations, facts, slots: Slots, generator) -> torch.Tensor:
        """Of true facts (batch, 3), each against its negatives → scalar."""
        wrong = slots.corrupt(facts.repeat(self.negatives, 1), generator, typed=self.typed)
        h, r, t = facts.T
        true = translation_distance(entities[h], relations[r], entities[t])
        h, r, t = wrong.T
        return margin_loss(
            true.repeat(self.negatives), translation_distance(entities[h], relations[r], entities[t]), self.margin
        )

    def score(self, head, relation, tail) -> np.ndarray:
        """−‖h + r − t‖: higher is likelier.  Numbers or arrays that broadcast, (n, 1) and (c,) → (n, c)."""
        if not hasattr(self, "entity_vectors_"):
            raise RuntimeError("this TransE is not fitted: call fit(triples) first")
        vectors, steps = torch.from_numpy(self.entity_vectors_), torch.from_numpy(self.relation_vectors_)
        h, r, t = (torch.as_tensor(np.asarray(x, dtype=np.int64)) for x in (head, relation, tail))
        return -translation_distance(vectors[h], steps[r], vectors[t]).numpy()
