"""How the warehouse stands when a command ends; each function fills in some of the metrics."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from larder.build import target_folder
from larder.metrics.catalogue import NODE_KINDS, NODE_STATUSES, Labels, Samples
from larder.serving.generations import generations
from larder.serving.marts import open_marts
from larder.serving.publish import Publication
from larder.serving.status import sizes
from larder.settings import Settings
from loaders.audit import list_held
from loaders.bus import read_backlog
from loaders.entities import read_entities
from loaders.ledger import Ledger
from loaders.segments import UNKNOWN
from loaders.zones import open_zone

if TYPE_CHECKING:
    from larder.pipeline import RunReport

STATUSES = {
    "success": "passed",
    "pass": "passed",
    "warn": "warned",
    "skipped": "skipped",
    "no-op": "skipped",
}
# The newest event of a source, where readers can see it.
NEWEST_EVENTS = {
    "fridge": "select max(last_event_at) from marts.fct_stock_days",
    "orders": "select max(ordered_at) from marts.fct_orders",
}
ALERT_KINDS = ("expiring", "selling_out", "stale_feed", "count_gap", "model_drift")


def entities() -> list[Labels]:
    """Return source and entity of all that can be loaded: counters start from a zero that is seen.

    `increase()` knows nothing of what came before the first sample of a series.
    """
    return [tuple(path.split("/")) for path in (*read_entities(), UNKNOWN)]


def tell_landing(settings: Settings, samples: Samples, _: RunReport) -> None:
    """Say which files wait, and when the newest was written, also if it is gone since."""
    waiting = dict.fromkeys(entities(), 0.0)
    newest = samples.setdefault("larder_landing_newest_file_timestamp_seconds", {})
    ledger = Ledger(settings.raw_folder).read()
    if settings.landing_bucket or settings.landing_folder.is_dir():
        with open_zone(settings) as zone:
            for file in zone.find():
                labels = tuple((file.entity.path if file.entity else UNKNOWN).split("/"))
                waiting[labels] += not ledger.knows(file)
                newest[labels] = max(newest.get(labels, 0.0), file.modified_ns / 1e9)
    samples["larder_landing_waiting_files"] = waiting


def tell_audit(settings: Settings, samples: Samples, report: RunReport) -> None:
    """Say what the audits keep out, whoever has released or held it."""
    segments = dict.fromkeys(entities(), 0.0)
    oldest: dict[Labels, float] = {}
    for held in list_held(settings):
        labels = tuple(held.entity.split("/"))
        since = held.held_since.replace(tzinfo=UTC).timestamp()
        segments[labels] = segments.get(labels, 0.0) + 1
        oldest[labels] = min(oldest.get(labels, since), since)
    samples["larder_held_segments"] = segments
    samples["larder_held_oldest_timestamp_seconds"] = oldest
    if report.audit:
        samples["larder_audit_warnings"] = {(): len(report.audit.warnings)}


def tell_build(settings: Settings, samples: Samples, _: RunReport) -> None:
    """Count the nodes of the last build, also of one that failed."""
    file = target_folder(settings, "build") / "run_results.json"
    if not file.exists():
        return  # nothing was built yet, or dbt did not come so far: the outcome says so
    results = json.loads(file.read_text(encoding="utf-8"))["results"]
    counts: Counter[Labels] = Counter()
    for result in results:
        kind = result["unique_id"].split(".")[0]
        status = STATUSES.get(result["status"], "failed")
        counts[kind if kind in NODE_KINDS else "other", status] += 1
    samples["larder_build_nodes"] = {
        (kind, status): float(counts[kind, status])
        for kind in NODE_KINDS
        for status in NODE_STATUSES
    }


def tell_published(settings: Settings, samples: Samples, report: RunReport) -> None:
    """Say what readers have; only read anew when it is another generation than last time."""
    publication = report.publication
    if publication is None:
        name = generations(settings).published_generation(settings)
        if name is None:
            samples["larder_published_timestamp_seconds"] = {(): 0.0}
            return
        if (name,) in samples.get("larder_published_generation_info", {}):
            return
        publication = generations(settings).describe_generation(settings, name)
    samples.update(_describe(settings, publication))


def _describe(settings: Settings, publication: Publication) -> Samples:
    newest: dict[Labels, float] = {}
    alerts: dict[Labels, float] = {(kind,): 0.0 for kind in ALERT_KINDS}
    tables = {table.name for table in publication.tables}
    with open_marts(settings) as marts:
        for source, query in NEWEST_EVENTS.items():
            if query.rpartition(".")[2] in tables:
                ((moment,),) = marts.execute(query).fetchall()
                if moment is not None:
                    newest[(source,)] = _seconds(moment)
        if "rpt_alerts" in tables:
            rows = marts.execute(
                "select alert_kind, count(*) from marts.rpt_alerts group by alert_kind"
            ).fetchall()
            alerts |= {(kind,): float(count) for kind, count in rows}
    # Snowflake does not tell what a clone weighs
    size: dict[Labels, float] = {}
    if publication.size_bytes:
        size[()] = float(publication.size_bytes)
    return {
        "larder_published_timestamp_seconds": {(): publication.published_at.timestamp()},
        "larder_published_generation_info": {(publication.generation,): 1.0},
        "larder_published_size_bytes": size,
        "larder_published_rows": {(table.name,): float(table.rows) for table in publication.tables},
        "larder_published_newest_event_timestamp_seconds": newest,
        "larder_published_alerts": alerts,
    }


def _seconds(moment: datetime) -> float:
    """Return the seconds of an instant that is UTC without saying so."""
    return moment.replace(tzinfo=UTC).timestamp()


def tell_disk(settings: Settings, samples: Samples, _: RunReport) -> None:
    """Say how full the disk is, and with what."""
    usage = shutil.disk_usage(settings.home)
    samples["larder_disk_free_bytes"] = {(): float(usage.free)}
    samples["larder_disk_size_bytes"] = {(): float(usage.total)}
    samples["larder_home_size_bytes"] = {
        (part,): float(size) for part, size in sizes(settings).items()
    }


def tell_bus(settings: Settings, samples: Samples, _: RunReport | None = None) -> None:
    """Say what waits for the event bus, and what it has taken."""
    backlog = read_backlog(settings)
    oldest = backlog.oldest_waiting_at
    samples["larder_bus_waiting_messages"] = {(): float(backlog.waiting)}
    samples["larder_bus_oldest_waiting_timestamp_seconds"] = (
        {(): oldest.timestamp()} if oldest else {}
    )
    samples["larder_bus_set_aside_messages"] = {(): float(backlog.set_aside)}
    samples["larder_bus_sent_messages_total"] = {(): float(backlog.sent)}
    samples["larder_bus_failures_total"] = {(): float(backlog.failures)}


Tell = Callable[[Settings, Samples, "RunReport"], None]
TOLD: dict[str, Tell] = {
    "landing zone": tell_landing,
    "audit": tell_audit,
    "build": tell_build,
    "published tables": tell_published,
    "disk": tell_disk,
    "event bus": tell_bus,
}
