"""From a fitted model to the package it is served from: complete or not there at all, and never a pickle."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import os
import platform
import re
import tempfile
from dataclasses import asdict
from importlib.metadata import version as installed
from pathlib import Path

import numpy as np
from safetensors.numpy import save as save_tensors
from scipy import sparse

from course_lib.serving.folding import fold_in_of, text_map
from course_lib.serving.onnx import OnnxEncoder
from course_lib.serving.package import CONFIG, ENCODER, FORMAT, TENSORS, TOKENIZER, PackageError, digest_of
from course_lib.text.items import item_texts

SAMPLE = ["Toy Story (1995). Animation, Children's, Comedy", "a quiet film about the sea", "war"]
CLOSE = 0.9  # cosine that 8 bits and a pruned vocabulary leave
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def write_package(
    folder: Path | str,
    model,
    ratings,
    *,
    split,
    version: str,
    metrics: dict[str, float],
    name: str | None = None,
    text_encoder=None,
    onnx: Path | None = None,
) -> Path:
    """Write `model.safetensors`, `config.json` and, with `onnx`, the encoder to `folder`; what stood there is replaced.

    model: fitted on `split`, with the score ⟨x_u, v_i⟩ + b_i (ALS, MatrixFactorization, TwoTower); ratings: ids and titles;
    version, name (default: the model's class): letters, digits, dots and dashes; metrics: measured at training;
    text_encoder: makes a cold start from a text possible; onnx: its exported file, served instead of it.
    Raises PackageError for another kind of model, for tables that do not fit, and where `folder` is in the way.
    """
    folder, name = Path(folder).absolute(), name or type(model).__name__.lower()
    for what, value in (("version", version), ("name", name)):
        if not (isinstance(value, str) and PLAIN.fullmatch(value)):
            raise PackageError(f"{what} is {value!r}; use up to 64 letters, digits, dots and dashes, such as 2026.1")
    arrays = _vectors(model, ratings, split)
    seen = sparse.csr_matrix(split.matrix("train", values="binary"))
    seen.sort_indices()
    arrays |= {"seen_indptr": seen.indptr.astype(np.int64), "seen_indices": seen.indices.astype(np.int32)}
    fold_in = fold_in_of(model, arrays["user_vectors"], arrays["item_vectors"], float(ratings.scale[1]))
    encoder, files = _encoder(text_encoder, onnx)
    if text_encoder is not None:
        texts = np.asarray(text_encoder.encode(item_texts(ratings.items)), dtype=np.float32)
        counts = np.bincount(seen.indices, minlength=ratings.n_items)
        arrays["text_map"], arrays["text_intercept"] = text_map(texts, arrays["item_vectors"], counts)
    files[TENSORS] = save_tensors({key: np.ascontiguousarray(array) for key, array in arrays.items()})
    config = {
        "kind": "course_lib package",
        "format": FORMAT,
        "name": name,
        "version": version,
        "model": type(model).__name__,
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()} | {p: installed(p) for p in ("course_lib", "numpy", "safetensors")},
        "data": {"ratings": ratings.name, "split": split.name},
        "metrics": {key: float(value) for key, value in metrics.items()},
        "fold_in": asdict(fold_in),
        "encoder": encoder,
        "files": {key: hashlib.sha256(data).hexdigest() for key, data in files.items()},
        "user_ids": ratings.users["user_id"].tolist(),
        "item_ids": ratings.items["item_id"].tolist(),
        "titles": item_texts(ratings.items, parts=("title", "year")),
    }
    if not all(map(math.isfinite, config["metrics"].values())):
        raise PackageError(f"a metric is no finite number: {config['metrics']}; measure it again or leave it out")
    config["sha256"] = digest_of(config)
    _write(folder, files | {CONFIG: (json.dumps(config, indent=1, ensure_ascii=False) + "\n").encode()})
    return folder


def _vectors(model, ratings, split) -> dict[str, np.ndarray]:
    """User and item vectors and the item's bias, proved to give the model's own order."""
    kind = type(model).__name__
    try:
        users, items, bias = (np.asarray(getattr(model, f"{n}_")) for n in ("user_factors", "item_factors", "item_bias"))
    except AttributeError:
        raise PackageError(
            f"{kind} has no user and item vectors whose dot product is its score (or is not fitted); pack a fitted ALS, "
            "MatrixFactorization or TwoTower"
        ) from None
    shape = (ratings.n_users, ratings.n_items)
    if not (len(users), len(items)) == shape == (split.n_users, split.n_items):
        raise PackageError(
            f"the model has {len(users)} users and {len(items)} items, the ratings {shape[0]} and {shape[1]}, the split "
            f"{split.n_users} and {split.n_items}: pack a model with the data it was fitted on"
        )
    bias = bias + float(getattr(model, "mean_", 0.0))
    some = np.unique(np.linspace(0, len(users) - 1, 8).astype(int))
    gap = model.score(some) - (users[some] @ items.T + bias)
    if np.ptp(gap, axis=1).max() > 1e-4 * max(1.0, np.abs(gap).max()):
        raise PackageError(f"{kind}'s score is not ⟨user, item⟩ + bias up to the user's own constant; it cannot be packed")
    return {n: np.asarray(a, np.float32) for n, a in zip(("user_vectors", "item_vectors", "item_bias"), (users, items, bias),
                                                         strict=True)}  # fmt: skip


def _encoder(text_encoder, onnx) -> tuple[dict, dict[str, bytes]]:
    """What config.json says of the encoder, and its files."""
    if text_encoder is None:
        if onnx is not None:
            raise PackageError("onnx is the file of an exported encoder: give the encoder itself too, as text_encoder")
        return {}, {}
    about = {"hidden_size": int(text_encoder.hidden_size), "weights_sha256": getattr(text_encoder, "weights_sha", None)}
    if onnx is None:
        return about, {}
    tokenizer = Path(text_encoder.folder) / TOKENIZER
    for path in (Path(onnx), tokenizer):
        if not path.is_file():
            raise PackageError(f"{path} is missing; export the encoder again")
    exported = OnnxEncoder(onnx, tokenizer=tokenizer, unknown="unk").encode(SAMPLE)
    cosine = float((exported * text_encoder.encode(SAMPLE)).sum(axis=1).min())
    if cosine < CLOSE:
        raise PackageError(f"{onnx} is not an export of this encoder: a text's two vectors have a cosine of {cosine:.2f}")
    files = {ENCODER: Path(onnx).read_bytes(), TOKENIZER: tokenizer.read_bytes()}
    about |= {"file": ENCODER, "tokenizer": TOKENIZER, "max_length": int(text_encoder.max_length)}
    return about | {"sha256": hashlib.sha256(files[ENCODER]).hexdigest()}, files


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """All files beside `folder` and on the disk, then renamed."""
    if folder.exists() and not (folder / CONFIG).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise PackageError(f"{folder} exists and is no package: it is not overwritten; choose another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as beside:
        new, old = Path(beside, "new"), Path(beside, "old")
        new.mkdir()
        for name, data in files.items():
            with open(new / name, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        if folder.exists():
            os.replace(folder, old)
        try:
            os.replace(new, folder)
        except OSError:
            if old.exists():
                os.replace(old, folder)
            raise
