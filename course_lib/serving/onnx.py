"""The encoder as one file that needs no torch to be read: from word pieces to the vector of a text, in ONNX."""

from __future__ import annotations

import copy
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from course_lib.serving.words import lost_words

INPUTS, OUTPUT = ("input_ids", "attention_mask"), "vectors"  # an output named "embedding" would make an invalid file
FORMAT = "1"
SLOW_FUSION = "SkipLayerNormFusion"  # on a CPU its kernel takes ten times as long as the two operators that it joins
TOLERANCE = 1e-4  # what a fresh export may differ from torch by, before normalisation


class OnnxError(RuntimeError):
    """An encoder cannot be exported or opened; the message says why and what to do."""


def export_encoder(encoder, path: Path | str, *, vocabulary=None) -> Path:
    """Write input_ids, attention_mask (n, t) int64 → vectors (n, h) float32, pooled but not yet of unit length, to `path`.

    encoder: a TextEncoder, trained further or not; vocabulary: ids of the word pieces to keep (`text.used_pieces`), without
    it all of them. The attention is written out plainly, which ONNX Runtime fuses best. The file is run once and compared
    with torch before it gets its name. Raises OnnxError where the model cannot be exported or the two differ.
    """
    import torch

    graph = _graph(encoder, vocabulary)
    sample = _arrays([[0, 0, 0, 0], [0, 0, 0]] if vocabulary is None else [[int(vocabulary[0])] * 4, [int(vocabulary[-1])] * 3])
    given = tuple(map(torch.from_numpy, sample))
    axes = {0: "texts", 1: "pieces"}
    with _quiet(), torch.inference_mode():
        try:
            program = torch.onnx.export(
                graph,
                given,
                dynamo=True,
                verbose=False,
                input_names=INPUTS,
                output_names=(OUTPUT,),
                dynamic_shapes=(axes, axes),
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise OnnxError(f"the encoder in {encoder.folder} cannot be exported ({_first_line(error)})") from error
    program.model.metadata_props.update(_about(encoder, vocabulary))
    with _beside(Path(path)) as beside:
        program.save(beside, external_data=False)
        found = _session(beside, threads=1).run(None, dict(zip(INPUTS, sample, strict=True)))[0]
        with torch.inference_mode():
            difference = float(np.abs(found - graph(*given).numpy()).max())
        if not difference <= TOLERANCE:
            raise OnnxError(f"ONNX Runtime and torch differ by {difference:.1e} on one text, so {path} was not written")
    return Path(path)


def quantize(path: Path | str, out: Path | str, *, texts: Iterable[str] | None = None, tokenizer=None) -> Path:
    """The same encoder with weights of 8 bits, a scale for each output channel; → `out`.

    x W ≈ s_x s_W (X − z_x) W₈, where the weights' scales s_W are fixed now and s_x, z_x are those of each batch (dynamic). The
    table of word pieces is quantized too: the file shrinks to a quarter. Vectors of a batch depend slightly on the batch.
    texts: some dozens of typical ones, with the tokenizer as `OnnxEncoder` takes it; the few channels that are far larger than
    the others on these are scaled first (`balance`), which keeps more neighbours at hardly any cost.
    Source: Jacob et al. (2018), Quantization and training of neural networks for efficient integer-arithmetic-only inference.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    if (texts is None) != (tokenizer is None):
        raise ValueError("texts are read by a tokenizer: give quantize both or neither")
    _session(Path(path), threads=1)  # refuses what is no encoder
    model = onnx.load(path)
    if texts is not None:
        from course_lib.serving.balance import balance

        pieces = OnnxEncoder(path, tokenizer=tokenizer).pieces(texts)
        model = balance(model, dict(zip(INPUTS, _arrays(pieces), strict=True)))
    with _beside(Path(out)) as beside, tempfile.TemporaryDirectory() as folder, _quiet():
        inferred = Path(folder) / "inferred.onnx"
        quant_pre_process(model, inferred, skip_optimization=True, skip_symbolic_shape=True)
        quantize_dynamic(inferred, beside, weight_type=QuantType.QInt8, per_channel=True)
    return Path(out)


class OnnxEncoder:
    """The vectors of a TextEncoder from an exported file, by ONNX Runtime on the CPU.

    path: the file; tokenizer: the encoder's `tokenizer.json`, the folder that holds it, or a transformers tokenizer;
    batch_size: texts per step (16 keeps a step in the processor's cache); threads: of one step (a service scales by processes);
    unknown: what to do with a word piece that a pruned vocabulary lacks: "error", or "unk" to read it as [UNK]; vocabulary: ids
    to read the file with as if the others had been pruned, which shows what that costs before it is done.
    Raises OnnxError for a file that is missing, damaged, or not written by `export_encoder`.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        tokenizer,
        batch_size: int = 16,
        threads: int = 1,
        unknown: str = "error",
        vocabulary: Iterable[int] | None = None,
    ):
        if batch_size < 1 or threads < 1 or unknown not in ("error", "unk"):
            raise ValueError(
                f"batch_size and threads start at 1, unknown is 'error' or 'unk'; but are {batch_size}, {threads}, {unknown!r}"
            )
        self.path, self.batch_size, self.unknown = Path(path), batch_size, unknown
        self._session = _session(self.path, threads=threads)
        about = self._session.get_modelmeta().custom_metadata_map
        self.hidden_size, self.max_length = int(about["hidden_size"]), int(about["max_length"])
        self._pieces = frozenset(json.loads(about["pieces"])) if "pieces" in about else None
        if vocabulary is not None:
            chosen = frozenset(int(i) for i in vocabulary)
            self._pieces = chosen if self._pieces is None else self._pieces & chosen
        self._padding, self._unk = int(about["padding"]), int(about["unk"])
        self._tokenizer = _tokenizer(tokenizer, self.max_length)

    def encode(self, texts: Iterable[str], *, normalise: bool = True) -> np.ndarray:
        """Vectors of the texts → (n, hidden_size) float32, row i for text i.

        normalise: unit length. Raises ValueError for anything but a list of str, and for word pieces that were pruned.
        """
        pieces = self.pieces(texts)
        order = sorted(range(len(pieces)), key=lambda i: (-len(pieces[i]), i))  # like lengths together: little padding
        rows = np.empty((len(pieces), self.hidden_size), dtype=np.float32)
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            given = _arrays([pieces[i] for i in batch], self._padding)
            rows[batch] = self._session.run([OUTPUT], dict(zip(INPUTS, given, strict=True)))[0]
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) if normalise else rows

    def pieces(self, texts: Iterable[str]) -> list[list[int]]:
        """Ids of the word pieces of each text, cut at max_length. Raises ValueError as `encode` does."""
        return [self._known(found) for found in self._tokenizer.encode_batch(_checked(texts))]

    def lost(self, texts: Iterable[str]) -> list[list[str]]:
        """The words and signs of each text with a piece that the file lacks, or that the tokenizer does not know; each once.

        Raises ValueError for anything but a list of str. What was cut off at max_length is not looked at.
        """
        return lost_words(_checked(texts), tokenizer=self._tokenizer, pieces=self._pieces)

    def _known(self, found) -> list[int]:
        """Ids of one text, all of them in the table."""
        if self._pieces is None or self._pieces.issuperset(found.ids):
            return found.ids
        if self.unknown == "unk":
            return [i if i in self._pieces else self._unk for i in found.ids]
        lost = [token for token, i in zip(found.tokens, found.ids, strict=True) if i not in self._pieces]
        raise ValueError(
            f"the vocabulary of {self.path.name} was pruned and lacks {', '.join(lost[:5])}: export the encoder again with the "
            "texts that are read today, or open it with unknown='unk'"
        )


