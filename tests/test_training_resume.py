import json
import os
import signal
import subprocess
import sys

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from course_lib.training import Checkpoint, Training, TrainingError, checkpoint, fit

# A run of 5 epochs of 20 calls of the loss each (10 batches, and each again under attack). At the named call of the loss,
# or of os.replace, it says so and sleeps until it is killed.
WORKER = """
import json, os, sys, time
import torch
from torch import nn
from safetensors.torch import save_file
from course_lib.training import Training, fit

folder, out, kind, at = sys.argv[1:5]
count = {"loss": 0, "replace": 0}

def pause(name):
    count[name] += 1
    if name == kind and count[name] == int(at):
        print("ready", flush=True)
        time.sleep(600)

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.word, self.norm, self.drop, self.out = nn.Embedding(9, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 1)
        draw = torch.Generator().manual_seed(0)
        for p in self.parameters():
            p.data = torch.randn(p.shape, generator=draw)

    def forward(self, index):
        return self.out(self.drop(self.norm(self.word(index))))[:, 0]

def loss(model, batch):
    pause("loss")
    return (model(batch[0]) + 0.01 * torch.randn(len(batch[1])) - batch[1]).square().mean()

replace = os.replace
os.replace = lambda *names: (pause("replace"), replace(*names))
index = torch.arange(40) % 9
data = (index, torch.sin(index.float()))
model = Model()
config = Training(epochs=5, batch_size=4, accumulate=2, learning_rate=0.1, adversarial="fgm", epsilon=0.3, patience=3,
                  checkpoint=folder, log=folder + "-log", progress=False, bf16=False)
history = fit(model, data, loss=loss, config=config, validate=lambda m: float((m(data[0]) - data[1]).square().mean()))
save_file(dict(model.state_dict()), out + ".safetensors")
told = {"table": history.table.drop(columns="seconds").to_dict("list"), "steps": history.steps.to_dict("list"),
        "best": history.best_epoch, "resumed": history.resumed_from}
open(out + ".json", "w").write(json.dumps(told))
"""


def start(folder, out, kind="none", at=0):
    command = [sys.executable, "-c", WORKER, str(folder), str(out), kind, str(at)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill_at(folder, out, kind, at) -> int | None:
    """Start a run, kill it at the named call → the epoch of the checkpoint it leaves."""
    process = start(folder, out, kind, at)
    try:
        assert process.stdout.readline() == "ready\n"
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL and not out.with_suffix(".json").exists()
    record = folder / "latest.json"
    return json.loads(record.read_text())["epoch"] if record.exists() else None


def test_a_run_that_is_killed_ends_as_one_that_is_not(tmp_path):
    whole = start(tmp_path / "whole", tmp_path / "a")
    folder, out = tmp_path / "killed", tmp_path / "b"
    assert kill_at(folder, out, "loss", 7) is None, "in the middle of epoch 1"
    assert kill_at(folder, out, "loss", 33) == 1, "in the middle of epoch 2"
    assert kill_at(folder, out, "replace", 4) == 2, "after the tensors of epoch 3, before its record"
    assert (folder / "epoch-0003.safetensors").exists() and (folder / "epoch-0002.safetensors").exists()
    last = start(folder, out)
    assert [process.communicate(timeout=300) for process in (last, whole)] == [("", "")] * 2, "silent without a progress bar"
    assert last.returncode == whole.returncode == 0
    a, b = (load_file(tmp_path / f"{name}.safetensors") for name in "ab")
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    first, second = (json.loads((tmp_path / f"{name}.json").read_text()) for name in "ab")
    assert (first.pop("resumed"), second.pop("resumed")) == (0, 2)
    assert first == second
    kept = [load_file(next((tmp_path / name).glob("*.safetensors"))) for name in ("whole", "killed")]
    assert kept[0].keys() == kept[1].keys() and any(name.startswith("optimizer.0.exp_avg_sq") for name in kept[0])
    assert all(torch.equal(kept[0][name], kept[1][name]) for name in kept[0])
    assert sorted(p.suffix for p in folder.iterdir()) == [".json", ".safetensors"], "older checkpoints go"
    told = EventAccumulator(f"{folder}-log").Reload().Scalars("loss")
    assert [event.step for event in told] == first["steps"]["step"]


# within this process: an error stops the run


def model_of():
    model = nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.2), nn.Linear(3, 1))
    draw = torch.Generator().manual_seed(0)
    for p in model.parameters():
        p.data = torch.randn(p.shape, generator=draw)
    return model


X = torch.randn(12, 2, generator=torch.Generator().manual_seed(2))


class Stopped(Exception):
    pass


def train(folder, *, stop=None, values=(3.0, 2.0, 2.5, 2.6, 1.0), data=X, model=None, **options):
    model, calls, epochs = model or model_of(), [], []

    def loss(model, batch):
        calls.append(1)
        if len(calls) == stop:
            raise Stopped
        return model(batch).square().mean()

    def validate(model):
        epochs.append(1)
        return values[len(epochs) - 1]

    options = {"epochs": 4, "batch_size": 4, "learning_rate": 0.1, "bf16": False, "progress": False} | options
    validate = validate if options.get("patience") else None
    return model, fit(model, data, loss=loss, config=Training(checkpoint=folder, **options), validate=validate)


