"""Facts as numbers: every entity and relation has a place in a list, and a fact is three places."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from course_lib.datasets import KnowledgeGraph, Ratings, load_knowledge_graph

# What nobody knows of a film on the day when nobody has rated it: it comes later, and to the films that people liked.
HINDSIGHT = {
    "awards": ("film.film.award_won", "film.film.award_nomination"),  # given months after a film is released
    "sequels": ("film.film.sequel", "film.film.prequel"),  # a film has a sequel because the first was liked
    "degree": (),  # no relation: how many facts anyone cared to write down; features give such films rows of unit length
}
# The same fact read from its other end: (t, name, h) says no more than (h, INVERSES[name], t).
INVERSES = {
    "film.actor.film": "film.film.actor",
    "film.cinematographer.film": "film.film.cinematography",
    "film.content_rating.film": "film.film.rating",
    "film.director.film": "film.film.directed_by",
    "film.film.prequel": "film.film.sequel",
    "film.film_genre.films_in_this_genre": "film.film.genre",
    "film.film_subject.films": "film.film.subjects",
    "film.producer.film": "film.film.produced_by",
    "film.production_company.films": "film.film.production_companies",
    "film.writer.film": "film.film.written_by",
}


@dataclass(frozen=True, eq=False)
class FactGraph:
    """Facts head → relation → tail, and which items of a catalogue are entities of it.

    triples: int64 (n, 3), columns head, relation, tail: places in `entities` and `relations`; no fact stands twice.
    item_entity: (n_items,) place of the item's entity, −1 for an item that the graph does not know; titles: (n_items,).
    without: what of HINDSIGHT was left out.
    """

    triples: np.ndarray
    entities: list[str]
    relations: list[str]
    item_entity: np.ndarray
    titles: list[str]
    without: tuple[str, ...] = ()

    @property
    def n_entities(self) -> int:
        """Number of entities, those without a fact included."""
        return len(self.entities)

    @property
    def n_relations(self) -> int:
        """Number of relations."""
        return len(self.relations)

    @property
    def n_items(self) -> int:
        """Number of items in the catalogue."""
        return len(self.item_entity)

    @cached_property
    def degree(self) -> np.ndarray:
        """Facts of each entity, as head or as tail → (n_entities,) int."""
        return np.bincount(self.triples[:, [0, 2]].ravel(), minlength=self.n_entities)

    @cached_property
    def item_degree(self) -> np.ndarray:
        """Facts of each item → (n_items,) int; 0 for an item that the graph does not know."""
        return np.where(self.item_entity >= 0, np.append(self.degree, 0)[self.item_entity], 0)

    @cached_property
    def entity_item(self) -> np.ndarray:
        """The item that an entity is → (n_entities,), −1 for what is no item of the catalogue."""
        items = np.full(self.n_entities, -1)
        linked = np.flatnonzero(self.item_entity >= 0)
        items[self.item_entity[linked]] = linked
        return items

    def core(self, min_facts: int = 2) -> FactGraph:
        """Only facts whose head and tail have `min_facts` facts or more, dropped again until all have; same numbering.

        A fact of an entity that has no other cannot be foretold: nothing else is known of it.
        """
        triples = self.triples
        while True:
            degree = np.bincount(triples[:, [0, 2]].ravel(), minlength=self.n_entities)
            kept = (degree[triples[:, [0, 2]]] >= min_facts).all(axis=1)
            if kept.all():
                return replace(self, triples=triples)
            triples = triples[kept]

    def compact(self) -> FactGraph:
        """The same facts among the entities that have one, numbered anew; an item whose entity has none is unknown (−1)."""
        kept = np.flatnonzero(self.degree)
        place = np.full(self.n_entities + 1, -1)  # the last stands for items without an entity
        place[kept] = np.arange(len(kept))
        head, relation, tail = self.triples.T
        triples = np.column_stack([place[head], relation, place[tail]])
        return replace(self, triples=triples, entities=[self.entities[e] for e in kept], item_entity=place[self.item_entity])

    def __repr__(self) -> str:
        linked = int((self.item_entity >= 0).sum())
        left_out = f", without {', '.join(self.without)}" if self.without else ""
        counts = f"{len(self.triples):,} facts, {self.n_entities:,} entities, {len(self.relations)} relations"
        return f"FactGraph({counts}, {linked:,} of {self.n_items:,} items{left_out})"


def fact_graph(
    ratings: Ratings,
    *,
    links: str = "repaired",
    seed: int = 0,
    without: tuple[str, ...] = (),
    merge_inverses: bool = True,
    source: KnowledgeGraph | None = None,
) -> FactGraph:
    """The knowledge graph of the films, numbered, tied to the items of `ratings`.

    links: "repaired", "shipped" (those of another data set: nearly every film gets another one's facts), or "permuted": the
    repaired ones dealt out again by chance (`seed`), a placebo with the same facts and the same degrees.
    without: any of "awards", "sequels", "degree" (see HINDSIGHT): what was known only after people had rated.
    merge_inverses: "film → directed by → person" and "person → director of → film" are one fact; kept twice, one of them
    betrays the other when facts are held out.
    source: a KnowledgeGraph to take in place of the course's own (its links are then the "repaired" ones).
    Raises ValueError for another word in `links` or `without`. Source of the warning about inverses: Toutanova and Chen
    (2015), Observed versus latent features for knowledge base and text inference, section 4.1.
    """
    if links not in ("repaired", "shipped", "permuted"):
        raise ValueError(f"links is {links!r}; it must be 'repaired', 'shipped' or 'permuted'")
    without = (without,) if isinstance(without, str) else tuple(without)
    unknown = sorted(set(without) - set(HINDSIGHT))
    if unknown:
        raise ValueError(f"without names {', '.join(map(repr, unknown))}; it may name {', '.join(HINDSIGHT)}")
    known = load_knowledge_graph(links="shipped" if links == "shipped" else "repaired") if source is None else source
    triples = _merged(known.triples) if merge_inverses else known.triples
    triples = triples[~triples["relation"].isin([name for part in without for name in HINDSIGHT[part]])]
    triples = triples.drop_duplicates(ignore_index=True)
    entities = pd.Index(pd.unique(pd.concat([triples["head"], triples["tail"], known.links["entity"]]))).sort_values()
    relations = pd.Index(triples["relation"].unique()).sort_values()
    numbers = np.column_stack([
        entities.get_indexer(triples["head"]), relations.get_indexer(triples["relation"]), entities.get_indexer(triples["tail"])
    ])  # fmt: skip
    item_entity = np.full(ratings.n_items, -1)
    item_entity[known.links["item"].to_numpy()] = entities.get_indexer(known.links["entity"])
    if links == "permuted":
        linked = np.flatnonzero(item_entity >= 0)
        item_entity[linked] = np.random.default_rng(seed).permutation(item_entity[linked])
    titles = ratings.items["title"].tolist()
    return FactGraph(numbers.astype(np.int64), entities.tolist(), relations.tolist(), item_entity, titles, without)


def _merged(triples: pd.DataFrame) -> pd.DataFrame:
    """Facts under an inverse name turned round."""
    turned = triples["relation"].isin(INVERSES).to_numpy()
    return pd.DataFrame({
        "head": triples["head"].where(~turned, triples["tail"]),
        "relation": triples["relation"].replace(INVERSES),
        "tail": triples["tail"].where(~turned, triples["head"]),
    })  # fmt: skip
