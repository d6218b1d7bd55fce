"""The drill: three days of a service with five releases, one of them broken, as its metrics saw them.

Made by `course_lib.serving.monitoring.recording` with the real service on MovieLens; see there which visits were drawn how.
The table stands in data/serving_drill.csv, one row an interval of five minutes and release.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from course_lib.config import PROJECT
from course_lib.serving import metrics

LOCATION = PROJECT / "data" / "serving_drill.csv"
QUANTITIES = {
    "seconds": ("course_request_seconds", {"route": "/recommend/{user_id}"}, (*metrics.SECONDS, np.inf)),
    "popularity": ("course_recommended_popularity", {}, (*metrics.SHARES, np.inf)),
    "score": ("course_score", {}, (*metrics.SCORES, np.inf)),
}
COUNTS = ("status_2xx", "status_4xx", "status_5xx", "rejected", "lists", "fallback", "empty", "clicks")


class DrillError(RuntimeError):
    """The drill's table cannot be read; the message says why and what to do."""


@dataclass(frozen=True, eq=False)
class Drill:
    """What the metrics recorded.

    table: time (UTC), version, the counts of `COUNTS` in the interval, and for each quantity (seconds of a request, popularity
    of each recommended item, score of the first item) the sum `…_sum` and the number in each bin `…_upper bound`.
    about: the command that made it, seed, packages and date.
    """

    table: pd.DataFrame
    about: str

    @property
    def versions(self) -> list[str]:
        """The releases, in the order in which they came."""
        return list(dict.fromkeys(self.table["version"]))

    def histogram(self, quantity: str, rows: pd.DataFrame | None = None) -> pd.Series:
        """How many observations of a quantity fall into each bin, all intervals (or those of `rows`) together.

        → counts (bins,), indexed by the bins' upper bounds; ready for `drift.psi_counts`. Raises ValueError for another name.
        """
        columns = _columns(quantity)
        table = self.table if rows is None else rows
        return pd.Series(
            table[columns].sum().to_numpy(), index=pd.Index(QUANTITIES[quantity][2], name="at most"), name=quantity
        )

    def over_time(self, every: str = "1h", *, by_version: bool = False) -> pd.DataFrame:
        """The lines of a dashboard, one row every so often (a pandas frequency), of each release or of all together.

        requests per second; failed and refused: shares of the requests with 5xx and 4xx; p50_ms and p99_ms; empty, fallback and
        click_through: shares of the lists; popularity and score: means.
        """
        keys = [pd.Grouper(key="time", freq=every)] + (["version"] if by_version else [])
        numbers = self.table.columns.drop(["time", "version"])
        sums = self.table.groupby(keys)[list(numbers)].sum()
        sums = sums[sums["lists"] > 0]
        asked = sums[["status_2xx", "status_4xx", "status_5xx"]].sum(axis=1)
        bins = sums[_columns("seconds")].to_numpy()
        shares = {name: sums[column] / asked for name, column in (("failed", "status_5xx"), ("refused", "status_4xx"))}
        shares |= {name: sums[name] / sums["lists"] for name in ("empty", "fallback")}
        lines = {"requests": asked / pd.Timedelta(every).total_seconds()} | shares
        lines |= {f"p{q}_ms": [1e3 * quantile(metrics.SECONDS, row, q / 100) for row in bins] for q in (50, 99)}
        lines |= {name: sums[f"{name}_sum"] / sums[_columns(name)].sum(axis=1) for name in ("popularity", "score")}
        return pd.DataFrame(lines | {"click_through": sums["clicks"] / sums["lists"]}, index=sums.index)

    def series(self) -> dict[str, np.ndarray]:
        """What Prometheus would hold at the end of each interval: name{labels} → value (intervals,), of all releases."""
        sums = self.table.groupby("time")[list(self.table.columns.drop(["time", "version"]))].sum().cumsum()
        route = '{route="/recommend/{user_id}",status="%s"}'
        found = {"course_requests_total" + route % code: sums[f"status_{code[0]}xx"] for code in ("200", "422", "500")}
        found |= {'course_recommendations_total{kind="known"}': sums["lists"] - sums["fallback"]}
        found |= {'course_recommendations_total{kind="fallback"}': sums["fallback"]}
        found |= {"course_empty_answers_total": sums["empty"], 'course_feedback_total{event="click"}': sums["clicks"]}
        found |= {'course_rejected_total{reason="overload"}': sums["rejected"]}
        for quantity, (name, labels, bounds) in QUANTITIES.items():
            inside = "".join(f'{key}="{value}",' for key, value in labels.items())
            held = sums[_columns(quantity)].cumsum(axis=1)
            for bound, column in zip(bounds, held, strict=True):
                found[f'{name}_bucket{{{inside}le="{"+Inf" if bound == np.inf else f"{bound:g}"}"}}'] = held[column]
            found[f"{name}_count{{{inside[:-1]}}}"] = held.iloc[:, -1]
            found[f"{name}_sum{{{inside[:-1]}}}"] = sums[f"{quantity}_sum"]
        live = self.table.groupby(["time", "version"]).size().unstack(fill_value=0)
        found |= {f'course_model_info{{name="films",version="{version}"}}': live[version].clip(upper=1) for version in live}
        return {name: np.asarray(values) for name, values in found.items()}


def load_drill(path: Path | str = LOCATION) -> Drill:
    """Read the recorded drill. Raises DrillError where the file is missing or is not the drill's table."""
    path = Path(path)
    again = "make it with `python -m course_lib.serving.monitoring.recording`"
    if not path.is_file():
        raise DrillError(f"{path} does not exist: {again}")
    with open(path, encoding="utf-8") as file:
        about = file.readline()
        try:
            table = pd.read_csv(file, dtype={"version": str}, parse_dates=["time"])
        except ValueError as error:
            raise DrillError(f"{path} is not the drill's table ({error}): {again}") from None
    wanted = {"time", "version", *COUNTS} | {column for quantity in QUANTITIES for column in _columns(quantity)}
    lacking = sorted(wanted - set(table.columns))
    if lacking or not about.startswith("# "):
        raise DrillError(f"{path} lacks {', '.join(lacking) or 'its first line'}: {again}")
    return Drill(table, about[2:].strip())


def quantile(bounds, counts: np.ndarray, q: float) -> float:
    """The q-quantile of a histogram, linear within a bin, the last finite bound beyond it; as PromQL's histogram_quantile.

    bounds (b,): the finite upper bounds, the first bin from 0; counts (b + 1,) → a value in the bounds' unit, NaN without any.
    """
    edges, below = np.concatenate([[0.0], bounds]), np.concatenate([[0.0], np.cumsum(counts)])
    if not below[-1]:
        return float("nan")
    wanted = q * below[-1]
    b = int(np.searchsorted(below[1:], wanted))
    if b >= len(bounds):
        return float(edges[-1])
    return float(edges[b] + (edges[b + 1] - edges[b]) * (wanted - below[b]) / max(counts[b], 1))


def _columns(quantity: str) -> list[str]:
    if quantity not in QUANTITIES:
        raise ValueError(f"a drill holds {', '.join(QUANTITIES)}, not {quantity!r}")
    return [f"{quantity}_{bound:g}" for bound in QUANTITIES[quantity][2]]
