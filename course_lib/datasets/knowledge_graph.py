"""The knowledge graph of the MovieLens-100K films (Freebase), and which film is which entity."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from course_lib.config import PROJECT
from course_lib.datasets.fetch import fetch_movielens
from course_lib.datasets.files import Source, read_table
from course_lib.datasets.ratings import DataError, to_numbers

REPAIRED = PROJECT / "data" / "movielens100k_freebase.csv"


@dataclass(frozen=True, eq=False)
class KnowledgeGraph:
    """Facts about films.

    triples: one row per fact, columns head, relation, tail, where head and tail are entities ("m.0dyb1") and relation is a
    dotted name ("film.film.actor"); links: columns item_id, entity, item (index into `Ratings.items`), sorted by item_id.
    """

    triples: pd.DataFrame
    links: pd.DataFrame

    def __repr__(self) -> str:
        relations = self.triples.relation.nunique()
        return f"KnowledgeGraph({len(self.triples):,} triples, {relations} relations, {len(self.links):,} linked items)"


def load_knowledge_graph(*, links: str = "repaired") -> KnowledgeGraph:
    """The graph, with the repaired links or those "shipped".

    The shipped links cannot be used as they are: they hold the item ids of MovieLens-1M, so most films get the facts of
    another film. The repaired ones were matched by title and year (data/README.md). The triples are the same.
    Raises ValueError for another value of `links`, DataError if the data cannot be fetched or a file is damaged.
    Source: Zhao et al., KB4Rec: A Data Set for Linking Knowledge Bases with Recommender Systems, Data Intelligence 1(2), 2019.
    """
    if links not in ("repaired", "shipped"):
        raise ValueError(f"links is {links!r}; it must be 'repaired' or 'shipped'")
    files = Source(fetch_movielens(progress=False))
    triples = read_table(files, "ml-100k.kg", ("head_id", "relation_id", "tail_id"), sep="\t")
    triples = triples[["head_id", "relation_id", "tail_id"]].set_axis(["head", "relation", "tail"], axis=1)
    if triples.isna().any(axis=None):
        raise DataError(f"{files.where('ml-100k.kg')}: a triple lacks its head, relation or tail; fetch it again")
    catalogue = read_table(files, "ml-100k.item", ("item_id",), sep="\t").item_id.astype(int).sort_values()
    return KnowledgeGraph(triples=triples, links=_links(files, links, pd.Index(catalogue)))


def _links(files: Source, which: str, catalogue: pd.Index) -> pd.DataFrame:
    """Columns item_id, entity, item; links of items that are not in the catalogue are left out."""
    if which == "repaired":
        files, name, columns, sep = Source(REPAIRED), REPAIRED.name, ("item_id", "freebase_mid"), ","
    else:
        name, columns, sep = "ml-100k.link", ("item_id", "entity_id"), "\t"
    table = read_table(files, name, columns, sep=sep)[list(columns)].set_axis(["item_id", "entity"], axis=1)
    table = to_numbers(table, ("item_id",), files.where(name), first_line=2)
    table = table.assign(item=catalogue.get_indexer(table.item_id))
    return table[table.item >= 0].sort_values("item_id", ignore_index=True)
