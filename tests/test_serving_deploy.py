"""What is deployed: every file passes the validator of its kind, says what the others say, and the image's commands run."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from importlib.metadata import requires
from pathlib import Path

import kubernetes_validate
import promtool
import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from jsonschema.validators import validator_for
from packaging.requirements import Requirement

from course_lib.config import PROJECT
from course_lib.datasets import load_movielens
from course_lib.models import ALS
from course_lib.serving import monitoring
from course_lib.serving.options import Options
from course_lib.serving.writing import write_package
from course_lib.splitting import random_split

MONITORING = Path(monitoring.__file__).parent
DEPLOY = MONITORING.parent / "deploy"
HADOLINT = Path(sys.executable).parent / "hadolint"  # it comes with a package of this environment
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
CLUSTER = {d["kind"]: d for d in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8"))}
KSERVE = yaml.safe_load((DEPLOY / "kserve.yaml").read_text(encoding="utf-8"))
CONTAINER = CLUSTER["Deployment"]["spec"]["template"]["spec"]["containers"][0]
POD = KSERVE["spec"]["predictor"]["containers"][0]
# Of KServe's ComponentExtensionSpec and PredictorSpec, pkg/apis/serving/v1beta1: what a component may say beside its pod.
COMPONENT = {
    "minReplicas": int, "maxReplicas": int, "scaleTarget": int, "scaleMetric": str, "containerConcurrency": int, "timeout": int,
    "canaryTrafficPercent": int, "labels": dict, "annotations": dict,
}  # fmt: skip


def instruction(name: str) -> str:
    """The last instruction of that name in the Dockerfile, on one line."""
    lines = re.sub(r"\\\n\s*", " ", DOCKERFILE).splitlines()
    return next(line.removeprefix(name).strip() for line in reversed(lines) if line.startswith(f"{name} "))


def compose_problems(content: dict) -> list[str]:
    schema = get_builtin_schema("vendor.compose-spec")
    return [error.message for error in validator_for(schema)(schema).iter_errors(content)]


def kserve_problems(content: dict) -> list[str]:
    """What KServe's webhook would refuse, and what Kubernetes would refuse of the pod."""
    problems = []
    if (content.get("apiVersion"), content.get("kind")) != ("serving.kserve.io/v1beta1", "InferenceService"):
        problems.append("apiVersion and kind")
    if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", content.get("metadata", {}).get("name", "")):
        problems.append("name")
    predictor = dict(content["spec"].get("predictor", {}))
    own = {key: predictor.pop(key) for key in COMPONENT if key in predictor}
    problems += [f"{key} is no {COMPONENT[key].__name__}" for key, value in own.items() if type(value) is not COMPONENT[key]]
    if not problems and own.get("minReplicas", 1) > own.get("maxReplicas", 1):
        problems.append("minReplicas is above maxReplicas")
    if own.get("scaleMetric", "cpu") not in ("cpu", "memory"):
        problems.append("scaleMetric: without Knative the pods are scaled by cpu or memory")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": predictor}
    try:
        kubernetes_validate.validate(pod, "1.31", strict=True)
    except kubernetes_validate.ValidationError as error:
        problems.append(error.message)
    return problems


def test_hadolint_passes_and_would_not_pass_anything():
    for text, passes in ((DOCKERFILE, True), ("FROM python:latest\nRUN cd /x && pip install numpy\n", False)):
        done = subprocess.run([HADOLINT, "-"], input=text, capture_output=True, text=True, timeout=60)
        assert (done.returncode == 0) == passes, done.stdout


def test_compose_is_valid_and_a_wrong_one_is_not():
    assert compose_problems(COMPOSE) == []
    assert compose_problems(COMPOSE | {"services": {"course": {"imgae": "x"}}})


