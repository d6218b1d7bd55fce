import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib import splitting
from course_lib.datasets import Ratings
from course_lib.splitting import Split


def ratings_of(rows, *, n_users=None, n_items=None) -> Ratings:
    """rows: (user, item, rating, timestamp) each."""
    table = pd.DataFrame(list(rows), columns=["user", "item", "rating", "timestamp"])
    table = table.astype({"user": int, "item": int, "rating": float, "timestamp": "int64"})
    n_users = n_users or int(table["user"].max()) + 1
    n_items = n_items or int(table["item"].max()) + 1
    table = table.assign(user_id=table["user"] + 1, item_id=table["item"] + 1)
    ids = np.arange(n_items) + 1
    items = pd.DataFrame({"item_id": ids, "title": [f"Film {i}" for i in ids], "year": 2000, "genres": [["Drama"]] * n_items})
    users = pd.DataFrame({"user_id": np.arange(n_users) + 1})
    return Ratings(name="small", table=table, items=items, users=users, scale=(1.0, 5.0))


def random_ratings(n=200, *, seed=0, moments=10, n_users=12, n_items=30) -> Ratings:
    rng = np.random.default_rng(seed)
    flat = rng.choice(n_users * n_items, n, replace=False)
    columns = flat // n_items, flat % n_items, rng.integers(1, 6, n), rng.integers(0, moments, n)
    return ratings_of(zip(*columns, strict=True), n_users=n_users, n_items=n_items)


SPLITS = {
    "random": lambda r, seed: splitting.random_split(r, test=0.2, valid=0.1, seed=seed),
    "fold": lambda r, seed: splitting.k_fold(r, folds=4, seed=seed)[1],
    "last": lambda r, seed: splitting.leave_last_out(r, valid=True, seed=seed),
    "time": lambda r, seed: splitting.temporal_split(r),
    "cold": lambda r, seed: splitting.cold_item_split(r, share=0.2, seed=seed),
}


@pytest.mark.parametrize("kind", SPLITS)
@pytest.mark.parametrize("seed", [0, 1])
def test_parts_are_disjoint_complete_and_keep_the_row_order(kind, seed):
    ratings = random_ratings(seed=seed)
    split = SPLITS[kind](ratings, seed)
    rows = pd.concat([split.train, split.test, split.valid]).sort_index()
    pd.testing.assert_frame_equal(rows, ratings.table)
    assert all(part.index.is_monotonic_increasing for part in (split.train, split.test, split.valid))
    assert (split.n_users, split.n_items) == (ratings.n_users, ratings.n_items)


@pytest.mark.parametrize("kind", sorted(set(SPLITS) - {"time"}))
def test_a_seed_gives_one_split_and_another_seed_another(kind):
    ratings = random_ratings()
    first, again, other = (SPLITS[kind](ratings, seed) for seed in (3, 3, 4))
    assert first.test.index.equals(again.test.index)
    assert not first.test.index.equals(other.test.index)


def test_a_split_leaves_the_global_generator_and_the_table_alone():
    ratings = random_ratings()
    before = ratings.table.copy()
    np.random.seed(5)
    expected = np.random.random()
    np.random.seed(5)
    for make in SPLITS.values():
        make(ratings, 0)
    assert np.random.random() == expected
    pd.testing.assert_frame_equal(ratings.table, before)


def test_random_split_sizes():
    split = splitting.random_split(random_ratings(200), test=0.25, valid=0.1, seed=0)
    assert (len(split.train), len(split.test), len(split.valid)) == (130, 50, 20)


@pytest.mark.parametrize("shares", [{"test": 0}, {"test": 1.0}, {"test": 0.5, "valid": 0.5}, {"test": 0.2, "valid": -0.1}])
def test_random_split_refuses_impossible_shares(shares):
    with pytest.raises(ValueError, match="shares of the rows"):
        splitting.random_split(random_ratings(), seed=0, **shares)


