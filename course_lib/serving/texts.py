"""What reads the texts that clients send: the encoder of the package, without a trace on the disk."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from course_lib.serving.package import ENCODER, TOKENIZER, Package, PackageError
from course_lib.serving.words import lost_words


class Encoder(Protocol):
    """Whatever turns texts into vectors; one that can also name what it cannot read has `lost`, as OnnxEncoder."""

    def encode(self, texts: list[str]) -> np.ndarray:
        """(n,) texts → (n, h) float32 of unit length."""


def read(encoder: Encoder, texts: list[str]) -> list[tuple[np.ndarray, list[str]]]:
    """The vector of each text, and the words in it that the encoder cannot read, if it can name them (`lost`)."""
    lost = encoder.lost(texts) if hasattr(encoder, "lost") else [[]] * len(texts)
    return list(zip(encoder.encode(texts), lost, strict=True))


class Torch:
    """The course's TextEncoder without its cache: what clients write is not stored."""

    def __init__(self, weights_sha256: str):
        from course_lib.text import TextEncoder

        self.encoder = TextEncoder(device="cpu")
        if self.encoder.weights_sha != weights_sha256:
            raise PackageError(
                f"the encoder in {self.encoder.folder} is not the one that the package was made with, sha256 "
                f"{weights_sha256[:12]}…: set COURSE_ENCODER to that one, or pack it with onnx="
            )

    def encode(self, texts: list[str]) -> np.ndarray:
        """(n,) texts → (n, h)."""
        return self.encoder.encode(texts, cache=False)

    def lost(self, texts: list[str]) -> list[list[str]]:
        """The words of each text that the tokenizer does not know."""
        return lost_words(texts, tokenizer=self.encoder.tokenizer.backend_tokenizer)


def open_encoder(package: Package) -> Encoder:
    """The encoder that a package asks for: the ONNX file within it, else the course's own. Raises PackageError."""
    if "file" in package.encoder:
        from course_lib.serving.onnx import OnnxEncoder

        encoder = OnnxEncoder(package.folder / ENCODER, tokenizer=package.folder / TOKENIZER, unknown="unk")
    elif package.encoder.get("weights_sha256"):
        encoder = Torch(package.encoder["weights_sha256"])
    else:
        raise PackageError(f"{package.folder} names no encoder to read texts with; hand one over as encoder=")
    encoder.encode(["a first text, for the weights to be read and the memory to be there"])
    return encoder
