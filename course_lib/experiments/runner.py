"""Runs the cells of an experiment that its table does not hold yet, one row at a time.

A row is written as soon as its cell is done, the whole table beside the old one and renamed: a run may be stopped at any
moment, and the next one goes on from there.
"""

from __future__ import annotations

import datetime
import importlib
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import torch
from filelock import FileLock, Timeout
from tqdm import tqdm

from course_lib.config import settings

NAMES = ("fine_tuning", "article_program", "training_craft", "parameter_efficient", "course_order", "course_learning")
KEY = ["experiment", "variant", "seed", "draw"]
PROVENANCE = ["seconds", "trainable", "command", "versions", "date", "machine"]
PACKAGES = ("course_lib", "torch", "transformers", "peft", "numpy", "scikit-learn")


class ExperimentError(RuntimeError):
    """An experiment cannot run or its table cannot be read; the message says why and what to do."""


@dataclass(frozen=True)
class Cell:
    """One place of the grid. seed: of everything random in the model; draw: of the split, that is, which items are held out."""

    variant: str
    seed: int
    draw: int


@dataclass(frozen=True)
class Experiment:
    """What is compared.

    question: one sentence; variants: name → function of a Cell that returns a dict with every one of `metrics`, and may add
    `trainable`, the number of parameters that learned; repeats: (seed, draw) of each repetition.
    isolated: every cell runs in a process of its own, for metrics that belong to a process, such as its peak memory; the
    functions must then be found by name in a module.
    """

    name: str
    question: str
    variants: dict[str, Callable[[Cell], dict]]
    metrics: tuple[str, ...]
    repeats: tuple[tuple[int, int], ...] = ((0, 0), (1, 1), (2, 2))
    isolated: bool = False

    @property
    def columns(self) -> list[str]:
        """Columns of the table, in order."""
        return [*KEY, *self.metrics, *PROVENANCE]

    @property
    def cells(self) -> list[Cell]:
        """The grid, one whole repetition after the other: a table that is stopped early still compares all variants."""
        return [Cell(variant, seed, draw) for seed, draw in self.repeats for variant in self.variants]


def names() -> tuple[str, ...]:
    """The experiments of the course."""
    return NAMES


def experiment(name: str) -> Experiment:
    """The experiment of that name; raises ExperimentError for another name."""
    if name not in NAMES:
        raise ExperimentError(f"there is no experiment {name!r}; there are {', '.join(NAMES)}")
    return importlib.import_module(f"course_lib.experiments.{name}").EXPERIMENT


def location(name: str, *, folder: Path | None = None) -> Path:
    """Where the table of an experiment lies: data/results/NAME.csv, or in `folder`."""
    return Path(folder or settings().project / "data" / "results") / f"{name}.csv"


def results(name: str, *, folder: Path | None = None) -> pd.DataFrame:
    """The stored table, one row a cell. Raises ExperimentError where there is none, or the file is no such table."""
    path = location(name, folder=folder)
    if not path.is_file():
        raise ExperimentError(f"{path} does not exist: run `course experiments {name}` first (minutes to an hour)")
    try:
        table = pd.read_csv(path)
    except (ValueError, UnicodeDecodeError) as error:
        raise ExperimentError(f"{path} is not a table of results ({error}); move it away and run it again") from None
    lacking = [column for column in (*KEY, *PROVENANCE) if column not in table]
    if lacking:
        raise ExperimentError(f"{path} lacks the columns {', '.join(lacking)}; move it away and run it again")
    return table


