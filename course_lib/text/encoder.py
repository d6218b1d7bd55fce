"""A vector for a text: a pretrained BERT, its word vectors averaged, each text computed once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import normalize
from tqdm.auto import tqdm

from course_lib.config import settings
from course_lib.datasets import DataError
from course_lib.text.source import encoder_source, locate, read_config, weights_digest
from course_lib.text.vectors import VectorCache


def tokenize(texts: Iterable[str], *, tokenizer, max_length: int = 64) -> dict[str, torch.Tensor]:
    """Word pieces of each text, padded to the longest of these texts.

    → input_ids and attention_mask, both int64 (n, t) with t ≤ max_length; the mask is 1 on pieces and 0 on padding.
    Raises ValueError for anything but a list of str.
    """
    texts = _checked(texts)
    if not texts:
        return {name: torch.zeros((0, 0), dtype=torch.int64) for name in ("input_ids", "attention_mask")}
    rows = tokenizer(texts, truncation=True, max_length=max_length, padding=True, return_tensors="pt")
    return {name: rows[name] for name in ("input_ids", "attention_mask")}


class TextEncoder:
    """v = h / ‖h‖, h = Σ_t m_t h_t / Σ_t m_t: the mean of BERT's last vectors over the pieces of a text, at unit length.

    source: folder or hub name (default: COURSE_ENCODER, else the bundled all-MiniLM-L6-v2); device: "cpu" or "cuda"
    (default: the profile's); batch_size: texts per step; max_length: pieces read per text (default: what the model was
    published with). The weights' sha256 is checked or computed here; `model` (transformers) is loaded when it is first used.
    Raises DataError where there is no encoder, or the bundled weights are not those of data/sources.toml.
    Source: Reimers and Gurevych (2019), Sentence-BERT, section 3; the model card of all-MiniLM-L6-v2.
    """

    def __init__(
        self,
        source: Path | str | None = None,
        *,
        device: str | None = None,
        batch_size: int = 64,
        max_length: int | None = None,
    ):
        if batch_size < 1 or (max_length is not None and max_length < 2):
            raise ValueError(f"batch_size starts at 1 and max_length at 2, but are {batch_size} and {max_length}")
        self.folder = locate(encoder_source() if source is None else source)
        self.config = read_config(self.folder)
        if "hidden_size" not in self.config or self.config.get("is_encoder_decoder"):
            raise DataError(f"{self.folder / 'config.json'} is not of a BERT-like encoder; choose one with a hidden_size")
        self.hidden_size: int = self.config["hidden_size"]
        self.batch_size, self.device = batch_size, device or settings().device
        published = read_config(self.folder, "sentence_bert_config.json").get("max_seq_length")
        self.max_length: int = max_length or published or self.config.get("max_position_embeddings", 512)
        self.first_token = _pools_first(self.folder)
        self.weights_sha = weights_digest(self.folder)
        self._neighbours: dict[tuple[str, int], list[str]] = {}

    @cached_property
    def tokenizer(self):
        """The tokenizer of the weights, from transformers."""
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.folder)

    @cached_property
    def model(self) -> torch.nn.Module:
        """The transformers model in float32, in evaluation mode."""
        from transformers import AutoModel

        with _quiet(), torch.inference_mode(False):  # weights made in inference mode could never be trained
            model = AutoModel.from_pretrained(self.folder, dtype=torch.float32).to(self.device).eval()
        self._loaded = _state(model)
        return model

    @property
    def unchanged(self) -> bool:
        """Whether the weights are still those that `weights_sha` names: nobody has trained or extended `model`."""
        return "model" not in self.__dict__ or _state(self.model) == getattr(self, "_loaded", None)

    def encode(
        self, texts: Iterable[str], *, centred: bool = False, normalise: bool = True, progress: bool = False, cache: bool = True
    ) -> np.ndarray:
        """Vectors of the texts → (n, hidden_size) float32, row i for text i.

        centred: minus the mean of these n rows (no longer of unit length); normalise: unit length; progress: show a bar;
        cache: read and store vectors in the data folder, by weights and text. A model that was changed after loading is
        neither read from there nor stored. Dropout is off. Raises ValueError for anything but a list of str.
        """
        texts = _checked(texts)
        distinct = sorted(set(texts))
        store = VectorCache(self._cache_name(), self.hidden_size) if cache and distinct and self.unchanged else None
        known = store.read(distinct) if store else {}
        missing = [text for text in distinct if text not in known]
        if missing:
            fresh = dict(zip(missing, self._compute(missing, progress), strict=True))
            known |= fresh
            if store:
                store.write(fresh)
        rows = np.array([known[text] for text in texts], dtype=np.float32).reshape(len(texts), self.hidden_size)
        if normalise:
            rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        return (rows - rows.mean(0, dtype=np.float64)).astype(np.float32) if centred and texts else rows

    @torch.inference_mode()
    def _compute(self, texts: list[str], progress: bool) -> np.ndarray:
        """Pooled vectors before normalisation: texts of like length together, so that hardly anything is padded."""
        model, device = self.model, next(self.model.parameters()).device
        pieces = self.tokenizer(texts, truncation=True, max_length=self.max_length)["input_ids"]
        order = sorted(range(len(texts)), key=lambda i: (-len(pieces[i]), i))  # the longest first: memory fails early
        rows = np.empty((len(texts), self.hidden_size), dtype=np.float32)
        training = model.training
        model.eval()
        try:
            with tqdm(total=len(texts), desc="texts", disable=not progress) as bar:
                for batch in _batches(order, self.batch_size):
                    ids, mask = _pad([pieces[i] for i in batch], self.tokenizer.pad_token_id or 0)
                    hidden = model(input_ids=ids.to(device), attention_mask=mask.to(device)).last_hidden_state
                    rows[batch] = self._pool(hidden, mask.to(device)).float().cpu().numpy()
                    bar.update(len(batch))
        finally:
            model.train(training)
        return rows

    def _pool(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(n, t, hidden), (n, t) → (n, hidden)."""
        if self.first_token:
            return hidden[:, 0]
        mask = mask[..., None].to(hidden.dtype)
        return (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)

    def _cache_name(self) -> str:
        """Digest of all that a vector depends on but the text."""
        names = ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "config.json")
        files = [p.read_bytes() for p in (self.folder / name for name in names) if p.is_file()]
        parts = [self.weights_sha, str(self.max_length), str(self.first_token), *(hashlib.sha256(f).hexdigest() for f in files)]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:24]

    @cached_property
    def _words(self) -> tuple[list[str], dict[str, int], torch.Tensor]:
        """The vocabulary's whole words of three letters or more, their rows, and their input vectors at unit length."""
        pieces = sorted((i, w) for w, i in self.tokenizer.get_vocab().items() if len(w) > 2 and w.isascii() and w.isalpha())
        table = self.model.get_input_embeddings().weight.detach()
        words = [word for _, word in pieces]
        rows = {word: row for row, word in enumerate(words)}
        return words, rows, normalize(table[[i for i, _ in pieces]], dim=-1).cpu()

    def neighbours(self, word: str, k: int) -> list[str]:
        """The k words with the largest cosine to `word`, ties by place in the vocabulary; [] if it is not one whole piece."""
        words, rows, vectors = self._words
        if word not in rows:
            return []
        if (word, k) not in self._neighbours:
            cosines = (vectors @ vectors[rows[word]]).numpy()
            cosines[rows[word]] = -np.inf
            self._neighbours[word, k] = [words[i] for i in np.argsort(-cosines, kind="stable")[:k]]
        return list(self._neighbours[word, k])


