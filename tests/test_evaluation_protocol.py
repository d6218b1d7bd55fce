import math
from time import process_time

import numpy as np
import pytest
from small_split import random_split_of, split_of

from course_lib import evaluation
from course_lib.evaluation import cross_validate, evaluate_ranking, evaluate_ratings


class Fixed:
    """A model whose scores are a table (users, items)."""

    def __init__(self, table):
        self.table, self.fitted_on = np.asarray(table, dtype=float), []

    def fit(self, split):
        self.fitted_on.append(split.name)
        return self

    def score(self, users, items=None):
        return self.table[users] if items is None else self.table[users, items]


def random_model(split, seed=0):
    return Fixed(np.random.default_rng(seed).normal(3, 2, (split.n_users, split.n_items)))


def held_out(seed=0, n_users=40, n_items=50):
    """A split with random train rows and one or two unseen test items for most users (user 0 has seen nearly all)."""
    split = random_split_of(n_users=n_users, n_items=n_items, seed=seed, share=0.3)
    rng, seen = np.random.default_rng(seed), split.matrix().toarray() > 0
    test = [
        (u, i, rng.integers(1, 6), 9)
        for u in range(1, n_users - 3)
        for i in rng.permutation(np.flatnonzero(~seen[u]))[: 1 + u % 2]
    ]
    rows = split.train[["user", "item", "rating", "timestamp"]].itertuples(index=False)
    return split_of(rows, n_users=n_users, n_items=n_items, test=test)


def test_rating_report_by_hand():
    split = split_of([(0, 0, 3, 0)], n_users=2, n_items=3, test=[(0, 1, 4, 1), (0, 2, 5, 2), (1, 0, 1, 1)])
    report = evaluate_ratings(Fixed([[0, 3, 9], [-2, 0, 0]]), split)
    np.testing.assert_allclose(report.errors, [-1, 0, 0])  # 9 is clipped to 5 and −2 to 1
    assert report.rmse == pytest.approx(math.sqrt(1 / 3)) and report.mae == pytest.approx(1 / 3)
    assert report.by_user.to_dict("list") == {"user": [0, 1], "ratings": [2, 1], "mse": [0.5, 0.0], "mae": [0.5, 0.0]}
    unclipped = evaluate_ratings(Fixed([[0, 3, 9], [-2, 0, 0]]), split, clip=None)
    np.testing.assert_allclose(unclipped.errors, [-1, 4, -3])


def test_rating_report_agrees_with_the_metrics_and_its_interval_holds_the_mean():
    split = held_out()
    report = evaluate_ratings(random_model(split), split, clip=None)
    y = split.test["rating"]
    y_hat = random_model(split).score(split.test["user"], split.test["item"])
    assert report.rmse == pytest.approx(evaluation.rmse(y, y_hat)) and report.mae == pytest.approx(evaluation.mae(y, y_hat))
    assert report.interval.mean == pytest.approx(report.rmse)
    assert report.interval.low < report.rmse < report.interval.high


def test_ranking_report_by_hand():
    train = [(0, 0, 5, 0), (1, 1, 5, 0), (2, 0, 5, 0)]
    split = split_of(train, n_users=3, n_items=5, test=[(0, 3, 5, 1), (1, 0, 4, 1), (1, 2, 2, 2)])
    model = Fixed([[9, 3, 2, 1, 0], [2, 9, 1, 5, 4], [0, 0, 0, 0, 0]])
    report = evaluate_ranking(model, split, k=2)
    np.testing.assert_array_equal(report.recommended, [[1, 2], [3, 4]])  # items of train are skipped
    assert list(report.per_user["user"]) == [0, 1]  # user 2 has nothing to find
    np.testing.assert_allclose(report.per_user["hit_rate"], [0, 0])
    np.testing.assert_allclose(report.per_user["reciprocal_rank"], [1 / 3, 1 / 3])  # beyond k: the whole ranking counts
    top3 = evaluate_ranking(model, split, k=3).per_user
    np.testing.assert_allclose(top3["ndcg"], [0.5, 0.5 / (1 + 1 / math.log2(3))])
    np.testing.assert_allclose(top3["average_precision"], [1 / 3, 1 / 3 / 2])
    assert report.coverage == 4 / 5
    np.testing.assert_allclose(report.popularity, [3 / 4, 2 / 4, 1 / 4, 1 / 4, 1 / 4])
    assert report.novelty == pytest.approx((1 + 2 + 2 + 2) / 4)


