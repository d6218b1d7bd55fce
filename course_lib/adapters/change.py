"""Adapters into a whole model, and out of it again."""

from __future__ import annotations

import re

from torch import nn

from course_lib.adapters.layers import KINDS, Adapted, AdapterError, HoulsbyAdapter, LoRALinear, PromptTuning

SUBLAYER_ENDS = re.compile(r"attention\.output(\.dense)?$|\d\.output\.dense$|feed_forward\.outer$")  # BertModel's and ours


def add_lora(model, *, targets=("query", "value"), rank=8, alpha=16, dropout=0.0, seed=0):
    """Put a `LoRALinear` in the place of every linear layer with one of these names; everything else rests.

    model: transformers.BertModel, our Encoder, or a module around them; changed in place and returned.
    Raises AdapterError for a name that no linear layer has, and for a model that has adapters already.
    """
    _check_bare(model)
    targets = [targets] if isinstance(targets, str) else list(targets)
    found = {name: part for name, part in _linears(model).items() if name.split(".")[-1] in targets}
    names = {name.split(".")[-1] for name in found}
    if not targets or set(targets) - names:
        there = sorted({name.split(".")[-1] for name in _linears(model)})
        missing = sorted(set(targets) - names)
        raise AdapterError(f"no linear layer of {type(model).__name__} is called {missing}; choose targets among {there}")
    options = {"targets": targets, "rank": rank, "alpha": alpha, "dropout": dropout}
    layers = {
        name: LoRALinear(part, rank=rank, alpha=alpha, dropout=dropout, seed=seed + i)
        for i, (name, part) in enumerate(found.items())
    }
    return _install(model, layers, "lora", options)


def add_houlsby(model, *, bottleneck=24, seed=0):
    """Put a `HoulsbyAdapter` at the end of every attention and feed-forward, before the sum; everything else rests.

    model: as for `add_lora`, changed in place and returned. With 24 numbers in each bottleneck the added parameters of the
    bundled encoder are a file below 1 MB (with 32 they are 1.2 MB). The layer norms rest too, where Houlsby et al. train them.
    Raises AdapterError where the model has no such layers, or has adapters already.
    """
    _check_bare(model)
    found = {name: part for name, part in _linears(model).items() if SUBLAYER_ENDS.search(name)}
    if not found:
        raise AdapterError(f"{type(model).__name__} has no BERT blocks to adapt: give a transformers.BertModel or an Encoder")
    layers = {
        name: Adapted(part, HoulsbyAdapter(part.out_features, bottleneck=bottleneck, seed=seed + i))
        for i, (name, part) in enumerate(found.items())
    }
    return _install(model, layers, "houlsby", {"bottleneck": bottleneck})


def add_prompt(model, *, tokens=10, keep=False, seed=0):
    """Let `tokens` learned vectors stand before every text, with the mask made longer to match; everything else rests.

    model: transformers.BertModel or our Encoder; changed in place and returned. Its hidden vectors are those of the words
    (batch, time, hidden); with keep=True the prompt's stand before them (batch, tokens + time, hidden).
    Raises AdapterError where there is no table of word vectors, or adapters are there already.
    """
    _check_bare(model)
    own = getattr(model, "embeddings", None)
    name = next((n for n in ("word", "word_embeddings") if isinstance(getattr(own, n, None), nn.Embedding)), None)
    if name is None:
        raise AdapterError(f"{type(model).__name__} has no table of word vectors: give a transformers.BertModel or an Encoder")
    prompt = PromptTuning(getattr(own, name), tokens=tokens, seed=seed)
    model.register_forward_pre_hook(prompt.widen, with_kwargs=True)
    if not keep:
        model.register_forward_hook(prompt.narrow)
    return _install(model, {f"embeddings.{name}": prompt}, "prompt", {"tokens": tokens, "keep": keep})


def merge(model):
    """Fold every LoRA change into its W, so that the model is as fast as before; changed in place and returned.

    Raises AdapterError for Houlsby's adapters and prompts, which no single W can hold, and for a model without adapters.
    """
    held = {name: part for name, part in model.named_modules() if isinstance(part, KINDS)}
    if any(isinstance(part, HoulsbyAdapter) for part in held.values()):
        raise AdapterError("a Houlsby adapter bends its input (GELU) between two layers, so it is no matrix that W could hold")
    if any(isinstance(part, PromptTuning) for part in held.values()):
        raise AdapterError("a prompt is added to the input and not to a weight, so there is nothing it could be merged into")
    if not held:
        raise AdapterError(f"{type(model).__name__} has no adapters to merge: call add_lora(model) first")
    for name, part in held.items():
        model.set_submodule(name, part.merged())
    for part in model.modules():
        part.__dict__.pop("adapters_", None)
    return model


def trainable_parameters(model) -> tuple[int, int]:
    """How many parameters learn, and how many there are; a shared one is counted once."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(n for n, learns in sizes if learns), sum(n for n, _ in sizes)


def _linears(model) -> dict[str, nn.Linear]:
    return {name: part for name, part in model.named_modules() if isinstance(part, nn.Linear)}


def _check_bare(model) -> None:
    kinds = sorted({type(part).__name__ for part in model.modules() if isinstance(part, KINDS)})
    if kinds:
        raise AdapterError(f"the model has {', '.join(kinds)} already: merge them, or start from the model without them")


def _install(model, layers: dict[str, nn.Module], kind: str, options: dict):
    """Freeze the model, put the layers in their places, and note what was done."""
    model.requires_grad_(False)
    for name, layer in layers.items():
        layer.train(model.training)
        model.set_submodule(name, layer)
    model.adapters_ = {"kind": kind, "options": options}
    return model
