import numpy as np
import pytest
from sklearn.linear_model import Ridge
from small_split import random_split_of, small_items

from course_lib.datasets import load_movielens
from course_lib.models import BiasBaseline, ContentBased, ModelError
from course_lib.models.content import describe
from course_lib.splitting import cold_item_split


def test_describe_weighs_shared_words_and_centres():
    raw = describe(small_items(), centred=False)
    title, rest = raw[:, :4], raw[:, 4:]  # the words of at least two titles: blue, moon, red, sky
    assert rest.shape == (9, 6) and set(np.unique(rest)) == {0.0, 1.0}
    np.testing.assert_allclose(np.linalg.norm(title, axis=1), [1, 1, 1, 1, 0, 1, 1, 0, 1])  # "Alone", "Stand by Me" stand alone
    counts = {"blue": 3, "moon": 3, "red": 3, "sky": 3}
    idf = {word: np.log(10 / (1 + n)) + 1 for word, n in counts.items()}
    blue_sky = np.array([idf["blue"], 0, 0, idf["sky"]]) / np.hypot(idf["blue"], idf["sky"])
    np.testing.assert_allclose(title[0], blue_sky)
    np.testing.assert_allclose(describe(small_items()), raw - raw.mean(axis=0), atol=1e-12)


def test_titles_without_shared_words_add_nothing():
    lonely = small_items(2).assign(title=["One of a Kind", "42"])
    assert describe(lonely, parts=("title",)).shape == (2, 0)
    assert describe(lonely).shape == (2, 3)


def test_implicit_score_is_the_weighted_sum_of_similarities():
    split = random_split_of()
    got = ContentBased(small_items(), neutral=2.5).fit(split).score(np.arange(7))
    vectors = describe(small_items())
    for user in range(7):
        rows = split.train[split.train["user"] == user]
        for item in range(9):
            expected = sum((r.rating - 2.5) * (vectors[r.item] @ vectors[item]) for r in rows.itertuples())
            assert got[user, item] == pytest.approx(expected, abs=1e-10)
    assert np.abs(got[:-1, 8]).min() > 0  # nobody has rated item 8


def test_explicit_prediction_is_ridge_on_the_residuals():
    split = random_split_of()
    model = ContentBased(small_items(), feedback="explicit", reg=0.7).fit(split)
    baseline, vectors = BiasBaseline().fit(split), describe(small_items())
    for user in range(6):
        items = split.train.loc[split.train["user"] == user, "item"].to_numpy()
        left = split.train.loc[split.train["user"] == user, "rating"] - baseline.score([user] * len(items), items)
        ridge = Ridge(alpha=0.7, fit_intercept=False, tol=1e-12).fit(vectors[items], left)
        np.testing.assert_allclose(model.score(user)[0], baseline.score(user)[0] + ridge.predict(vectors), atol=1e-8)
    np.testing.assert_allclose(model.score(6), baseline.score(6))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"feedback": "stars"}, "feedback must be"),
        ({"parts": ()}, "parts must be one or more of title, genres, decade"),
        ({"parts": ("plot",)}, "parts must be"),
        ({"reg": 0}, "reg must be positive"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ContentBased(small_items(), **options)


def test_the_item_table_must_fit_and_a_loaded_model_has_none(tmp_path):
    with pytest.raises(ValueError, match="8 rows, the split 9 items"):
        ContentBased(small_items(8)).fit(random_split_of())
    loaded = ContentBased.load(ContentBased(small_items()).fit(random_split_of()).save(tmp_path / "m"))
    with pytest.raises(ModelError, match="holds no item table"):
        loaded.fit(random_split_of())
    with pytest.raises(ModelError, match="not fitted"):
        loaded.score([0])


def cold_ndcg(scores, split):
    """NDCG@10 over the held-out items, ranked among themselves; relevant: rated 4 or 5.  scores (n_users, n_items)."""
    cold = np.unique(split.test["item"])
    liked = split.test[split.test["rating"] >= 4]
    discount, values = 1 / np.log2(np.arange(2, 12)), []
    for user, rows in liked.groupby("user"):
        best = cold[np.argsort(-scores[user, cold], kind="stable")[:10]]
        values.append((np.isin(best, rows["item"]) @ discount) / discount[: len(rows)].sum())
    return np.mean(values)


def test_cold_items_on_movielens():
    ratings = load_movielens()
    splits = [cold_item_split(ratings, share=0.1, seed=seed) for seed in range(4)]
    users, rng = np.arange(ratings.n_users), np.random.default_rng(0)

    def mean(**options):
        return np.mean([cold_ndcg(ContentBased(ratings, **options).fit(split).score(users), split) for split in splits])

    chance = np.mean([cold_ndcg(rng.random((ratings.n_users, ratings.n_items)), split) for split in splits])
    metadata, everything = mean(parts=("genres", "decade")), mean()
    uncentred = mean(parts=("genres", "decade"), centred=False)
    assert 0.03 < chance < 0.08
    assert 0.16 < metadata < 0.26
    assert metadata - 0.005 < everything < 0.27
    assert uncentred < metadata - 0.05


def test_ridge_beats_the_baseline_on_cold_items_of_movielens():
    ratings = load_movielens()
    split = cold_item_split(ratings, share=0.1, seed=0)
    errors = []
    for model in (BiasBaseline(), ContentBased(ratings, feedback="explicit")):
        predicted = model.fit(split).score(split.test["user"], split.test["item"])
        errors.append(np.sqrt(np.mean((np.clip(predicted, 1, 5) - split.test["rating"]) ** 2)))
    assert 0.98 < errors[1] < errors[0] - 0.005 < 1.09
