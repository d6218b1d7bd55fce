"""nbgrader in an environment of its own, .venv-nbgrader, which sees the packages of the course's: torch is not installed twice.

`python tests/nbgrader_environment.py` makes it where it is missing, or where its pins or the course's environment changed.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PINS = Path(__file__).with_name("nbgrader") / "requirements.txt"
FOLDER = ROOT / ".venv-nbgrader"


class NoNbgrader(RuntimeError):
    """nbgrader cannot be had here; the message says why and what to do."""


def programs() -> Path:
    """Folder of the environment's programs."""
    return FOLDER / ("Scripts" if os.name == "nt" else "bin")


def recipe() -> str:
    """What the environment was made from: its pins, and the environment whose packages it sees."""
    return f"{PINS.read_text(encoding='utf-8')}# with {sysconfig.get_path('purelib')}\n"


def find() -> Path | None:
    """The environment's interpreter; None where there is none, or an old one."""
    done = FOLDER / ".made-from"
    return programs() / "python" if done.is_file() and done.read_text(encoding="utf-8") == recipe() else None


def make() -> Path:
    """Make it anew. Raises NoNbgrader where pip cannot."""
    _run(sys.executable, "-m", "venv", "--clear", FOLDER)
    python = programs() / "python"
    own = Path(_run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    seen = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"  # after its own, with the course in it
    (own / "course.pth").write_text(seen, encoding="utf-8")
    try:
        _run(python, "-m", "pip", "install", "--quiet", "--no-compile", "-r", PINS, "-c", ROOT / "requirements.txt")
    except NoNbgrader:
        shutil.rmtree(FOLDER)
        raise
    (FOLDER / ".made-from").write_text(recipe(), encoding="utf-8")
    return python


def variables(home: Path) -> dict[str, str]:
    """Environment for nbgrader's commands: its own programs first, and nothing of this user's Jupyter."""
    path = os.pathsep.join([str(programs()), os.environ.get("PATH", "")])
    modules = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    folders = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    return os.environ | {"PATH": path, "PYTHONPATH": modules} | {name: str(home / name.lower()) for name in folders}


def missing() -> None:
    """End a test that needs it: failed in CI, skipped elsewhere."""
    import pytest

    why = "nbgrader's environment is missing or old: run `python tests/nbgrader_environment.py`"
    pytest.fail(why) if os.environ.get("CI") else pytest.skip(why)


def _run(*command) -> str:
    """Standard output of a command that worked."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(part) for part in command]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, timeout=600)
    if done.returncode:
        why = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise NoNbgrader(f"{' '.join(command[1:4])} failed: {why[-1]}; look at the network and at {PINS}")
    return done.stdout


def main() -> int:
    """Exit status 0 if it is there afterwards; 1 in CI if not; elsewhere the tests that need it are skipped."""
    try:
        print(f"nbgrader: {find() or make()}")
    except (NoNbgrader, subprocess.TimeoutExpired) as error:
        print(f"nbgrader: {error}. Without it the tests of nbgrader's commands are skipped.", file=sys.stderr)
        return int(bool(os.environ.get("CI")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
