"""One list of pins: pyproject.toml has ranges, requirements.txt the tested set inside them, environment.yml no second list."""

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement

from course_lib.config import PROJECT

PROJECT_FILE = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RANGES = [Requirement(r) for r in PROJECT_FILE["dependencies"] + PROJECT_FILE["optional-dependencies"]["dev"]]
PIN_LINES = [
    line
    for line in (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


PINS = {plain(Requirement(line).name): Requirement(line) for line in PIN_LINES}


def test_every_line_is_one_exact_public_version():
    assert [line for line in PIN_LINES if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)] == []


@pytest.mark.parametrize("wanted", RANGES, ids=lambda r: r.name)
def test_the_tested_set_holds_each_dependency_inside_its_range(wanted):
    pin = PINS[plain(wanted.name)]
    version = next(iter(pin.specifier)).version
    assert wanted.specifier.contains(version), f"{pin} is outside {wanted}"


def test_torch_is_the_version_that_was_tested():
    assert str(PINS["torch"].specifier) == "==2.13.0"


def test_conda_takes_the_same_set():
    content = yaml.safe_load((PROJECT / "environment.yml").read_text(encoding="utf-8"))
    *conda, by_pip = content["dependencies"]
    assert [d.split("=")[0] for d in conda] == ["python", "pip"]
    assert by_pip == {"pip": ["-r requirements.txt", "-e ."]}
    assert conda[0].split("=")[1] in PROJECT_FILE["requires-python"]
