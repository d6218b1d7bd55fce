import math
import sys
import types

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from transformers import BatchEncoding

from course_lib.training import Training, fit, has_bf16, loop, schedule

DRAW = torch.Generator().manual_seed(1)
X = torch.randn(37, 4, generator=DRAW)
Y = X @ torch.tensor([1.0, -2.0, 0.5, 3.0]) + 0.1 * torch.randn(37, generator=DRAW)


def network(dropout=0.0, seed=0):
    model = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Dropout(dropout), nn.Linear(6, 1))
    draw = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        p.data = 0.5 * torch.randn(p.shape, generator=draw)
    return model


def squared(model, batch):
    x, y = batch
    return (model(x)[:, 0] - y).square().mean()


def train(model=None, data=(X, Y), loss=squared, validate=None, **options):
    model = network() if model is None else model
    options = {"epochs": 2, "learning_rate": 0.05, "batch_size": 8, "bf16": False, "progress": False} | options
    return model, fit(model, data, loss=loss, config=Training(**options), validate=validate)


def same(a, b) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def close(a, b, **tolerance):
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(p, q, **tolerance)


# what is learned


def test_one_step_of_adamw_by_hand():
    """At its first step, Adam moves every number by the learning rate against the sign of its gradient."""
    start, model = network(), network()
    squared(start, (X, Y)).backward()
    train(model, epochs=1, batch_size=64, schedule="constant", warmup=0.0, weight_decay=0.1, clip=None)
    for name, p in start.named_parameters():
        decay = 0.05 * 0.1 if p.ndim == 2 else 0.0
        torch.testing.assert_close(model.get_parameter(name), p * (1 - decay) - 0.05 * p.grad.sign(), rtol=1e-3, atol=1e-4)


def test_a_linear_model_is_recovered():
    model, history = train(nn.Linear(4, 1), epochs=60, loss=squared)
    torch.testing.assert_close(model.weight[0], torch.tensor([1.0, -2.0, 0.5, 3.0]), atol=0.1, rtol=0.0)
    assert history.table["loss"].iloc[-1] < 0.05 < 1 < history.table["loss"].iloc[0]


@pytest.mark.parametrize(("batch_size", "accumulate"), [(4, 3), (5, 3), (12, 1), (1, 12)])
def test_accumulated_batches_equal_the_big_batch(batch_size, accumulate):
    """37 rows in steps of 12: the last step has one row; in steps of 15 from batches of 5: two parts, then 7 rows."""
    whole, first = train(batch_size=batch_size * accumulate)
    parts, second = train(batch_size=batch_size, accumulate=accumulate)
    close(parts, whole, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(second.table["loss"], first.table["loss"], rtol=1e-4)
    np.testing.assert_array_equal(second.steps["learning_rate"], first.steps["learning_rate"])


def test_the_gradient_is_clipped_to_its_norm():
    norms = {}

    def watch(clip):
        model = network()
        seen = []
        step = torch.optim.AdamW.step
        with pytest.MonkeyPatch.context() as patch:

            def spy(self, *args):
                seen.append(math.sqrt(sum(float(p.grad.square().sum()) for g in self.param_groups for p in g["params"])))
                return step(self, *args)

            patch.setattr(torch.optim.AdamW, "step", spy)
            _, history = train(model, clip=clip)
        norms[clip] = seen
        return history.steps["gradient_norm"].to_numpy()

    free, clipped = watch(None), watch(0.5)
    np.testing.assert_allclose(norms[None], free, rtol=1e-5)
    assert free[0] == pytest.approx(clipped[0]) and free[0] > 0.5, "the history tells the norm before clipping"
    assert norms[0.5] == pytest.approx(np.minimum(clipped, 0.5), rel=1e-4)


def test_weight_decay_shrinks_matrices_alone():
    """With a gradient of zero, decay is all that moves a parameter."""
    start = network()
    model, _ = train(loss=lambda m, b: 0.0 * squared(m, b), weight_decay=0.5, schedule="constant", warmup=0.0, epochs=1)
    steps = math.ceil(37 / 8)
    for name, p in start.named_parameters():
        factor = (1 - 0.05 * 0.5) ** steps if p.ndim == 2 else 1.0
        torch.testing.assert_close(model.get_parameter(name), p * factor)


def test_the_learning_rate_follows_the_schedule():
    _, history = train(schedule="cosine", warmup=0.3, epochs=3)
    factor = schedule("cosine", steps=15, warmup=0.3)
    np.testing.assert_allclose(history.steps["learning_rate"], [0.05 * factor(t) for t in range(15)])
    assert history.steps["step"].tolist() == list(range(1, 16))
    assert history.table["learning_rate"].tolist() == history.steps["learning_rate"].iloc[[4, 9, 14]].tolist()


def test_groups_keep_their_own_rate_and_chosen_parameters_alone_learn():
    start, model = network(), network()
    groups = [{"params": [model[0].weight], "lr": 1e-3, "weight_decay": 0.0}, {"params": [model[3].weight]}]
    config = Training(epochs=1, batch_size=64, learning_rate=0.1, schedule="constant", warmup=0.0, progress=False)
    fit(model, (X, Y), loss=squared, config=config, parameters=groups)
    assert (model[0].weight - start[0].weight).abs().max().item() == pytest.approx(1e-3, rel=0.01)
    assert (model[3].weight - start[3].weight).abs().max().item() > 0.09
    assert torch.equal(model[1].weight, start[1].weight)
    other = network()
    fit(other, (X, Y), loss=squared, config=config, parameters=[other[1].weight])
    assert [n for n, p in other.named_parameters() if not torch.equal(p, start.get_parameter(n))] == ["1.weight"]


def test_history_is_the_mean_over_rows():
    _, history = train(loss=lambda m, b: squared(m, b) * 0 + b[1].mean(), validate=lambda m: 7.0, batch_size=5)
    assert list(history.table) == ["epoch", "step", "loss", "validation", "learning_rate", "seconds"]
    np.testing.assert_allclose(history.table["loss"], float(Y.mean()), rtol=1e-5)
    assert history.table["epoch"].tolist() == [1, 2] and history.table["step"].tolist() == [8, 16]
    assert history.table["validation"].tolist() == [7.0, 7.0] and (history.table["seconds"] > 0).all()
    assert train()[1].table["validation"].isna().all()


# data


def test_every_row_is_seen_once_per_epoch_in_another_order():
    seen = []

    def note(model, batch):
        seen.append(batch.tolist())
        return model.weight.sum()

    train(nn.Linear(1, 1), torch.arange(10.0), loss=note, batch_size=4)
    epochs = [sum(seen[:3], []), sum(seen[3:], [])]
    assert [len(b) for b in seen] == [4, 4, 2] * 2
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(10)) and epochs[0] != epochs[1]


