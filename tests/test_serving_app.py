import http.client
import json
import re
import socket
import threading
import time

import numpy as np
import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from small_encoder import SmallEncoder
from small_service import running, small_package, small_ratings
from small_split import random_split_of
from typer.testing import CliRunner

from course_lib.classroom import cli
from course_lib.serving import Options, PackageError, create_app, load_package, server
from course_lib.serving.texts import Torch, read
from course_lib.text import TextEncoder

LIKED = {"liked": [1, 3], "k": 3}


class Blocked:
    """An encoder that waits until it is let go."""

    def __init__(self):
        self.go, self.entered = threading.Event(), threading.Semaphore(0)

    def encode(self, texts):
        self.entered.release()
        assert self.go.wait(10)
        return np.ones((len(texts), 16), dtype=np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A package that reads texts; most tests only read it."""
    return small_package(tmp_path_factory.mktemp("serving") / "p", text_encoder=SmallEncoder())


@pytest.fixture(scope="module")
def client(folder):
    with TestClient(create_app(folder, encoder=SmallEncoder(), max_k=5, max_text=30, max_rows=4)) as client:
        yield client


@pytest.fixture(scope="module")
def package(folder):
    return load_package(folder)


def total(client, metric, /, **labels):
    """A metric's value, summed over the labels that are not given."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    samples = [sample for family in families for sample in family.samples if sample.name == metric]
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


def test_a_user_gets_the_items_of_the_package(client, package):
    for user in ("u2", "u6"):
        answer = package.recommend(user, 3)
        body = client.get(f"/recommend/{user}?k=3").json()
        assert body["items"] == package.listing(answer) and body["kind"] == "known"
    assert body["model"] == "als" and body["version"] == "1" and body["propensity"] == 1 and body["unknown"] == []
    assert len(client.get("/recommend/u7").json()["items"]) == 5, "ten, or what the limit allows"
    assert client.get("/recommend/nobody?k=1").json()["kind"] == "fallback"
    assert len(client.get("/recommend/u7?other=1&k=2&k=4").json()["items"]) == 4


@pytest.mark.parametrize("query", ["k=0", "k=6", "k=-1", "k=1.0", "k=", "k=x", "k=%C2%B2", "k=1&k=x", "k=" + "1" * 9_999])
def test_a_wrong_k_is_refused(client, query):
    answer = client.get(f"/recommend/u1?{query}")
    assert answer.status_code == 422 and answer.json() == {"error": "query.k: a whole number from 1 to 5 is needed"}


def test_the_lean_route_keeps_what_the_document_says(client):
    parameters = client.get("/openapi.json").json()["paths"]["/recommend/{user_id}"]["get"]["parameters"]
    by_name = {parameter["name"]: parameter["schema"] for parameter in parameters}
    assert by_name["k"]["minimum"] == 1 and by_name["k"]["maximum"] == 5 and by_name["k"]["default"] == 5
    assert by_name["user_id"]["maxLength"] == 64
    assert client.get("/recommend/" + "x" * 64).status_code == 200
    assert client.get("/recommend/" + "x" * 65).status_code == 422
    wrong = client.post("/recommend/u1")
    assert wrong.status_code == 405 and wrong.headers["allow"] == "GET" and wrong.json() == {"error": "Method Not Allowed"}


def test_a_newcomer_is_folded_in(client, package):
    body = client.post("/recommend", json={"liked": [1, "3", 99, "none"], "k": 3}).json()
    assert body["items"] == package.listing(package.recommend_for([1, 3], 3))
    assert body["kind"] == "cold_items" and body["unknown"] == [99, "none"]
    assert client.post("/recommend", json={"liked": [1.0, 3], "k": 3.0}).json()["items"] == body["items"]
    body = client.post("/recommend", json={"text": "blue moon", "k": 2}).json()
    vector = SmallEncoder().encode(["blue moon"])[0]
    assert body["kind"] == "cold_text"
    assert [item["item_id"] for item in body["items"]] == [i + 1 for i in package.recommend_text(vector, 2).rows]


class Forgetful(SmallEncoder):
    """Reads every word but "moon", and says so."""

    def lost(self, texts):
        return [[word for word in text.split() if word == "moon"] for text in texts]


def test_the_courses_own_encoder_names_them_too():
    reader = Torch(TextEncoder().weights_sha)
    (vector, lost), (_, none) = read(reader, ["an animated film 🦖", "blue moon"])
    assert lost == ["🦖"] and none == [] and vector.shape == (384,)


def test_words_that_cannot_be_read_are_named(client, folder):
    assert client.post("/recommend", json={"text": "blue moon"}).json()["unknown"] == [], "this encoder names none"
    with TestClient(create_app(folder, encoder=Forgetful())) as other:
        known, lost = (other.post("/recommend", json={"text": text}).json() for text in ("blue sky", "blue moon"))
        assert known["unknown"] == [] and lost["unknown"] == ["moon"] and lost["kind"] == "cold_text"
        body = infer(other, ["blue sky", "blue moon"], name="text").json()
        assert body["parameters"] == {"unknown": [[], ["moon"]]}
        assert "parameters" not in infer(other, ["blue sky"], name="text").json()


WRONG = [
    {}, {"liked": []}, {"liked": [1], "text": "x"}, {"liked": [1.5]}, {"liked": [True]}, {"liked": [1], "k": "3"},
    {"liked": [1], "k": 6}, {"liked": [2**53]}, {"liked": ["x" * 65]}, {"liked": [1] * 101}, {"text": ""},
    {"text": "x" * 31}, {"text": ["secret"]}, {"liked": [{"secret": 1}]}, {"secret": 1}, [], "secret", None,
]  # fmt: skip


@pytest.mark.parametrize("body", WRONG, ids=lambda body: json.dumps(body)[:30])
def test_a_wrong_body_is_refused_without_being_repeated(client, body):
    answer = client.post("/recommend", json=body)
    assert answer.status_code == 422 and set(answer.json()) == {"error"}
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b'{"liked": [1e999]}', b"[" * 60_000, b'{"text": "\\ud800"}', b"1" * 9_000]
)
def test_what_is_no_json_is_refused(client, content):
    answer = client.post("/recommend", content=content, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422) and set(answer.json()) == {"error"}