def run(
    what: Experiment, *, folder: Path | None = None, variants: Sequence[str] | None = None, progress: bool = True
) -> pd.DataFrame:
    """Run every cell that the table lacks, and return the table.

    variants: only these. A cell that fails does not stop the others; at the end ExperimentError names the cells that failed,
    and the next run tries them again. Raises ExperimentError for an unknown variant, for a table with other columns, and
    while another process runs the same experiment.
    """
    unknown = set(variants or ()) - set(what.variants)
    if unknown:
        raise ExperimentError(f"{what.name} has no variant {', '.join(sorted(unknown))}; it has {', '.join(what.variants)}")
    path = location(what.name, folder=folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    settings().state.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(settings().state / f"{what.name}.lock", timeout=0):
            return _run(what, path, variants or tuple(what.variants), progress)
    except Timeout:
        raise ExperimentError(f"{what.name} is running in another process; wait for it, or stop it") from None


def _run(what: Experiment, path: Path, variants: Sequence[str], progress: bool) -> pd.DataFrame:
    table = _stored(what, path)
    done = {Cell(*key) for key in table[KEY[1:]].itertuples(index=False, name=None)}
    missing = [cell for cell in what.cells if cell not in done and cell.variant in variants]
    failed = []
    with tqdm(missing, desc=what.name, unit="cell", disable=not progress) as bar:
        for cell in bar:
            bar.set_postfix_str(f"{cell.variant}, seed {cell.seed}, draw {cell.draw}")
            try:
                found, seconds = _isolated(what, cell) if what.isolated else _measured(what.variants[cell.variant], cell)
                row = _row(what, cell, found, seconds)
            except Exception as error:  # one cell's fault, told at the end
                failed.append(f"{cell.variant} (seed {cell.seed}, draw {cell.draw}): {type(error).__name__}: {error}")
                continue
            table = pd.DataFrame([*table.to_dict("records"), row], columns=what.columns)
            _write(table, path)
    if failed:
        raise ExperimentError(f"{len(failed)} of {len(missing)} cells of {what.name} failed:\n" + "\n".join(failed))
    return table


def _stored(what: Experiment, path: Path) -> pd.DataFrame:
    if not path.is_file():
        return pd.DataFrame(columns=what.columns)
    table = results(what.name, folder=path.parent)
    if list(table.columns) != what.columns:
        raise ExperimentError(
            f"{path} has the columns {', '.join(table.columns)}, the experiment writes {', '.join(what.columns)}: its rows "
            "are of an earlier version; move the file away"
        )
    return table


def _measured(function: Callable[[Cell], dict], cell: Cell) -> tuple[dict, float]:
    """What the function found, and its CPU seconds (all threads of this process)."""
    start = time.process_time()
    return function(cell), time.process_time() - start


def _isolated(what: Experiment, cell: Cell) -> tuple[dict, float]:
    """The same in a process that ends with the cell."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measured, what.variants[cell.variant], cell).result()


def _row(what: Experiment, cell: Cell, found: dict, seconds: float) -> dict:
    lacking, foreign = set(what.metrics) - set(found), set(found) - set(what.metrics) - {"trainable"}
    if lacking or foreign:
        raise ExperimentError(
            f"the variant returned {', '.join(found)}; the experiment's metrics are {', '.join(what.metrics)}"
        )
    rounded = {name: _significant(float(found[name])) for name in what.metrics}
    return {
        "experiment": what.name,
        **vars(cell),
        **rounded,
        "seconds": round(seconds, 2),
        "trainable": int(found.get("trainable", 0)),
        "command": f"course experiments {what.name} --only {cell.variant}",
        "versions": _versions(),
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
    }


def _significant(value: float, *, digits: int = 6) -> float:
    return value if not math.isfinite(value) else float(f"{value:.{digits}g}")


def _versions() -> str:
    found = [f"python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return "; ".join(found)


def machine() -> str:
    """Processor, its number of cores, torch's threads and the GPU, where one is used. No name of the computer."""
    chip = platform.processor() or platform.machine()
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        chip = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), chip)
    gpu = f"; {torch.cuda.get_device_name()}" if settings().device == "cuda" else ""
    return f"{chip}, {os.cpu_count()} cores, {torch.get_num_threads()} threads used{gpu}"


def _write(table: pd.DataFrame, path: Path) -> None:
    """The whole table beside the old one, then renamed."""
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".csv")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            table.to_csv(file, index=False, lineterminator="\n")
        os.chmod(beside, 0o644)
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
