"""The drill: the stored table is what its command makes, looks healthy where it should, and shows its fault where it should."""

import json
import subprocess
from itertools import pairwise

import numpy as np
import pandas as pd
import promtool
import pytest

from course_lib.serving import monitoring
from course_lib.serving.monitoring import drill as drills
from course_lib.serving.monitoring.drift import psi_counts, psi_threshold
from course_lib.serving.monitoring.drill import DrillError, load_drill, quantile
from course_lib.serving.monitoring.recording import COMMAND, INTERVALS, RELEASES, SEED, START, live, record, write

BROKEN = next(release.version for release in RELEASES if release.lost is not None)
AGAIN = (10, 325, 600, 640)  # an ordinary interval, one of the old client, a canary, the broken release alone


@pytest.fixture(scope="module")
def drill():
    return load_drill()


@pytest.fixture(scope="module")
def again():
    return record(AGAIN)


def test_the_command_makes_the_stored_table(drill, again):
    assert f"command: {COMMAND}; seed: {SEED}" in drill.about
    times = pd.to_datetime(again["time"])
    stored = drill.table[drill.table["time"].isin(times)].reset_index(drop=True)
    exact = ["version", "status_2xx", "status_4xx", "status_5xx", "lists", "fallback", "empty"]
    pd.testing.assert_frame_equal(again[exact], stored[exact])
    assert (again["clicks"] - stored["clicks"]).abs().sum() <= 0.02 * stored["clicks"].sum()
    for quantity in ("popularity", "score"):
        bins = [c for c in stored if c.startswith(f"{quantity}_") and not c.endswith("_sum")]
        moved = (again[bins] - stored[bins]).abs().to_numpy().sum()
        assert moved <= 0.02 * stored[bins].to_numpy().sum(), "a tie may fall the other way on another processor, no more"


def test_a_table_is_written_whole_and_read_back(again, tmp_path):
    found = load_drill(write(again, tmp_path / "again.csv"))
    assert [path.name for path in tmp_path.iterdir()] == ["again.csv"]
    wanted = again.assign(time=pd.to_datetime(again["time"]))
    pd.testing.assert_frame_equal(found.table, wanted, check_dtype=False)


def test_three_days_without_a_gap(drill):
    assert drill.table["time"].nunique() == INTERVALS == 864
    assert drill.table["time"].min() == START and drill.versions == [release.version for release in RELEASES]
    two = drill.table.groupby("time")["version"].nunique()
    assert two.max() == 2 and (two == 2).sum() == 4 * 24, "four canaries of two hours"
    assert live(50) == ("2026.3.3", "2026.3.4") and live(52) == ("2026.3.4", "2026.3.4") and live(0) == ("2026.3.1",) * 2


def test_counts_agree(drill):
    table = drill.table
    assert (table["lists"] == table["status_2xx"]).all() and table["lists"].sum() > 60_000
    assert drill.histogram("score").sum() == table["lists"].sum()
    assert drill.histogram("popularity").sum() == 10 * table["lists"].sum()
    assert drill.histogram("seconds").sum() == table[["status_2xx", "status_4xx"]].to_numpy().sum()
    assert (table["clicks"] <= table["lists"]).all()


def test_the_broken_release_looks_healthy(drill):
    lines = drill.over_time("72h", by_version=True).droplevel("time")
    broken, others = lines.loc[BROKEN], lines.drop(BROKEN)
    assert broken["failed"] == broken["empty"] == broken["refused"] == 0
    assert broken["p50_ms"] < 1.5 * others["p50_ms"].max() and broken["p99_ms"] < 1.5 * others["p99_ms"].max()
    assert others["refused"].max() > 0.02, "the old client, a trail that leads elsewhere"


def test_what_people_see_tells_on_it(drill):
    lines = drill.over_time("72h", by_version=True).droplevel("time")
    broken, others = lines.loc[BROKEN], lines.drop(BROKEN)
    assert broken["click_through"] < 0.8 * others["click_through"].min()
    assert broken["popularity"] < 0.8 * others["popularity"].min()
    assert np.ptp(others["click_through"]) < 0.08


def test_scores_alone_would_accuse_the_wrong_release(drill):
    scores = {version: drill.histogram("score", rows) for version, rows in drill.table.groupby("version")}
    moved = {later: psi_counts(scores[before], scores[later]) for before, later in pairwise(drill.versions)}
    assert max(moved, key=moved.get) == "2026.3.3" != BROKEN
    limit = psi_threshold(scores["2026.3.1"].sum(), scores["2026.3.2"].sum(), 18)
    assert moved["2026.3.2"] < 0.02 and moved[BROKEN] > 10 * limit


