import numpy as np
import pandas as pd
import pytest

from course_lib.datasets import load_movielens
from course_lib.text import GENRES, expand, item_texts, natural_title

ITEMS = pd.DataFrame(
    {
        "title": ["Toy Story", "Godfather, The", "unknown", "Alone"],
        "year": pd.array([1995, 1972, None, None], dtype="Int64"),
        "genres": [["Animation", "Children's", "Comedy"], ["Action"], ["unknown"], ["Drama", "War"]],
    }
)


def test_item_texts():
    assert item_texts(ITEMS) == [
        "Toy Story (1995). Animation, Children's, Comedy",
        "The Godfather (1972). Action",
        "unknown",
        "Alone. Drama, War",
    ]


def test_parts():
    assert item_texts(ITEMS, parts=("title",)) == ["Toy Story", "The Godfather", "unknown", "Alone"]
    assert item_texts(ITEMS, parts=("genres", "title"))[:2] == [
        "Toy Story. Animation, Children's, Comedy",
        "The Godfather. Action",
    ]
    assert item_texts(ITEMS, parts=("year",)) == ["1995", "1972", "", ""]
    assert item_texts(ITEMS[["title"]], parts=("title",))[1] == "The Godfather"


@pytest.mark.parametrize("year", [1995, 1995.0, np.int64(1995), "1995"])
def test_any_kind_of_year(year):
    assert item_texts(pd.DataFrame({"title": ["A"], "year": [year], "genres": [np.array(["War"])]})) == ["A (1995). War"]


@pytest.mark.parametrize(
    ("filed", "spoken"),
    [
        ("Godfather, The", "The Godfather"),
        ("Fish Called Wanda, A", "A Fish Called Wanda"),
        ("Postino, Il", "Il Postino"),
        ("Star Maker, The (Uomo delle stelle, L')", "The Star Maker (L'Uomo delle stelle)"),
        ("Die xue shuang xiong (Killer, The)", "Die xue shuang xiong (The Killer)"),
        ("Adventures of Priscilla, Queen of the Desert, The", "The Adventures of Priscilla, Queen of the Desert"),
        ("Corrina, Corrina", "Corrina, Corrina"),
        ("To Wong Foo, Thanks for Everything! Julie Newmar", "To Wong Foo, Thanks for Everything! Julie Newmar"),
        ("The Wrong Trousers", "The Wrong Trousers"),
        ("", ""),
    ],
)
def test_natural_title(filed, spoken):
    assert natural_title(filed) == spoken


def test_the_real_catalogue():
    items = load_movielens().items
    texts = item_texts(items)
    assert len(texts) == 1682 and texts[0] == "Toy Story (1995). Animation, Children's, Comedy"
    assert [t for t in texts if t.count("(1") + t.count("(2") == 0] == ["unknown"], "every film but one has its year"
    assert not [t for t in texts if ", The (" in t or ", A (" in t or "nan" in t.split() or "<NA>" in t]
    assert {g for row in items.genres for g in row} - {"unknown"} <= GENRES


def test_items_without_rows():
    assert item_texts(ITEMS.iloc[:0]) == []
    assert expand(ITEMS.iloc[:0], rng=np.random.default_rng(0)) == []


def test_what_is_no_table_of_items():
    with pytest.raises(ValueError, match="ratings.items"):
        item_texts(["Toy Story"])
    with pytest.raises(ValueError, match="columns title, year, genres"):
        item_texts(ITEMS.drop(columns="year"))
    with pytest.raises(ValueError, match="'plot'"):
        item_texts(ITEMS, parts=("title", "plot"))
    with pytest.raises(ValueError, match="parts"):
        item_texts(ITEMS, parts=())


def test_expansion_without_chance():
    assert expand(ITEMS) == item_texts(ITEMS)


def test_expansion_follows_its_generator():
    drawn = [expand(ITEMS, rng=np.random.default_rng(seed)) for seed in (0, 0, 1, 2, 3, 4)]
    assert drawn[0] == drawn[1]
    assert len({rows[0] for rows in drawn}) >= 3, "the variants differ"


def test_expansion_keeps_what_is_known():
    for seed in range(20):
        rows = expand(ITEMS, rng=np.random.default_rng(seed))
        assert rows[0].startswith("Toy Story (1995)") and rows[1].startswith("The Godfather (1972)")
        assert rows[2] == "unknown" and "19" not in rows[3]
        assert all(genre in rows[0].lower() for genre in ("animation", "children's", "comedy"))
