"""promtool, which tests alert rules: found on PATH, or unpacked without root from Debian's package `prometheus`.

`python tests/promtool.py` puts it beside the interpreter of the environment (.venv/bin), where the tests look for it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGE = "prometheus"
OWN = Path(sys.prefix) / "bin" / "promtool"


class NoPromtool(RuntimeError):
    """promtool cannot be had here; the message says why and what to do."""


def find() -> Path | None:
    """promtool on PATH or in the environment; None where there is none."""
    found = shutil.which("promtool")
    return Path(found) if found else OWN if OWN.is_file() else None


def fetch() -> Path:
    """Fetch the distribution's package into a temporary folder and keep its promtool. Raises NoPromtool."""
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise NoPromtool(f"{tool} is missing, so this is no Debian or Ubuntu: install Prometheus and put promtool on PATH")
    with tempfile.TemporaryDirectory(prefix="promtool-") as folder:
        lists = Path(folder, "lists", "partial")
        lists.mkdir(parents=True)
        own_lists = ["-o", f"Dir::State::Lists={lists.parent}", "-o", f"Dir::Cache={folder}", "-o", "Debug::NoLocking=1"]
        if not _runs(["apt-get", "-qq", "download", PACKAGE], folder):
            _runs(["apt-get", "-qq", *own_lists, "update"], folder)  # the system's lists are old or empty, and not ours
            if not _runs(["apt-get", "-qq", *own_lists, "download", PACKAGE], folder):
                raise NoPromtool(
                    f"apt-get cannot download {PACKAGE}: look at the network and the package sources of this system"
                )
        archive = next(Path(folder).glob(f"{PACKAGE}_*.deb"))
        unpacked = Path(folder, "unpacked")
        if not _runs(["dpkg", "-x", str(archive), str(unpacked)], folder):
            raise NoPromtool(f"{archive.name} cannot be unpacked; is the disk full?")
        beside = OWN.with_name(f".promtool-{os.getpid()}")
        shutil.copy2(unpacked / "usr" / "bin" / "promtool", beside)
        os.replace(beside, OWN)
    return OWN


def missing() -> None:
    """End a test that needs it: failed in CI, skipped elsewhere."""
    import pytest

    why = "promtool is missing: run `python tests/promtool.py`, or install Prometheus"
    pytest.fail(why) if os.environ.get("CI") else pytest.skip(why)


def _runs(command: list[str], folder: str) -> bool:
    return subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=300).returncode == 0


def main() -> int:
    """Exit status 0 if promtool is there afterwards; 1 in CI if not; elsewhere the tests that need it are skipped."""
    try:
        print(f"promtool: {find() or fetch()}")
    except (NoPromtool, subprocess.TimeoutExpired) as error:
        print(f"promtool: {error}. Without it the tests of the alert rules are skipped.", file=sys.stderr)
        return int(bool(os.environ.get("CI")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
