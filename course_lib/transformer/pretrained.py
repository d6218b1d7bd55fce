"""A BERT's folder on disk: `config.json` and `model.safetensors`, read into the names of our encoder."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from course_lib.datasets import DataError

CONFIG, WEIGHTS = "config.json", "model.safetensors"
NAMES = {  # ours → BERT's
    "embeddings.word": "embeddings.word_embeddings",
    "embeddings.position": "embeddings.position_embeddings",
    "embeddings.segment": "embeddings.token_type_embeddings",
    "embeddings.norm": "embeddings.LayerNorm",
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "feed_forward.inner": "intermediate.dense",
    "feed_forward.outer": "output.dense",
    "feed_forward_norm": "output.LayerNorm",
}
FIELDS = {  # ours → BERT's
    "vocabulary": "vocab_size",
    "hidden": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "intermediate": "intermediate_size",
    "positions": "max_position_embeddings",
    "segments": "type_vocab_size",
    "dropout": "hidden_dropout_prob",
    "epsilon": "layer_norm_eps",
}
SETTLED = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}  # what our encoder computes
UNUSED = re.compile(r"pooler\.|cls\.|embeddings\.position_ids$")  # heads of other tasks, and a constant


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes of an encoder. dropout is one share for attention weights and sub-layers alike."""

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    intermediate: int
    positions: int = 512
    segments: int = 2
    dropout: float = 0.1
    epsilon: float = 1e-12


def bert_name(name: str) -> str:
    """BERT's name of one of our weights: "blocks.0.attention.query.bias" → "encoder.layer.0.attention.self.query.bias"."""
    layer, number, rest = re.fullmatch(r"(blocks\.(\d+)\.)?(.+)", name).groups()
    part, kind = rest.rsplit(".", 1)
    return f"{f'encoder.layer.{number}.' if layer else ''}{NAMES[part]}.{kind}"


def read_config(folder) -> EncoderConfig:
    """Sizes from `config.json`; raises DataError if it is missing, broken, or describes what our encoder does not compute."""
    path = Path(folder) / CONFIG
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} is missing: give the folder of a BERT, with {CONFIG} and {WEIGHTS} in it") from None
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); download the model again") from None
    for name, value in SETTLED.items():
        if found.get(name, value) != value:
            raise DataError(f"{path}: {name} is {found[name]!r}, but this encoder is a BERT with {value!r}; use another model")
    missing = [name for name in FIELDS.values() if name not in found]
    if missing:
        raise DataError(f"{path} lacks {', '.join(missing)}; download the model again")
    return EncoderConfig(**{ours: found[name] for ours, name in FIELDS.items()})


def read_weights(folder, shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """The float32 weights of `model.safetensors` under our names; every one used, none missing.

    shapes: our name → shape. Raises DataError that names weights that are missing, unknown or of another shape.
    """
    path = Path(folder) / WEIGHTS
    try:
        found = {_plain(name): weight for name, weight in load_file(path).items()}
    except FileNotFoundError:
        raise DataError(f"{path} is missing: save the model in the safetensors format first") from None
    except SafetensorError as error:
        raise DataError(f"{path} is not a safetensors file ({error}); download the model again") from None
    found = {name: weight for name, weight in found.items() if not UNUSED.match(name)}
    places = {name: bert_name(name) for name in shapes}
    missing = [name for name in places.values() if name not in found]
    unknown = sorted(set(found) - set(places.values()))
    shape = [
        f"{name} is {tuple(found[name].shape)} and should be {shapes[ours]}"
        for ours, name in places.items()
        if name in found and tuple(found[name].shape) != shapes[ours]
    ]
    problems = [f"missing: {_some(missing)}"] * bool(missing) + [f"unknown: {_some(unknown)}"] * bool(unknown)
    problems += [f"of another shape: {_some(shape)}"] * bool(shape)
    if problems:
        raise DataError(f"{path} does not hold the weights that {CONFIG} describes; {'; '.join(problems)}")
    return {ours: found[name].float() for ours, name in places.items()}


def _plain(name: str) -> str:
    """Without the prefix that a model with a head puts before its encoder, and with today's names of LayerNorm's weights."""
    name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name.removeprefix("bert."))
    return re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)


def _some(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
