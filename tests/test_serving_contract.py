"""The service against its own OpenAPI document, and against bodies that no document allows."""

import asyncio
import gc
import http.client
import json
import random
import re
import socket
import subprocess
import sys
import urllib.request

import pytest
from small_encoder import SmallEncoder
from small_service import running, small_package

from course_lib.serving import create_app

TOKEN = "a-token"
VALID = {
    "/recommend": {"liked": [1, "2"], "k": 3},
    "/feedback": {"user_id": "u1", "item_id": 3, "event": "click", "propensity": 0.5, "version": "1", "event_id": "e"},
    "/v2/models/als/infer": {"inputs": [{"name": "user_id", "shape": [1], "datatype": "BYTES", "data": ["u1"]}]},
}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """URL of a service with every route: texts, feedback and a token."""
    folder = tmp_path_factory.mktemp("contract")
    package = small_package(folder / "p", text_encoder=SmallEncoder())
    options = {"feedback": folder / "f.jsonl", "token": TOKEN, "reload_seconds": 0, "log": "error"}
    with running(create_app(package, encoder=SmallEncoder(), **options)) as url:
        yield url


UNSAYABLE = """
[[operations]]
include-path-regex = "/infer$"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 404]
"""  # JSON Schema cannot say that a tensor has as many values as its shape tells


def test_the_service_does_what_its_document_says(service, tmp_path):
    """Schemathesis makes valid and invalid requests from the document, and single ones into chains; no check may fail."""
    (tmp_path / "schemathesis.toml").write_text(UNSAYABLE, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "schemathesis.cli",
        "run",
        f"{service}/openapi.json",
        "-H",
        f"Authorization: Bearer {TOKEN}",
    ]
    bounds = ["--checks", "all", "--max-examples", "15", "--seed", "1", "--request-timeout", "10", "--no-color"]
    done = subprocess.run([*command, *bounds], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-1_000:]
    tested, generated = re.search(r"Tested: (\d+)", done.stdout), re.search(r"(\d+) generated", done.stdout)
    assert int(tested[1]) == 13 and int(generated[1]) > 500, done.stdout[-1_000:]


def test_the_document_has_one_body_for_all_errors(service):
    request = urllib.request.Request(f"{service}/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        document = json.load(answer)
    operations = [(path, about) for path, methods in document["paths"].items() for about in methods.values()]
    assert len(operations) == 13
    for path, about in operations:
        assert about.get("description") or about["summary"], path
        for status, answer in about["responses"].items():
            if not status.startswith("2"):
                assert answer["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/ErrorBody"}, path


def malformed(rng, path):
    """A valid body with a fault in it."""
    data = bytearray(json.dumps(VALID[path]).encode())
    kind = rng.randrange(8)
    if kind == 0:
        del data[rng.randrange(len(data)) :]
    elif kind == 1:
        data[rng.randrange(len(data))] = rng.randrange(256)
    elif kind == 2:
        data = bytearray(rng.randbytes(rng.randrange(200)))
    elif kind == 3:
        data = bytearray(rng.choice([b"[", b'{"a":', b'{"liked":[', b'{"inputs":[{'])) * rng.randrange(1, 3_000)
    elif kind == 4:
        place = rng.randrange(len(data))
        data[place:place] = rng.choice([b"\x00", b"\xff\xfe", b"1e999", b"-", b"NaN", b"9" * 5_000, b'"\\ud800"', b"null"])
    elif kind == 5:
        value = rng.choice([None, True, -1, 2**70, 1e308, "", "x" * 5_000, [], {}, [[]], [None], ["\ud800"], {"a": {}}])
        wrong = dict(VALID[path])
        wrong[rng.choice([*wrong, "extra"])] = value
        data = bytearray(json.dumps(wrong).encode())
    elif kind == 6:
        data *= rng.randrange(2, 40)
    else:
        data = bytearray(json.dumps(rng.choice([None, 1, "x", [1], [[1]], {}, True])).encode())
    return bytes(data)


async def post(app, path, body, kind):
    """Status of one request to the application itself, and the bytes of its answer."""
    sent, parts = [], [body[: len(body) // 2], body[len(body) // 2 :]]

    async def receive():
        return (
            {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)} if parts else {"type": "http.disconnect"}
        )

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http", "path": path,
        "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": [(b"content-type", kind)],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "state": {},
    }  # fmt: skip
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def test_ten_thousand_malformed_bodies(tmp_path):
    """None of them is the service's fault, each is answered in JSON, and memory does not grow with them."""
    package = small_package(tmp_path / "p", text_encoder=SmallEncoder())
    app = create_app(package, encoder=SmallEncoder(), feedback=tmp_path / "f.jsonl", log="error")
    rng, statuses = random.Random(0), {}
    kinds = [b"application/json"] * 20 + [b"text/plain", b"application/x-www-form-urlencoded", b"\xff", b"application/json; x"]

    async def send(count):
        for _ in range(count):
            path = rng.choice(list(VALID))
            status, body = await post(app, path, malformed(rng, path), rng.choice(kinds))
            statuses[status] = statuses.get(status, 0) + 1
            assert status < 500 and (status < 300 or set(json.loads(body)) == {"error"}), (status, body[:200])

    async def all_of_them():
        async with app.router.lifespan_context(app):
            await send(2_000)
            gc.collect()
            before = sys.getallocatedblocks()
            await send(8_000)
            gc.collect()
            return sys.getallocatedblocks() - before

    grown = asyncio.run(all_of_them())
    assert grown < 2_000, f"{grown:,} more objects in memory after 8,000 requests"
    assert sum(statuses.values()) == 10_000 and set(statuses) <= {200, 201, 400, 413, 422}
    assert sum(statuses.get(status, 0) for status in (400, 413, 422)) > 9_000, statuses


HEAD = b"POST /recommend HTTP/1.1\r\nHost: x\r\n"
REQUESTS = [
    b"\x00\x01\x02\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"BREW /recommend HTTP/1.1\r\nHost: x\r\n\r\n",
    HEAD + b"Content-Length: -5\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
    HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
    b"GET /recommend/%ff%00%zz?k=%ff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /recommend/u1 HTTP/1.1\r\n" + b"A: b\r\n" * 2_000 + b"\r\n",
    b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
]


@pytest.mark.parametrize("request_", REQUESTS, ids=range(len(REQUESTS)))
def test_what_is_hardly_http_harms_nobody(service, request_):
    port = int(service.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        try:
            raw.sendall(request_)
            raw.shutdown(socket.SHUT_WR)
            answer = raw.recv(4_096)
        except ConnectionError:
            answer = b""
    assert not answer or 400 <= int(answer.split()[1]) < 500
    check = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    check.request("GET", "/v2/health/live")
    assert check.getresponse().status == 200
    check.close()
