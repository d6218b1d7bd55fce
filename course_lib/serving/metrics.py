"""What the service tells Prometheus. Labels come from short fixed lists, never from what a client sends.

With PROMETHEUS_MULTIPROC_DIR set before this module is imported, several workers add up to one answer; the process_… metrics
are there with one worker only.
Source: Prometheus documentation, Metric and label naming; prometheus_client, multiprocess mode.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

DIRECTORY = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
REGISTRY = CollectorRegistry()
disable_created_metrics()  # a second series for each one would only say when it began
if not DIRECTORY:
    ProcessCollector(registry=REGISTRY)

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SHARES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0)
SCORES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0)
KINDS = ("known", "cold_items", "cold_text", "fallback")
EVENTS = ("impression", "click", "like", "dislike", "purchase", "rating")
REASONS = ("overload", "size", "auth", "timeout")
OUTCOMES = ("ok", "failed")


class ManyHistogram(Histogram):
    """A histogram that takes the values of a whole list at once: one lock for each bucket, not two for each value."""

    def observe_all(self, amounts: list[float]) -> None:
        """The same as `observe` for each of them."""
        counts: dict[int, int] = {}
        for amount in amounts:
            place = bisect_left(self._upper_bounds, amount)
            counts[place] = counts.get(place, 0) + 1
        self._sum.inc(sum(amounts))
        for place, count in counts.items():
            self._buckets[place].inc(count)


REQUESTS = Counter("course_requests", "Requests answered", ["route", "status"], registry=REGISTRY)
REQUEST_SECONDS = Histogram(
    "course_request_seconds", "Seconds from first to last byte", ["route"], buckets=SECONDS, registry=REGISTRY
)
IN_FLIGHT = Gauge(
    "course_in_flight",
    "Requests being worked on, health and metrics left aside",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
REJECTED = Counter("course_rejected", "Requests refused before any work was done", ["reason"], registry=REGISTRY)
RECOMMENDATIONS = Counter("course_recommendations", "Lists recommended, by how the user was known", ["kind"], registry=REGISTRY)
ITEMS = Counter("course_recommended_items", "Items in these lists", registry=REGISTRY)
EMPTY = Counter("course_empty_answers", "Lists without an item", registry=REGISTRY)
POPULARITY = ManyHistogram(
    "course_recommended_popularity", "Share of the users who had rated each recommended item", buckets=SHARES, registry=REGISTRY
)
SCORE = Histogram("course_score", "Score of the first item of a list", buckets=SCORES, registry=REGISTRY)
TEXT_SECONDS = Histogram("course_text_seconds", "Seconds from a text to its vector", buckets=SECONDS, registry=REGISTRY)
FEEDBACK = Counter("course_feedback", "Feedback events stored", ["event"], registry=REGISTRY)
FEEDBACK_FAILURES = Counter("course_feedback_failures", "Feedback events that could not be stored", registry=REGISTRY)
FEEDBACK_SECONDS = Histogram(
    "course_feedback_seconds", "Seconds until an event was on the disk", buckets=SECONDS, registry=REGISTRY
)
MODEL = Gauge(
    "course_model_info", "1 for what is served now", ["name", "version"], registry=REGISTRY, multiprocess_mode="livemax"
)
LOADED = Gauge(
    "course_model_loaded_timestamp_seconds", "When it was loaded", registry=REGISTRY, multiprocess_mode="livemostrecent"
)
RELOADS = Counter("course_reloads", "Attempts to load a new package", ["outcome"], registry=REGISTRY)

KIND = {kind: RECOMMENDATIONS.labels(kind) for kind in KINDS}
EVENT = {event: FEEDBACK.labels(event) for event in EVENTS}
REASON = {reason: REJECTED.labels(reason) for reason in REASONS}
OUTCOME = {outcome: RELOADS.labels(outcome) for outcome in OUTCOMES}


class Routes:
    """The children of the request metrics, made once for each route and status."""

    def __init__(self):
        self._seconds, self._requests = {}, {}

    def record(self, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        key = (route, status)
        if key not in self._requests:
            self._requests[key] = REQUESTS.labels(route, str(status))
            self._seconds[route] = REQUEST_SECONDS.labels(route)
        self._requests[key].inc()
        self._seconds[route].observe(seconds)


def record_answer(package, answer) -> None:
    """What a list of recommendations tells about the model."""
    KIND[answer.kind].inc()
    if not answer.scores:
        EMPTY.inc()
        return
    ITEMS.inc(len(answer.scores))
    SCORE.observe(answer.scores[0])
    POPULARITY.observe_all(package.popularity[answer.rows].tolist())


def served(package, before=None) -> None:
    """Say which package answers from now on."""
    if before is not None:
        withdrawn(before)
    MODEL.labels(package.name, package.version).set(1)
    LOADED.set_to_current_time()


def withdrawn(package) -> None:
    """Say that it is served no longer."""
    MODEL.labels(package.name, package.version).set(0)


def exposition() -> bytes:
    """Everything, in Prometheus's text format; of all workers, where there are several."""
    if not DIRECTORY:
        return generate_latest(REGISTRY)
    together = CollectorRegistry()
    MultiProcessCollector(together)
    return generate_latest(together)


def forget_dead_workers() -> None:
    """Take the gauges of workers that are gone out of the sum."""
    if not DIRECTORY:
        return
    import psutil

    for pid in {path.stem.rsplit("_", 1)[1] for path in Path(DIRECTORY).glob("gauge_live*_*.db")}:
        if not psutil.pid_exists(int(pid)):
            mark_process_dead(int(pid), DIRECTORY)
