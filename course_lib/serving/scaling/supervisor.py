"""Runs uvicorn's supervisor for `WorkerPool`, and ends with the process that started it: even one that was killed.

python -P supervisor.py APP WORKERS [--factory]. A script, run by its path: every worker imports it again, and so starts
without the rest of the library.
"""

import os
import signal
import sys
import threading
import time

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

GRACE = 0.5  # seconds
PATIENCE = 30  # seconds; on a busy computer uvicorn's own 5 would replace workers that are only slow


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


def main() -> None:
    """Listen on a free port of the loopback address; the pool asks the operating system which."""
    app, workers = sys.argv[1], int(sys.argv[2])
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    options = {"factory": "--factory" in sys.argv, "access_log": False, "use_colors": False, "http": Draining}
    uvicorn.run(app, host="127.0.0.1", port=0, workers=workers, timeout_worker_healthcheck=PATIENCE, **options)


if __name__ == "__main__":
    main()
