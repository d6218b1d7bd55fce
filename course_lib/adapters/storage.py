"""Adapters on disk: the added parameters alone, and the sha256 of the weights that they were added to."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from course_lib.adapters.change import add_houlsby, add_lora, add_prompt
from course_lib.adapters.layers import AdapterError, adapter_parameters

FORMAT = 1
ADD = {"lora": add_lora, "houlsby": add_houlsby, "prompt": add_prompt}


def save_adapters(model, path, *, dtype=None) -> Path:
    """Write the added parameters alone to one .safetensors file: complete or not at all.

    The file also says what was added, and to which weights (their sha256). dtype: None keeps every bit; torch.bfloat16
    halves the file and rounds. Raises AdapterError where nothing was added.
    """
    plan = _plan(model)
    tensors = {name: p.detach().to("cpu", dtype or p.dtype).contiguous() for name, p in adapter_parameters(model).items()}
    content = {"format": FORMAT, **plan, "base": _base_digest(model), "sha256": _digest(tensors)}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as beside:
        save_file(tensors, Path(beside, "new"), metadata={"adapters": json.dumps(content)})
        os.replace(Path(beside, "new"), path)
    return path


@torch.no_grad()
def load_adapters(model, path):
    """Give a model the adapters of a file; a bare model gets them added first. Changed in place and returned.

    Raises AdapterError for a missing, altered or newer file, another base model, or adapters of another kind or size;
    the model is then as it was.
    """
    content, tensors = _read(Path(path))
    if content["base"] != _base_digest(model):
        raise AdapterError(f"{path} was trained on other weights than this {type(model).__name__}'s: load the model it names")
    plan = {key: content[key] for key in ("kind", "options")}
    if "adapters_" not in model.__dict__:
        ADD[content["kind"]](model, **content["options"])
    elif model.adapters_ != plan:
        raise AdapterError(f"{path} holds {_words(plan)}, the model has {_words(model.adapters_)}: load into a bare model")
    for name, parameter in adapter_parameters(model).items():
        parameter.copy_(tensors[name])
    return model


def _plan(model) -> dict:
    if "adapters_" not in model.__dict__:
        raise AdapterError(f"this {type(model).__name__} has no adapters: give the model that add_lora (or another) returned")
    return model.adapters_


def _words(plan: dict) -> str:
    return f"{plan['kind']} ({', '.join(f'{name} {value}' for name, value in plan['options'].items())})"


def _digest(tensors: dict[str, torch.Tensor]) -> str:
    """Sha256 over names, shapes, types and bits, in order of name."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()


def _base_digest(model) -> str:
    """Of the model without what was added, and without a pooler, on which hidden vectors do not depend."""
    added = adapter_parameters(model)
    rest = {name.replace(".base.", "."): p for name, p in model.named_parameters() if name not in added}
    return _digest({name: p for name, p in rest.items() if not name.startswith("pooler.")})


def _read(path: Path) -> tuple[dict, dict[str, torch.Tensor]]:
    if not path.is_file():
        raise AdapterError(f"{path} is missing: check the path, or save adapters there with save_adapters")
    try:
        with safe_open(path, framework="pt") as file:
            content = json.loads((file.metadata() or {})["adapters"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        version, _ = content["format"], [content[key] for key in ("kind", "options", "base", "sha256")]
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise AdapterError(f"{path} is no file of adapters, or is damaged ({error!r}); save them again") from None
    if version != FORMAT:
        raise AdapterError(f"{path} has format {version}, this course_lib reads format {FORMAT}: update course_lib")
    if _digest(tensors) != content["sha256"]:
        raise AdapterError(f"{path} does not match its own sha256: it is damaged or altered; save the adapters again")
    return content, tensors