@pytest.mark.parametrize("version", ["1.31", "1.37"])
@pytest.mark.parametrize("kind", ["Service", "Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget"])
def test_kubernetes_accepts_each_document(kind, version):
    kubernetes_validate.validate(CLUSTER[kind], version, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(CLUSTER[kind] | {"spce": 1}, version, strict=True)


def test_kserve_accepts_the_service_and_refuses_wrong_ones():
    assert kserve_problems(KSERVE) == []
    for path, value in (("minReplicas", 99), ("scaleMetric", "mood"), ("containres", []), ("maxReplicas", "ten")):
        wrong = json.loads(json.dumps(KSERVE))
        wrong["spec"]["predictor"][path] = value
        assert kserve_problems(wrong), path


def test_prometheus_accepts_its_configuration(tmp_path):
    tool = promtool.find()
    if tool is None:
        promtool.missing()
    for path in (DEPLOY / "prometheus.yml", MONITORING / "alerts.yml"):
        shutil.copy(path, tmp_path)
    done = subprocess.run([str(tool), "check", "config", str(tmp_path / "prometheus.yml")], capture_output=True, text=True)
    assert done.returncode == 0 and "1 rule files found" in done.stdout, done.stdout + done.stderr


def test_the_files_agree():
    scrape = yaml.safe_load((DEPLOY / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"][0]
    port = int(instruction("EXPOSE"))
    assert scrape["job_name"] == "course" and scrape["static_configs"][0]["targets"] == [f"course:{port}"]
    assert COMPOSE["services"]["course"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert CONTAINER["ports"][0]["containerPort"] == POD["ports"][0]["containerPort"] == port
    assert (
        CLUSTER["Service"]["spec"]["selector"].items()
        <= CLUSTER["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    )
    assert CLUSTER["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == CLUSTER["Deployment"]["metadata"]["name"]
    assert "replicas" not in CLUSTER["Deployment"]["spec"], "the autoscaler's number would be overwritten at each apply"
    assert CONTAINER["image"] == POD["image"]
    assert str(CLUSTER["Deployment"]["spec"]["template"]["spec"]["securityContext"]["runAsUser"]) == instruction("USER")


def test_every_path_is_there_and_every_variable_is_read_by_the_service():
    for volume in (v for service in COMPOSE["services"].values() for v in service["volumes"] if isinstance(v, str)):
        source = volume.split(":")[0]
        assert not source.startswith(".") or (DEPLOY / source).is_file(), source
    build = COMPOSE["services"]["course"]["build"]
    assert (DEPLOY / build["context"]).resolve() == PROJECT and (PROJECT / build["dockerfile"]).is_file()
    for source in (part for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.M) for part in line.split()):
        assert (PROJECT / source).exists(), source
    given = set(COMPOSE["services"]["course"]["environment"]) | {e["name"] for e in (*CONTAINER["env"], *POD["env"])}
    given |= set(re.findall(r"(COURSE_\w+)=", DOCKERFILE))
    known = {f"COURSE_{name.upper()}" for name in Options.__dataclass_fields__} | {"COURSE_PACKAGE"}
    assert {name for name in given if name.startswith("COURSE_")} <= known


def test_ports_are_on_the_loopback_address_and_no_secret_is_written_down():
    for service in COMPOSE["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    token = next(e for e in CONTAINER["env"] if e["name"] == "COURSE_TOKEN")
    assert "value" not in token and COMPOSE["services"]["course"]["environment"]["COURSE_TOKEN"] == "${COURSE_TOKEN:-}"


def test_an_installed_library_has_these_files_too():
    given = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]
    root = PROJECT / "course_lib"
    taken = {
        path for package, globs in given.items() for glob in globs for path in (PROJECT / package.replace(".", "/")).glob(glob)
    }
    others = {path for path in root.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert others and others <= taken, sorted(str(path.relative_to(root)) for path in others - taken)


def closure(names) -> set[str]:
    """Distributions that these need, extras and markers respected."""
    found: set[str] = set()
    waiting = [Requirement(name) for name in names]
    while waiting:
        wanted = waiting.pop()
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        found.add(name)
        for line in requires(wanted.name) or ():
            further = Requirement(line)
            extras = wanted.extras or {""}
            fits = not further.marker or any(further.marker.evaluate({"extra": extra}) for extra in extras)
            if fits and re.sub(r"[-_.]+", "-", further.name).lower() not in found:
                waiting.append(further)
    return found


ONLY = """
import importlib.metadata as metadata, re, sys
allowed, of = set({allowed!r}), metadata.packages_distributions()

class Only:
    def find_spec(self, name, path=None, target=None):
        owners = {{re.sub(r"[-_.]+", "-", d).lower() for d in of.get(name.split(".")[0], [])}}
        if owners and not owners & allowed:
            raise ImportError(f"{{name}} is not in the image")

sys.meta_path.insert(0, Only())
import course_lib.serving.app, course_lib.serving.onnx, course_lib.serving.texts
import onnxruntime, tokenizers
print("torch" in sys.modules)
try:
    import torch
except ImportError as error:
    print(error)
"""


def test_the_image_holds_what_the_service_imports():
    lines = (DEPLOY / "requirements.txt").read_text(encoding="utf-8").splitlines()
    names = [line for line in lines if line and not line.startswith("#")]
    pins = (PROJECT / "requirements.txt").read_text(encoding="utf-8").lower().replace("_", "-")
    unpinned = [n for n in names if not re.search(rf"^{re.escape(n.split('[')[0].replace('_', '-'))}==", pins, re.M)]
    assert unpinned == [], "the image takes its versions from the tested set"
    code = ONLY.format(allowed=sorted(closure(names) | {"course-lib"}))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split("\n")[:2] == ["False", "torch is not in the image"], done.stdout + done.stderr


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    ratings = load_movielens()
    split = random_split(ratings, test=0.2, seed=0)
    model = ALS(feedback="implicit", embedding_size=2, epochs=1).fit(split)
    folder = tmp_path_factory.mktemp("deploy") / "package"
    return write_package(folder, model, ratings, split=split, version="1", name="films", metrics={})


def test_the_image_s_command_serves_stays_healthy_and_stops(package):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    command = json.loads(instruction("CMD"))
    assert command[command.index("--host") + 1] == "0.0.0.0" and command[command.index("--port") + 1] == "8000"
    command = [
        {"0.0.0.0": "127.0.0.1", "8000": port, "uvicorn": f"{sys.prefix}/bin/uvicorn"}.get(part, part) for part in command
    ]
    health = json.loads(instruction("HEALTHCHECK").split("CMD ")[1])
    health = [sys.executable, *(part.replace(":8000/", f":{port}/") for part in health[1:])]
    server = subprocess.Popen(command, env=os.environ | {"COURSE_PACKAGE": str(package)}, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while subprocess.run(health, capture_output=True, timeout=30).returncode:
            assert time.monotonic() < deadline and server.poll() is None, "the server does not get ready"
            time.sleep(0.3)
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            path = CONTAINER[probe]["httpGet"]["path"]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as reply:
                assert reply.status == 200
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/recommend/1?k=3", timeout=5) as reply:
            assert len(json.load(reply)["items"]) == 3
        server.send_signal(signal.SIGTERM)
        server.wait(20)
    finally:
        server.kill()
        server.communicate()
    assert server.returncode in (0, -signal.SIGTERM)
    assert subprocess.run(health, capture_output=True, timeout=30).returncode != 0, "a stopped server is not healthy"
