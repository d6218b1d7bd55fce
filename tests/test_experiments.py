"""Experiments: a table that grows row by row and is never half-written, and the task that they share."""

import importlib
import math
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from small_encoder import SmallEncoder
from small_split import random_split_of, small_items, split_of
from typer.testing import CliRunner

from course_lib import experiments
from course_lib.classroom.cli import app
from course_lib.config import settings
from course_lib.evaluation import auc
from course_lib.experiments import (
    Cell,
    Experiment,
    ExperimentError,
    cold_items,
    cost_card,
    course_learning,
    course_order,
    results,
    run,
    runner,
)
from course_lib.text import item_texts

COLUMNS = "experiment variant seed draw error seconds trainable command versions date machine".split()


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_STATE", str(tmp_path / "state"))
    settings.cache_clear()
    yield
    settings.cache_clear()


def counted(calls, *, fails=()):
    """An experiment of two variants and two repetitions that notes its calls."""

    def variant(name):
        def measure(cell):
            calls.append(cell)
            if cell in fails:
                raise RuntimeError("the disk is full")
            return {"error": cell.seed + cell.draw / 3, "trainable": 7}

        return measure

    return Experiment(name="small", question="?", metrics=("error",), repeats=((0, 1), (2, 3)),
                      variants={name: variant(name) for name in ("a", "b")})  # fmt: skip


def process_of(cell):
    return {"error": os.getpid()}


def test_every_cell_once_and_its_row(tmp_path, state):
    calls = []
    table = run(counted(calls), folder=tmp_path, progress=False)
    assert calls == [Cell("a", 0, 1), Cell("b", 0, 1), Cell("a", 2, 3), Cell("b", 2, 3)]
    assert list(table.columns) == COLUMNS and table["variant"].tolist() == ["a", "b"] * 2
    stored = results("small", folder=tmp_path)
    assert stored["error"].tolist() == [0.333333, 0.333333, 3, 3], "six digits"
    assert stored.loc[0, "trainable"] == 7 and "torch" in stored.loc[0, "versions"] and "cores" in stored.loc[0, "machine"]
    assert stored.loc[1, "command"] == "course experiments small --only b"
    assert pd.Timestamp(stored.loc[0, "date"]) <= pd.Timestamp.today()
    assert run(counted(calls), folder=tmp_path, progress=False).equals(stored) and len(calls) == 4, "nothing runs twice"


def test_a_run_that_was_stopped_goes_on(tmp_path, state):
    calls = []
    with pytest.raises(ExperimentError, match=r"1 of 4 cells of small failed:\nb \(seed 0, draw 1\): RuntimeError: the disk"):
        run(counted(calls, fails=[Cell("b", 0, 1)]), folder=tmp_path, progress=False)
    assert len(calls) == 4, "one failure does not stop the others"
    table = run(counted(calls), folder=tmp_path, progress=False)
    assert calls[4:] == [Cell("b", 0, 1)] and len(table) == 4
    assert [path.name for path in tmp_path.glob("*.csv")] == ["small.csv"] and not list(tmp_path.glob(".*"))


def test_rows_are_there_while_the_next_cell_runs(tmp_path, state):
    seen = []

    def look(cell):
        path = tmp_path / "small.csv"
        seen.append(len(pd.read_csv(path)) if path.exists() else 0)
        return {"error": 0.0}

    what = Experiment(name="small", question="?", metrics=("error",), variants={"a": look})
    run(what, folder=tmp_path, progress=False)
    assert seen == [0, 1, 2]


def test_only_some_variants(tmp_path, state):
    calls = []
    run(counted(calls), folder=tmp_path, variants=["b"], progress=False)
    assert {cell.variant for cell in calls} == {"b"}
    with pytest.raises(ExperimentError, match="small has no variant c; it has a, b"):
        run(counted(calls), folder=tmp_path, variants=["c"], progress=False)


def test_a_process_of_its_own(tmp_path, state):
    what = Experiment(
        name="small", question="?", metrics=("error",), variants={"a": process_of}, repeats=((0, 0),), isolated=True
    )
    assert run(what, folder=tmp_path, progress=False)["error"].item() != os.getpid()


