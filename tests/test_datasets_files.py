"""Files on this computer: what is read from good ones, and what is said of bad ones."""

import gzip
import json
import zipfile

import pandas as pd
import pytest

from course_lib.datasets import DataError, build_ratings, files, load_amazon_reviews, load_movielens, load_movielens_file

MARKS = "|0" * 18
GROUPLENS = {
    "u.data": b"7\t3\t4\t880000000\n7\t1\t5\t880000001\n2\t3\t1\t880000002\n",
    "u.item": f"1|Misérables, Les (1995)|01-Jan-1995||address|0{MARKS}\n3|Alien (1979)|||address|1{MARKS}\n".encode("latin-1"),
    "u.user": b"2|53|F|other|94043\n7|24|M|technician|02139\n",
}
ONE_M = {
    "ratings.dat": b"1::1193::5::978300760\n1::661::3::978302109\n2::1193::4::978298413\n",
    "movies.dat": "661::James: and the Peach (1996)::Animation|Children's\n1193::Café, Le (1975)::Drama\n".encode("latin-1"),
    "users.dat": b"1::F::1::10::48067\n2::M::56::16::07072\n",
}
CSV = {
    "ratings.csv": b"userId,movieId,rating,timestamp\n1,296,5.0,1147880044\n1,306,3.5,1147868817\n2,296,0.5,1147868828\n",
    "movies.csv": (
        'movieId,title,genres\n296,"American President, The (1995)",Comedy|Drama\n306,Café (2001),(no genres listed)\n'
        "307,Babylon 5,Sci-Fi\n"
    ).encode(),
}
REVIEWS = [
    {"user_id": "A", "parent_asin": "B01", "rating": 5.0, "timestamp": 1588687728923},
    {"user_id": "B", "parent_asin": "B02", "rating": 2.0, "timestamp": 1588687729000},
    {"user_id": "A", "parent_asin": "B01", "rating": 3.0, "timestamp": 1588687800000},
]
PRODUCTS = [{"parent_asin": "B01", "title": "Soap", "categories": ["Beauty", "Bath"]}, {"parent_asin": "B09", "title": "Comb"}]


def write(folder, contents):
    folder.mkdir(exist_ok=True)
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return folder


def pack(folder, target, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(target, "w", method) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"top/{file.name}")
    return target


def lines(records):
    return "".join(json.dumps(record) + "\n" for record in records).encode()


@pytest.mark.parametrize("packed", [False, True])
def test_a_grouplens_folder_or_archive(tmp_path, packed):
    source = write(tmp_path / "films", GROUPLENS)
    ratings = load_movielens(pack(source, tmp_path / "films.zip") if packed else source)
    assert ratings.table[["user", "item", "rating"]].to_numpy().tolist() == [[1, 1, 4], [1, 0, 5], [0, 1, 1]]
    assert ratings.items.to_numpy().tolist() == [[1, "Misérables, Les", 1995, []], [3, "Alien", 1979, ["unknown"]]]
    assert ratings.users.to_numpy().tolist() == [[2, 53, "F", "other", "94043"], [7, 24, "M", "technician", "02139"]]
    assert ratings.density == 3 / 4


