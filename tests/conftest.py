"""What holds for every test: one thread, no progress files, no network, in this process and in those that it starts."""

import os
import runpy
import sys
from pathlib import Path

OFFLINE = str(Path(__file__).parent / "offline")
os.environ.update(OMP_NUM_THREADS="1", COURSE_PROGRESS="off", HF_HUB_OFFLINE="1")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [OFFLINE, os.environ.get("PYTHONPATH")]))

import pytest  # noqa: E402

if not hasattr(sys.modules.get("sitecustomize"), "close_network"):  # this process was started without that path
    runpy.run_path(f"{OFFLINE}/sitecustomize.py")


@pytest.fixture(scope="session", autouse=True)
def shared_results(tmp_path_factory):
    """A folder for this run of tests, the same for all its processes: a lesson that one has run, the others need not run."""
    from lesson_runner import SHARED

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "lessons"
    folder.mkdir(exist_ok=True)
    os.environ[SHARED] = str(folder)


@pytest.fixture
def fresh_settings(monkeypatch):
    """Settings are read from the environment again in this test, and again after it."""
    from course_lib.config import settings

    for name in ("COURSE_PROFILE", "COURSE_SEED", "COURSE_DATA", "COURSE_STATE", "COURSE_GRADING"):
        monkeypatch.delenv(name, raising=False)
    settings.cache_clear()
    yield settings
    settings.cache_clear()
