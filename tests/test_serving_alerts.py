"""The alert rules: promtool's unit tests pass, each rule has one that fires and one that is silent, and a wrong rule fails."""

import subprocess
from pathlib import Path

import promtool
import pytest
import yaml

from course_lib.serving import monitoring

FOLDER = Path(monitoring.__file__).parent
FILES = ("alerts_test.yml", "alerts_slow_test.yml")
RULES = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"]
ALERTS = {rule["alert"]: rule for group in RULES for rule in group["rules"] if "alert" in rule}
TESTS = [test for name in FILES for test in yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))["tests"]]


@pytest.fixture(scope="module")
def tool():
    found = promtool.find()
    if found is None:
        promtool.missing()
    return found


def run(*command) -> subprocess.CompletedProcess:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120)


def test_the_rules_are_valid(tool):
    done = run(tool, "check", "rules", FOLDER / "alerts.yml")
    assert done.returncode == 0 and f"{sum(len(g['rules']) for g in RULES)} rules found" in done.stdout, done.stderr


@pytest.mark.parametrize("name", FILES)
def test_promtool_passes(tool, name):
    done = run(tool, "test", "rules", FOLDER / name)
    assert done.returncode == 0, done.stdout + done.stderr


CHANGES = {
    "CourseErrors": ("course:errors:ratio5m > 0.01", "course:errors:ratio5m > 0.9", "alerts_test.yml"),
    "CourseFeedbackFailing": ("course_feedback_failures_total[5m]", "course_feedback_total[5m]", "alerts_test.yml"),
    "CourseReloadFailed": ('outcome!="ok"', 'outcome=~".+"', "alerts_test.yml"),
    "CoursePopularityShift": (" and course:popularity:ks > course:lists:ks_threshold", "", "alerts_slow_test.yml"),
}


@pytest.mark.parametrize("alert", CHANGES)
def test_a_wrong_rule_does_not_pass(tool, alert, tmp_path):
    old, new, name = CHANGES[alert]
    text = (FOLDER / "alerts.yml").read_text(encoding="utf-8")
    assert text.count(old) == 1
    (tmp_path / "alerts.yml").write_text(text.replace(old, new), encoding="utf-8")
    file = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    file["tests"] = [t for t in file["tests"] if any(case["alertname"] == alert for case in t.get("alert_rule_test", ()))]
    (tmp_path / name).write_text(yaml.safe_dump(file, width=10**6), encoding="utf-8")
    done = run(tool, "test", "rules", tmp_path / name)
    assert done.returncode != 0 and alert in done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_every_rule_is_seen_silent_and_firing(alert):
    cases = [case for test in TESTS for case in test.get("alert_rule_test", ()) if case["alertname"] == alert]
    firing = [bool(case.get("exp_alerts")) for case in cases]
    assert any(firing) and not all(firing), f"{alert}: {sum(firing)} of {len(firing)} cases fire"


@pytest.mark.parametrize("alert", ALERTS)
def test_every_rule_says_how_urgent_it_is_and_what_to_do(alert):
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert set(rule["annotations"]) == {"summary", "action"} and len(rule["annotations"]["action"].split()) > 8


def test_a_rule_is_tested_only_if_there_is_one():
    assert {case["alertname"] for test in TESTS for case in test.get("alert_rule_test", ())} == set(ALERTS)


def test_promtool_is_refused_with_a_reason_where_it_cannot_be_had(monkeypatch, capsys):
    monkeypatch.setattr(promtool, "find", lambda: None)
    monkeypatch.setattr(promtool.shutil, "which", lambda name: None)
    monkeypatch.delenv("CI", raising=False)
    assert promtool.main() == 0
    monkeypatch.setenv("CI", "1")
    assert promtool.main() == 1
    assert capsys.readouterr().err.count("put promtool on PATH") == 2