def alerts_of(drill, tool, folder) -> dict[int, set[str]]:
    """The alerts that fire at some hours when Prometheus sees the drill, by the difference that promtool reports to none."""
    hours = range(26, 73, 2)
    series = [
        {"series": name, "values": " ".join(["0" if "_info" not in name else f"{values[0]:g}", *(f"{v:.10g}" for v in values)])}
        for name, values in drill.series().items()
    ]
    firing = 'count by (alertname) (ALERTS{alertstate="firing"})'
    cases = [{"expr": firing, "eval_time": f"{hour}h", "exp_samples": []} for hour in hours]
    file = {
        "rule_files": [f"{monitoring.__path__[0]}/alerts.yml"],
        "evaluation_interval": "15m",
        "group_eval_order": ["course-records", "course-availability", "course-releases", "course-quality"],
        "tests": [{"interval": "5m", "input_series": series, "promql_expr_test": cases}],
    }
    path = folder / "drill_test.yml"
    path.write_text(json.dumps(file), encoding="utf-8")
    done = subprocess.run([str(tool), "test", "rules", str(path)], capture_output=True, text=True, timeout=120)
    found = {hour: set() for hour in hours}
    for part in (done.stdout + done.stderr).split("expr: ")[1:]:
        time = part.split("time: ")[1].split(",")[0]
        hour = int(pd.Timedelta(time.replace("d", " days ")).total_seconds() // 3600)
        found[hour] = {piece.split('"')[0] for piece in part.split('alertname="')[1:]}
    return found


def test_the_rules_find_it_and_nothing_else(drill, promtool_path, tmp_path):
    found = alerts_of(drill, promtool_path, tmp_path)
    page = {hour: names for hour, names in found.items() if "CourseClickThroughDrop" in names}
    assert min(page) in (54, 56) and 60 < max(page) <= 66, sorted(page)
    shift = [hour for hour, names in found.items() if "CoursePopularityShift" in names]
    assert set(page) <= set(shift) and 52 < min(shift) and max(shift) <= 66
    assert set().union(*found.values()) == {"CourseClickThroughDrop", "CoursePopularityShift", "CourseScoreShift"}
    early = {name for hour, names in found.items() if hour < 50 for name in names}
    assert early == {"CourseScoreShift"}, "the release with other options, and nothing else"
    assert all(not names for hour, names in found.items() if hour <= 34 or hour >= 68), "quiet before, and quiet again"


@pytest.fixture
def promtool_path():
    found = promtool.find()
    if found is None:
        promtool.missing()
    return found


def test_quantile_is_linear_within_a_bin():
    assert quantile((1.0, 2.0, 4.0), np.array([2, 2, 4, 0]), 0.5) == 2.0
    assert quantile((1.0, 2.0, 4.0), np.array([2, 2, 4, 0]), 0.75) == 3.0
    assert quantile((1.0, 2.0), np.array([4, 0, 0]), 0.25) == 0.25
    assert quantile((1.0, 2.0), np.array([1, 1, 8]), 0.99) == 2.0
    assert np.isnan(quantile((1.0,), np.array([0, 0]), 0.5))


def test_over_time_by_hand():
    names = ["time", "version", *drills.COUNTS]
    rows = [("2026-03-02T00:00Z", "1", 8, 2, 0, 0, 8, 4, 2, 6), ("2026-03-02T00:05Z", "1", 10, 0, 0, 0, 10, 0, 0, 3)]
    table = pd.DataFrame(rows, columns=names)
    for quantity, (_, _, bounds) in drills.QUANTITIES.items():
        columns = [f"{quantity}_{bound:g}" for bound in bounds]
        table[columns] = 0
        table[columns[3]], table[f"{quantity}_sum"] = [10, 10], [3.0, 7.0]
    found = drills.Drill(table.assign(time=pd.to_datetime(table["time"])), "").over_time("10min").iloc[0]
    assert found["requests"] == pytest.approx(20 / 600) and found["refused"] == pytest.approx(0.1)
    assert found["click_through"] == found["empty"] * 4.5 == pytest.approx(0.5)
    assert found["popularity"] == found["score"] == 0.5
    assert found["p50_ms"] == pytest.approx(3.75)


def test_errors_say_what_to_do(drill, tmp_path):
    with pytest.raises(DrillError, match="does not exist: make it with `python -m"):
        load_drill(tmp_path / "none.csv")
    other = tmp_path / "other.csv"
    other.write_text("# about\ntime,version,clicks\n2026-03-02T00:00Z,1,2\n", encoding="utf-8")
    with pytest.raises(DrillError, match="lacks empty, fallback"):
        load_drill(other)
    other.write_text("hello\n", encoding="utf-8")
    with pytest.raises(DrillError, match="not the drill's table"):
        load_drill(other)
    with pytest.raises(ValueError, match="holds seconds, popularity, score"):
        drill.histogram("clicks")