@pytest.mark.parametrize("form", ["tuple", "arrays", "dict", "encoding", "dataset", "list"])
def test_every_form_of_data_learns_the_same(form):
    forms = {
        "tuple": (X, Y),
        "arrays": (X.numpy(), Y.numpy()),
        "dict": {"x": X, "y": Y},
        "encoding": BatchEncoding({"x": X, "y": Y}),
        "dataset": torch.utils.data.TensorDataset(X, Y),
        "list": [(x, y) for x, y in zip(X, Y, strict=True)],
    }
    model, _ = train(data=forms[form], loss=lambda m, b: squared(m, b.values() if isinstance(b, dict) else b))
    assert same(model, train()[0])


def test_collate_gets_the_rows_and_may_give_anything():
    texts = ["a", "bb", "ccc"]

    def loss(model, batch):
        assert set(batch["text"]) <= set(texts)
        return model(batch["size"]).square().mean()

    config = Training(batch_size=2, progress=False)
    shape = []

    def collate(rows):
        shape.append(len(rows))
        return {"text": rows, "size": torch.tensor([[float(len(r))] for r in rows])}

    fit(nn.Linear(1, 1), texts, loss=loss, config=config, collate=collate)
    assert shape == [2, 1]
    pairs = []
    fit(nn.Linear(1, 1), (torch.arange(3), torch.arange(3) * 2), loss=lambda m, b: m(b).mean(), config=config,
        collate=lambda rows: pairs.extend(rows) or torch.ones(len(rows), 1))  # fmt: skip
    assert sorted((int(a), int(b)) for a, b in pairs) == [(0, 0), (1, 2), (2, 4)]


# seeds


