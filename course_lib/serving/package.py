"""The package a model is served from: read, verified, and able to answer. Nothing here needs torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from course_lib.serving.folding import FoldIn
from course_lib.serving.search import MANY, Index

FORMAT = 1
TENSORS, CONFIG, ENCODER, TOKENIZER = "model.safetensors", "config.json", "encoder.onnx", "tokenizer.json"
MATRICES = ("user_vectors", "item_vectors", "item_bias", "seen_indptr", "seen_indices")
NOTHING = np.zeros(0, dtype=np.intp)


class PackageError(RuntimeError):
    """A package cannot be written, read or trusted; the message says which file and what to do."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Recommended items, best first.

    kind: "known" (a user of the model), "cold_items", "cold_text", or "fallback" (the most popular items); rows: (n,) item
    indices; scores: n floats; unknown: ids that the model does not have, or words that its encoder cannot read.
    """

    kind: str
    rows: np.ndarray
    scores: list[float]
    unknown: list[int | str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Package:
    """A served model: ŷ_ui = ⟨x_u, v_i⟩ + b_i; its scores order the items of a user (a user's own bias is left out).

    user_vectors (U, d), item_vectors (I, d), item_bias (I,) float32; seen_indptr (U + 1,), seen_indices: the items that each
    user has train rows for, never recommended to that user; user_ids, item_ids, titles: by index; text_map (h, d) and
    text_intercept (d,): text vector → item vector, or None; metrics: what was measured at training; encoder: what the texts
    are read with, {} if nothing; folder: where it was read from.
    """

    name: str
    version: str
    model: str
    metrics: dict[str, float]
    user_ids: list[int | str]
    item_ids: list[int | str]
    titles: list[str]
    user_vectors: np.ndarray
    item_vectors: np.ndarray
    item_bias: np.ndarray
    seen_indptr: np.ndarray
    seen_indices: np.ndarray
    fold_in: FoldIn
    text_map: np.ndarray | None = None
    text_intercept: np.ndarray | None = None
    encoder: dict = field(default_factory=dict)
    folder: Path | None = None

    @cached_property
    def users(self) -> dict[str, int]:
        """Index of each user, by the id as text."""
        return {str(user): row for row, user in enumerate(self.user_ids)}

    @cached_property
    def items(self) -> dict[str, int]:
        """Index of each item, by the id as text."""
        return {str(item): row for row, item in enumerate(self.item_ids)}

    @cached_property
    def popularity(self) -> np.ndarray:
        """Share of the users who have a train row for each item → (I,)."""
        return np.bincount(self.seen_indices, minlength=len(self.item_ids)) / max(len(self.user_ids), 1)

    @cached_property
    def popular(self) -> np.ndarray:
        """Item indices, the most popular first → (I,)."""
        return np.argsort(-self.popularity, kind="stable")

    @cached_property
    def gram(self) -> np.ndarray:
        """VᵀV → (d, d) float64."""
        vectors = self.item_vectors.astype(np.float64)
        return vectors.T @ vectors

    @cached_property
    def index(self) -> Index | None:
        """What searches a large catalogue; None where plain numpy is as fast."""
        return Index(self.item_vectors, self.item_bias) if len(self.item_ids) > MANY else None

    def warm(self) -> Package:
        """Compute now what would else be computed at the first request; returns self."""
        for name in ("users", "items", "popularity", "popular", "gram", "index"):
            getattr(self, name)
        return self

    def seen(self, user: int) -> np.ndarray:
        """Item indices that the user with this index has train rows for."""
        return self.seen_indices[self.seen_indptr[user] : self.seen_indptr[user + 1]]

    def recommend(self, user_id: int | str, k: int = 10) -> Answer:
        """The k best items that the user has not seen (fewer, if fewer are left); for an unknown user the most popular."""
        user = self.users.get(str(user_id))
        if user is None or self.seen_indptr[user] == self.seen_indptr[user + 1]:
            return self.fallback(k)
        return self._best("known", self.user_vectors[user], self.seen(user), k)

    def recommend_for(self, liked: list[int | str], k: int = 10) -> Answer:
        """The k best items for a user who likes these, folded in; ids without an item come back in `unknown`."""
        found = {str(item): self.items.get(str(item)) for item in liked}
        unknown = [item for item in liked if found[str(item)] is None]
        rows = np.array(sorted({row for row in found.values() if row is not None}), dtype=np.int64)
        if not len(rows):
            return self.fallback(k, unknown)
        return self._best("cold_items", self.fold(self.item_vectors[rows], self.item_bias[rows]), rows, k, unknown)

    def recommend_text(self, text: np.ndarray, k: int = 10, unknown: list[str] | None = None) -> Answer:
        """The k best items for someone who describes what to watch: the text is folded in as if it were an item.

        text: its vector (h,), as the package's encoder makes it; unknown: words that the encoder could not read, to be named in
        the answer. Raises PackageError if the package reads no text.
        """
        if self.text_map is None:
            raise PackageError(f"{self.name} {self.version} was packed without a text encoder; it reads no text")
        vector = text @ self.text_map + self.text_intercept
        return self._best("cold_text", self.fold(vector[None], self.item_bias.mean(keepdims=True)), NOTHING, k, unknown)

    def fold(self, vectors: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """User vector from item vectors (n, d) and their biases (n,) → (d,)."""
        return self.fold_in.vector(vectors.astype(np.float64), bias, self.gram)

    def fallback(self, k: int, unknown: list | None = None) -> Answer:
        """The most popular items; their score is the share of the users who rated them."""
        rows = self.popular[:k]
        return Answer("fallback", rows, self.popularity[rows].tolist(), unknown or [])

    def listing(self, answer: Answer) -> list[dict]:
        """An answer for people: item_id, title and score of each item."""
        ids, titles = self.item_ids, self.titles
        pairs = zip(answer.rows.tolist(), answer.scores, strict=True)
        return [{"item_id": ids[row], "title": titles[row], "score": score} for row, score in pairs]

    def _best(self, kind: str, x: np.ndarray, without: np.ndarray, k: int, unknown: list | None = None) -> Answer:
        """The k items with the largest ⟨x, v_i⟩ + b_i outside `without`; ties go to the lower index."""
        k = min(k, len(self.item_ids) - len(without))
        if k <= 0:
            return Answer(kind, NOTHING, [], unknown or [])
        if self.index is not None:
            found = self.index.search(x, k, exclude=[without])
            return Answer(kind, found.items[0], found.scores[0].tolist(), unknown or [])
        scores = self.item_vectors @ x
        scores += self.item_bias
        scores[without] = -np.inf
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        rows = (scores >= least).nonzero()[0]
        rows = rows[np.argsort(-scores[rows], kind="stable")[:k]]
        return Answer(kind, rows, scores[rows].tolist(), unknown or [])


def load_package(folder: Path | str) -> Package:
    """The package in `folder`, every file held against its sha256.

    Raises PackageError for a missing, altered or foreign file and for a newer format.
    """
    folder = Path(folder).absolute()
    config = _config(folder)
    for name in set(config["files"]) - {TENSORS}:
        _verify(folder / name, config["files"][name])
    data = _verify(folder / TENSORS, config["files"][TENSORS], keep=True)
    try:
        tensors = load_tensors(data)
        matrices = {name: tensors[name] for name in MATRICES}
        matrices["seen_indices"] = matrices["seen_indices"].astype(np.intp)  # numpy indexes three times as fast by its own type
        texts = {name: tensors.get(name) for name in ("text_map", "text_intercept")}
        plain = {name: config[name] for name in ("name", "version", "model", "metrics", "user_ids", "item_ids", "titles")}
        package = Package(
            **plain, **matrices, **texts, fold_in=FoldIn(**config["fold_in"]), encoder=config["encoder"], folder=folder
        )
    except (KeyError, TypeError, SafetensorError) as error:
        raise PackageError(f"{folder} does not hold what a package must ({error}); write it again") from None
    _consistent(package, folder)
    return package.warm()


def digest_of(config: dict) -> str:
    """sha256 of a configuration without its own digest."""
    rest = {key: value for key, value in config.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()


def _config(folder: Path) -> dict:
    """config.json, if this version can read it and it is whole."""
    path = folder / CONFIG
    if not path.is_file():
        raise PackageError(f"{path} is missing: {folder} holds no package; check the path")
    try:
        config = json.loads(path.read_bytes())
        kind, version, files = config["kind"], config["format"], config["files"]
        readable = kind == "course_lib package" and isinstance(version, int) and isinstance(files, dict)
    except (ValueError, KeyError, TypeError, RecursionError):
        readable = False
    if not readable:
        raise PackageError(f"{path} is not a package's configuration; write the package again with write_package")
    if version > FORMAT:
        raise PackageError(f"{folder} has format {version}, this course_lib reads up to {FORMAT}: update course_lib")
    if config.get("sha256") != digest_of(config):
        raise PackageError(f"{path} does not match its own sha256: it is damaged or was edited; write the package again")
    if TENSORS not in files or any(Path(name).name != name for name in files):
        raise PackageError(f"{path} must list {TENSORS} and plain file names; write the package again")
    return config


def _verify(path: Path, digest: str, *, keep: bool = False) -> bytes:
    """Hold a file against its digest; with `keep`, return the bytes that were checked."""
    if not path.is_file():
        raise PackageError(f"{path} is missing, but {CONFIG} lists it: the package is incomplete; copy or write it again")
    with open(path, "rb") as file:
        data = file.read() if keep else b""
        found = hashlib.sha256(data) if keep else hashlib.file_digest(file, "sha256")
    if found.hexdigest() != digest:
        raise PackageError(f"{path} does not match the sha256 in {CONFIG}: it is damaged or altered; copy or write it again")
    return data


def _consistent(package: Package, folder: Path) -> None:
    """Raises PackageError where shapes or values do not fit together."""
    (n, d), m = package.user_vectors.shape, len(package.item_vectors)
    fits = {
        "item_vectors": package.item_vectors.shape == (m, d),
        "item_bias": package.item_bias.shape == (m,),
        "user_ids": len(package.user_ids) == len(package.users) == n,
        "item_ids": len(package.item_ids) == len(package.items) == m > 0,
        "titles": len(package.titles) == m,
        "seen_indptr": package.seen_indptr.shape == (n + 1,),
        "text_map": (package.text_map is None) == (package.text_intercept is None),
        "finite values": all(np.isfinite(a).all() for a in (package.user_vectors, package.item_vectors, package.item_bias)),
    }
    wrong = [name for name, fit in fits.items() if not fit]
    if wrong:
        raise PackageError(f"{folder}: {', '.join(wrong)} of {n} users and {m} items do not fit together; write it again")
