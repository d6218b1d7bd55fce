"""How the drill's table is made: five releases of the real service, three days of visits, what its metrics said.

`python -m course_lib.serving.monitoring.recording` writes data/serving_drill.csv (about a minute of CPU). Nothing in it is
made up but the visits: the answers, status codes, times, popularity and scores are the service's own.
- When people come, and who: of all the visits of MovieLens's users in that hour of the day one is drawn; a visit is a clock
  hour in which somebody rated films.
- What they click: a fifth of the ratings is held out. A person looks at place r of the list with probability 1/r, from the
  top, and clicks the first film looked at that he or she likes (4 stars or more) among those held out.
- Three in a hundred come without their id; for two hours an old client asks for more items than a list may have.
- A release gets a fifth of the visits for two hours, then all of them.
"""

from __future__ import annotations

import asyncio
import datetime
import os
import platform
import sys
import tempfile
from dataclasses import dataclass, field
from importlib.metadata import version as installed
from pathlib import Path

import numpy as np
import orjson
import pandas as pd

from course_lib.datasets import load_movielens
from course_lib.models import ALS
from course_lib.serving import metrics
from course_lib.serving.app import create_app
from course_lib.serving.monitoring.drill import LOCATION, QUANTITIES
from course_lib.serving.writing import write_package
from course_lib.splitting import random_split

SEED = 2026
START = pd.Timestamp("2026-03-02", tz="UTC")
MINUTES, HOURS = 5, 72  # of an interval, of the drill
INTERVALS = HOURS * 60 // MINUTES
VISITS = 80  # per interval, on average
CANARY_HOURS, CANARY_SHARE = 2, 0.2
WITHOUT_ID, OLD_CLIENT = 0.03, 0.15
OLD_CLIENT_HOURS = (27, 29)
ITEMS, TOO_MANY = 10, 1000
COMMAND = "python -m course_lib.serving.monitoring.recording"


@dataclass(frozen=True)
class Release:
    """version; hour: when its canary starts; seed and options of the model; lost: the item that its map has lost, or None."""

    version: str
    hour: int
    seed: int
    options: dict = field(default_factory=dict)
    lost: int | None = None


SHARP, SOFT = {"alpha": 5.0, "reg": 20.0}, {"alpha": 1.0, "reg": 8.0}
RELEASES = (
    Release("2026.3.1", 0, 1, SHARP),
    Release("2026.3.2", 20, 2, SHARP),  # trained again, as every night
    Release("2026.3.3", 34, 3, SOFT),  # other options: other scores, better lists
    Release("2026.3.4", 49, 4, SOFT, lost=267),
    Release("2026.3.5", 62, 4, SOFT),  # the same model with its map repaired
)


def packages(folder: Path, ratings, split, *, versions=None) -> dict[str, Path]:
    """Fit and pack the releases (those in `versions`) → version: folder.

    The fault of a release with `lost`: a cleaning step dropped the one film without a title from the model's table of items,
    but not from the map of their ids. From that row on, every vector stands under the id of the film before its own.
    """
    found = {}
    for release in RELEASES:
        if versions is None or release.version in versions:
            model = ALS(feedback="implicit", embedding_size=16, seed=release.seed, **release.options).fit(split)
            if release.lost is not None:
                row = int(np.flatnonzero(ratings.items["item_id"] == release.lost)[0])
                kept = np.delete(model.item_factors_, row, axis=0)
                model.item_factors_ = np.vstack([kept, np.zeros_like(kept[:1])])
            where = folder / release.version
            found[release.version] = write_package(
                where, model, ratings, split=split, version=release.version, name="films", metrics={}
            )
    return found


