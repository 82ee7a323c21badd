"""What Prometheus is told of the runs, in a file for node_exporter's textfile collector.

Instants are exported instead of ages: a file that nobody writes any more would show an age that
stands still, while `time() - larder_…_timestamp_seconds` goes on growing.
"""

from __future__ import annotations

from larder.metrics.catalogue import COLLECTOR_METRICS, METRICS
from larder.metrics.recording import record, record_bus
from larder.metrics.textfile import metrics_file

__all__ = ["COLLECTOR_METRICS", "METRICS", "metrics_file", "record", "record_bus"]
