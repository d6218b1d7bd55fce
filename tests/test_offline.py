"""The network is closed to tests and to every kernel that runs a lesson."""

import socket
import subprocess
import sys

import pytest

ELSEWHERE = ("192.0.2.1", 80)  # reserved for documentation: nobody answers there (RFC 5737)


def test_a_connection_elsewhere_is_refused():
    with socket.socket() as client, pytest.raises(RuntimeError, match="without a network"):
        client.connect(ELSEWHERE)


def test_a_connection_to_this_computer_works():
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())


def test_a_python_started_from_here_obeys_too():
    code = f"import socket; socket.socket().connect({ELSEWHERE!r})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 1 and "without a network" in result.stderr
