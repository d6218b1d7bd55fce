"""Notebook cells in a kernel of their own, and what of their outputs is worth storing."""

from __future__ import annotations

import os
from pathlib import Path

CELL_TIMEOUT = 300  # seconds
WIDGET = "application/vnd.jupyter.widget-view+json"
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "COURSE_PROGRESS": "off", "HF_HUB_OFFLINE": "1", "PYTHONHASHSEED": "0"}


class BuildError(RuntimeError):
    """A notebook that could not be built: which one, at which cell, and why."""


def bare(value):
    """Plain dicts and lists in place of nbformat's own."""
    if isinstance(value, dict):
        return {k: bare(v) for k, v in value.items()}
    return [bare(v) for v in value] if isinstance(value, list | tuple) else value


def execute(notebook: dict, folder: Path, label: str) -> dict:
    """A copy of a notebook, executed in the folder where a learner would run it, with tidy outputs."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    executed = nbformat.from_dict(bare(notebook))
    environment = {k: v for k, v in os.environ.items() if k != "COURSE_GRADING"} | ENVIRONMENT
    client = NotebookClient(
        executed,
        timeout=CELL_TIMEOUT,
        kernel_name=notebook["metadata"]["kernelspec"]["name"],
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        client.execute(env=environment)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise BuildError(f"{label} stops: {error}") from None
    executed["metadata"] = bare(notebook["metadata"])
    count = 0
    for cell, original in zip(executed["cells"], notebook["cells"], strict=True):
        cell["metadata"] = bare(original["metadata"])
        if cell["cell_type"] == "code":
            count += 1
            cell["outputs"] = [nbformat.from_dict(o) for o in tidy(cell["outputs"], label, count)]
            cell["execution_count"] = count
    return executed


def tidy(outputs: list[dict], label: str, count: int) -> list[dict]:
    """Outputs worth storing: no live widgets (nor what their call returns), streams joined; stderr is an error."""
    kept: list[dict] = []
    live = any(WIDGET in o.get("data", {}) for o in outputs)
    for output in map(dict, outputs):
        kind, data = output["output_type"], output.get("data", {})
        if kind == "stream" and output["name"] == "stderr":
            raise BuildError(f"{label}: code cell {count} writes to stderr; silence its cause:\n{output['text']}")
        if WIDGET in data or (live and str(data.get("text/plain", "")).startswith("<")):
            continue
        if kind == "stream" and kept and kept[-1]["output_type"] == "stream":
            kept[-1]["text"] += output["text"]
            continue
        if kind == "execute_result":
            output["execution_count"] = count
        kept.append(output)
    return kept