BAD = {
    "a file is missing": ("u.user", None, "no file u.user in it .found u.data, u.item"),
    "empty file": ("u.data", b"", "u.data: the file is empty"),
    "missing column": ("u.data", b"7\t3\t4\n7\t1\t5\n", "u.data, line 1: column timestamp holds nothing"),
    "cut off in a line": ("u.data", b"7\t3\t4\t880000000\n7\t1", "u.data, line 2: column rating holds nothing"),
    "too many columns": ("u.data", b"7\t3\t4\t880000000\t9\n", "u.data: not the table expected"),
    "rating above": ("u.data", b"7\t3\t4\t1\n7\t1\t6\t1\n", "rating 6 of row 2 is outside 1 to 5, as are 1 in all"),
    "rating below": ("u.data", b"7\t3\t0\t1\n", "rating 0 of row 1 is outside 1 to 5"),
    "not a number": ("u.data", b"7\t3\tfour\t1\n", "u.data, line 1: column rating holds 'four'"),
    "NaN": ("u.data", b"7\t3\t4\t1\n7\t1\tNaN\t1\n", "u.data, line 2: column rating holds 'NaN'"),
    "infinite": ("u.data", b"7\t3\tinf\t1\n", "u.data, line 1: column rating holds 'inf'"),
    "pair twice": ("u.data", b"7\t3\t4\t1\n7\t3\t5\t2\n", "pair is rated twice, first user 7 on item 3, 1 in all"),
    "unknown item": ("u.data", b"7\t2\t4\t1\n", "item 2 is rated but not in the table of items"),
    "unknown user": ("u.data", b"8\t3\t4\t1\n", "user 8 is rated but not in the table of users"),
    "wrong encoding": ("u.data", "7\t3\t4\t1\n".encode("utf-16"), "u.data: not utf-8 text"),
    "item twice": ("u.item", GROUPLENS["u.item"] * 2, "item_id 1 stands in 2 rows"),
    "item without a title": ("u.item", f"1||||address|0{MARKS}\n3|Alien (1979)|||a|1{MARKS}\n".encode(), "item 1 has no title"),
    "item with few marks": ("u.item", b"1|Heat (1995)|||address|0|1\n", "u.item: a genre's mark is neither 0 nor 1"),
    "age of no number": ("u.user", b"2|old|F|other|94043\n", "u.user, line 1: column age holds 'old'"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_with_a_grouplens_folder_is_said(tmp_path, case):
    name, data, words = BAD[case]
    contents = {**GROUPLENS, name: data}
    folder = write(tmp_path / "films", {key: value for key, value in contents.items() if value is not None})
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(DataError, match=words):
        load_movielens(folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["films"]


def test_a_missing_path_and_a_damaged_archive(tmp_path):
    with pytest.raises(DataError, match="nowhere: there is no such file or folder"):
        load_movielens(tmp_path / "nowhere")
    archive = pack(write(tmp_path / "films", GROUPLENS), tmp_path / "films.zip", zipfile.ZIP_STORED)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="films.zip: the archive is damaged or cut off"):
        load_movielens(archive)
    archive.write_bytes(whole.replace(b"880000001", b"880000009"))
    with pytest.raises(DataError, match="u.data: cannot be read .*CRC"):
        load_movielens(archive)


def test_a_heading_without_a_column_is_refused(tmp_path):
    heading = b"user_id:token\titem_id:token\tstars:float\ttimestamp:float\n7\t3\t4\t1\n"
    with pytest.raises(DataError, match="ml-100k.inter: no column rating; found user_id, item_id, stars, timestamp"):
        load_movielens(write(tmp_path / "films", {"ml-100k.inter": heading}))


@pytest.mark.parametrize("packed", [False, True])
def test_one_million(tmp_path, packed):
    source = write(tmp_path / "ml-1m", ONE_M)
    ratings = load_movielens_file(pack(source, tmp_path / "ml-1m.zip") if packed else source)
    assert ratings.table.iloc[:, :4].to_numpy().tolist()[1] == [1, 661, 3, 978302109]
    titles = [[661, "James: and the Peach", 1996, ["Animation", "Children's"]], [1193, "Café, Le", 1975, ["Drama"]]]
    assert ratings.items.to_numpy().tolist() == titles
    assert ratings.users.to_numpy().tolist() == [[1, 1, "F", "K-12 student", "48067"], [2, 56, "M", "self-employed", "07072"]]
    assert (ratings.name, ratings.scale) == ("MovieLens-1M", (1.0, 5.0))


def test_ten_millions_have_half_stars_and_no_users(tmp_path):
    half = {"ratings.dat": b"1::661::0.5::978302109\n", "movies.dat": "661::Café (1996)::Drama\n".encode()}
    ratings = load_movielens_file(write(tmp_path / "ml-10M100K", half))
    assert (ratings.name, ratings.scale, ratings.table.rating[0], ratings.items.title[0]) == (
        "MovieLens-10M",
        (0.5, 5.0),
        0.5,
        "Café",
    )


@pytest.mark.parametrize("given", ["folder", "zip", "file"])
@pytest.mark.parametrize("name", ["ml-25m", "ml-latest-small"])
def test_csv_editions(tmp_path, monkeypatch, name, given):
    monkeypatch.setattr(files, "PIECE", 2)  # three ratings come in two pieces
    source = write(tmp_path / name, CSV)
    path = {"folder": source, "zip": pack(source, tmp_path / f"{name}.zip"), "file": source / "ratings.csv"}[given]
    ratings = load_movielens_file(path)
    assert ratings.name == f"MovieLens ({name})"
    assert ratings.table[["user", "item", "rating"]].to_numpy().tolist() == [[0, 0, 5], [0, 1, 3.5], [1, 0, 0.5]]
    assert ratings.items.title.tolist() == ["American President, The", "Café", "Babylon 5"]
    assert ratings.items.year.isna().tolist() == [False, False, True]
    assert ratings.items.genres.tolist() == [["Comedy", "Drama"], [], ["Sci-Fi"]]
    assert ratings.users.user_id.tolist() == [1, 2] and ratings.users.age.isna().all()


@pytest.mark.parametrize(
    ("contents", "name", "data", "words"),
    [
        (CSV, "ratings.csv", b"userId,movieId,stars\n1,296,5\n", "ratings.csv: no column rating, timestamp"),
        (CSV, "ratings.csv", CSV["ratings.csv"] + b"2,306", "ratings.csv, line 5: column rating holds nothing"),
        (CSV, "ratings.csv", CSV["ratings.csv"] + b"2,306,5.5,1\n", "rating 5.5 of row 4 is outside 0.5 to 5"),
        (CSV, "ratings.csv", CSV["ratings.csv"] + b"1,296,4,1\n", "pair is rated twice, first user 1 on item 296"),
        (CSV, "ratings.csv", b"userId,movieId,rating,timestamp\n", "there are no ratings in it"),
        (CSV, "ratings.csv", b"", "ratings.csv: the file is empty"),
        (CSV, "movies.csv", CSV["movies.csv"].decode().encode("latin-1"), "movies.csv: not utf-8 text"),
        (ONE_M, "movies.dat", b"661::Heat (1995)\n", "movies.dat, line 1: 2 fields where 3 are needed"),
        (ONE_M, "ratings.dat", ONE_M["ratings.dat"] + b"2::66", "ratings.dat, line 4: column rating holds nothing"),
        (ONE_M, "users.dat", b"1::F::young::10::48067\n", "users.dat, line 1: column age holds 'young'"),
    ],
)
def test_what_is_wrong_with_a_larger_set_is_said(tmp_path, monkeypatch, contents, name, data, words):
    monkeypatch.setattr(files, "PIECE", 2)
    with pytest.raises(DataError, match=words):
        load_movielens_file(write(tmp_path / "films", {**contents, name: data}))


def test_a_variant_must_be_known_and_there(tmp_path):
    folder = write(tmp_path / "films", CSV)
    with pytest.raises(ValueError, match="'2m'.*None or one of 1m, 10m, csv"):
        load_movielens_file(folder, variant="2m")
    with pytest.raises(DataError, match="no file ratings.dat in it .found movies.csv, ratings.csv"):
        load_movielens_file(folder, variant="1m")


@pytest.mark.parametrize("name", ["All_Beauty.jsonl", "All_Beauty.jsonl.gz"])
def test_amazon_reviews_keep_the_latest_of_a_pair(tmp_path, name):
    data = lines(REVIEWS)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    (tmp_path / "meta.jsonl").write_bytes(lines(PRODUCTS))
    ratings = load_amazon_reviews(tmp_path / name)
    assert ratings.table.iloc[:, :4].to_numpy().tolist() == [["B", "B02", 2, 1588687729], ["A", "B01", 3, 1588687800]]
    assert (ratings.name, ratings.items.title.tolist()) == ("All_Beauty", ["B01", "B02"])
    named = load_amazon_reviews(tmp_path / name, metadata=tmp_path / "meta.jsonl").items
    assert (named.title.tolist(), named.genres.tolist()) == (["Soap", "B02"], [["Beauty", "Bath"], []])


def test_amazon_reviews_of_2018(tmp_path):
    old = {"reviewerID": "A", "asin": "B01", "overall": 4.0, "unixReviewTime": 1252800000}
    (tmp_path / "Books.json").write_bytes(lines([old]))
    assert load_amazon_reviews(tmp_path / "Books.json").table.iloc[0, :4].tolist() == ["A", "B01", 4.0, 1252800000]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("r.jsonl", b"", "no review in it"),
        ("r.jsonl", lines(REVIEWS)[:-20], "line 3: not a JSON record"),
        ("r.jsonl", lines([*REVIEWS, {"user_id": "A"}]), "line 4: a review needs user_id, asin, rating and timestamp"),
        ("r.jsonl", lines([[1, 2]]), "line 1: a review needs"),
        ("r.jsonl", lines([{**REVIEWS[0], "rating": 9}]), "line 1: rating 9.0 is outside 1 to 5"),
        ("r.jsonl", lines([{**REVIEWS[0], "rating": float("nan")}]), "line 1: rating nan is outside 1 to 5"),
        ("r.jsonl", lines([{**REVIEWS[0], "timestamp": "soon"}]), "line 1: rating and timestamp must be numbers"),
        ("r.jsonl", lines(REVIEWS).decode().encode("utf-16"), "not UTF-8 text"),
        ("r.jsonl.gz", gzip.compress(lines(REVIEWS * 50))[:-30], "cannot be read"),
        ("r.jsonl.gz", lines(REVIEWS), "cannot be read .Not a gzipped file"),
    ],
)
def test_what_is_wrong_with_reviews_is_said(tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=words):
        load_amazon_reviews(tmp_path / name)


