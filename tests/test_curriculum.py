"""Difficulty, pacing, samplers and fair comparisons, against what one can work out by hand."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_split import random_split_of, split_of

from course_lib.curriculum import (
    PacedSampler,
    SelfPacedSampler,
    ShuffledSampler,
    StepCounter,
    compare,
    competence,
    differences,
    linear,
    rarity,
    rating_noise,
    seen,
    self_paced,
    step,
    teacher_residual,
    text_length,
)
from course_lib.models import BiasBaseline, MatrixFactorization
from course_lib.training import Training, TrainingError, fit

ROWS = [(0, 0, 5, 0), (1, 0, 1, 0), (2, 0, 3, 0), (0, 1, 4, 0), (1, 2, 2, 0), (2, 2, 4, 0)]
SPLIT = split_of(ROWS, n_users=3, n_items=4)


def rng(seed=0):
    return np.random.default_rng(seed)


# difficulty


def test_residual_of_a_teacher_by_hand():
    class Teacher:
        def score(self, users, items):
            return users + 2.0 * items

    np.testing.assert_array_equal(teacher_residual(SPLIT, Teacher()), [5, 0, 1, 2, 3, 2])
    real = teacher_residual(SPLIT, BiasBaseline().fit(SPLIT))
    assert real.shape == (6,) and (real >= 0).all() and real.std() > 0


def test_rarity_by_hand():
    np.testing.assert_allclose(rarity(SPLIT), -np.log(np.array([3, 3, 3, 1, 2, 2]) / 6))
    np.testing.assert_allclose(rarity(SPLIT, by="user"), [math.log(3)] * 6)


def test_rating_noise_by_hand():
    """Item 0: 5, 1, 3 → 8; item 1: 4 → 0; item 2: 2, 4 → 2; s² = 10 / 6."""
    expected = [math.sqrt((8 + 2 * 10 / 6) / 5)] * 3 + [math.sqrt((0 + 2 * 10 / 6) / 3)] + [math.sqrt((2 + 2 * 10 / 6) / 4)] * 2
    np.testing.assert_allclose(rating_noise(SPLIT, reg=2.0), expected)
    np.testing.assert_allclose(rating_noise(SPLIT, reg=1e-9)[0], math.sqrt(8 / 3), rtol=1e-6)
    by_user = rating_noise(SPLIT, by="user", reg=1e-9)
    np.testing.assert_allclose(by_user, [0.5, 0.5, 0.5, 0.5, 0.5, 0.5], rtol=1e-6)


def test_text_length_counts_words():
    np.testing.assert_array_equal(text_length(["Toy Story (1995). Drama", "", "Alien³"]), [4, 0, 1])
    with pytest.raises(ValueError, match="put it into a list"):
        text_length("Toy Story")


@pytest.mark.parametrize(
    "call",
    [
        lambda: rarity(SPLIT, by="film"),
        lambda: rating_noise(SPLIT, by="film"),
        lambda: rating_noise(SPLIT, reg=0),
        lambda: rarity(split_of([], n_users=1, n_items=1)),
    ],
)
def test_difficulty_refuses(call):
    with pytest.raises(ValueError, match='"item" or "user"|must be positive|no rows'):
        call()


# pacing


def test_pacing_by_hand():
    c = linear(0.2, full=0.5)
    np.testing.assert_allclose([c(0), c(0.25), c(0.5), c(1)], [0.2, 0.6, 1, 1])
    c = competence(0.2, root=2, full=0.5)
    np.testing.assert_allclose([c(0), c(0.25), c(0.5), c(0.9)], [0.2, math.sqrt(0.04 + 0.96 / 2), 1, 1])
    np.testing.assert_allclose(competence(0.1, root=3, full=1.0)(0.5), ((1 + 0.001) / 2) ** (1 / 3))
    c = step(0.25, steps=3, full=0.6)
    np.testing.assert_allclose([c(0), c(0.19), c(0.2), c(0.41), c(0.6), c(1)], [0.25, 0.25, 0.5, 0.75, 1, 1])


@given(st.floats(0.01, 1), st.floats(0.05, 1), st.floats(0.5, 4), st.integers(1, 6))
def test_every_pacing_rises_from_start_to_all(start, full, root, steps):
    for c in (linear(start, full=full), competence(start, root=root, full=full), step(start, steps=steps, full=full)):
        shares = [c(t) for t in np.linspace(0, 1, 50)]
        assert shares[0] == pytest.approx(start) and shares[-1] == c(full) == pytest.approx(1)
        assert all(0 < a <= b + 1e-12 <= 1 + 1e-9 for a, b in zip(shares, shares[1:], strict=False))


@pytest.mark.parametrize(
    "make",
    [
        lambda: linear(0),
        lambda: linear(1.1),
        lambda: competence(0.2, full=0),
        lambda: step(0.2, full=2),
        lambda: competence(0.2, root=0),
        lambda: step(0.2, steps=0),
    ],
)
def test_pacing_refuses(make):
    with pytest.raises(ValueError, match="start is the share|full is the part|root must be|steps counts"):
        make()


# samplers


def test_only_the_allowed_rows_evenly():
    """20 rows, a fifth at first, all from half-way on: epoch 1 of 4 knows rows 0 … 3, and each five times."""
    sampler = PacedSampler(np.arange(20), step(0.2, steps=1, full=0.5), parts=4)
    first, last = sampler(1, 4, rng()), sampler(3, 4, rng())
    np.testing.assert_array_equal(np.bincount(first), [5, 5, 5, 5])
    assert sorted(last) == list(range(20)) and list(last) != list(range(20))
    assert set(PacedSampler(-np.arange(20.0), step(0.2, steps=1))(1, 4, rng())) == {16, 17, 18, 19}


def test_the_share_grows_within_an_epoch():
    sampler = PacedSampler(np.arange(100)[::-1], linear(0.1, full=1.0), parts=10)
    rows = sampler(1, 1, rng())
    for part in range(10):
        allowed = math.ceil(100 * (0.1 + 0.9 * part / 10))
        assert rows[10 * part : 10 * part + 10].min() >= 100 - allowed, "row 99 is the easiest"
    assert rows[90:].min() < 50, "and the hard ones come in the end"


@given(st.integers(1, 40), st.integers(1, 12), st.floats(0.01, 1), st.integers(1, 5))
def test_any_sampler_gives_as_many_rows_as_there_are(n, parts, start, epochs):
    sampler = PacedSampler(rng(n).random(n), linear(start), parts=parts)
    for epoch in range(1, epochs + 1):
        rows = sampler(epoch, epochs, rng(epoch))
        assert rows.shape == (n,) and rows.min() >= 0 and rows.max() < n
        allowed = sampler.order[: sampler.size((epoch - 1) / epochs)]
        assert set(rows[: max(1, n // parts)]) <= set(allowed) and set(rows) <= set(
            sampler.order[: sampler.size(epoch / epochs)]
        )


def test_the_generator_decides():
    sampler = PacedSampler(np.arange(30), linear())
    np.testing.assert_array_equal(sampler(2, 5, rng(3)), sampler(2, 5, rng(3)))
    assert (sampler(2, 5, rng(3)) != sampler(2, 5, rng(4))).any()


def test_self_paced_choice_minimises_its_objective():
    losses, threshold = np.array([0.1, 0.5, 0.2, 0.9, 0.5]), 0.5
    np.testing.assert_array_equal(self_paced(losses, threshold), [True, False, True, False, False])
    value = lambda v: (v * losses).sum() - threshold * v.sum()  # noqa: E731
    best = min(value(np.array([int(b) for b in f"{k:05b}"])) for k in range(32))
    assert value(self_paced(losses, threshold)) == pytest.approx(best)


def test_self_paced_sampler_asks_the_model_anew():
    losses = np.array([4.0, 3, 2, 1])
    sampler = SelfPacedSampler(lambda: losses, step(0.5, steps=1, full=1.0))
    np.testing.assert_array_equal(np.bincount(sampler(1, 2, rng())), [0, 0, 2, 2])
    losses = losses[::-1]
    np.testing.assert_array_equal(np.bincount(sampler(2, 2, rng()), minlength=4), [2, 2, 0, 0])
    assert set(SelfPacedSampler(lambda: np.ones(4), linear(0.5))(1, 2, rng())) == {0, 1, 2, 3}, "ties are all chosen"
    with pytest.raises(ValueError, match="one finite number per row"):
        SelfPacedSampler(lambda: [1, np.nan], linear())(1, 2, rng())


def test_a_shuffled_run_uses_the_same_rows_as_often_at_another_time():
    paced = PacedSampler(np.arange(60), competence(0.1, full=0.9))
    plain = np.stack([paced(e, 6, np.random.default_rng([4, e])) for e in range(1, 7)])
    shuffled = ShuffledSampler(paced, seed=4)
    mixed = np.stack([shuffled(e, 6, rng(99)) for e in range(1, 7)])
    assert mixed.shape == (6, 60)
    np.testing.assert_array_equal(np.bincount(mixed.ravel()), np.bincount(plain.ravel()))
    assert plain[0].max() < mixed[0].max() and plain[0].mean() < 15 < mixed[0].mean(), "the hard rows come from the start"
    np.testing.assert_array_equal(ShuffledSampler(paced, seed=4)(5, 6, rng()), mixed[4])
    keys = {
        s.key for s in (shuffled, ShuffledSampler(paced, seed=5), ShuffledSampler(PacedSampler(np.arange(9), linear())), paced)
    }
    assert len(keys) == 4


def test_what_a_sampler_shows():
    table = seen(PacedSampler(np.arange(10), step(0.5, steps=1, full=0.5), parts=2), epochs=2)
    assert table["progress"].tolist() == [0, 0.25, 0.5, 0.75] and table["allowed"].tolist() == [0.5, 0.5, 1, 1]
    assert table["used"].tolist() == [0.5, 1, 1.5, 2] and table["met"].iloc[:2].tolist() == [0.5, 0.5]
    assert table["met"].iloc[3] == 1 > table["met"].iloc[2]


@pytest.mark.parametrize(
    "make",
    [
        lambda: PacedSampler([], linear()),
        lambda: PacedSampler([1, np.nan], linear()),
        lambda: PacedSampler([[1]], linear()),
        lambda: PacedSampler([1], linear(), parts=0),
        lambda: PacedSampler([1], lambda t: 0.0)(1, 1, rng()),
        lambda: PacedSampler([1], lambda t: 1.5)(1, 1, rng()),
    ],
)
def test_sampler_refuses(make):
    with pytest.raises(ValueError, match="one finite number per row|parts counts|the pacing gives"):
        make()


# samplers in training

X = torch.arange(24.0)[:, None] / 10


def train(sampler, *, n=24, **options):
    model, met = torch.nn.Linear(1, 1), []
    torch.nn.init.zeros_(model.weight)
    torch.nn.init.zeros_(model.bias)

    def loss(model, batch):
        met.append((batch[:, 0] * 10).round().int().tolist())
        return (model(batch) - batch).square().mean()

    options = {"epochs": 4, "batch_size": 5, "learning_rate": 0.05, "bf16": False, "progress": False} | options
    history = fit(model, X[:n], loss=loss, config=Training(**options), sampler=sampler)
    return model, history, met


def test_fit_takes_the_rows_in_the_samplers_order():
    asked = []

    def sampler(epoch, epochs, generator):
        asked.append((epoch, epochs, generator.integers(1000)))
        return np.arange(24)[::-1]

    _, history, met = train(sampler, epochs=2)
    assert sum(met[:5], []) == sum(met[5:], []) == list(range(23, -1, -1)) and [len(b) for b in met[:5]] == [5, 5, 5, 5, 4]
    assert [a[:2] for a in asked] == [(1, 2), (2, 2)] and asked[0][2] != asked[1][2]
    train(sampler, epochs=2)
    assert asked[2:] == asked[:2], "the generator follows seed and epoch"
    assert len(history.steps) == len(train(None, epochs=2)[1].steps), "equal budget"


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (np.arange(12), r"shape \(12,\) in epoch 1, the data have 24 rows"),
        (np.ones(24, dtype=bool), "not row numbers"),
        (np.arange(24) - 1, "row -1 in epoch 1; the data have the rows 0 … 23"),
        (np.arange(24) + 1, "row 24"),
        (np.arange(24.0), "float64, not row numbers"),
    ],
)
def test_fit_and_factorization_refuse_wrong_rows(rows, told):
    with pytest.raises(TrainingError, match=told):
        train(lambda *_: rows)
    model = MatrixFactorization(epochs=2)
    with pytest.raises(TrainingError, match=told):
        model.fit(split_of([(u, i, 3, 0) for u in range(6) for i in range(4)], n_users=6, n_items=4), sampler=lambda *_: rows)
    assert model.seen_ is None, "no half-fitted model"


def test_a_paced_run_that_stops_ends_as_one_that_does_not(tmp_path):
    sampler, calls = PacedSampler(np.arange(24), competence(0.2, full=0.9)), []
    whole, history, _ = train(sampler, checkpoint=tmp_path / "whole")

    def stops(epoch, *rest):
        calls.append(epoch)
        if epoch == 3 and calls.count(3) == 1:
            raise KeyboardInterrupt
        return sampler(epoch, *rest)

    stops.key = sampler.key
    with pytest.raises(KeyboardInterrupt):
        train(stops, checkpoint=tmp_path / "part")
    model, again, _ = train(stops, checkpoint=tmp_path / "part")
    assert again.resumed_from == 2 and calls == [1, 2, 3, 3, 4]
    assert torch.equal(model.weight, whole.weight) and again.steps.equals(history.steps)


def test_the_checkpoint_of_another_order_is_refused(tmp_path):
    train(PacedSampler(np.arange(24), linear()), checkpoint=tmp_path)
    train(PacedSampler(np.arange(24) * 2.0, linear()), checkpoint=tmp_path)
    for other in (None, PacedSampler(-np.arange(24), linear()), PacedSampler(np.arange(24), linear(0.3)),
                  PacedSampler(np.arange(24), linear(), parts=5), lambda *_: np.arange(24)):  # fmt: skip
        with pytest.raises(TrainingError, match="another run .*sampler"):
            train(other, checkpoint=tmp_path)


def test_factorization_with_a_sampler_takes_as_many_steps_from_the_same_start():
    split, options = random_split_of(), {"embedding_size": 3, "epochs": 3, "batch_size": 4}
    asked, counts, models = [], [], []

    def ordered(epoch, epochs, generator):
        asked.append((epoch, epochs))
        return generator.permutation(len(split.train))

    for sampler in (None, ordered, PacedSampler(rarity(split), linear())):
        with StepCounter() as steps:
            models.append(MatrixFactorization(**options).fit(split, sampler=sampler))
        counts.append(steps.count)
    assert asked == [(1, 3), (2, 3), (3, 3)] and len(set(counts)) == 1 and counts[0] == 3 * math.ceil(len(split.train) / 4)
    plain, same, paced = (model.item_factors_ for model in models)
    assert torch.equal(plain, same), "an order of chance is the order without a sampler"
    assert not torch.equal(paced, plain)
    unrated = ~np.isin(np.arange(9), split.train["item"])
    assert torch.equal(paced[unrated], plain[unrated]) and unrated.any()


def test_factorization_keeps_no_sampler(tmp_path):
    split = random_split_of()
    model = MatrixFactorization(epochs=1).fit(split, sampler=lambda *_: np.zeros(len(split.train), dtype=int))
    rated = np.unique(split.train["item"])
    moved = [i for i in rated if model.item_bias_[i] != 0]
    assert moved == [split.train["item"].iloc[0]], "only the first row was used"
    again = MatrixFactorization.load(model.save(tmp_path / "m"))
    assert torch.equal(torch.as_tensor(again.item_bias_), model.item_bias_) and not hasattr(model, "sampler_")


# comparisons


def test_steps_are_counted_by_kind():
    p = torch.nn.Parameter(torch.ones(1))
    optimizers = [torch.optim.Adam([p]), torch.optim.AdamW([p])]
    with StepCounter() as every, StepCounter(torch.optim.AdamW) as few:
        p.sum().backward()
        for optimizer in (*optimizers, optimizers[0]):
            optimizer.step()
    optimizers[1].step()
    assert (every.count, few.count) == (3, 1)


def test_compare_pairs_by_seed_and_holds_the_budget():
    calls = []

    def run(arm, seed):
        calls.append((arm, seed))
        return {"plain": 1.0, "late": 1.5}[arm] + 10 * seed, 7

    found = compare(run, ["plain", "late"], seeds=[3, 1, 2], baseline="plain", steps=7)
    assert calls[:2] == [("plain", 3), ("late", 3)] and len(found.values) == 6
    assert found.differences.loc["late"].tolist() == [0.5, 0.5, 0.5, 3] and list(found.differences.index) == ["late"]
    with pytest.raises(ValueError, match="unequal budgets: 'plain' with seed 3 took 7 gradient steps, the others 8"):
        compare(run, ["plain", "late"], seeds=[3, 1], baseline="plain", steps=8)
    with pytest.raises(ValueError, match="unequal budgets: 'later' with seed 0 took 2 .* the others 1"):
        compare(lambda arm, seed: (0.0, len(arm) - 3), ["abcd", "later"], seeds=[0, 1], baseline="abcd")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"baseline": "c"}, "not among the arms"),
        ({"seeds": [1]}, "one seed shows no spread"),
        ({"seeds": [1, 1]}, "stands twice"),
        ({"arms": ["a", "a"]}, "stands twice"),
    ],
)
def test_compare_refuses(change, told):
    options = {"arms": ["a", "b"], "seeds": [1, 2], "baseline": "a"} | change
    with pytest.raises(ValueError, match=told):
        compare(lambda arm, seed: (0.0, 1), options.pop("arms"), **options)


def test_differences_leave_out_what_has_no_pair():
    table = pd.DataFrame({"arm": list("aaabbc"), "seed": [0, 1, 2, 1, 0, 2], "x": [1.0, 2, 4, 3, 1.5, 0]})
    found = differences(table, value="x", baseline="a")
    assert found["mean"].tolist() == [0.75, -4] and found["pairs"].tolist() == [2, 1] and math.isnan(found.loc["c", "low"])
    assert found.loc["b", "low"] < 0.75 < found.loc["b", "high"]
    assert differences(table, value="x", baseline="a", level=0.5).loc["b", "low"] > found.loc["b", "low"]
    for change, told in (
        ({"baseline": "z"}, "not among the arms"),
        ({"value": "y"}, "no column y"),
        ({"baseline": "c"}, "in common"),
    ):
        with pytest.raises(ValueError, match=told):
            differences(table, **{"value": "x", "baseline": "a"} | change)
    with pytest.raises(ValueError, match="'seed': 0} stands twice"):
        differences(pd.concat([table, table[:1]]), value="x", baseline="a")
