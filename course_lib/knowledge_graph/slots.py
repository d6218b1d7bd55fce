"""A relation's slots: who directs is one list, who is directed by another; a wrong answer should come from the right list."""

from __future__ import annotations

import numpy as np
import torch


class Slots:
    """Which entities stand as head, and which as tail, of each relation, in some facts.

    triples: int64 (n, 3). Raises ValueError for no facts, a wrong shape, or a number out of range.
    """

    def __init__(self, triples, *, n_entities: int, n_relations: int):
        self.triples = np.ascontiguousarray(np.asarray(triples, dtype=np.int64))
        if self.triples.ndim != 2 or self.triples.shape[1] != 3 or not len(self.triples):
            raise ValueError(f"facts are rows of head, relation, tail, at least one; got shape {self.triples.shape}")
        if (self.triples < 0).any() or (self.triples >= [n_entities, n_relations, n_entities]).any():
            raise ValueError(f"a fact names an entity or relation beyond the {n_entities} entities and {n_relations} relations")
        self.n_entities, self.n_relations = n_entities, n_relations
        self._pools = [self._pool(column) for column in (0, 2)]

    def _pool(self, column: int) -> tuple[np.ndarray, np.ndarray]:
        """Entities of the slot of every relation, one after another, and where each relation's begin (n_relations + 1,)."""
        pairs = np.unique(self.triples[:, [1, column]], axis=0)
        return pairs[:, 1].copy(), np.searchsorted(pairs[:, 0], np.arange(self.n_relations + 1))

    def entities(self, relation: int, *, side: str) -> np.ndarray:
        """Entities seen as "head" or "tail" of a relation, in order."""
        pool, starts = self._pools[("head", "tail").index(side)]
        return pool[starts[relation] : starts[relation + 1]]

    def corrupt(self, facts: torch.Tensor, generator: torch.Generator, *, typed: bool = True) -> torch.Tensor:
        """Facts (n, 3) with one end each, head or tail by chance, replaced by an entity of the same slot.

        Not `typed`: by any entity. By chance it may be the right one again, or another right one: rare, and harmless to a mean.
        """
        wrong, n = facts.clone(), len(facts)
        of_tail, draw = torch.rand(n, generator=generator) < 0.5, torch.rand(n, generator=generator, dtype=torch.float64)
        for (pool, starts), column, rows in zip(self._pools, (0, 2), (~of_tail, of_tail), strict=True):
            if not typed:
                wrong[rows, column] = (draw[rows] * self.n_entities).long()
                continue
            starts, relation = torch.from_numpy(starts), facts[rows, 1]
            place = starts[relation] + (draw[rows] * (starts[relation + 1] - starts[relation])).long()
            wrong[rows, column] = torch.from_numpy(pool)[place]
        return wrong
