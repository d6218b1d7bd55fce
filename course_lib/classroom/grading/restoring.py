"""What a call did to its arguments: told as data, so that the judge's own arguments can be changed alike."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from course_lib.classroom.grading.codec import LAZY, CodecError, Encoder


class Opaque(Exception):
    """A part of an argument that is no data."""


def snapshot(value):
    """A value's content as something that can be compared; None for what is no data."""
    if isinstance(value, LAZY):  # to look at it would use it up
        return None
    encoder = Encoder(_refuse)
    try:
        return encoder.encode(state(value)), encoder.blobs
    except (Opaque, CodecError):
        return None


def differences(before: list, values: list):
    """(position, content) of the arguments that are not what they were."""
    for position, (old, value) in enumerate(zip(before, values, strict=True)):
        if old is not None and snapshot(value) != old:
            yield position, state(value)


def state(value):
    """Content of an argument: of a module or another object its tensors and plain attributes, else the value itself."""
    if isinstance(value, torch.nn.Module):
        return {
            "parameters": {n: (p.detach(), p.requires_grad) for n, p in value.named_parameters()},
            "buffers": {n: b.detach() for n, b in value.named_buffers()},
            "training": {n: m.training for n, m in value.named_modules()},
            "plain": _plain(value),
        }
    if isinstance(value, torch.Tensor):
        return (value.detach(), value.grad)
    if _is_object(value):
        return {"plain": _plain(value)}
    return value


def restore(own, content) -> None:
    """Change the judge's argument in place to the content that `state` tells."""
    if isinstance(own, torch.nn.Module):
        _restore_module(own, content)
    elif isinstance(own, torch.Tensor):
        own.data.copy_(content[0])
        own.grad = content[1]
    elif isinstance(own, np.random.Generator):
        own.bit_generator.state = content.bit_generator.state
    elif isinstance(own, np.ndarray) and own.shape == content.shape:
        own[...] = content
    elif isinstance(own, pd.DataFrame | pd.Series | pd.Index):
        own.__dict__.update(content.__dict__)
    elif isinstance(own, list):
        _restore_list(own, content)
    elif isinstance(own, dict):
        own.clear()
        own.update(content)
    elif isinstance(own, set):
        own.clear()
        own.update(content)
    elif _is_object(own):
        vars(own).update(content["plain"])


def tensors(value) -> list[torch.Tensor]:
    """Tensors in nested lists, tuples and dicts, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, list | tuple):
        return [t for part in value for t in tensors(part)]
    return [t for part in value.values() for t in tensors(part)] if isinstance(value, dict) else []


def _restore_list(own: list, content: list) -> None:
    if len(own) == len(content) and all(isinstance(a, np.ndarray | torch.Tensor | list | dict) for a in own):
        for mine, new in zip(own, content, strict=True):
            restore(mine, (new, mine.grad) if isinstance(mine, torch.Tensor) else new)
    else:
        own[:] = content


def _restore_module(own: torch.nn.Module, content: dict) -> None:
    for name, parameter in own.named_parameters():
        if name in content["parameters"]:
            data, grad = content["parameters"][name]
            parameter.data.copy_(data)
            parameter.requires_grad_(grad)
    for name, buffer in own.named_buffers():
        if name in content["buffers"]:
            buffer.data.copy_(content["buffers"][name])
    for name, module in own.named_modules():
        module.training = content["training"].get(name, module.training)
    vars(own).update(content["plain"])


def _plain(value) -> dict:
    """Attributes of an object that are data and not private."""
    found = {}
    for name, attribute in vars(value).items():
        if not name.startswith("_") and snapshot(attribute) is not None:
            found[name] = attribute
    return found


def _is_object(value) -> bool:
    return hasattr(value, "__dict__") and not callable(value) and type(value).__module__ not in ("numpy", "pandas", "torch")


def _refuse(value) -> int:
    raise Opaque
