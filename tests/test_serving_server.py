import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper, save
from prometheus_client.parser import text_string_to_metric_families
from small_service import small_package
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from course_lib.serving import PackageError, Server, ServerError, load_package
from course_lib.serving.onnx import OnnxEncoder

WORDS = "pad unk red blue green sky moon sea stand by me the".split()


def averaging(folder, *, seed=0):
    """An encoder that averages word vectors drawn at random: its ONNX file as `export_encoder` writes one, and itself."""
    folder.mkdir()
    words = {word: i for i, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="unk"))
    tokenizer.pre_tokenizer, tokenizer.normalizer = pre_tokenizers.Whitespace(), normalizers.Lowercase()
    tokenizer.save(str(folder / "tokenizer.json"))
    table = np.random.default_rng(seed).normal(size=(len(WORDS), 16)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["wide"]),
        helper.make_node("Mul", ["rows", "wide"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["vectors"], keepdims=0),
    ]
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, ["n", "t"]) for n in ("input_ids", "attention_mask")]
    outputs = [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", 16])]
    constants = {"table": table, "last": np.array([2]), "middle": np.array([1])}
    graph = helper.make_graph(
        nodes, "averaging", inputs, outputs, [numpy_helper.from_array(a, n) for n, a in constants.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    about = {"format": "1", "hidden_size": "16", "max_length": "24", "padding": "0", "unk": "1"}
    helper.set_model_props(model, about)
    save(model, folder / "encoder.onnx")
    encoder = OnnxEncoder(folder / "encoder.onnx", tokenizer=folder)
    encoder.folder = folder
    return encoder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return averaging(tmp_path_factory.mktemp("encoders") / "one")


@pytest.fixture(scope="module")
def onnx(encoder):
    return encoder.path


class Load:
    """Threads that ask for recommendations over kept connections until the block ends, for a minute at most."""

    def __init__(self, port, *, threads=3):
        self.port, self.answers, self.lost, self._end = port, [], [], threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(threads)]

    def _ask(self, number):
        connection, deadline = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10), time.monotonic() + 60
        versions = []
        while not self._end.is_set() and time.monotonic() < deadline:
            try:
                connection.request("GET", f"/recommend/u{number + 2}?k=2")
                answer = connection.getresponse()
                body = json.loads(answer.read())
                versions.append((answer.status, body.get("version")))
            except OSError as error:
                self.lost.append(error)
                return
        connection.close()
        self.answers.append(versions)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        for thread in self._threads:
            thread.join(15)


def wait_for(done, *, seconds=20):
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert done()


def gone(processes):
    """Whether none of them runs any more."""
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def test_packages_are_exchanged_under_load_without_a_lost_request(tmp_path, encoder, onnx):
    folder = small_package(tmp_path / "p", text_encoder=encoder, onnx=onnx)
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "encoder.onnx", "model.safetensors", "tokenizer.json"]
    with Server(folder, reload_seconds=0.02) as server:
        processes, served = server.processes(), load_package(folder)
        assert len(processes) == 1 and processes[0].pid == server.pid and server.cpu_seconds() > 0
        with Load(server.port) as load:
            for version in ("2", "3", "4"):
                time.sleep(0.2)
                small_package(folder, version=version, seed=int(version), text_encoder=encoder, onnx=onnx)
                wait_for(lambda version=version: server.get("/recommend/u2").body["version"] == version)
                assert server.post("/recommend", {"text": "blue moon"}).body["version"] == version
        assert not load.lost and len(load.answers) == 3
        for answers in load.answers:
            versions = [version for _, version in answers]
            assert {status for status, _ in answers} == {200} and versions == sorted(versions)
            assert set(versions) == {"1", "2", "3", "4"}
        vector = OnnxEncoder(onnx, tokenizer=encoder.folder).encode(["blue moon"])[0]
        served = load_package(folder)
        answer = server.post("/recommend", {"text": "blue moon", "k": 3}).body
        assert answer["kind"] == "cold_text" and answer["unknown"] == []
        assert server.post("/recommend", {"text": "blue zebra"}).body["unknown"] == ["zebra"]
        assert [item["title"] for item in answer["items"]] == [served.titles[i] for i in served.recommend_text(vector, 3).rows]
        maps = Path(f"/proc/{server.pid}/maps")
        assert not maps.exists() or "libtorch" not in maps.read_text(), "the service needs no torch"
    assert gone(processes)


def test_a_wrong_file_is_not_packed_as_the_encoder(tmp_path, encoder, onnx):
    with pytest.raises(PackageError, match="encoder.onnx is missing"):
        small_package(tmp_path / "p", text_encoder=encoder, onnx=tmp_path / "encoder.onnx")
    other = averaging(tmp_path / "other", seed=1)
    with pytest.raises(PackageError, match="is not an export of this encoder"):
        small_package(tmp_path / "p", text_encoder=other, onnx=onnx)


def test_two_workers_count_together_and_none_outlives_the_server(tmp_path):
    folder = small_package(tmp_path / "p")
    with Server(folder, workers=2, reload_seconds=0.02, token="abc") as server:
        for _ in range(40):
            assert server.get("/recommend/u2?k=2").status == 200
        text = server.get("/metrics").body
        samples = {(s.name, *s.labels.values()): s.value for f in text_string_to_metric_families(text) for s in f.samples}
        assert samples["course_requests_total", "/recommend/{user_id}", "200"] == 40
        assert samples["course_recommended_items_total",] == 80
        assert samples["course_model_info", "als", "1"] == 1
        processes = server.processes()
        workers = [
            process for process in processes if "spawn_main" in " ".join(process.cmdline()) and process.pid != server.pid
        ]
        assert len(workers) == 2
        os.kill(server.pid, signal.SIGKILL)  # the workers see that their supervisor is gone
        wait_for(lambda: gone(workers))
    assert gone(processes)


def test_a_request_that_has_begun_is_finished_before_the_server_stops(tmp_path):
    body = json.dumps({"liked": [1], "k": 2}).encode()
    with Server(small_package(tmp_path / "p")) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=15) as begun:
            head = (
                f"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            begun.sendall(head.encode() + body[:5])
            wait_for(lambda: "course_in_flight 1.0" in server.get("/metrics").body)
            os.kill(server.pid, signal.SIGTERM)
            time.sleep(0.3)
            with pytest.raises(OSError):
                server.get("/v2/health/live")
            begun.sendall(body[5:])
            answer = b"".join(iter(lambda: begun.recv(65_536), b""))
        assert answer.startswith(b"HTTP/1.1 200") and b"cold_items" in answer
        wait_for(lambda: gone(server.processes()))


def test_a_server_ends_with_the_process_that_started_it(tmp_path):
    folder = small_package(tmp_path / "p")
    code = (
        "import sys, time; from course_lib.serving import Server\n"
        f"server = Server({str(folder)!r}).__enter__(); print(server.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        assert not gone([child])
        parent.kill()
    wait_for(lambda: gone([child]))


def test_a_server_that_cannot_start_says_why(tmp_path):
    with pytest.raises(ServerError, match=r"(?s)ended with status \d+.*holds no package"), Server(tmp_path / "nothing"):
        pass
    with pytest.raises(ValueError, match="max_k"):
        Server(tmp_path, max_k=0)
    with pytest.raises(ValueError, match="workers starts at 1"):
        Server(tmp_path, workers=0)
