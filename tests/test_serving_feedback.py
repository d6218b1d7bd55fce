import asyncio
import http.client
import json
import os
import signal
import threading
import time

import pytest
from fastapi.testclient import TestClient
from small_service import small_package

from course_lib.serving import Server, create_app, read_feedback
from course_lib.serving.feedback import FeedbackError, FeedbackLog

CLICK = {"user_id": "u1", "item_id": 3, "event": "click", "propensity": 0.5, "version": "1"}


@pytest.fixture
def client(tmp_path):
    with TestClient(create_app(small_package(tmp_path / "p"), feedback=tmp_path / "deep" / "f.jsonl")) as client:
        yield client


def test_an_event_is_stored_as_it_was_sent(client, tmp_path):
    first = client.post("/feedback", json=CLICK)
    assert first.status_code == 201
    second = client.post("/feedback", json=CLICK | {"event": "rating", "value": 4.5, "position": 2, "event_id": "mine"})
    assert second.json() == {"event_id": "mine"}
    table = read_feedback(tmp_path / "deep" / "f.jsonl")
    assert table["event_id"].tolist() == [first.json()["event_id"], "mine"] and table["event"].tolist() == ["click", "rating"]
    assert table.loc[1, ["user_id", "item_id", "propensity", "version", "value", "position"]].tolist() == [
        "u1", 3, 0.5, "1", 4.5, 2,
    ]  # fmt: skip
    assert table["received"].is_monotonic_increasing and table["received"].str.endswith("+00:00").all()


def test_an_event_that_is_sent_again_counts_once(client, tmp_path):
    for _ in range(3):
        assert client.post("/feedback", json=CLICK | {"event_id": "a"}).status_code == 201
    assert len(read_feedback(tmp_path / "deep" / "f.jsonl")) == 1


WRONG = [
    {"propensity": 0}, {"propensity": 1.01}, {"propensity": None}, {"event": "stare"}, {"version": ""}, {"position": -1},
    {"user_id": 1.5}, {"more": 1}, {"value": "5"}, {"event_id": "x" * 65},
]  # fmt: skip


@pytest.mark.parametrize("change", WRONG, ids=lambda change: str(change)[:24])
def test_a_wrong_event_is_refused_and_not_stored(client, tmp_path, change):
    assert client.post("/feedback", json=CLICK | change).status_code == 422
    assert (tmp_path / "deep" / "f.jsonl").read_bytes() == b""


def test_a_full_disk_is_told_and_leaves_no_half_line(client, tmp_path, monkeypatch):
    path = tmp_path / "deep" / "f.jsonl"
    assert client.post("/feedback", json=CLICK).status_code == 201
    whole = path.read_bytes()

    def full_disk(_handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        answer = client.post("/feedback", json=CLICK)
    assert answer.status_code == 503 and "No space left" in answer.json()["error"] and answer.headers["retry-after"] == "5"
    assert path.read_bytes() == whole
    assert client.post("/feedback", json=CLICK).status_code == 201 and len(read_feedback(path)) == 2
    assert "course_feedback_failures_total 1.0" in client.get("/metrics").text


def test_a_line_that_was_cut_short_harms_neither_the_next_nor_the_reader(tmp_path):
    path = tmp_path / "f.jsonl"
    path.write_bytes(b'{"event_id": "a"}\n{"event_id": "b", "ev')
    log = FeedbackLog(path)
    asyncio.run(log.append({"event_id": "c"}))
    assert read_feedback(path)["event_id"].tolist() == ["a", "c"]
    path.write_bytes(b"[1, 2]\n")
    with pytest.raises(FeedbackError, match="line 1: not an event"):
        read_feedback(path)
    with pytest.raises(FeedbackError, match="does not exist"):
        read_feedback(tmp_path / "none.jsonl")
    path.write_bytes(b"")
    assert read_feedback(path).empty


def test_events_that_come_together_share_a_write(tmp_path, monkeypatch):
    log, writes = FeedbackLog(tmp_path / "f.jsonl"), []
    write = log._write
    monkeypatch.setattr(log, "_write", lambda lines: (writes.append(len(lines)), write(lines)))

    async def many():
        await asyncio.gather(*(log.append({"event_id": str(n)}) for n in range(2_500)))
        await log.close()

    asyncio.run(many())
    assert sum(writes) == 2_500 and max(writes) == 1_000 and len(writes) <= 4
    assert read_feedback(log.path)["event_id"].tolist() == [str(n) for n in range(2_500)]


def test_two_logs_may_share_a_file(tmp_path):
    async def both():
        logs = [FeedbackLog(tmp_path / "f.jsonl") for _ in range(2)]
        await asyncio.gather(*(logs[n % 2].append({"event_id": str(n)}) for n in range(400)))

    asyncio.run(both())
    assert sorted(read_feedback(tmp_path / "f.jsonl")["event_id"].astype(int)) == list(range(400))


def send(port, name, acknowledged):
    """Events one after the other until the server is gone; the ids of those it acknowledged."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for number in range(20_000):
        event_id = f"{name}-{number}"
        try:
            body = json.dumps(CLICK | {"event_id": event_id, "version": "x" * 60})
            connection.request("POST", "/feedback", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            return
        if answer.status == 201:
            acknowledged.append(event_id)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_acknowledged_survives_a_kill_under_load(tmp_path, workers):
    folder, path = small_package(tmp_path / "p"), tmp_path / "f.jsonl"
    acknowledged = []
    for round_ in range(2):
        with Server(folder, workers=workers, feedback=path) as server:
            senders = [threading.Thread(target=send, args=(server.port, f"{round_}-{n}", acknowledged)) for n in range(6)]
            for sender in senders:
                sender.start()
            before, deadline = len(acknowledged), time.monotonic() + 20
            while len(acknowledged) < before + 150 and time.monotonic() < deadline:
                time.sleep(0.01)
            for process in reversed(server.processes()):
                os.kill(process.pid, signal.SIGKILL)
            for sender in senders:
                sender.join(15)
            assert not any(sender.is_alive() for sender in senders) and len(acknowledged) >= before + 150
    stored = [json.loads(line)["event_id"] for line in path.read_bytes().split(b"\n") if line.endswith(b"}")]
    assert len(stored) == len(set(stored)) and set(acknowledged) <= set(stored)
    assert set(read_feedback(path)["event_id"]) == set(stored)
