"""A model on disk: tensors and a configuration that vouches for them, complete or not there at all."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from scipy import sparse

FORMAT = 1
TENSORS, CONFIG = "model.safetensors", "config.json"


class ModelError(RuntimeError):
    """A model cannot be used, saved or loaded; the message says why and what to do."""


def pack(state: dict) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Named values → flat arrays, and the kind of each value."""
    tensors, kinds = {}, {}
    for name, value in state.items():
        if sparse.issparse(value):
            value = sparse.csr_matrix(value)
            parts = {"data": value.data, "indices": value.indices, "indptr": value.indptr, "shape": np.array(value.shape)}
            kinds[name] = "csr"
            tensors |= {f"{name}.{part}": np.ascontiguousarray(array) for part, array in parts.items()}
        elif isinstance(value, torch.Tensor):
            kinds[name] = "tensor"
            tensors[name] = np.ascontiguousarray(value.detach().cpu().numpy())
        else:
            kinds[name] = "array" if isinstance(value, np.ndarray) else "number"
            tensors[name] = np.array(value, order="C")
    return tensors, kinds


def unpack(tensors: dict[str, np.ndarray], kinds: dict[str, str]) -> dict:
    """What `pack` took apart, whole again. Raises KeyError for a part that is missing."""
    state = {}
    for name, kind in kinds.items():
        if kind == "csr":
            data, indices, indptr, shape = (tensors[f"{name}.{part}"] for part in ("data", "indices", "indptr", "shape"))
            state[name] = sparse.csr_matrix((data, indices, indptr), shape=tuple(shape))
        elif kind == "tensor":
            state[name] = torch.from_numpy(tensors[name].copy())
        else:
            state[name] = tensors[name] if kind == "array" else tensors[name].item()
    return state


def read(folder: Path) -> tuple[dict, bytes]:
    """Config and tensor bytes of a saved model. Raises ModelError where either is missing, altered or of a newer format."""
    for name in (CONFIG, TENSORS):
        if not (folder / name).is_file():
            raise ModelError(f"{folder / name} is missing: {folder} holds no complete saved model; check the path")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        version, _ = config["format"], [config[key] for key in ("class", "options", "kinds", "sha256")]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / CONFIG} is not a model's configuration ({error!r}); save the model again") from None
    if version != FORMAT:
        raise ModelError(f"{folder} has format {version}, this course_lib reads format {FORMAT}: update course_lib")
    data = (folder / TENSORS).read_bytes()
    if hashlib.sha256(data).hexdigest() != config["sha256"]:
        raise ModelError(f"{folder / TENSORS} does not match the sha256 in {CONFIG}: it is damaged or altered; save again")
    return config, data


def write(folder: Path, config: dict, data: bytes) -> None:
    """Both files beside `folder`, then renamed. Raises ModelError where `folder` is in the way and no model."""
    if folder.exists() and not (folder / CONFIG).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise ModelError(f"{folder} exists and is not a saved model: it is not overwritten; choose another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as beside:
        new, old = Path(beside, "new"), Path(beside, "old")
        new.mkdir()
        (new / TENSORS).write_bytes(data)
        (new / CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        if folder.exists():
            os.replace(folder, old)
        try:
            os.replace(new, folder)
        except OSError:
            if old.exists():
                os.replace(old, folder)
            raise