def test_reviews_that_are_not_there(tmp_path):
    with pytest.raises(DataError, match="r.jsonl: there is no such file"):
        load_amazon_reviews(tmp_path / "r.jsonl")
    (tmp_path / "r.jsonl").write_bytes(lines(REVIEWS))
    (tmp_path / "m.jsonl").write_bytes(lines([{"title": "Soap"}]))
    with pytest.raises(DataError, match="m.jsonl, line 1: a product needs parent_asin or asin"):
        load_amazon_reviews(tmp_path / "r.jsonl", metadata=tmp_path / "m.jsonl")


def test_tables_built_by_hand_are_checked_too():
    items = pd.DataFrame({"item_id": [1], "title": ["Heat"], "year": [1995], "genres": [["Crime"]]})
    users = pd.DataFrame({"user_id": [1]})
    table = pd.DataFrame({"user_id": [1], "item_id": [1], "rating": [4], "timestamp": [0]})
    assert build_ratings("mine", table, items, users, scale=(1, 5), source="mine.csv").density == 1
    for wrong, words in (
        (table.drop(columns="rating"), "mine.csv: no column rating"),
        (table.iloc[:0], "mine.csv: there are no ratings in it"),
        (table.assign(rating=float("nan")), "mine.csv, data row 1: column rating holds nothing"),
    ):
        with pytest.raises(DataError, match=words):
            build_ratings("mine", wrong, items, users, scale=(1, 5), source="mine.csv")