def test_a_package_without_texts_says_so(tmp_path):
    with TestClient(create_app(small_package(tmp_path / "p"))) as client:
        answer = client.post("/recommend", json={"text": "blue moon"})
        assert answer.status_code == 422 and "packed without a text encoder" in answer.json()["error"]
        assert [tensor["name"] for tensor in client.get("/v2/models/als").json()["inputs"]] == ["user_id"]
        assert client.post("/feedback", json={}).status_code == 404, "no file for it was named"
        assert "/feedback" not in client.get("/openapi.json").json()["paths"]


def infer(client, data, *, path="/v2/models/als/infer", name="user_id", datatype="BYTES", shape=None, **rest):
    tensor = {"name": name, "shape": [len(data)] if shape is None else shape, "datatype": datatype, "data": data}
    return client.post(path, json={"inputs": [tensor]} | rest)


def test_the_inference_protocol(client, package):
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2").json()["extensions"] == []
    about = client.get("/v2/models/als").json()
    assert about == client.get("/v2/models/als/versions/1").json() and about["versions"] == ["1"]
    assert about["outputs"][0] == {"name": "item_id", "datatype": "INT64", "shape": [-1, -1]}
    assert client.get("/v2/models/als/versions/1/ready").json() == {"name": "als", "ready": True}
    body = infer(client, ["u2", "u6"], parameters={"k": 2}, id="a7").json()
    items, scores = body["outputs"]
    best = [package.recommend(user, 2) for user in ("u2", "u6")]
    assert items["data"] == [package.item_ids[row] for answer in best for row in answer.rows]
    assert scores["data"] == [score for answer in best for score in answer.scores]
    assert items["shape"] == scores["shape"] == [2, 2] and scores["datatype"] == "FP32"
    assert (body["model_name"], body["model_version"], body["id"]) == ("als", "1", "a7")
    only = infer(client, ["u1"], outputs=[{"name": "score"}], path="/v2/models/als/versions/1/infer").json()
    assert [output["name"] for output in only["outputs"]] == ["score"] and "id" not in only


def test_inference_from_texts_and_rows_that_are_too_short(client, package, tmp_path):
    texts = ["blue moon", "red sky"]
    body = infer(client, texts, name="text", parameters={"k": 1}).json()
    expected = [package.recommend_text(SmallEncoder().encode([text])[0], 1).rows[0] + 1 for text in texts]
    assert body["outputs"][0]["data"] == expected
    left = 9 - len(package.seen(0))
    with TestClient(create_app(package, encoder=SmallEncoder())) as whole:
        body = infer(whole, ["u1"], parameters={"k": 50}).json()["outputs"]
        assert body[0]["shape"] == [1, 9] and body[0]["data"][left:] == [-1] * (9 - left)
        assert body[1]["data"][left:] == [0] * (9 - left) and -1 not in body[0]["data"][:left]


