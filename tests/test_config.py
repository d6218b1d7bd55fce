import os
import socket
from pathlib import Path

import pytest
import torch

from course_lib.config import PROJECT


def test_defaults(fresh_settings, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    s = fresh_settings()
    assert (s.profile, s.device, s.seed, s.grading) == ("cpu", "cpu", 2026, False)
    assert (s.cache, s.state) == (PROJECT / "data" / "cache", PROJECT / ".course")
    assert (s.project / "pyproject.toml").is_file()


def test_environment_is_read_once(fresh_settings, monkeypatch):
    values = {"PROFILE": "cpu", "SEED": "7", "DATA": "~/films", "STATE": "/srv/state", "GRADING": "1"}
    for name, value in values.items():
        monkeypatch.setenv(f"COURSE_{name}", value)
    s = fresh_settings()
    assert (s.profile, s.seed, s.cache, s.state, s.grading) == ("cpu", 7, Path.home() / "films", Path("/srv/state"), True)
    monkeypatch.setenv("COURSE_SEED", "8")
    assert fresh_settings() is s


def test_a_gpu_is_used_if_there_is_one(fresh_settings, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (fresh_settings().profile, fresh_settings().device) == ("gpu", "cuda")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("COURSE_PROFILE", "fast", "'fast'.*one of cpu, gpu"),
        ("COURSE_PROFILE", "gpu", "sees no GPU"),
        ("COURSE_SEED", "lucky", "'lucky'.*whole number"),
        ("COURSE_SEED", "-1", "'-1'.*whole number"),
    ],
)
def test_a_wrong_value_is_named(fresh_settings, monkeypatch, name, value, words):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"{name}.*{words}"):
        fresh_settings()


def test_tests_run_on_one_thread_and_offline():
    assert (os.environ["OMP_NUM_THREADS"], os.environ["COURSE_PROGRESS"], os.environ["HF_HUB_OFFLINE"]) == ("1", "off", "1")


@pytest.mark.parametrize("address", [("192.0.2.1", 9), ("films.example", 80)])
def test_tests_reach_no_other_computer(address):
    with socket.socket() as client, pytest.raises(RuntimeError, match="without a network"):
        client.connect(address)


def test_tests_reach_this_computer():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()
