"""Notebook cells in a kernel of their own, and what of their outputs is worth storing."""

from __future__ import annotations

import os
import time
from pathlib import Path
from queue import Empty

CELL_TIMEOUT = 300  # seconds
LOOK = 0.5  # seconds after which a waiting client looks for a reply that it was not told of
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
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    executed = nbformat.from_dict(bare(notebook))
    environment = {k: v for k, v in os.environ.items() if k != "COURSE_GRADING"} | ENVIRONMENT
    client = _client()(
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


def _client() -> type:
    """The client of nbclient, made to look again while it waits.

    It answers the messages of a slider on the socket on which it waits for the cell's reply; ZeroMQ then takes the arrival of
    a reply for told, and the client waits until the cell's whole time is over (measured: 4 of 100 cells with a slider).
    """
    from nbclient import NotebookClient

    class Client(NotebookClient):
        async def async_start_new_kernel_client(self):
            client = await super().async_start_new_kernel_client()
            client.shell_channel.get_msg = looking_again(client.shell_channel.get_msg)
            return client

    return Client


def looking_again(get_message):
    """The coroutine function `get_message(timeout=None)`, in seconds, asked again every LOOK until its time is over."""

    async def get(timeout: float | None = None):
        end = float("inf") if timeout is None else time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            try:
                return await get_message(timeout=max(0.0, min(LOOK, left)))
            except Empty:
                if left <= LOOK:
                    raise

    return get


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