REFUSED = {
    "shape": ({"shape": [2]}, "shape"),
    "two axes": ({"shape": [1, 1]}, "shape"),
    "rows": ({"data": ["u1"] * 5}, "at most 4 rows"),
    "k": ({"parameters": {"k": 6}}, "k is at most 5"),
    "numbers": ({"datatype": "INT64"}, "not all INT64"),
    "strings": ({"data": [1]}, "not all BYTES"),
    "numbers as text": ({"name": "text", "data": [1], "datatype": "INT64"}, "texts have the datatype BYTES"),
    "long text": ({"name": "text", "data": ["x" * 31]}, "at most 30 characters"),
    "long id": ({"data": ["x" * 65]}, "at most 64 characters"),
    "unknown tensor": ({"name": "secret"}, "name"),
    "no rows": ({"data": [], "shape": [1]}, "at least 1 item"),
    "unknown parameter": ({"parameters": {"secret": 1}}, "body.parameters: there is a field too many"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_the_protocol_has_its_own_errors(client, change, message):
    answer = infer(client, **{"data": ["u1"]} | change)
    assert answer.status_code == 400 and message in answer.json()["error"] and "secret" not in answer.text


def test_an_unknown_model_or_version_is_404(client):
    for path in ("/v2/models/x", "/v2/models/x/ready", "/v2/models/als/versions/2", "/v2/models/als/versions/2/ready"):
        assert "has the model als, version 1" in client.get(path).json()["error"]
    assert infer(client, ["u1"], path="/v2/models/x/infer").status_code == 404


def test_metrics_count_what_happened_under_few_labels(client):
    before = total(client, "course_requests_total"), total(client, "course_recommended_items_total")
    kinds = [total(client, "course_recommendations_total", kind=kind) for kind in ("known", "fallback")]
    for n in range(30):
        client.get(f"/nowhere/{n}")
        client.get(f"/v2/models/m{n}")
    client.get("/recommend/u2?k=2")
    client.get("/recommend/u7?k=3")
    text = client.get("/metrics").text
    assert total(client, "course_recommended_items_total") == before[1] + 5
    assert [total(client, "course_recommendations_total", kind=k) for k in ("known", "fallback")] == [n + 1 for n in kinds]
    assert total(client, "course_requests_total") > before[0] + 61
    routes = set(re.findall(r'course_requests_total\{route="([^"]*)"', text))
    paths = set(client.get("/openapi.json").json()["paths"])
    assert routes <= paths | {"other", "/openapi.json"} and "other" in routes
    assert total(client, "course_in_flight") == 0


def test_many_values_at_once_are_observed_like_one_after_the_other():
    from course_lib.serving.metrics import SHARES, ManyHistogram

    values = [0.0, 0.005, 0.0051, 0.3, 0.3, 1.0, 1.5]
    many, single = (ManyHistogram("h", "h", buckets=SHARES, registry=None) for _ in range(2))
    many.observe_all(values)
    for value in values:
        single.observe(value)
    samples = [[(s.name, s.labels, s.value) for s in h.collect()[0].samples if "created" not in s.name] for h in (many, single)]
    assert samples[0] == samples[1] and len(samples[0]) == len(SHARES) + 3


def test_a_body_beyond_the_limit_is_refused_announced_or_not(folder):
    with TestClient(create_app(folder, encoder=SmallEncoder(), max_body=100)) as client:
        rejected = total(client, "course_rejected_total", reason="size")
        fits, large = json.dumps(LIKED).encode().ljust(100), json.dumps(LIKED).encode().ljust(101)
        kind = {"content-type": "application/json"}
        assert client.post("/recommend", content=fits, headers=kind).status_code == 200
        for content in (large, iter([large[:50], large[50:]])):
            answer = client.post("/recommend", content=content, headers=kind)
            assert answer.status_code == 413 and answer.json() == {"error": "a request has at most 100 bytes"}
        for length in ("-1", "x", "9" * 5_000):
            answer = client.post("/recommend", content=iter([b"{}"]), headers=kind | {"content-length": length})
            assert answer.status_code == 413
        assert total(client, "course_rejected_total", reason="size") == rejected + 5


def test_beyond_the_limit_of_requests_a_client_is_told_to_come_back(folder):
    encoder = Blocked()
    encoder.go.set()
    with TestClient(create_app(folder, encoder=encoder, max_in_flight=2)) as client:
        encoder.go.clear()
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(client.post("/recommend", json={"text": "sky"}))) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 10
        while total(client, "course_in_flight") < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        refused = client.get("/recommend/u1")
        assert refused.status_code == 503 and refused.headers["retry-after"] == "1" and "error" in refused.json()
        assert client.get("/v2/health/ready").status_code == client.get("/metrics").status_code == 200
        encoder.go.set()
        for thread in threads:
            thread.join(10)
        assert [answer.status_code for answer in answers] == [200, 200]
        assert client.get("/recommend/u1").status_code == 200


def test_what_takes_too_long_is_ended(folder):
    encoder = Blocked()
    encoder.go.set()
    with running(create_app(folder, encoder=encoder, timeout=0.3)) as url:
        port = int(url.rsplit(":", 1)[1])
        encoder.go.clear()
        late = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        late.request("POST", "/recommend", json.dumps({"text": "sky"}), {"Content-Type": "application/json"})
        answer = late.getresponse()
        assert answer.status == 504 and "the answer was not ready within 0.3 seconds" in json.loads(answer.read())["error"]
        late.close()
        encoder.go.set()
        with socket.create_connection(("127.0.0.1", port), timeout=10) as half:
            half.sendall(b"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
            answer = half.recv(4_096)
        assert answer.startswith(b"HTTP/1.1 408") and b"did not arrive within" in answer


def test_the_token_guards_all_but_health_and_metrics(folder):
    with TestClient(create_app(folder, encoder=SmallEncoder(), token="abc")) as client:
        for headers in ({}, {"authorization": "Bearer abd"}, {"authorization": "abc"}, {"authorization": "bearer abc "}):
            answer = client.get("/recommend/u1", headers=headers)
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer" and "error" in answer.json()
            assert client.get("/openapi.json", headers=headers).status_code == 401
        good = {"authorization": "Bearer abc"}
        assert client.get("/recommend/u1", headers=good).status_code == 200
        assert client.get("/v2/health/ready").status_code == client.get("/metrics").status_code == 200
        paths = client.get("/openapi.json", headers=good).json()["paths"]
        assert paths["/recommend"]["post"]["security"] == [{"token": []}] and "401" in paths["/recommend"]["post"]["responses"]
        assert "security" not in paths["/metrics"]["get"]


def test_logs_are_json_and_name_nobody(folder, capsys):
    with TestClient(create_app(folder, encoder=SmallEncoder(), log="debug"), raise_server_exceptions=False) as client:
        client.get("/recommend/Secret")
        client.post("/recommend", json={"text": "Secret sea"})
        client.post("/recommend", json={"Secret": 1})
        service = client.app.state.service

        def broken(*_):
            raise RuntimeError("Secret")

        before, service.current = service.current, type(service.current)(type("P", (), {"recommend": broken})())
        failed = client.get("/recommend/u1")
        service.current = before
    assert failed.status_code == 500 and set(failed.json()) == {"error"}
    text = capsys.readouterr().err
    lines = [json.loads(line) for line in text.splitlines()]
    assert "Secret" not in text and {"ready", "request", "stopped", "request failed"} <= {line["event"] for line in lines}
    request = next(line for line in lines if line["event"] == "request")
    assert request["route"] == "/recommend/{user_id}" and request["status"] == 200 and request["milliseconds"] > 0
    failure = next(line for line in lines if line["event"] == "request failed")
    assert failure["error"] == "RuntimeError" and any("broken" in place for place in failure["where"])
    create_app(folder, encoder=SmallEncoder(), log="warning")


def test_a_new_package_takes_over_and_a_broken_one_does_not(tmp_path, capsys):
    folder = small_package(tmp_path / "p", text_encoder=SmallEncoder())
    with TestClient(create_app(folder, encoder=SmallEncoder(), reload_seconds=0.02)) as client:

        def until(done):
            deadline = time.monotonic() + 20
            while not done() and time.monotonic() < deadline:
                time.sleep(0.02)
            assert done()

        def version():
            return client.get("/recommend/u1").json()["version"]

        assert total(client, "course_model_info", name="als", version="1") == 1
        counts = [total(client, "course_reloads_total", outcome=outcome) for outcome in ("ok", "failed")]
        small_package(folder, version="2", seed=1, text_encoder=SmallEncoder())
        until(lambda: version() == "2")
        assert client.post("/recommend", json={"text": "sky"}).json()["version"] == "2"
        assert [total(client, "course_model_info", name="als", version=v) for v in ("1", "2")] == [0, 1]
        data = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(data[:-1])
        (folder / "config.json").touch()
        until(lambda: total(client, "course_reloads_total", outcome="failed") == counts[1] + 1)
        time.sleep(0.1)
        assert total(client, "course_reloads_total", outcome="failed") == counts[1] + 1, "one state is tried once"
        assert version() == "2" and "does not match the sha256" in capsys.readouterr().err
        small_package(folder, version="3")
        until(lambda: version() == "3")
        assert client.post("/recommend", json={"text": "sky"}).status_code == 422, "the third one reads no texts"
        assert total(client, "course_reloads_total", outcome="ok") == counts[0] + 2


def test_options_come_from_the_environment_and_are_checked(tmp_path, monkeypatch):
    options = Options(token="abc", feedback=tmp_path / "f.jsonl", max_k=7, timeout=2.5, log="debug")
    assert Options.from_environment(options.environment()) == options
    assert Options.from_environment({"COURSE_MAX_K": "3", "COURSE_TOKEN": ""}, max_k=4) == Options(max_k=4)
    assert Options().environment() == {}
    for wrong in ({"max_k": 0}, {"max_body": True}, {"timeout": 0}, {"reload_seconds": -1}, {"log": "loud"}, {"token": "ä"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Options(**wrong)
    with pytest.raises(ValueError, match="COURSE_MAX_K is 'x'; a number is needed"):
        Options.from_environment({"COURSE_MAX_K": "x"})
    monkeypatch.delenv("COURSE_PACKAGE", raising=False)
    with pytest.raises(PackageError, match="no package is named"):
        create_app()


def test_the_encoder_must_be_the_one_that_was_packed(tmp_path):
    folder = small_package(tmp_path / "p", text_encoder=SmallEncoder())
    with pytest.raises(PackageError, match="names no encoder"), TestClient(create_app(folder)):
        pass
    foreign = SmallEncoder()
    foreign.weights_sha = "0" * 64
    folder = small_package(tmp_path / "q", text_encoder=foreign)
    with pytest.raises(PackageError, match="is not the one that the package was made with"), TestClient(create_app(folder)):
        pass


def test_course_serve_checks_first_and_hands_everything_on(tmp_path, monkeypatch):
    lost = CliRunner().invoke(cli.app, ["serve", str(tmp_path / "nothing")])
    assert lost.exit_code == 1 and "course serve:" in lost.stderr and "config.json is missing" in lost.stderr
    folder = small_package(tmp_path / "p")
    loud = CliRunner().invoke(cli.app, ["serve", str(folder), "--log", "loud"])
    assert loud.exit_code == 1 and "log is one of" in loud.stderr
    called = []
    monkeypatch.setattr(server, "serve", lambda package, **options: called.append((package, options)))
    command = ["serve", str(folder), "--port", "9999", "--workers", "2", "--feedback", str(tmp_path / "f.jsonl")]
    done = CliRunner().invoke(cli.app, command, env={"COURSE_TOKEN": "abc", "COURSE_MAX_K": "20"})
    assert done.exit_code == 0 and "als 1 (ALS) on http://127.0.0.1:9999" in done.output
    options = Options(token="abc", feedback=tmp_path / "f.jsonl", log="info", max_k=20)
    assert called == [(folder, {"host": "127.0.0.1", "port": 9999, "workers": 2, "options": options})]


def test_numbers_as_ids(tmp_path):
    from course_lib.models import ALS
    from course_lib.serving import write_package

    split, ratings = random_split_of(), small_ratings(name=int)
    model = ALS(feedback="implicit", embedding_size=2).fit(split)
    with TestClient(create_app(write_package(tmp_path / "p", model, ratings, split=split, version="1", metrics={}))) as client:
        by_number, by_text = infer(client, [3], datatype="INT64"), infer(client, ["3"])
        assert by_number.json() == by_text.json() and client.get("/recommend/3").json()["kind"] == "known"