def test_the_seed_decides_order_and_dropout_and_the_global_generator_is_left_alone():
    model = network(dropout=0.5)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, history = train(model, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    second, again = train(network(dropout=0.5), seed=3)
    other, _ = train(network(dropout=0.5), seed=4)
    assert same(first, second) and not same(first, other)
    assert history.steps.equals(again.steps)


def test_every_epoch_draws_anew():
    drawn = []
    train(loss=lambda m, b: drawn.append(float(torch.rand(1))) or squared(m, b), epochs=3)
    assert len(drawn) == len(set(drawn)) == 15


def test_dropout_works_in_training_and_rests_in_validation():
    modes = []
    noisy, _ = train(network(dropout=0.5), validate=lambda m: modes.append((m.training, torch.is_grad_enabled())) or 0.0)
    assert modes == [(False, False)] * 2 and not noisy.training
    assert not same(noisy, train()[0])


# early stopping


@pytest.mark.parametrize(("better", "sign"), [("lower", 1), ("higher", -1)])
def test_early_stopping_restores_the_best(better, sign):
    values, kept = [5.0, 3.0, 4.0, 3.0, 1.0], []

    def validate(model):
        kept.append({name: t.clone() for name, t in model.state_dict().items()})
        return sign * values[len(kept) - 1]

    model, history = train(validate=validate, epochs=5, patience=2, better=better)
    assert history.table["epoch"].tolist() == [1, 2, 3, 4] and history.best_epoch == 2
    assert all(torch.equal(t, kept[1][name]) for name, t in model.state_dict().items())
    assert not torch.equal(kept[1]["0.weight"], kept[3]["0.weight"])


def test_without_patience_the_last_epoch_stays():
    kept, values = [], [1.0, 2.0, 3.0]
    model, history = train(validate=lambda m: kept.append(m[0].weight.clone()) or values[len(kept) - 1], epochs=3)
    assert len(history.table) == 3 and history.best_epoch == 3 and torch.equal(model[0].weight, kept[-1])


# processors


@pytest.mark.parametrize("has", [True, False])
@pytest.mark.parametrize("asked", [None, True, False])
def test_bf16_is_chosen_where_the_cpu_has_it(monkeypatch, has, asked):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has, raising=False)
    assert has_bf16(torch.device("cpu")) == has
    kinds = set()

    def loss(model, batch):
        output = model(batch[0])
        kinds.add(output.dtype)
        return (output[:, 0].float() - batch[1]).square().mean()

    model, history = train(loss=loss, bf16=asked)
    assert kinds == {torch.bfloat16 if (has if asked is None else asked) else torch.float32}
    assert model[0].weight.dtype == torch.float32 and history.table["loss"].notna().all()


@pytest.mark.parametrize(("gpu", "asked", "compiled"), [
    (False, None, False), (False, True, False), (True, None, True), (True, True, True), (True, False, False),
])  # fmt: skip
def test_compiled_on_a_gpu_only(monkeypatch, gpu, asked, compiled):
    calls, used = [], []

    class Compiled(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            used.append(True)
            return self.inner(x)

    monkeypatch.setattr(loop, "on_gpu", lambda device: gpu)
    monkeypatch.setattr(torch, "compile", lambda m: calls.append(m) or Compiled(m))
    model, _ = train(compile=asked)
    assert calls == ([model] if compiled else []) and bool(used) == compiled
    assert same(model, train(compile=False)[0]), "what is compiled shares its parameters with the model"


# what is told


def test_tensorboard_reads_back_the_history(tmp_path):
    _, history = train(log=tmp_path / "log", validate=lambda m: float(m[0].weight.sum()))
    events = EventAccumulator(str(tmp_path / "log")).Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "learning_rate", "gradient_norm", "validation"}
    for name in ("loss", "learning_rate", "gradient_norm"):
        told = [(event.step, event.value) for event in events.Scalars(name)]
        np.testing.assert_allclose(told, history.steps[["step", name]], rtol=1e-6)
    told = [(event.step, event.value) for event in events.Scalars("validation")]
    np.testing.assert_allclose(told, history.table[["step", "validation"]], rtol=1e-6)


def test_weights_and_biases_offline_where_it_is_installed(monkeypatch, tmp_path):
    told, options = [], {}
    run = types.SimpleNamespace(log=lambda values, step: told.append((step, values)), finish=lambda: told.append("end"))
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=lambda **o: options.update(o) or run))
    _, history = train(log=tmp_path, epochs=1)
    assert options["mode"] == "offline" and options["dir"] == str(tmp_path) and options["config"]["batch_size"] == 8
    assert told[-1] == "end" and [step for step, _ in told[:-1]] == history.steps["step"].tolist()
    assert told[0][1]["loss"] == history.steps["loss"][0]
    monkeypatch.setitem(sys.modules, "wandb", None)  # as where it is not installed: the import fails
    count = len(told)
    train(log=tmp_path / "second", epochs=1)
    assert len(told) == count and list((tmp_path / "second").glob("events*"))


def test_nothing_is_written_where_nothing_is_asked_for(capfd, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    train()
    assert capfd.readouterr() == ("", "") and not list(tmp_path.iterdir())


def test_the_progress_bar_is_on_stderr_and_counts_every_step(capsys, tmp_path):
    train(progress=True, log=tmp_path)
    told = capsys.readouterr()
    assert "training" in told.err and "10/10" in told.err and "loss=" in told.err and told.out == ""
    train(progress=False, log=tmp_path)
    assert capsys.readouterr() == ("", "")
