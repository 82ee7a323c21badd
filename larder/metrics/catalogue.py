"""Every metric with its kind, labels and meaning; nothing else is written, nor read back.

Commands write `METRICS`; a running collector tells `COLLECTOR_METRICS` itself, at `/metrics`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from loaders.collector.measures import MEASURES

COMMANDS = ("run", "load", "build", "train", "publish", "rollback")
OUTCOMES = ("succeeded", "held", "failed", "busy")
NODE_KINDS = ("model", "seed", "snapshot", "test", "unit_test", "other")
NODE_STATUSES = ("passed", "warned", "failed", "skipped")

ENTITY = ("source", "entity")

Labels = tuple[str, ...]
Samples = dict[str, dict[Labels, float]]
"""By name of the metric, the value for each combination of its labels' values."""


@dataclass(frozen=True)
class Metric:
    """Describe one metric; its labels never hold an id, a person or a value from the data."""

    kind: Literal["gauge", "counter", "histogram"]
    text: str
    labels: Labels = ()


METRICS = {
    # what the commands did
    "larder_runs_total": Metric(
        "counter",
        "Commands that ended, by outcome: held ended with a batch kept out of the build, busy did "
        "nothing because another run held the lock.",
        ("command", "outcome"),
    ),
    "larder_run_last_timestamp_seconds": Metric(
        "gauge", "When the command last ended, whatever its outcome but busy.", ("command",)
    ),
    "larder_run_last_success_timestamp_seconds": Metric(
        "gauge",
        "When the command last came to its end, also with a batch held; 0 if it never has.",
        ("command",),
    ),
    "larder_run_exit_code": Metric(
        "gauge", "Exit code of the last command that was not busy.", ("command",)
    ),
    "larder_run_duration_seconds": Metric(
        "gauge", "How long the last command took, without waiting for its lock.", ("command",)
    ),
    "larder_run_step_duration_seconds": Metric(
        "gauge",
        "How long each step of the last command took; a skipped step is not there.",
        ("command", "step"),
    ),
    # what was loaded, by the last load and by all of them
    "larder_load_files": Metric("gauge", "Files that the last load took.", ENTITY),
    "larder_load_records": Metric(
        "gauge", "Records in the files of the last load, the rejected among them.", ENTITY
    ),
    "larder_load_rejected_records": Metric(
        "gauge", "Records of the last load that became dead letters.", ENTITY
    ),
    "larder_load_duplicate_records": Metric(
        "gauge", "Records of the last load that their file holds more than once.", ENTITY
    ),
    "larder_loaded_files_total": Metric("counter", "Files loaded.", ENTITY),
    "larder_loaded_records_total": Metric(
        "counter", "Records in the files loaded, the rejected among them.", ENTITY
    ),
    "larder_rejected_records_total": Metric("counter", "Records that became dead letters.", ENTITY),
    "larder_duplicate_records_total": Metric(
        "counter", "Records that their file holds more than once.", ENTITY
    ),
    # the landing zone and the audit
    "larder_landing_waiting_files": Metric(
        "gauge", "Files in the landing zone that are not loaded yet.", ENTITY
    ),
    "larder_landing_newest_file_timestamp_seconds": Metric(
        "gauge", "When the newest file ever seen in the landing zone was written.", ENTITY
    ),
    "larder_held_segments": Metric(
        "gauge", "Segments that their audit keeps out of the build.", ENTITY
    ),
    "larder_held_oldest_timestamp_seconds": Metric(
        "gauge", "Since when the oldest held segment is held; not there if none is.", ENTITY
    ),
    "larder_audit_warnings": Metric("gauge", "Warnings of the last audit."),
    # the build
    "larder_build_nodes": Metric(
        "gauge", "Nodes of the last dbt build, by kind and result.", ("kind", "status")
    ),
    # the event bus
    "larder_bus_waiting_messages": Metric("gauge", "Messages that wait for the event bus."),
    "larder_bus_oldest_waiting_timestamp_seconds": Metric(
        "gauge", "Since when the oldest of them waits; not there if none does."
    ),
    "larder_bus_set_aside_messages": Metric(
        "gauge", "Messages that were too large for the event bus."
    ),
    "larder_bus_sent_messages_total": Metric("counter", "Messages that the event bus has taken."),
    "larder_bus_failures_total": Metric(
        "counter", "Messages that the event bus refused, and requests that it did not answer."
    ),
    # what readers have
    "larder_published_timestamp_seconds": Metric(
        "gauge", "When the generation that readers have was published; 0 if none is."
    ),
    "larder_published_generation_info": Metric(
        "gauge", "The generation that readers have, always 1.", ("generation",)
    ),
    "larder_published_size_bytes": Metric("gauge", "Size of the generation that readers have."),
    "larder_published_rows": Metric("gauge", "Rows of the published tables.", ("table",)),
    "larder_published_newest_event_timestamp_seconds": Metric(
        "gauge", "When the newest published event of the source happened.", ("source",)
    ),
    "larder_published_alerts": Metric("gauge", "Rows of rpt_alerts by kind.", ("kind",)),
    # the disk
    "larder_disk_free_bytes": Metric("gauge", "Free bytes of the disk that the home folder is on."),
    "larder_disk_size_bytes": Metric("gauge", "Size of the disk that the home folder is on."),
    "larder_home_size_bytes": Metric("gauge", "Bytes of the parts of the home folder.", ("part",)),
}

COLLECTOR_METRICS = {name: Metric(*measure) for name, measure in MEASURES.items()}