def test_k_fold_tests_every_row_once_in_parts_of_equal_size():
    ratings = random_ratings(203)
    folds = splitting.k_fold(ratings, folds=5, seed=1)
    tested = np.concatenate([fold.test.index for fold in folds])
    assert sorted(tested) == list(range(203))
    assert {len(fold.test) for fold in folds} == {40, 41}


@pytest.mark.parametrize("folds", [1, 201])
def test_k_fold_refuses_a_number_of_folds_that_leaves_an_empty_part(folds):
    with pytest.raises(ValueError, match="folds must lie between"):
        splitting.k_fold(random_ratings(200), folds=folds, seed=0)


def test_canonical_fold_takes_the_kth_fifth_of_the_rows():
    n = np.arange(100_000)
    ratings = ratings_of(zip(n % 943, n % 1682, n % 5 + 1, n, strict=True))
    for fold in (1, 5):
        test = splitting.canonical_fold(ratings, fold).test.index
        assert (test[0], test[-1], len(test)) == ((fold - 1) * 20_000, fold * 20_000 - 1, 20_000)
    with pytest.raises(ValueError, match="folds are 1 to 5"):
        splitting.canonical_fold(ratings, 0)


def test_canonical_fold_refuses_another_data_set():
    with pytest.raises(ValueError, match="use k_fold"):
        splitting.canonical_fold(random_ratings(), 1)


def test_leave_last_out_by_hand():
    rows = [(0, 0, 5, 30), (0, 1, 4, 10), (0, 2, 2, 40), (0, 3, 4, 20), (1, 0, 5, 7), (2, 1, 1, 1), (2, 2, 3, 2)]
    plain = splitting.leave_last_out(ratings_of(rows), seed=0)
    assert list(plain.test.index) == [2, 6]  # user 1 has one row only: it stays in train
    assert list(plain.train.index) == [0, 1, 3, 4, 5]
    liked = splitting.leave_last_out(ratings_of(rows), min_rating=4, seed=0)
    assert list(liked.test.index) == [0]
    assert list(liked.train.index) == [1, 3, 4]
    both = splitting.leave_last_out(ratings_of(rows), valid=True, seed=0)
    assert (list(both.test.index), list(both.valid.index)) == ([2], [0])
    assert list(splitting.leave_last_out(ratings_of(rows), min_history=3, seed=0).test.index) == [2]
    assert list(splitting.leave_last_out(ratings_of(rows), min_history=0, seed=0).test.index) == [2, 4, 6]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.sampled_from([None, 3, 4]), st.booleans())
def test_leave_last_out_keeps_its_promises(seed, min_history, min_rating, valid):
    split = splitting.leave_last_out(
        random_ratings(150, seed=seed), min_rating=min_rating, min_history=min_history, valid=valid, seed=seed
    )
    train, test = split.train.groupby("user"), split.test.set_index("user")
    assert test.index.is_unique
    assert (train.size()[test.index] >= min_history).all()
    assert (train["timestamp"].max()[test.index] <= test["timestamp"]).all()
    middle = split.valid.set_index("user")["timestamp"]
    assert set(middle.index) == (set(test.index) if valid else set())
    assert (train["timestamp"].max()[middle.index] <= middle).all() and (middle <= test["timestamp"][middle.index]).all()
    if min_rating:
        assert min(split.train["rating"].min(), split.test["rating"].min()) >= min_rating


def test_ties_in_time_fall_to_each_item_equally_often_and_not_by_item_or_row():
    n_users, n_items = 300, 4
    rows = [(u, i, 5, 0) for u in range(n_users) for i in range(n_items)]
    for order in (rows, rows[::-1]):
        last = splitting.leave_last_out(ratings_of(order), seed=2).test["item"].value_counts()
        assert set(last.index) == {0, 1, 2, 3}
        assert last.between(45, 105).all()  # 75 expected, standard deviation 7.5


