"""A server process on this computer: for `course serve`, and as a context manager for notebooks and tests."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from course_lib.serving.options import Options

THREADS = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")} | {"TOKENIZERS_PARALLELISM": "false"}
FACTORY = "course_lib.serving.app:create_app"
ATTEMPTS = 3  # another process may take the free port first


class ServerError(RuntimeError):
    """The server did not start or does not answer; the message holds the end of its log."""


def serve(package: Path | str, *, host: str = "127.0.0.1", port: int = 8000, workers: int = 1, options: Options) -> None:
    """Serve until SIGTERM or SIGINT; each worker is a process with one thread of arithmetic.

    Requests that are being worked on are finished first, for at most ten seconds.
    """
    import uvicorn

    with tempfile.TemporaryDirectory(prefix="course-metrics-") as shared:
        os.environ.update(THREADS | options.environment() | {"COURSE_PACKAGE": str(Path(package).absolute())})
        if workers > 1:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared
        uvicorn.run(
            FACTORY, factory=True, host=host, port=port, workers=workers, access_log=False, log_level="warning",
            server_header=False, timeout_graceful_shutdown=10, timeout_keep_alive=30,
        )  # fmt: skip


@dataclass(frozen=True)
class Reply:
    """status; body: what the JSON says, or the text; headers by lower-case name."""

    status: int
    body: object
    headers: dict[str, str]


class Server:
    """`with Server(package) as server: server.get("/recommend/1?k=3").body`: a real server on a free port of this computer.

    workers: processes; seconds: time to get ready and to stop; options: those of `Options` (token, feedback, …). When the
    block ends, or the process that opened it does, the server finishes its requests and stops; what has not stopped in time
    is killed. Raises ServerError if it does not start.
    """

    def __init__(self, package: Path | str, *, workers: int = 1, seconds: float = 60.0, **options):
        if workers < 1:
            raise ValueError(f"workers starts at 1, not {workers}")
        self.package, self.workers, self.seconds = Path(package).absolute(), workers, seconds
        self.options = Options(**options)
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> Server:
        for attempt in range(1, ATTEMPTS + 1):
            self._start()
            try:
                self._wait()
                return self
            except ServerError:
                taken = "address already in use" in self.log().lower()
                self.stop()
                if not taken or attempt == ATTEMPTS:
                    raise
            except BaseException:
                self.stop()
                raise
        raise AssertionError("the loop above returns or raises")

    def __exit__(self, *_error) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where it listens, such as http://127.0.0.1:40001."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process that was started; with several workers, their supervisor."""
        return self._process.pid

    def processes(self) -> list[psutil.Process]:
        """The server's processes that are alive, the first started first."""
        try:
            first = psutil.Process(self.pid)
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def cpu_seconds(self) -> float:
        """CPU time of its processes so far."""
        return sum(sum(process.cpu_times()[:2]) for process in self.processes())

    def log(self) -> str:
        """What it wrote to its log."""
        return Path(self._log.name).read_text(encoding="utf-8", errors="replace") if self._process else ""

    def get(self, path: str) -> Reply:
        """GET a path."""
        return self.request("GET", path)

    def post(self, path: str, body) -> Reply:
        """POST a value as JSON."""
        return self.request("POST", path, json.dumps(body).encode())

    def request(self, method: str, path: str, data: bytes | None = None, headers: dict | None = None) -> Reply:
        """One request on a connection of its own, with the token if the server asks for one. Raises OSError."""
        token = {"Authorization": f"Bearer {self.options.token}"} if self.options.token else {}
        kind = {"Content-Type": "application/json"} if data is not None else {}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.options.timeout + 5)
        try:
            connection.request(method, path, data, token | kind | (headers or {}))
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        found = {name.lower(): value for name, value in answer.getheaders()}
        is_json = found.get("content-type", "").startswith("application/json")
        return Reply(answer.status, json.loads(content) if is_json else content.decode(), found)

    def stop(self) -> None:
        """Stop gracefully, then hard; returns when no process is left."""
        if self._process is None:
            return
        processes = list({*self.processes(), *self._group()})
        if self._process.poll() is None:
            self._process.terminate()
        left = psutil.wait_procs(processes, timeout=min(self.seconds, 15))[1]
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(left, timeout=5)
        self._process.wait()
        self._process.stdin.close()
        self._log.close()
        self._folder.cleanup()
        self._process = None

    def _group(self) -> list[psutil.Process]:
        """What was started in the server's session, also where its first process was killed and can name no children."""
        found = []
        for process in psutil.process_iter() if os.name == "posix" else ():
            try:
                if os.getsid(process.pid) == self.pid and process.create_time() > self._started:
                    found.append(process)
            except (OSError, psutil.Error):  # it has ended meanwhile, or is another user's
                continue
        return found

    def _start(self) -> None:
        self.port, self._started = _free_port(), time.time() - 2
        self._folder = tempfile.TemporaryDirectory(prefix="course-server-", ignore_cleanup_errors=True)
        self._log = open(Path(self._folder.name, "log"), "wb")
        command = [sys.executable, "-m", "course_lib.serving.server", str(self.package), str(self.port), str(self.workers)]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("COURSE_", "PROMETHEUS_"))}
        kept = {
            name: value for name, value in os.environ.items() if name in ("COURSE_DATA", "COURSE_ENCODER", "COURSE_PROFILE")
        }
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._log, start_new_session=True,
            env=inherited | kept | THREADS | self.options.environment() | {"TMPDIR": self._folder.name},
        )  # fmt: skip

    def _wait(self) -> None:
        deadline = time.monotonic() + self.seconds
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                if self.get("/v2/health/ready").status == 200:
                    return
            except OSError:
                time.sleep(0.02)
        ended = self._process.poll()
        what = f"was not ready within {self.seconds:g} s" if ended is None else f"ended with status {ended}"
        raise ServerError(f"the server {what}:\n{self.log()[-2_000:] or 'it wrote no log'}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _stop_with_parent() -> None:
    """Wait for the end of stdin, which comes when the process that holds its other end is gone, however it ended."""
    try:
        while os.read(0, 1_024):
            continue
    finally:
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    serve(sys.argv[1], port=int(sys.argv[2]), workers=int(sys.argv[3]), options=Options.from_environment())
