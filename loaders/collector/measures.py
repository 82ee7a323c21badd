"""What `/metrics` tells of a collector."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Measures:
    """Count requests and records; gauges are read when they are asked for."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.accepted = Counter(
            "larder_collector_accepted_records",
            "Records that were durable before they were acknowledged.",
            ["entity"],
            registry=self.registry,
        )
        self.rejected = Counter(
            "larder_collector_rejected_records",
            "Records that become dead letters, by reason; a load may reject others, too.",
            ["entity", "reason"],
            registry=self.registry,
        )
        self.refused = Counter(
            "larder_collector_refused_requests",
            "Requests of which nothing was kept, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.commit_seconds = Histogram(
            "larder_collector_commit_seconds",
            "Time of a group commit: what waited was written and synced.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.commit_failures = Counter(
            "larder_collector_commit_failures",
            "Group commits that failed; their senders were told to come again.",
            registry=self.registry,
        )
        self.landed_files = Counter(
            "larder_collector_landed_files", "Landing files written.", registry=self.registry
        )
        self.landing_failures = Counter(
            "larder_collector_landing_failures",
            "Failed tries to bring a segment to the landing zone.",
            registry=self.registry,
        )

    def gauge(self, name: str, what: str, read: Callable[[], float]) -> None:
        """Add a gauge that is read when it is asked for."""
        Gauge(name, what, registry=self.registry).set_function(read)

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self.registry)
