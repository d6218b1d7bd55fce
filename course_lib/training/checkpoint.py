"""A run on disk after every epoch: complete or not there, checked by sha256, and never a pickle."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from course_lib.training.errors import TrainingError

FORMAT = 1
RECORD = "latest.json"


class Checkpoint:
    """A folder with `latest.json` and the tensors that it names.

    `write` puts the tensors into a file of their own and renames it, then does the same with `latest.json`: whenever the
    process dies, `latest.json` names a complete file. `read` gives None where there is no checkpoint, and raises
    TrainingError for a damaged file, a newer format, or the checkpoint of another run (another `run` record).
    """

    def __init__(self, folder, *, run: dict):
        self.folder, self.run = Path(folder), json.loads(json.dumps(run))

    def write(self, epoch: int, tensors: dict[str, torch.Tensor], state: dict) -> None:
        """Keep tensors and state (plain values) of the run after `epoch` epochs; older checkpoints go."""
        self.folder.mkdir(parents=True, exist_ok=True)
        data = save_tensors({name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()})
        name = f"epoch-{epoch:04d}.safetensors"
        record = {"format": FORMAT, "epoch": epoch, "file": name, "sha256": hashlib.sha256(data).hexdigest()}
        record |= {"run": self.run, "state": state}
        _put(self.folder / name, data)
        _put(self.folder / RECORD, (json.dumps(record, indent=1) + "\n").encode())
        for old in self.folder.glob("epoch-*.safetensors*"):
            if old.name != name:
                old.unlink(missing_ok=True)

    def read(self) -> tuple[int, dict[str, torch.Tensor], dict] | None:
        """Epoch, tensors and state of the last complete checkpoint."""
        path = self.folder / RECORD
        if not path.is_file():
            return None
        again = f"delete {self.folder} to train from the start"
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            version, name, digest = record["format"], record["file"], record["sha256"]
            epoch, run, state = record["epoch"], record["run"], record["state"]
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"{path} is not the record of a checkpoint ({error!r}); {again}") from None
        if version != FORMAT:
            raise TrainingError(f"{path} has format {version}, this course_lib reads format {FORMAT}; {again}")
        differ = sorted(key for key in run.keys() | self.run.keys() if run.get(key) != self.run.get(key))
        if differ:
            told = "; ".join(f"{key}: {_short(run.get(key))} there, {_short(self.run.get(key))} here" for key in differ)
            raise TrainingError(f"{self.folder} is the checkpoint of another run ({told}); choose another folder, or {again}")
        file = self.folder / name
        data = file.read_bytes() if file.is_file() else b""
        if hashlib.sha256(data).hexdigest() != digest:
            raise TrainingError(f"{file} is missing or does not match the sha256 in {RECORD}: it is damaged; {again}")
        try:
            return epoch, load_tensors(data), state
        except SafetensorError as error:
            raise TrainingError(f"{file} holds no tensors ({error}); {again}") from None


def _put(path: Path, data: bytes) -> None:
    """Write beside, flush to the disk, rename."""
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def _short(value) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def digest(tensors: dict[str, torch.Tensor]) -> str:
    """sha256 over names, shapes and values."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return total.hexdigest()