def same(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("stop", [1, 3, 4, 5, 8, 12])
def test_wherever_it_stops_it_ends_the_same(tmp_path, stop):
    whole, history = train(tmp_path / "whole")
    with pytest.raises(Stopped):
        train(tmp_path / "part", stop=stop)
    model, again = train(tmp_path / "part")
    assert same(model, whole) and again.steps.equals(history.steps) and again.resumed_from == (stop - 1) // 3
    pd.testing.assert_frame_equal(again.table.drop(columns="seconds"), history.table.drop(columns="seconds"))


def test_a_finished_run_is_not_run_again(tmp_path):
    model, history = train(tmp_path / "c")
    again, loaded = train(tmp_path / "c", stop=1)
    assert same(model, again) and loaded.resumed_from == 4 and loaded.table.equals(history.table)


def test_early_stopping_goes_on_across_a_stop(tmp_path):
    """Values 3, 2, 2.5, 2.6: with patience 2 epoch 2 is the best and epoch 4 the last, stopped in epoch 4 or not."""
    whole, history = train(tmp_path / "whole", patience=2, epochs=5)
    with pytest.raises(Stopped):
        train(tmp_path / "part", stop=11, patience=2, epochs=5)
    model, again = train(tmp_path / "part", patience=2, epochs=5, values=(2.6, 1.0))
    assert same(model, whole) and again.best_epoch == history.best_epoch == 2 and len(again.table) == 4
    done, finished = train(tmp_path / "part", stop=1, patience=2, epochs=5)
    assert same(done, whole) and len(finished.table) == 4


def test_progress_and_folders_do_not_make_another_run(tmp_path):
    model, _ = train(tmp_path / "c")
    again, _ = train(tmp_path / "c", stop=1, progress=True, log=tmp_path / "log")
    assert same(model, again)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"epochs": 5}, "epochs: 4 there, 5 here"),
        ({"seed": 9}, "seed: 0 there, 9 here"),
        ({"data": X[:8]}, "rows of data: 12 there, 8 here"),
        ({"model": nn.Sequential(nn.Linear(2, 1))}, "shape of 0.weight"),
        ({"model": nn.Sequential(nn.Linear(2, 3).requires_grad_(False), nn.Dropout(0.2), nn.Linear(3, 1))}, "frozen weights"),
    ],
)
def test_the_checkpoint_of_another_run_is_refused(tmp_path, change, told):
    train(tmp_path / "c")
    with pytest.raises(TrainingError, match=f"checkpoint of another run .*{told}.*choose another folder, or delete"):
        train(tmp_path / "c", **change)


def test_frozen_weights_are_not_kept(tmp_path):
    model = model_of()
    model[0].requires_grad_(False)
    train(tmp_path / "c", model=model)
    kept = load_file(tmp_path / "c" / "epoch-0004.safetensors")
    assert {name.split(".", 1)[1] for name in kept if name.startswith("model.")} == {"2.weight", "2.bias"}


# the checkpoint itself

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3, dtype=torch.int64), "c": torch.ones(2).bfloat16()}


def test_what_is_written_is_read(tmp_path):
    kept = Checkpoint(tmp_path / "deep" / "c", run={"sizes": (1, 2)})
    assert kept.read() is None
    kept.write(1, {"a": torch.zeros(1)}, {})
    kept.write(2, TENSORS, {"rows": [0.1, float("inf")]})
    epoch, tensors, state = Checkpoint(tmp_path / "deep" / "c", run={"sizes": (1, 2)}).read()
    assert epoch == 2 and state == {"rows": [0.1, float("inf")]} and tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], t) and tensors[name].dtype == t.dtype for name, t in TENSORS.items())


@pytest.mark.parametrize("damage", ["torn", "flipped", "missing", "empty"])
def test_a_damaged_file_is_never_loaded(tmp_path, damage):
    kept = Checkpoint(tmp_path, run={})
    kept.write(1, TENSORS, {})
    path = tmp_path / "epoch-0001.safetensors"
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"torn": data[:-3], "flipped": data[:-1] + bytes([data[-1] ^ 1]), "empty": b""}[damage])
    with pytest.raises(TrainingError, match="missing or does not match the sha256.*delete .* to train from the start"):
        kept.read()


@pytest.mark.parametrize(("text", "told"), [
    ("{", "is not the record"), ("[]", "is not the record"), ('{"format": 1}', "is not the record"), (None, "has format 2"),
])  # fmt: skip
def test_a_damaged_or_newer_record_is_refused(tmp_path, text, told):
    kept = Checkpoint(tmp_path, run={})
    kept.write(1, TENSORS, {})
    path = tmp_path / "latest.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 2') if text is None else text)
    with pytest.raises(TrainingError, match=f"{told}.*delete"):
        kept.read()


@pytest.mark.parametrize("written", [0, 1])
def test_a_write_that_fails_half_way_leaves_the_one_before(tmp_path, monkeypatch, written):
    """The process dies after half of the tensors (0), or after half of the record (1)."""
    kept = Checkpoint(tmp_path, run={})
    kept.write(1, TENSORS, {"at": 1})
    put, calls = checkpoint._put, []

    def torn(path, data):
        calls.append(path)
        if len(calls) <= written:
            return put(path, data)
        path.with_name(path.name + ".new").write_bytes(data[: len(data) // 2])
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint, "_put", torn)
    with pytest.raises(OSError):
        kept.write(2, TENSORS, {"at": 2})
    assert kept.read()[0] == 1 and kept.read()[2] == {"at": 1}
    monkeypatch.setattr(checkpoint, "_put", put)
    kept.write(2, TENSORS, {"at": 2})
    assert kept.read()[2] == {"at": 2}
    assert sorted(os.listdir(tmp_path)) == ["epoch-0002.safetensors", "latest.json"]