def test_what_is_no_table_is_refused(tmp_path, state):
    with pytest.raises(ExperimentError, match="does not exist: run `course experiments small`"):
        results("small", folder=tmp_path)
    (tmp_path / "small.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ExperimentError, match="lacks the columns experiment"):
        results("small", folder=tmp_path)
    (tmp_path / "small.csv").write_text(",".join([*COLUMNS[:4], "loss", *COLUMNS[5:]]) + "\n")
    with pytest.raises(ExperimentError, match="an earlier version; move the file away"):
        run(counted([]), folder=tmp_path, progress=False)
    assert "loss" in (tmp_path / "small.csv").read_text(), "and left as it is"


def test_a_variant_must_measure_what_is_asked(tmp_path, state):
    what = Experiment(name="small", question="?", metrics=("error",), variants={"a": lambda cell: {"loss": 1}})
    with pytest.raises(ExperimentError, match="returned loss; the experiment's metrics are error"):
        run(what, folder=tmp_path, progress=False)


def test_two_processes_do_not_run_the_same(tmp_path, state):
    settings().state.mkdir(parents=True)
    with FileLock(settings().state / "small.lock"), pytest.raises(ExperimentError, match="another process"):
        run(counted([]), folder=tmp_path, progress=False)


@pytest.mark.parametrize("name", experiments.names())
def test_experiments_of_the_course_and_their_tables(name):
    what = experiments.experiment(name)
    assert what.name == name and what.question.endswith("?") and len(what.cells) == len(set(what.cells))
    assert importlib.import_module(f"course_lib.experiments.{name}").__doc__
    if runner.location(name).exists():
        table = results(name)
        assert list(table.columns) == what.columns and set(table["experiment"]) == {name}
        cells = [Cell(*key) for key in table[runner.KEY[1:]].itertuples(index=False, name=None)]
        assert len(cells) == len(set(cells)) and set(cells) <= set(what.cells)


def test_cost_card_counts_what_learned_and_what_is_kept():
    model = torch.nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    card = cost_card(model.half(), kept=1_000_000)
    assert card["parameters that learned"] == 6 and card["on disk, MB"] == pytest.approx(1.0), (
        "12 bytes are no hundredth of a MB"
    )
    assert cost_card(torch.nn.Linear(1000, 500, bias=False).half())["on disk, MB"] == 1.0, "two bytes a number"
    assert cost_card()["parameters that learned"] == 0 and card["CPU seconds of this notebook"] > 0


def test_peak_memory_keeps_what_was_let_go():
    code = """
from course_lib.experiments.costs import peak_memory
before = peak_memory()
block = bytearray(400_000_000)
del block
print(peak_memory() - before)
"""
    grown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 380 < float(grown) < 450


def test_command(state, monkeypatch):
    listed = CliRunner().invoke(app, ["experiments", "--list"], env={"COLUMNS": "200"})
    assert listed.exit_code == 0 and all(name in listed.stdout for name in experiments.names())
    unknown = CliRunner().invoke(app, ["experiments", "nonsense"])
    assert unknown.exit_code == 1 and "there are fine_tuning" in unknown.output
    calls = []
    monkeypatch.setattr(experiments, "experiment", lambda name: counted([]))
    monkeypatch.setattr(experiments, "run", lambda what, **options: calls.append(options) or pd.DataFrame(
        {"variant": ["a", "a"], "error": [1.0, 3.0], "seconds": [1.0, 1.0]}))  # fmt: skip
    done = CliRunner().invoke(app, ["experiments", "small", "--only", "a"])
    assert done.exit_code == 0 and calls == [{"variants": ["a"], "progress": True}]
    assert done.stdout.split() == ["error", "seconds", "variant", "a", "2", "1"]


def test_auc_and_ndcg_of_held_out_items_by_hand():
    """Items 0 to 3 are held out. User 0 likes 1 and 3 and sees 3, 0, 1, 2; user 1 likes all, user 2 none."""
    test = [(0, 1, 5, 0), (0, 3, 4, 0), (0, 2, 3, 0), (0, 0, 1, 0), *((1, i, 5, 0) for i in range(4)), (2, 0, 2, 0)]
    split = split_of([(0, 4, 5, 0)], n_users=3, n_items=5, test=test)
    scores = np.array([[3.0, 2.0, 1.0, 4.0, 99.0], [1, 2, 3, 4, 99], [1, 2, 3, 4, 99]])
    found = cold_items.ranking(scores, split, k=2)
    assert found["auc"] == pytest.approx(3 / 4), "of four pairs only (1, 0) is in the wrong order"
    assert found["ndcg"] == pytest.approx(1 / (1 + 1 / math.log2(3)))


def test_auc_equals_the_library_also_with_ties():
    rng = np.random.default_rng(0)
    scores, relevant = rng.integers(0, 4, (5, 8)).astype(float), rng.random((5, 8)) < 0.4
    relevant[:, :2] = [True, False]
    found = cold_items._auc(scores, relevant)
    np.testing.assert_allclose(found, [auc(y, s) for y, s in zip(relevant, scores, strict=True)])


def test_ties_do_not_follow_the_catalogue():
    """Scores that are all equal: the first items of the catalogue must not win."""
    test = [(u, i, 5, 0) for u in range(40) for i in range(10)] + [(0, i, 1, 0) for i in range(10, 200)]
    split = split_of([(0, 200, 5, 0)], n_users=40, n_items=201, test=test)
    assert cold_items.ranking(np.zeros((40, 201)), split)["ndcg"] < 0.3


@pytest.fixture
def small_world(monkeypatch):
    """The experiments' data and encoder, small enough to run every variant."""
    split = random_split_of()
    cold = split.train["item"].isin([0, 1, 2])
    rows = [tuple(row) for row in split.train.loc[~cold, ["user", "item", "rating", "timestamp"]].to_numpy()]
    test = [tuple(row) for row in split.train.loc[cold, ["user", "item", "rating", "timestamp"]].to_numpy()]
    part = split_of(rows, n_users=7, n_items=9, test=[*test[:-1], (0, 0, 5, 0), (0, 1, 2, 0)])
    ratings = type("Small", (), {"items": small_items(), "table": pd.concat([part.train, part.test]), "n_items": 9})()
    monkeypatch.setattr(cold_items, "split", lambda draw: part)
    monkeypatch.setattr(cold_items, "movielens", lambda: ratings)
    monkeypatch.setattr(cold_items, "texts", lambda: item_texts(ratings.items))
    encoder = lambda *_: SmallEncoder(layers=4)  # noqa: E731
    for module in ("course_lib.models.two_tower.text_encoder", "course_lib.experiments.training_craft.TextEncoder",
                   "course_lib.experiments.article_program.TextEncoder",
                   "course_lib.experiments.course_learning.TextEncoder"):  # fmt: skip
        monkeypatch.setattr(module, (lambda source: source or encoder()) if module.endswith("text_encoder") else encoder)
    monkeypatch.setattr(course_order, "split", lambda draw: part)
    dealt = np.random.default_rng(0).normal(size=(9, 4)) * (np.arange(9) < 8)[:, None]
    monkeypatch.setattr(course_learning, "facts", lambda links="repaired", seed=0: dealt[:: 1 if links == "repaired" else -1])
    monkeypatch.setattr(course_learning, "NEIGHBOURS", 1)
    usual = course_learning.training
    few = lambda tune, cell, **options: usual(tune, cell, batch_size=2, **options)  # noqa: E731
    monkeypatch.setattr(course_learning, "training", few)
    return part


def may_be_nan(metric, variant) -> bool:
    """A model trained to rank predicts no stars, and one without a language stage has no head that says words."""
    return (metric == "rmse" and "mse" not in variant) or (metric.startswith("words") and "mlm" not in variant)


@pytest.mark.parametrize("name", experiments.names())
def test_every_variant_measures(name, small_world):
    what = experiments.experiment(name)
    for variant, function in what.variants.items():
        found = function(Cell(variant, 0, 0))
        assert set(found) - {"trainable"} == set(what.metrics), variant
        assert all(math.isfinite(v) or may_be_nan(k, variant) for k, v in found.items()), (variant, found)


def test_every_order_and_every_course_costs_the_same(small_world):
    steps = {name: [] for name in ("course_order", "course_learning")}
    for name, found in steps.items():
        for variant, function in experiments.experiment(name).variants.items():
            if "frozen" not in variant and variant != "task_only":
                found.append(function(Cell(variant, 0, 0))["steps"])
    assert [len(set(found)) for found in steps.values()] == [1, 1] and min(min(found) for found in steps.values()) > 1
    task = experiments.experiment("course_learning").variants["task_only"](Cell("task_only", 0, 0))["steps"]
    assert steps["course_learning"][0] == 2 * task


def test_orders_mean_what_they_say(small_world):
    counts = np.bincount(small_world.train["item"])[small_world.train["item"]]
    rare = course_order.rare(small_world, Cell("", 0, 0))
    assert (np.diff(counts[np.argsort(rare)]) <= 0).all(), "popular items are the easy ones"
    assert len(np.unique(rare)) == len(rare), "ratings of equally popular items come by chance"
    assert course_order.surprise(small_world, Cell("", 0, 0)).min() >= 0
    assert sorted(course_order.shuffled(small_world, Cell("", 1, 0))) == list(range(len(rare)))


def test_pruned_vocabulary_reads_the_same(small_world):
    from course_lib.experiments.training_craft import pruned_vocabulary

    encoder = SmallEncoder()
    before = encoder.encode(cold_items.texts())
    pruned_vocabulary(encoder)
    np.testing.assert_array_equal(encoder.encode(cold_items.texts()), before)
    kept = encoder.model.embeddings.word_embeddings.kept.weight
    assert len(kept) == 12, "no text says green"
    with pytest.raises(IndexError):
        encoder.model(input_ids=torch.tensor([[1, 12]]))


def test_noise_floor_by_hand(monkeypatch):
    """Film 0: 1, 3 (mean 2); film 1: 4, 4, 5, 3 (mean 4): s² = (2 + 2) / (1 + 3) = 1, noise = (1/2 + 1/4) / 2."""
    from course_lib.experiments.article_program import noise_floor

    table = pd.DataFrame({"item": [0, 0, 1, 1, 1, 1, 2], "rating": [1.0, 3, 4, 4, 5, 3, 5]})
    monkeypatch.setattr(cold_items, "movielens", lambda: type("Small", (), {"table": table})())
    assert noise_floor(np.array([0, 1])) == pytest.approx({"within": 1.0, "noise": 0.375})
