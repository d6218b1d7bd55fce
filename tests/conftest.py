"""What holds for every test: one thread, no progress files, no network."""

import os

os.environ.update(OMP_NUM_THREADS="1", COURSE_PROGRESS="off", HF_HUB_OFFLINE="1")

import ipaddress  # noqa: E402
import socket  # noqa: E402

import pytest  # noqa: E402


def is_local(address) -> bool:
    """Whether a socket address stays on this computer."""
    host = address[0]
    if host in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name that has to be looked up elsewhere
        return False


@pytest.fixture(scope="session", autouse=True)
def no_network():
    """Connections to other computers raise; those to this one work."""
    patch = pytest.MonkeyPatch()
    for name in ("connect", "connect_ex"):
        original = getattr(socket.socket, name)

        def guarded(self, address, *, original=original):
            if self.family in (socket.AF_INET, socket.AF_INET6) and not is_local(address):
                raise RuntimeError(f"a test tried to connect to {address[0]}; tests run without a network")
            return original(self, address)

        patch.setattr(socket.socket, name, guarded)
    yield
    patch.undo()


@pytest.fixture
def fresh_settings(monkeypatch):
    """Settings are read from the environment again in this test, and again after it."""
    from course_lib.config import settings

    for name in ("COURSE_PROFILE", "COURSE_SEED", "COURSE_DATA", "COURSE_STATE", "COURSE_GRADING"):
        monkeypatch.delenv(name, raising=False)
    settings.cache_clear()
    yield settings
    settings.cache_clear()
