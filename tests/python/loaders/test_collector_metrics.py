"""What `/metrics` tells: the names that others rely on, and each reason as it was counted."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from collecting import KEY, RunningCollector, measured, menu_event, running, trip_event
from kept_events import wait_until_landed
from landing_zone import ARRIVED
from prometheus_client.parser import text_string_to_metric_families
from warehouse_homes import settings_of

from larder.settings import PROJECT_ROOT
from loaders.collector.spool import RESERVE_BYTES
from loaders.dead_letters import dead_letters
from loaders.limits import MAX_NESTING
from loaders.load import load

MENU, WEBHOOK = "/v1/menu/events", "/v1/trips/webhook"
UNUSABLE = [
    b"{broken",
    b"[]",
    b"null",
    {"event_id": "no time"},
    b'\xff{"event_id": "1"}',
    json.dumps(menu_event(1, deep="?"))
    .encode()
    .replace(b'"?"', b"[" * MAX_NESTING + b"]" * MAX_NESTING),
]
# name without `larder_collector_` → kind and labels
FAMILIES = {
    "accepted_records": ("counter", {"entity"}),
    "rejected_records": ("counter", {"entity", "reason"}),
    "refused_requests": ("counter", {"reason"}),
    "commit_seconds": ("histogram", {"le"}),
    "commit_failures": ("counter", set()),
    "landed_files": ("counter", set()),
    "landing_failures": ("counter", set()),
    "queued_bytes": ("gauge", set()),
    "disk_free_bytes": ("gauge", set()),
    "disk_reserve_bytes": ("gauge", set()),
    "spool_segments": ("gauge", set()),
    "oldest_segment_timestamp_seconds": ("gauge", set()),
}


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    """Give one that has taken, rejected and refused something, as any has after a while."""
    with running(tmp_path_factory.mktemp("measured")) as collector:
        collector.post_lines(MENU, menu_event(1), b"{broken")
        collector.get("/nothing")
        yield collector


def test_every_record_and_request_is_counted_with_its_reason(tmp_path: Path) -> None:
    with running(tmp_path, "--rate", "10") as collector:
        count_everything(collector)


def count_everything(collector: RunningCollector) -> None:
    assert collector.post_lines(MENU, menu_event(1), menu_event(2), *UNUSABLE) == (
        200,
        {"accepted": 2, "rejected": 6},
    )
    assert collector.post(WEBHOOK, trip_event(1))[0] == 200
    assert collector.post(MENU, b"[]")[0] == 422
    assert collector.post(MENU, b" ")[0] == 422
    assert collector.post(MENU, menu_event(3), key="a-key-of-nobody-at-all")[0] == 401
    assert collector.post(WEBHOOK, trip_event(2), {"X-Radar-Signature": "0"})[0] == 401
    assert collector.post("/v1/menu/dishes", {})[0] == 404
    assert collector.get("/nothing")[0] == 404
    assert collector._ask("PUT", MENU, b"{}", {})[0] == 405
    assert collector.post(MENU, menu_event(4), {"Origin": "https://evil.example"})[0] == 403
    statuses = [collector.post(MENU, menu_event(number))[0] for number in range(5, 60)]
    assert set(statuses) == {200, 429}

    assert labelled(collector, "accepted_records") == {
        ("menu/menu_events",): 2 + statuses.count(200),
        ("trips/trip_events",): 1,
    }
    assert labelled(collector, "rejected_records") == {
        ("menu/menu_events", "broken_json"): 1,
        ("menu/menu_events", "not_an_object"): 3,
        ("menu/menu_events", "missing_field"): 1,
        ("menu/menu_events", "invalid_utf8"): 1,
        ("menu/menu_events", "nested_too_deeply"): 1,
    }
    assert labelled(collector, "refused_requests") == {
        ("nothing usable",): 1,
        ("body",): 1,
        ("key",): 1,
        ("signature",): 1,
        ("path",): 2,
        ("method",): 1,
        ("origin",): 1,
        ("rate",): statuses.count(429),
    }
    assert measured(collector, "larder_collector_commit_seconds_count") >= 2
    assert measured(collector, "larder_collector_disk_reserve_bytes") == RESERVE_BYTES
    assert measured(collector, "larder_collector_disk_free_bytes") > RESERVE_BYTES
    assert KEY not in collector.get("/metrics")[1]["text"]


def test_the_dead_letters_have_the_same_reasons(tmp_path: Path) -> None:
    items = [{"item_name": "Soup"}, {"item_id": "soup"}, b"7"]
    with running(tmp_path / "home") as collector:
        assert collector.post_lines(MENU, *UNUSABLE)[0] == 422
        assert collector.post_lines("/v1/catalog/items", *items)[0] == 422
        counted = labelled(collector, "rejected_records")
        wait_until_landed(collector.home)
    settings = settings_of(tmp_path / "home")
    load(settings, lambda: ARRIVED)
    letters = Counter((f"{one.source}/{one.entity}", one.reason) for one in dead_letters(settings))
    assert counted == letters
    assert letters["catalog/items", "missing_key"] == letters["catalog/items", "missing_field"] == 1


def families(collector: RunningCollector) -> dict[str, Any]:
    text = collector.get("/metrics")[1]["text"]
    found = {family.name: family for family in text_string_to_metric_families(text)}
    # when a counter began, which Prometheus' client adds
    return {name: family for name, family in found.items() if not name.endswith("_created")}


def labelled(collector: RunningCollector, name: str) -> dict[tuple[str, ...], float]:
    """Return what was counted, by the values of its labels."""
    samples = families(collector)[f"larder_collector_{name}"].samples
    return {tuple(one.labels.values()): one.value for one in samples if one.name.endswith("_total")}


def test_names_kinds_and_labels_are_those_that_others_rely_on(collector: RunningCollector) -> None:
    """A dashboard asks for them by name: a renamed one would be a panel that stays empty."""
    found = families(collector)
    assert found.keys() == {f"larder_collector_{name}" for name in FAMILIES}
    for name, (kind, labels) in FAMILIES.items():
        family = found[f"larder_collector_{name}"]
        assert family.type == kind, name
        assert family.documentation
        assert {label for one in family.samples for label in one.labels} == labels, name


def test_every_metric_of_the_pages_is_one_of_them(collector: RunningCollector) -> None:
    samples = {one.name for family in families(collector).values() for one in family.samples}
    assert "larder_collector_rejected_records_total" in samples
    pages = [PROJECT_ROOT / "docs" / name for name in ("collector.md", "runbook.md")]
    for path in (*pages, PROJECT_ROOT / "deploy" / "monitoring" / "alerts.yml"):
        named = set(re.findall(r"larder_collector_\w+", path.read_text(encoding="utf-8")))
        assert named <= samples, path.name
