"""Alert rules and dashboard: their structure, and that they ask for metrics that are written.

That the expressions are PromQL only promtool can say, which is used where it is there.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from larder.metrics import COLLECTOR_METRICS, METRICS
from larder.metrics.catalogue import COMMANDS, NODE_STATUSES, OUTCOMES, Metric
from larder.settings import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "deploy" / "monitoring"
RUNBOOK = PROJECT_ROOT / "docs" / "runbook.md"
PROMTOOL = shutil.which("promtool")

SELECTOR = re.compile(r"\b(larder_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
GROUPING = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")
# What Prometheus adds when it reads node_exporter.
ADDED = {"instance", "job"}
VALUES = {
    "command": COMMANDS,
    "outcome": OUTCOMES,
    "status": NODE_STATUSES,
    "part": ("landing", "raw", "audit", "build", "generations", "logs"),
}

# what can be asked for: of a histogram its buckets, sum and count
SERIES = {
    **METRICS,
    **{name: one for name, one in COLLECTOR_METRICS.items() if one.kind != "histogram"},
    **{
        f"{name}_{part}": Metric("counter", one.text, one.labels + more)
        for name, one in COLLECTOR_METRICS.items()
        if one.kind == "histogram"
        for part, more in (("bucket", ("le",)), ("sum", ()), ("count", ()))
    },
}

Rule = dict[str, Any]


@pytest.fixture(scope="module")
def groups() -> list[dict[str, Any]]:
    content = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))
    assert set(content) == {"groups"}
    found: list[dict[str, Any]] = content["groups"]
    return found


@pytest.fixture(scope="module")
def rules(groups: list[dict[str, Any]]) -> list[Rule]:
    return [rule for group in groups for rule in group["rules"]]


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
    return content


def expressions(dashboard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the title and the expression of all that a dashboard asks for."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def problems(expression: str) -> Iterator[str]:
    """Say what an expression asks for that nobody writes."""
    selected = SELECTOR.findall(expression)
    if not selected:
        yield "asks for no metric"
    labels = set(ADDED)
    for name, matchers in selected:
        if name not in SERIES:
            yield f"{name} is not written"
            continue
        labels |= set(SERIES[name].labels)
        for label, value in MATCHER.findall(matchers):
            if label not in {*SERIES[name].labels, *ADDED}:
                yield f"{name} has no label {label}"
            elif label in VALUES and not set(value.split("|")) <= set(VALUES[label]):
                yield f"{label} is never {value}"
        # a counter is only worth its increase, and a gauge has none
        is_increase = re.search(rf"increase\({name}\b", expression) is not None
        if is_increase != (SERIES[name].kind == "counter"):
            yield f"{name} is a {SERIES[name].kind}"
    for grouping in GROUPING.findall(expression):
        for label in filter(None, re.split(r"[,\s]+", grouping)):
            if label not in labels:
                yield f"nothing has the label {label}"
    for opening, closing in ("()", "{}", "[]"):
        if expression.count(opening) != expression.count(closing):
            yield f"{opening} and {closing}"


def test_the_check_itself_finds_what_is_wrong() -> None:
    assert not list(problems("time() - larder_published_timestamp_seconds > 1"))
    for wrong in (
        "larder_no_such_metric > 1",
        'larder_run_exit_code{kind="x"} > 1',
        'larder_run_exit_code{command="fly"} > 1',
        "larder_loaded_records_total > 1",
        "increase(larder_load_records[1h]) > 1",
        "larder_collector_landing_failures_total > 1",
        'larder_collector_disk_free_bytes{reason="full"} < 1',
        "increase(larder_collector_commit_seconds[5m]) > 1",
        "sum by (location_id) (larder_load_records)",
        "sum(larder_load_records",
        "up == 0",
    ):
        assert list(problems(wrong)), wrong


def test_rules_ask_for_what_is_written(rules: list[Rule]) -> None:
    wrong = [(rule["alert"], list(problems(rule["expr"]))) for rule in rules]
    assert not [one for one in wrong if one[1]]


def test_rules_are_as_prometheus_documents_them(
    groups: list[dict[str, Any]], rules: list[Rule]
) -> None:
    assert len({group["name"] for group in groups}) == len(groups)
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for group in groups:
        assert set(group) <= {"name", "interval", "limit", "query_offset", "labels", "rules"}
    for rule in rules:
        assert set(rule) <= {"alert", "expr", "for", "keep_firing_for", "labels", "annotations"}
        assert re.fullmatch(r"Larder[A-Z][A-Za-z]+", rule["alert"])
        assert re.fullmatch(r"\d+[smhdwy]", rule.get("for", "0s"))
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert {"summary", "description", "runbook_url"} == set(rule["annotations"])
        for text in rule["annotations"].values():
            assert text.count("{{") == text.count("}}")


def test_rules_name_labels_that_their_result_has(rules: list[Rule]) -> None:
    for rule in rules:
        named = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        grouped = re.search(r"\bby \(([^)]*)\)", rule["expr"])
        has = set(re.split(r",\s*", grouped[1])) if grouped else set(ADDED)
        for name, _ in SELECTOR.findall(rule["expr"]) if not grouped else []:
            has |= set(SERIES[name].labels)
        if rule["expr"].startswith("absent("):
            has = {"command"}
        assert named <= has, rule["alert"]


def test_there_is_a_rule_for_each_trouble(rules: list[Rule]) -> None:
    names = {rule["alert"].removeprefix("Larder") for rule in rules}
    assert names >= {
        *("RunMissed", "MetricsAbsent", "RunFailing", "RejectedShare", "FeedStale"),
        *("PublishTooOld", "BatchHeld", "DiskFilling", "BusBacklog"),
        *("CollectorKeepsNothing", "CollectorNotLanding", "CollectorDiskFilling"),
    }


def test_every_alert_has_its_paragraph_in_the_runbook(rules: list[Rule]) -> None:
    text = RUNBOOK.read_text(encoding="utf-8")
    sections = dict(
        re.findall(r"^## (Larder\w+)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    )
    assert set(sections) == {rule["alert"] for rule in rules}
    for rule in rules:
        link = f"docs/runbook.md#{rule['alert'].lower()}"
        assert rule["annotations"]["runbook_url"] == link
        for part in ("**What it means.**", "**Look at.**", "**Do.**"):
            assert part in sections[rule["alert"]], rule["alert"]


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_rules_are_promql() -> None:
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, "check", "rules", FOLDER / "alerts.yml"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_asks_for_what_is_written(dashboard: dict[str, Any]) -> None:
    wrong = [(title, list(problems(expression))) for title, expression in expressions(dashboard)]
    assert not [one for one in wrong if one[1]]


def test_the_dashboard_works_with_any_prometheus(dashboard: dict[str, Any]) -> None:
    assert dashboard["schemaVersion"] == 42
    assert "id" not in dashboard  # Grafana gives one
    variables = {one["name"]: one for one in dashboard["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    source = {"type": "prometheus", "uid": "${datasource}"}
    asked = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    for part in (*asked, *(target for panel in asked for target in panel["targets"])):
        assert part["datasource"] == source
    for title, expression in expressions(dashboard):
        for _, matchers in SELECTOR.findall(expression):
            assert 'instance=~"$instance"' in matchers, title


def test_no_two_panels_lie_on_each_other(dashboard: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