def _graph(encoder, vocabulary):
    """Pieces → pooled vector as a module of its own, on the CPU; the encoder stays as it is."""
    import torch

    from course_lib.text import PrunedEmbedding

    with torch.inference_mode(False):
        model = copy.deepcopy(encoder.model).to("cpu", torch.float32).eval()
        if vocabulary is not None:
            model.set_input_embeddings(PrunedEmbedding(model.get_input_embeddings(), torch.as_tensor(vocabulary)))
    model.set_attn_implementation("eager")

    class Graph(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask):
            mask = attention_mask.to(torch.float32)
            closed = (1 - mask)[:, None, None, :] * torch.finfo(torch.float32).min  # (n, 1, 1, t), added to the scores
            hidden = self.model(input_ids=input_ids, attention_mask=closed).last_hidden_state
            return encoder._pool(hidden, mask)

    return Graph().eval()


def _about(encoder, vocabulary) -> dict[str, str]:
    """What a reader of the file must know besides its graph."""
    tokenizer = encoder.tokenizer
    about = {"format": FORMAT, "hidden_size": encoder.hidden_size, "max_length": encoder.max_length}
    about |= {"padding": tokenizer.pad_token_id or 0, "unk": tokenizer.unk_token_id or 0}
    if encoder.unchanged:
        about["weights_sha256"] = encoder.weights_sha
    if vocabulary is not None:
        about["pieces"] = json.dumps(sorted({int(i) for i in vocabulary}))
    return {name: str(value) for name, value in about.items()}


def _session(path: Path, *, threads: int):
    """An open file. Raises OnnxError unless `export_encoder` wrote it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    if not path.is_file():
        raise OnnxError(f"{path} is missing: write it with export_encoder first")
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=[SLOW_FUSION]
        )
    except Exception as error:  # the runtime has a class for each of its faults, and no common one
        raise OnnxError(f"{path} cannot be opened ({_first_line(error)}); export the encoder again") from None
    found = session.get_modelmeta().custom_metadata_map.get("format")
    if found != FORMAT:
        raise OnnxError(f"{path} is of format {found}, this version reads {FORMAT}: write it with export_encoder")
    return session


def _tokenizer(source, max_length: int):
    """A tokenizer of its own that cuts at max_length and pads nothing."""
    from tokenizers import Tokenizer

    if isinstance(source, str | Path):
        path = Path(source) / "tokenizer.json" if Path(source).is_dir() else Path(source)
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises plain Exception
            raise OnnxError(f"{path} is no tokenizer ({_first_line(error)}); copy the encoder's tokenizer.json again") from None
    else:
        tokenizer = Tokenizer.from_str(source.backend_tokenizer.to_str())
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return tokenizer


def _checked(texts) -> list[str]:
    if isinstance(texts, str):
        raise ValueError(f"texts is one text, {texts[:30]!r}; put it into a list: [text]")
    texts = list(texts)
    wrong = next((i for i, text in enumerate(texts) if not isinstance(text, str)), None)
    if wrong is not None:
        raise ValueError(f"texts[{wrong}] is {texts[wrong]!r}; every text must be a str")
    return texts


def _arrays(pieces: list[list[int]], padding: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Lists of different lengths → ids and mask, int64 (n, longest)."""
    longest = max(map(len, pieces))
    ids = np.array([row + [padding] * (longest - len(row)) for row in pieces], dtype=np.int64)
    return ids, (np.arange(longest) < np.array([[len(row)] for row in pieces])).astype(np.int64)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A path next to `path`; it gets its name only if all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        beside = Path(folder) / path.name
        yield beside
        os.replace(beside, path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' remarks on packages that are not needed and passes that were left out."""
    logger, level = logging.getLogger("torch.onnx._internal.exporter._registration"), logging.ERROR
    before = logger.level
    logger.setLevel(level)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
