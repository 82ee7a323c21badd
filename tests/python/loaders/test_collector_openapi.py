"""The collector's description of itself: every answer of the documentation, every page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from collecting import RunningCollector, menu_event, running

from larder.settings import PROJECT_ROOT
from loaders.entities import read_entities

PAGES = {"/healthz", "/readyz", "/metrics", "/openapi.json", "/menu.js"}


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    with running(tmp_path_factory.mktemp("described")) as collector:
        yield collector


@pytest.fixture(scope="module")
def paths(collector: RunningCollector) -> Any:
    return collector.get("/openapi.json")[1]["paths"]


def test_every_path_is_described(paths: Any) -> None:
    sent = {"/v1/trips/webhook", "/v1/menu/events", *(f"/v1/{name}" for name in read_entities())}
    assert {path for path in paths if "post" in paths[path]} == sent
    assert {path for path in paths if "get" in paths[path]} == PAGES


def test_answers_are_those_of_the_documentation(paths: Any) -> None:
    page = (PROJECT_ROOT / "docs" / "collector.md").read_text(encoding="utf-8")
    table = page.partition("| answer | what it means |")[2].partition("\n\n")[0]
    named = {code for row in table.splitlines() for code in re.findall(r"\b\d{3}\b", row[:50])}
    assert named == set(paths["/v1/menu/events"]["post"]["responses"])


def test_pages_are_of_the_type_that_is_said(collector: RunningCollector, paths: Any) -> None:
    for path in PAGES:
        assert collector.get(path)[0] == 200
        (described,) = paths[path]["get"]["responses"]["200"]["content"]
        assert collector.told["content-type"].partition(";")[0] == described, path


def test_a_body_of_plain_text_is_read_as_it_says(collector: RunningCollector, paths: Any) -> None:
    content = paths["/v1/menu/events"]["post"]["requestBody"]["content"]
    assert "text/plain" in content["application/x-ndjson"]["schema"]["description"]
    assert "page" in {name for one in paths["/v1/menu/events"]["post"]["security"] for name in one}
    answer = collector.post("/v1/menu/events", menu_event(1), {"Content-Type": "text/plain"})
    assert answer == (200, {"accepted": 1, "rejected": 0})
