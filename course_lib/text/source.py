"""Where the encoder's weights are, and the proof that they are the ones meant."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

from course_lib.datasets import DataError, encoder_folder, sha256, sources, verify_encoder

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_FILES = ["*.json", "*.txt", "*.model", "*.safetensors", "1_Pooling/*"]


def encoder_source() -> Path | str:
    """COURSE_ENCODER, as a folder where there is one and else as a hub name; without it the bundled encoder's folder."""
    named = os.environ.get("COURSE_ENCODER")
    if not named:
        return encoder_folder()
    folder = Path(named).expanduser()
    return folder if folder.exists() else named


def locate(source: Path | str) -> Path:
    """Folder of an encoder, given as a folder or a hub name. Raises DataError if there is neither."""
    folder = Path(source).expanduser()
    if not folder.exists():
        folder = _from_hub(source)
    if not (folder / "config.json").is_file():
        raise DataError(f"{folder}: no config.json in it, so it is no encoder; name the folder that holds config.json")
    return folder


def weights_digest(folder: Path) -> str:
    """Sha256 of the weights; the bundled ones must be those of data/sources.toml, else DataError.

    With several files of weights it is the sha256 of their digests in order of name.
    """
    if folder.resolve() == encoder_folder().resolve():
        verify_encoder()
        return sources()["encoder"]["sha256"]
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise DataError(f"{folder}: no .safetensors file in it; save the encoder with `model.save_pretrained(folder)`")
    digests = [sha256(path) for path in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def read_config(folder: Path, name: str = "config.json") -> dict:
    """A JSON file of the folder, {} if there is none. Raises DataError if it cannot be read."""
    path = folder / name
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); copy the encoder again") from None


def _from_hub(source: Path | str) -> Path:
    name, what = str(source), "COURSE_ENCODER (or `source`) is a folder that holds a BERT-like encoder, or a hub name"
    if isinstance(source, Path) or not _HUB_NAME.fullmatch(name):
        raise DataError(f"{name}: there is no such folder; {what}")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=_FILES))
    except Exception as error:  # no network, no such name, no access: each library version has its own classes
        reason = str(error).strip().split("\n")[0]
        raise DataError(f"{name}: neither a folder nor an encoder that can be fetched ({reason}); {what}") from error
