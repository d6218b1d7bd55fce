"""Every metric and label that the dashboard and the rules ask for is exported by the service that really runs."""

import json
import re
import subprocess
from pathlib import Path

import promtool
import pytest
import yaml
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from course_lib.datasets import load_movielens
from course_lib.models import ALS
from course_lib.serving import metrics, monitoring
from course_lib.serving.app import create_app
from course_lib.serving.writing import write_package
from course_lib.splitting import random_split

FOLDER = Path(monitoring.__file__).parent
BOARD = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
RULES = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"] for rule in group["rules"]
]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
QUERIES = {f"panel {p['title']}, {t['refId']}": t["expr"] for p in PANELS for t in p["targets"]}
QUERIES |= {f"annotation {a['name']}": a["expr"] for a in BOARD["annotations"]["list"]}
QUERIES |= {f"rule {rule.get('alert') or rule['record']}": rule["expr"] for rule in RULES}
PROMETHEUS_OWN = {"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate", "severity"}}
ADDED_BY_SCRAPING = {"job", "instance"}
WORDS = set("sum rate increase by or and unless offset histogram_quantile max abs scalar count sqrt vector absent time".split())
VALUES = {"kind": metrics.KINDS, "event": metrics.EVENTS, "reason": metrics.REASONS, "outcome": metrics.OUTCOMES}
SELECTOR = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{(?:[^}"]|"[^"]*")*\})?')
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> dict[str, set[str]]:
    """Name of each sample → its labels, as /metrics says after every kind of request."""
    folder = tmp_path_factory.mktemp("dashboard")
    ratings = load_movielens()
    split = random_split(ratings, test=0.2, seed=0)
    model = ALS(feedback="implicit", embedding_size=2, epochs=1).fit(split)
    package = write_package(folder / "package", model, ratings, split=split, version="1", name="films", metrics={})
    app = create_app(package, feedback=folder / "feedback.jsonl", token="secret", log="error")
    with TestClient(app, headers={"Authorization": "Bearer secret"}) as client:
        assert client.get("/recommend/1").status_code == 200
        assert client.get("/recommend/1?k=0").status_code == 422
        assert client.get("/recommend/1", headers={"Authorization": "no"}).status_code == 401
        text = client.get("/metrics").text
    return {sample.name: set(sample.labels) for family in text_string_to_metric_families(text) for sample in family.samples}


def parts(expression: str) -> tuple[dict[str, list[tuple]], set[str]]:
    """Metrics of a PromQL expression with their label matchers (name, operator, value), and the labels it groups by."""
    grouped = {label.strip() for inside in re.findall(r"\bby\s*\(([^)]*)\)", expression) for label in inside.split(",")}
    rest = re.sub(r"\bby\s*\([^)]*\)", " ", expression)
    rest = re.sub(r"\[[^\]]*\]|\boffset\s+\w+", " ", rest)
    found: dict[str, list[tuple]] = {}
    for name, labels in SELECTOR.findall(rest):
        if name not in WORDS and not re.fullmatch(r"\d.*", name):
            found.setdefault(name, []).extend(MATCHER.findall(labels))
    return found, grouped


def test_parts_sees_names_matchers_and_groups():
    expression = 'sum by (le, route) (rate(a_bucket{route="/x/{id}", status!~"5.."}[5m])) / b:c offset 1d'
    assert parts(expression) == (
        {"a_bucket": [("route", "=", "/x/{id}"), ("status", "!~", "5..")], "b:c": []}, {"le", "route"},
    )  # fmt: skip


@pytest.mark.parametrize("query", QUERIES)
def test_what_is_asked_for_exists(exported, query):
    asked, grouped = parts(QUERIES[query])
    known = exported | PROMETHEUS_OWN | {name: {"route"} if "latency" in name else set() for name in RECORDED}
    assert asked, "a query asks for something"
    assert set(asked) <= set(known), f"no such metric: {sorted(set(asked) - set(known))}"
    for name, matchers in asked.items():
        labels = known[name] | ADDED_BY_SCRAPING
        assert {label for label, *_ in matchers} <= labels, f"{name} has the labels {sorted(labels)}"
        for label, operator, value in matchers:
            if label in VALUES and operator in ("=", "!="):
                assert value in VALUES[label], f"{label} is one of {VALUES[label]}"
    assert grouped <= set().union(*(known[name] for name in asked)) | ADDED_BY_SCRAPING


@pytest.mark.parametrize("panel", PANELS, ids=lambda p: p["title"])
def test_a_legend_names_labels_that_are_there(panel):
    for target in panel["targets"]:
        asked, grouped = parts(target["expr"])
        left = grouped | ADDED_BY_SCRAPING | ({"route"} if "course:latency:p99_5m" in asked else set())
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= left


def test_each_metric_of_the_service_is_watched(exported):
    asked = {name for expression in QUERIES.values() for name in parts(expression)[0]}
    families, watched = ({re.sub(r"_(bucket|sum|count|created|total)$", "", n) for n in names} for names in (exported, asked))
    assert {name for name in families if name.startswith("course_")} == {n for n in watched if n.startswith("course_")}


def test_prometheus_can_read_every_query(tmp_path):
    tool = promtool.find()
    if tool is None:
        promtool.missing()
    rules = [
        {"record": f"query:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(QUERIES.values())
    ]
    path = tmp_path / "queries.yml"
    path.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}), encoding="utf-8")
    done = subprocess.run([str(tool), "check", "rules", str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and f"{len(rules)} rules found" in done.stdout, done.stdout + done.stderr


def test_thresholds_lie_between_the_bounds_of_their_histograms():
    slow = next(rule["expr"] for rule in RULES if rule.get("alert") == "CourseSlow")
    limit = float(slow.split(">")[1])
    assert limit in metrics.SECONDS and limit < metrics.SECONDS[-1], "a p99 is only known to the bounds"


def test_the_board_is_whole():
    ids, places = [p["id"] for p in BOARD["panels"]], [tuple(p["gridPos"].values()) for p in BOARD["panels"]]
    assert len(set(ids)) == len(ids) and len(PANELS) >= 12
    cells = [(x + dx, y + dy) for h, w, x, y in places for dx in range(w) for dy in range(h)]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24, "no panel covers another"
    assert all(p["description"].endswith(".") and len(p["targets"]) <= 4 for p in PANELS)
    assert {p["datasource"]["uid"] for p in PANELS} == {"${datasource}"} and BOARD["uid"] == "course-serving"