class Visits:
    """Who comes in an interval, to which release, what they ask and what they would click; drawn from seed and interval."""

    def __init__(self, ratings, split):
        table = ratings.table
        rows = pd.DataFrame({"user": table["user"], "hour": table["timestamp"] // 3600}).drop_duplicates()
        self.by_hour = [rows.loc[rows["hour"] % 24 == hour, "user"].to_numpy() for hour in range(24)]
        self.profile = np.array([len(users) for users in self.by_hour]) / (len(rows) / 24)
        self.ids = ratings.users["user_id"].to_numpy()
        place = {str(item): row for row, item in enumerate(ratings.items["item_id"])}
        self.place, self.likes = place, (split.matrix("test") >= 4).toarray()

    def of(self, interval: int, version: str) -> list[tuple[str, int, np.ndarray]]:
        """(path, user, places looked at (10,)) of the visits of the interval that the release answers."""
        rng, hour = np.random.default_rng([SEED, interval]), interval * MINUTES / 60
        crowd = self.by_hour[int(hour) % 24]
        n = rng.poisson(VISITS * self.profile[int(hour) % 24])
        users = rng.choice(crowd, n)
        known = rng.random(n) >= WITHOUT_ID
        old = (rng.random(n) < OLD_CLIENT) & (OLD_CLIENT_HOURS[0] <= hour < OLD_CLIENT_HOURS[1])
        looked = rng.random((n, ITEMS)) < 1 / np.arange(1, ITEMS + 1)
        mine = np.array(live(hour))[(rng.random(n) < CANARY_SHARE).astype(int)] == version
        visitor = np.where(known, self.ids[users].astype(str), "visitor")
        paths = [f"/recommend/{name}?k={TOO_MANY if long else ITEMS}" for name, long in zip(visitor, old, strict=True)]
        return [(paths[i], int(users[i]), looked[i]) for i in np.flatnonzero(mine)]

    def clicks(self, body: bytes, user: int, looked: np.ndarray) -> bool:
        """Whether the person clicks a film of the list."""
        rows = [self.place[str(item["item_id"])] for item in orjson.loads(body)["items"]]
        return bool((self.likes[user, rows] & looked[: len(rows)]).any())


def live(hour: float) -> tuple[str, str]:
    """The releases that answer at an hour: the one in charge, and the canary (the same one where there is none)."""
    started = [release for release in RELEASES if release.hour <= hour]
    newest, before = started[-1], started[max(len(started) - 2, 0)]
    return (before.version if hour < newest.hour + CANARY_HOURS else newest.version), newest.version


async def replay(package: Path, version: str, visits: Visits, intervals) -> list[dict]:
    """Serve the visits of a release through the whole application → one row an interval."""
    rows = []
    app = create_app(package, reload_seconds=0, log="error")
    async with app.router.lifespan_context(app):
        for interval in intervals:
            mine = visits.of(interval, version)
            if version not in live(interval * MINUTES / 60):
                continue
            before, clicks = counts(), 0
            for path, user, looked in mine:
                status, body = await ask(app, path)
                clicks += status == 200 and visits.clicks(body, user, looked)
            after = counts()
            time = (START + pd.Timedelta(minutes=interval * MINUTES)).strftime("%Y-%m-%dT%H:%MZ")
            rows.append({"time": time, "version": version, "clicks": clicks} | {key: after[key] - before[key] for key in after})
    return rows


async def ask(app, path: str) -> tuple[int, bytes]:
    """One GET through the application, without a socket → status, body."""
    path, _, query = path.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http", "path": path,
        "raw_path": path.encode(), "query_string": query.encode(), "root_path": "", "headers": [],
        "client": ("127.0.0.1", 0), "server": ("127.0.0.1", 0), "state": {},
    }  # fmt: skip
    status, body = 0, b""

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        nonlocal status, body
        status = message.get("status", status)
        body += message.get("body", b"")

    await app(scope, receive, send)
    return status, body


def counts() -> dict[str, float]:
    """The service's counters now; of a histogram the sum and the number in each bin, not cumulated."""
    samples = [sample for metric in metrics.REGISTRY.collect() for sample in metric.samples]
    of = {name: [s for s in samples if s.name == name] for name in {s.name for s in samples}}
    asked = [s for s in of.get("course_requests_total", []) if s.labels["route"] == "/recommend/{user_id}"]
    found = {f"status_{kind}xx": sum(s.value for s in asked if s.labels["status"][0] == kind) for kind in "245"}
    found["rejected"] = sum(s.value for s in of["course_rejected_total"])
    found["lists"] = sum(s.value for s in of["course_recommendations_total"])
    found["fallback"] = sum(s.value for s in of["course_recommendations_total"] if s.labels["kind"] == "fallback")
    found["empty"] = sum(s.value for s in of["course_empty_answers_total"])
    for quantity, (name, labels, bounds) in QUANTITIES.items():
        mine = [s for s in samples if s.name.startswith(name) and labels.items() <= s.labels.items()]
        found[f"{quantity}_sum"] = sum(s.value for s in mine if s.name == f"{name}_sum")
        held = {float(s.labels["le"]): s.value for s in mine if s.name == f"{name}_bucket"}
        below = np.diff([held.get(bound, 0.0) for bound in bounds], prepend=0.0)
        found |= {f"{quantity}_{bound:g}": count for bound, count in zip(bounds, below, strict=True)}
    return found


def record(intervals=range(INTERVALS), *, versions=None) -> pd.DataFrame:
    """The table of the drill, or the part of it with these intervals and versions."""
    ratings = load_movielens()
    split = random_split(ratings, test=0.2, seed=SEED)
    visits = Visits(ratings, split)
    with tempfile.TemporaryDirectory(prefix="drill-") as folder:
        packed = packages(Path(folder), ratings, split, versions=versions)
        rows = [row for version, path in packed.items() for row in asyncio.run(replay(path, version, visits, intervals))]
    table = pd.DataFrame(rows).sort_values(["time", "version"], ignore_index=True)
    sums = [column for column in table if column.endswith("_sum")]
    whole = [column for column in table.columns[2:] if column not in sums]
    return table.astype(dict.fromkeys(whole, int)).round(dict.fromkeys(sums, 4))


def write(table: pd.DataFrame, path: Path = LOCATION) -> Path:
    """The table under a line with its origin, beside the old one and renamed."""
    packages_ = ", ".join(f"{name} {installed(name)}" for name in ("course_lib", "fastapi", "numpy", "prometheus_client"))
    python, today = f"python {platform.python_version()}", datetime.date.today().isoformat()
    about = f"# command: {COMMAND}; seed: {SEED}; {python}, {packages_}; {today}; {platform.machine()}\n"
    beside = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        beside.write_text(about + table.to_csv(index=False, lineterminator="\n"), encoding="utf-8", newline="\n")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def main() -> int:
    """Make the table anew."""
    print(f"{write(record())} holds the drill.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
