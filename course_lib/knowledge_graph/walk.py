"""Walking the graph by hand: what is next to an entity, in words."""

from __future__ import annotations

import numpy as np
import pandas as pd

from course_lib.knowledge_graph.facts import FactGraph

# What stands at the far end of a relation: Freebase's identifiers carry no names.
ROLES = {
    "film.film.actor": "actor",
    "film.film.award_nomination": "award (nominated for)",
    "film.film.award_won": "award",
    "film.film.cinematography": "cinematographer",
    "film.film.country": "country",
    "film.film.directed_by": "director",
    "film.film.genre": "genre",
    "film.film.language": "language",
    "film.film.produced_by": "producer",
    "film.film.production_companies": "company",
    "film.film.rating": "content rating",
    "film.film.subjects": "subject",
    "film.film.written_by": "writer",
}


def neighbours(graph: FactGraph, entity: int) -> pd.DataFrame:
    """Every fact of an entity, one a row: relation, direction ("→" where it is the head, "←" the tail), entity, name.

    By relation, and within it the entities with most facts first. `entity` is a place in `graph.entities`, that of an item
    `graph.item_entity[item]`. Raises IndexError for an entity that the graph does not have (−1: an item without a link).
    """
    if not 0 <= entity < graph.n_entities:
        raise IndexError(f"there is no entity {entity}: the graph has 0 … {graph.n_entities - 1}; −1 is an item without a link")
    found = []
    for direction, own, other in (("→", 0, 2), ("←", 2, 0)):
        rows = graph.triples[graph.triples[:, own] == entity]
        rows = rows[np.lexsort((rows[:, other], -graph.degree[rows[:, other]], rows[:, 1]))]
        found += [(graph.relations[r], direction, int(e)) for r, e in rows[:, [1, other]]]
    table = pd.DataFrame(found, columns=["relation", "direction", "entity"])
    return table.assign(name=entity_names(graph, table["entity"].to_numpy()))


def entity_names(graph: FactGraph, entities) -> list[str]:
    """Titles for items of the catalogue, else what the facts tell: "director of 14 films (m.0bxtg)".  (n,) → n texts."""
    entities = np.asarray(entities, dtype=np.int64)
    rows = graph.triples[np.isin(graph.triples[:, 2], entities)]
    pairs, counts = np.unique(rows[:, [2, 1]], axis=0, return_counts=True)
    roles: dict[int, list[str]] = {}
    for (entity, relation), count in sorted(zip(pairs.tolist(), counts.tolist(), strict=True), key=lambda p: (-p[1], p[0])):
        role = ROLES.get(graph.relations[relation])
        if role is not None:
            roles.setdefault(entity, []).append(f"{role} of {count} film{'s' if count > 1 else ''}")
    names = []
    for entity in entities.tolist():
        item, mid = graph.entity_item[entity], graph.entities[entity]
        known = ", ".join(roles.get(entity, ["film outside the catalogue"]))
        names.append(graph.titles[item] if item >= 0 else f"{known} ({mid})")
    return names
