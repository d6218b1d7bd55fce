"""From a text that a client sends to its vector, beside the event loop and without a trace on the disk."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from course_lib.serving.package import ENCODER, TOKENIZER, Package, PackageError


class Overloaded(RuntimeError):
    """More texts are waiting than may wait."""


class Encoder(Protocol):
    """Whatever turns texts into vectors."""

    def encode(self, texts: list[str]) -> np.ndarray:
        """(n,) texts → (n, h) float32 of unit length."""


class TextReader:
    """`await reader(text)` → (h,). One thread encodes, so that the event loop goes on answering others."""

    def __init__(self, encoder: Encoder):
        self.encoder = encoder
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")

    async def __call__(self, text: str) -> np.ndarray:
        """The vector of one text."""
        return (await asyncio.get_running_loop().run_in_executor(self._thread, self.encoder.encode, [text]))[0]

    async def close(self) -> None:
        """Finish what has been asked for."""
        await asyncio.to_thread(self._thread.shutdown)


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


def open_encoder(package: Package) -> Encoder:
    """The encoder that a package asks for: the ONNX file within it, else the course's own. Raises PackageError."""
    if "file" in package.encoder:
        from course_lib.serving.onnx import OnnxEncoder

        encoder = OnnxEncoder(package.folder / ENCODER, tokenizer=package.folder / TOKENIZER)
    elif package.encoder.get("weights_sha256"):
        encoder = Torch(package.encoder["weights_sha256"])
    else:
        raise PackageError(f"{package.folder} names no encoder to read texts with; hand one over as encoder=")
    encoder.encode(["a first text, for the weights to be read and the memory to be there"])
    return encoder
