"""The Freebase graph around MovieLens-100K's films."""

from dataclasses import dataclass

import pandas as pd

from course_lib.config import PROJECT
from course_lib.datasets.fetch import fetch_movielens
from course_lib.datasets.ratings import DataError

LINKS = ("repaired", "shipped")


@dataclass(frozen=True)
class KnowledgeGraph:
    """Facts about films. triples: head, relation, tail (Freebase ids). links: item_id, entity."""

    triples: pd.DataFrame
    links: pd.DataFrame


def load_knowledge_graph(*, links: str = "repaired") -> KnowledgeGraph:
    """Freebase triples and the map from MovieLens-100K's items to their entities.

    links: "repaired" (data/movielens100k_freebase.csv, 1,503 films, matched through title and year) or "shipped": the file that
    came with the triples, whose item ids belong to MovieLens-1M; it is kept for the lesson that finds the fault.
    Raises ValueError for another word, DataError as `fetch_movielens` does.
    """
    if links not in LINKS:
        raise ValueError(f"links is {links!r}; it must be one of {', '.join(LINKS)}")
    folder = fetch_movielens()
    triples = pd.read_csv(folder / "ml-100k.kg", sep="\t", dtype=str)
    triples.columns = ["head", "relation", "tail"]
    if links == "shipped":
        table = pd.read_csv(folder / "ml-100k.link", sep="\t", dtype={0: int, 1: str})
    else:
        path = PROJECT / "data" / "movielens100k_freebase.csv"
        if not path.is_file():
            raise DataError(f"{path} is missing; it belongs to the repository: git checkout -- {path.relative_to(PROJECT)}")
        table = pd.read_csv(path)
    table.columns = ["item_id", "entity"]
    return KnowledgeGraph(triples=triples, links=table)