def test_ranking_against_loops():
    split = held_out()
    model, seen = random_model(split), split.matrix().toarray() > 0
    report = evaluate_ranking(model, split, k=5)
    assert len(report.per_user) == split.test["user"].nunique() == 36
    for row, lists in zip(report.per_user.itertuples(), report.recommended, strict=True):
        order = [i for i in np.argsort(-model.table[row.user]) if not seen[row.user, i]]
        relevant = set(split.test.loc[split.test["user"] == row.user, "item"])
        assert list(lists) == order[:5]
        assert row.reciprocal_rank == pytest.approx(1 / (1 + min(order.index(i) for i in relevant)))
        assert row.hit_rate == bool(relevant & set(order[:5]))


@pytest.mark.parametrize("negatives", [None, 5])
def test_seen_items_are_never_recommended(negatives):
    split = held_out()
    model = Fixed(split.matrix().toarray() * 100)  # loves what was seen
    report = evaluate_ranking(model, split, k=50, negatives=negatives)
    seen = split.matrix().toarray() > 0
    for user, row in zip(report.per_user["user"], report.recommended, strict=True):
        assert not seen[user, row[row >= 0]].any()
        assert len(set(row[row >= 0])) == (row >= 0).sum() > 0


def test_sampled_negatives_are_new_random_and_as_many_as_asked():
    split = held_out()
    model = random_model(split)
    report = evaluate_ranking(model, split, k=50, negatives=6, seed=1)
    relevant = split.matrix("test", values="binary").toarray() > 0
    negatives = []
    for user, row in zip(report.per_user["user"], report.recommended, strict=True):
        row = row[row >= 0]
        assert set(np.flatnonzero(relevant[user])) <= set(row)
        assert (~relevant[user, row]).sum() == 6
        negatives.append(tuple(sorted(row[~relevant[user, row]])))
    assert len(set(negatives)) > 30  # each user has others
    assert len(np.unique(np.concatenate(negatives))) > 45  # of the whole catalogue
    again, other = (evaluate_ranking(model, split, k=50, negatives=6, seed=s).recommended for s in (1, 2))
    np.testing.assert_array_equal(report.recommended, again)
    assert (report.recommended != other).any()


def test_sampling_flatters_and_all_negatives_are_the_full_ranking():
    split = held_out()
    model = random_model(split)
    full, sampled = evaluate_ranking(model, split), evaluate_ranking(model, split, negatives=9)
    for column in ("ndcg", "reciprocal_rank", "hit_rate"):
        assert sampled.per_user[column].mean() > full.per_user[column].mean()
    everything = evaluate_ranking(model, split, negatives=1000)
    assert everything.per_user.equals(full.per_user)


def test_the_size_of_a_batch_changes_nothing(monkeypatch):
    split = held_out()
    whole = [evaluate_ranking(random_model(split), split, negatives=n) for n in (None, 9)]
    monkeypatch.setattr(evaluation.protocol, "BATCH", 7)
    parts = [evaluate_ranking(random_model(split), split, negatives=n) for n in (None, 9)]
    for one, other in zip(whole, parts, strict=True):
        assert one.per_user.equals(other.per_user)
        np.testing.assert_array_equal(one.recommended, other.recommended)


def test_ranking_among_some_items_only():
    split = held_out()
    items = [1, 4, 7, 20, 33]
    report = evaluate_ranking(random_model(split), split, k=3, items=items)
    assert set(np.unique(report.recommended)) <= {-1, *items}
    assert set(report.per_user["user"]) == set(split.test.loc[split.test["item"].isin(items), "user"])
    for bad in ([], [50], [-1]):
        with pytest.raises(ValueError, match="items must hold at least one item index"):
            evaluate_ranking(random_model(split), split, items=bad)


