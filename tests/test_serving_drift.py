"""PSI and KS: their values by hand, and their false-alarm rates as promised."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from course_lib.serving.monitoring.drift import (
    DriftReport,
    bin_counts,
    ks,
    ks_threshold,
    psi,
    psi_counts,
    psi_threshold,
    quantile_edges,
)

REPEATS = 1_200


def alarms(statistic, threshold: float, n: int, m: int, *, seed: int, repeats: int = REPEATS) -> float:
    """How often two samples of one distribution differ by more than the threshold."""
    rng = np.random.default_rng(seed)
    return np.mean([statistic(rng.normal(size=n), rng.normal(size=m)) > threshold for _ in range(repeats)])


def test_psi_by_hand():
    p, q = np.array([10.5, 30.5]) / 41, np.array([20.5, 20.5]) / 41
    assert psi_counts([10, 30], [20, 20]) == pytest.approx(((q - p) * np.log(q / p)).sum(), rel=1e-12)
    assert psi_counts([7, 3, 5], [7, 3, 5]) == 0
    assert psi_counts([1, 9], [8, 2]) == pytest.approx(psi_counts([8, 2], [1, 9]))
    assert np.isfinite(psi_counts([0, 100], [100, 0]))


def test_bins_are_the_quantiles_of_what_is_expected():
    sample = np.arange(1, 101)
    edges = quantile_edges(sample, 4)
    assert list(bin_counts(sample, edges)) == [25, 25, 25, 25]
    assert list(bin_counts([0, 1000, 1000, edges[0]], edges)) == [2, 0, 0, 2]
    assert psi(sample, sample + 25, bins=4) == pytest.approx(psi_counts([25] * 4, [0, 25, 25, 50]))
    assert len(quantile_edges([1, 1, 1, 1, 2, 3], 4)) == 2, "equal quantiles are one edge"


@pytest.mark.parametrize("alpha", [0.01, 0.05])
@pytest.mark.parametrize("n", [100, 200, 1000])
def test_thresholds_keep_their_false_alarm_rate(n, alpha):
    noise = 3 * np.sqrt(alpha * (1 - alpha) / REPEATS)
    by_psi = alarms(psi, psi_threshold(n, n, 10, alpha), n, n, seed=n)
    assert abs(by_psi - alpha) < noise + alpha / 3, f"PSI at n = {n}: {by_psi:.4f}"
    by_ks = alarms(ks, ks_threshold(n, n, alpha), n, n, seed=n + 1)
    assert alpha / 3 - noise < by_ks < alpha + noise, f"KS at n = {n}: {by_ks:.4f}"


def test_samples_of_different_sizes_keep_it_too():
    rate = alarms(psi, psi_threshold(5000, 150, 10, 0.05), 5000, 150, seed=5)
    assert 0.03 < rate < 0.07


def test_the_fixed_threshold_of_a_tenth_does_not():
    assert alarms(psi, 0.1, 100, 100, seed=1, repeats=400) > 0.75
    assert 0.2 < alarms(psi, 0.1, 200, 200, seed=2, repeats=400) < 0.5
    assert alarms(psi, 0.1, 1000, 1000, seed=3, repeats=400) == 0


def test_a_real_shift_is_seen():
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=1000), rng.normal(0.3, size=1000)
    assert psi(before, after) > psi_threshold(1000, 1000, 10)
    assert ks(before, after) > ks_threshold(1000, 1000)


def test_ks_is_the_largest_gap_and_its_threshold_the_tables():
    assert ks([1, 2, 3, 4], [3, 4, 5, 6]) == 0.5
    a, b = np.random.default_rng(6).poisson(3, (2, 90))
    assert ks(a, b[:70]) == pytest.approx(stats.ks_2samp(a, b[:70]).statistic)
    assert ks_threshold(100, 100, 0.05) == pytest.approx(1.358 * np.sqrt(2 / 100), rel=1e-3)
    assert psi_threshold(100, 400, 10, 0.05) == pytest.approx(16.919 * (1 / 100 + 1 / 400), rel=1e-4)


def people(rng, rows: int, *, age: float = 35, share: float = 0.3) -> pd.DataFrame:
    return pd.DataFrame(
        {"age": rng.normal(age, 10, rows), "device": np.where(rng.random(rows) < share, "phone", "desk"), "site": "films"}
    )


def test_report_names_the_columns_that_moved():
    rng = np.random.default_rng(3)
    report = DriftReport.compare(people(rng, 800), people(rng, 800, age=42))
    assert report.drifted == ["age"] and list(report.table["test"]) == ["psi", "ks", "psi", "psi"]
    assert "drifted: age" in str(report)
    report = DriftReport.compare(people(rng, 800), people(rng, 800, share=0.5))
    assert report.drifted == ["device"]
    news = people(rng, 800).assign(site="news")
    assert DriftReport.compare(people(rng, 800), news).drifted == ["site"], "a category nobody had seen"


def test_report_without_drift_alarms_about_alpha():
    rng = np.random.default_rng(4)
    rate = np.mean([bool(DriftReport.compare(people(rng, 300), people(rng, 300), alpha=0.1).drifted) for _ in range(150)])
    limit = stats.binom.ppf(0.999, 150, 0.1) / 150
    assert 0.02 < rate <= limit


@pytest.mark.parametrize(
    "call, match",
    [
        (lambda: psi([], [1.0]), "at least one"),
        (lambda: psi([1.0, np.nan], [1.0]), "finite"),
        (lambda: psi([1.0, 2.0], [1.0], bins=1), "two bins"),
        (lambda: psi_counts([1, 2], [1, 2, 3]), "same two or more bins"),
        (lambda: psi_counts([0, 0], [1, 2]), "empty"),
        (lambda: psi_counts([-1, 2], [1, 2]), "negative"),
        (lambda: psi_threshold(0, 5, 10), "sizes start at 1"),
        (lambda: psi_threshold(5, 5, 1), "two bins"),
        (lambda: ks_threshold(5, 5, 1.0), "alpha lies between"),
        (lambda: DriftReport.compare(pd.DataFrame({"a": [1.0]}), pd.DataFrame({"b": [1.0]})), "same columns"),
        (lambda: DriftReport.compare(pd.DataFrame({"a": [1.0]}), pd.DataFrame({"a": [None]})), "missing values"),
        (lambda: DriftReport.compare(pd.DataFrame({"a": [1.0]}), pd.DataFrame({"a": []})), "no rows"),
    ],
)
def test_errors_say_what_to_do(call, match):
    with pytest.raises(ValueError, match=match):
        call()