def test_temporal_split_by_hand_and_rows_of_one_second_stay_together():
    times = [5, 1, 2, 3, 4, 5, 6, 5, 8, 9]
    ratings = ratings_of([(0, i, 3, t) for i, t in enumerate(times)])
    split = splitting.temporal_split(ratings, train=0.5, valid=0.3)
    assert sorted(split.train["timestamp"]) == [1, 2, 3, 4]
    assert sorted(split.valid["timestamp"]) == [5, 5, 5, 6]
    assert sorted(split.test["timestamp"]) == [8, 9]


def test_temporal_split_of_a_single_moment_is_refused():
    with pytest.raises(ValueError, match="no row is left for train"):
        splitting.temporal_split(ratings_of([(0, i, 3, 7) for i in range(10)]))


@pytest.mark.parametrize("shares", [{"train": 0.8, "valid": 0.2}, {"train": 0}, {"train": 0.5, "valid": -0.1}])
def test_temporal_split_refuses_impossible_shares(shares):
    with pytest.raises(ValueError, match="shares of the rows"):
        splitting.temporal_split(random_ratings(), **shares)


def test_cold_items_have_all_their_ratings_in_test():
    ratings = random_ratings(200)
    split = splitting.cold_item_split(ratings, share=0.2, min_ratings=5, seed=0)
    counts = ratings.table["item"].value_counts()
    cold = set(split.test["item"])
    assert cold.isdisjoint(split.train["item"])
    assert len(cold) == round(0.2 * (counts >= 5).sum())
    assert (counts[list(cold)] >= 5).all()


@pytest.mark.parametrize("share", [0, 1, 1.5])
def test_cold_items_need_a_share(share):
    with pytest.raises(ValueError, match="share="):
        splitting.cold_item_split(random_ratings(), share=share, seed=0)


def test_matrix_by_hand():
    train = ratings_of([(0, 1, 3, 0), (1, 0, 5, 1), (0, 1, 4, 2)], n_users=3, n_items=2).table
    split = Split(name="hand", train=train, test=train[:0], valid=train[:0], n_users=3, n_items=2)
    np.testing.assert_array_equal(split.matrix().toarray(), [[0, 4], [5, 0], [0, 0]])  # rated twice: the last row counts
    np.testing.assert_array_equal(split.matrix(values="binary").toarray(), [[0, 1], [1, 0], [0, 0]])
    assert split.matrix("test").shape == (3, 2) and split.matrix("test").nnz == 0


def test_a_matrix_may_be_changed_without_changing_the_split():
    split = splitting.random_split(random_ratings(), seed=0)
    first = split.matrix()
    first.data[:] = -1
    assert split.matrix().data.min() >= 1


def test_matrix_refuses_unknown_parts_and_values():
    split = splitting.random_split(random_ratings(), seed=0)
    with pytest.raises(ValueError, match='"train", "test" and "valid"'):
        split.matrix("dev")
    with pytest.raises(ValueError, match='"rating" or "binary"'):
        split.matrix(values="stars")


def test_split_by_mask_refuses_overlap_wrong_length_and_empty_parts():
    ratings = random_ratings(10)
    mask = np.arange(10) < 3
    with pytest.raises(ValueError, match="two parts"):
        splitting.split_by_mask(ratings, mask, valid=mask)
    with pytest.raises(ValueError, match="one boolean for each of the 10 rows"):
        splitting.split_by_mask(ratings, mask[:5])
    with pytest.raises(ValueError, match="one boolean for each of the 10 rows"):
        splitting.split_by_mask(ratings, [0, 1] * 5)
    with pytest.raises(ValueError, match="no row is left for test"):
        splitting.split_by_mask(ratings, mask & False)


def test_repr_says_what_is_in_it():
    split = splitting.random_split(random_ratings(200), seed=0)
    assert "train 160, test 40, valid 0" in repr(split)