def test_only_liked_rows_are_relevant_with_min_rating():
    split = held_out()
    liked = split.test[split.test["rating"] >= 4]
    report = evaluate_ranking(random_model(split), split, min_rating=4)
    assert set(report.per_user["user"]) == set(liked["user"]) < set(split.test["user"])
    with pytest.raises(ValueError, match="no user of split"):
        evaluate_ranking(random_model(split), split, min_rating=6)


def test_an_item_that_train_holds_as_well_cannot_be_found_and_does_not_count():
    split = split_of([(0, 0, 5, 0)], n_users=1, n_items=3, test=[(0, 0, 5, 1), (0, 1, 5, 2)])
    report = evaluate_ranking(Fixed([[9, 5, 1]]), split, k=1)
    assert report.per_user["ndcg"].item() == report.per_user["average_precision"].item() == 1


def test_summary_has_a_mean_and_an_interval_for_each_metric():
    split = held_out()
    report = evaluate_ranking(random_model(split), split, k=5)
    table = report.summary()
    assert list(table.index) == ["HR@5", "NDCG@5", "MRR", "MAP@5"] and list(table.columns) == ["mean", "low", "high"]
    assert table.loc["NDCG@5", "mean"] == pytest.approx(report.per_user["ndcg"].mean())
    assert table.loc["MRR", "mean"] == pytest.approx(report.per_user["reciprocal_rank"].mean())
    assert ((table["low"] <= table["mean"]) & (table["mean"] <= table["high"])).all()


def test_bad_scores_are_refused():
    split = held_out()
    with pytest.raises(ValueError, match="scores of Fixed holds NaN"):
        evaluate_ranking(Fixed(np.full((40, 50), np.nan)), split)
    with pytest.raises(ValueError, match="predictions of Fixed holds NaN"):
        evaluate_ratings(Fixed(np.full((40, 50), np.nan)), split)
    with pytest.raises(ValueError, match=r"gave shape \(36, 49\), expected \(36, 50\)"):
        evaluate_ranking(Fixed(np.zeros((40, 49))), split)
    with pytest.raises(ValueError, match="number of items"):
        evaluate_ranking(random_model(split), split, k=51)
    with pytest.raises(ValueError, match="negatives must be at least 1"):
        evaluate_ranking(random_model(split), split, negatives=0)
    for evaluate in (evaluate_ranking, evaluate_ratings):
        with pytest.raises(ValueError, match="valid part of split 'small' is empty"):
            evaluate(random_model(split), split, part="valid")


def test_cross_validate_fits_a_fresh_model_on_each_fold():
    folds, made = [held_out(seed) for seed in (0, 1, 2)], []

    def make():
        made.append(random_model(folds[0]))
        return made[-1]

    table = cross_validate(make, folds)
    assert list(table.columns) == ["fold", "rmse", "mae", "seconds"] and len(table) == 3
    assert [model.fitted_on for model in made] == [["small"]] * 3
    for value, split in zip(table["rmse"], folds, strict=True):
        assert value == pytest.approx(evaluate_ratings(random_model(folds[0]), split).rmse)
    with pytest.raises(ValueError, match="no folds"):
        cross_validate(make, [])


@pytest.mark.parametrize("negatives", [None, 99])
def test_a_hundred_thousand_ratings_take_well_under_a_second(negatives):
    rng = np.random.default_rng(0)
    flat = rng.choice(943 * 1682, 50_943, replace=False)
    rows = [(f // 1682, f % 1682, 5, 0) for f in flat]
    split = split_of(rows[943:], n_users=943, n_items=1682, test=rows[:943])
    model = random_model(split)
    start = process_time()
    evaluate_ranking(model, split, negatives=negatives)
    assert process_time() - start < 1.5
