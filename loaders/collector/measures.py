"""What `/metrics` tells of a collector."""

from __future__ import annotations

from collections.abc import Callable
from math import nan
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Measure(NamedTuple):
    """Describe a metric as Prometheus is told of it."""

    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: tuple[str, ...] = ()


MEASURES = {
    "larder_collector_accepted_records_total": Measure(
        "counter", "Records that were durable before they were acknowledged.", ("entity",)
    ),
    "larder_collector_rejected_records_total": Measure(
        "counter",
        "Records that become dead letters, by reason; a load may reject others, too.",
        ("entity", "reason"),
    ),
    "larder_collector_refused_requests_total": Measure(
        "counter", "Requests of which nothing was kept, by reason.", ("reason",)
    ),
    "larder_collector_commit_seconds": Measure(
        "histogram", "Time of a group commit: what waited was written and synced."
    ),
    "larder_collector_commit_failures_total": Measure(
        "counter", "Group commits that failed; their senders were told to come again."
    ),
    "larder_collector_landed_files_total": Measure("counter", "Landing files written."),
    "larder_collector_landing_failures_total": Measure(
        "counter", "Failed tries to bring a segment to the landing zone."
    ),
    "larder_collector_queued_bytes": Measure("gauge", "Bytes that wait for their commit."),
    "larder_collector_disk_free_bytes": Measure(
        "gauge", "Room on the spool's disk; below the reserve nothing is taken."
    ),
    "larder_collector_disk_reserve_bytes": Measure(
        "gauge", "Room on the spool's disk that is left to what was taken, so that it can land."
    ),
    "larder_collector_spool_segments": Measure(
        "gauge", "Segments on their way to the landing zone."
    ),
    "larder_collector_oldest_segment_timestamp_seconds": Measure(
        "gauge", "When the oldest of them was begun; NaN if there is none."
    ),
}


class Measures:
    """Count requests and records; gauges are read when they are asked for."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.accepted = self._counter("larder_collector_accepted_records_total")
        self.rejected = self._counter("larder_collector_rejected_records_total")
        self.refused = self._counter("larder_collector_refused_requests_total")
        self.commit_failures = self._counter("larder_collector_commit_failures_total")
        self.landed_files = self._counter("larder_collector_landed_files_total")
        self.landing_failures = self._counter("larder_collector_landing_failures_total")
        name = "larder_collector_commit_seconds"
        text = MEASURES[name].text
        self.commit_seconds = Histogram(name, text, buckets=SECONDS, registry=self.registry)

    def _counter(self, name: str) -> Counter:
        measure = MEASURES[name]
        return Counter(name, measure.text, measure.labels, registry=self.registry)

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Add a gauge that is read when it is asked for; NaN where that fails."""

        def value() -> float:
            try:
                return read()
            except OSError:  # the other metrics are the more worth knowing
                return nan

        Gauge(name, MEASURES[name].text, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self.registry)
