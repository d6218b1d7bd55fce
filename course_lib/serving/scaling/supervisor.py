"""Runs uvicorn's supervisor for `WorkerPool`, and ends with the process that started it: even one that was killed.

python -P supervisor.py APP WORKERS FOLDER [--factory]. A script, run by its path: every worker imports it again, and so starts
without the rest of the library.
"""

import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.supervisors import Multiprocess

GRACE = 0.5  # seconds
ONCE = 10**9  # seconds between two announcements of a worker; the first comes at its start
PATIENCE = 15  # seconds; on a busy computer uvicorn's own 5 would replace workers that are only slow


def end_with(parent: int) -> None:
    """SIGTERM to this process as soon as `parent` is no longer its parent."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


class Draining(AutoHTTPProtocol):
    """A connection that waits for its first request when the worker leaves: uvicorn closes it at once, we after GRACE.

    The client has sent the request already, or is about to; closed at once, it would be lost.
    """

    def shutdown(self) -> None:
        """Called for each open connection once the worker accepts no others."""
        if self.cycle is None:
            self.loop.call_later(GRACE, super().shutdown)
        else:
            super().shutdown()


async def announce() -> None:
    """A file named after this worker: its application is loaded, and it takes requests."""
    Path(sys.argv[3], f"ready-{os.getpid()}").touch()


def main() -> None:
    """Listen on a free port of the loopback address, write it to FOLDER/port, and keep the workers."""
    app, workers, folder, parent = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), os.getppid()
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    config = uvicorn.Config(
        app, port=0, factory="--factory" in sys.argv, workers=workers, http=Draining, access_log=False, use_colors=False,
        timeout_worker_healthcheck=PATIENCE, callback_notify=announce, timeout_notify=ONCE,
    )  # fmt: skip
    listener = config.bind_socket()
    beside = folder / "port.new"
    beside.write_text(str(listener.getsockname()[1]), encoding="utf-8")
    beside.replace(folder / "port")
    Multiprocess(config, sockets=[listener]).run()
    if os.getppid() != parent:  # nobody else is left to do it
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