def _batches(order: list[int], size: int) -> list[list[int]]:
    return [order[start : start + size] for start in range(0, len(order), size)]


def _pad(pieces: list[list[int]], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Lists of different lengths → ids and mask, int64 (n, longest)."""
    longest = max(map(len, pieces))
    ids = torch.tensor([row + [padding] * (longest - len(row)) for row in pieces])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in pieces])
    return ids, mask


def _checked(texts) -> list[str]:
    if isinstance(texts, str):
        raise ValueError(f"texts is one text, {texts[:30]!r}; put it into a list: [text]")
    texts = list(texts)
    wrong = next((i for i, text in enumerate(texts) if not isinstance(text, str)), None)
    if wrong is not None:
        raise ValueError(f"texts[{wrong}] is {texts[wrong]!r}; every text must be a str")
    return texts


def _state(model: torch.nn.Module) -> list[tuple]:
    """Name, type of number, count of changes and sum of each parameter: adapters change the first, training the last two.

    The sum is needed because torch's fused optimizers do not count their changes.
    """
    named = model.named_parameters()
    return [(name, p.dtype, p._version, float(p.detach().sum(dtype=torch.float64))) for name, p in named]


def _pools_first(folder: Path) -> bool:
    """Whether the model was published with its first piece as the vector; DataError if neither that nor the mean."""
    pooling = read_config(folder, "1_Pooling/config.json")
    modes = {key.removeprefix("pooling_mode_") for key, on in pooling.items() if key.startswith("pooling_mode_") and on is True}
    modes = modes or {pooling.get("pooling_mode", "mean")}
    if modes in ({"cls_token"}, {"cls"}):
        return True
    if modes in ({"mean_tokens"}, {"mean"}):
        return False
    raise DataError(
        f"{folder / '1_Pooling'}: pooling by {', '.join(map(str, modes))}; only mean and first token are known here"
    )


@contextmanager
def _quiet():
    """Without the bars and reports that transformers prints while it loads."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
