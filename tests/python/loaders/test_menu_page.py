"""The menu snippet in a real browser: what guests do arrives once, whatever the network does."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from collecting import RunningCollector, free_port, running
from landing_zone import ARRIVED
from playwright.sync_api import Browser, Page, sync_playwright
from warehouse_homes import settings_of

from loaders.landing import find_files
from loaders.load import load

PAGE_KEY = "the-key-of-the-menu-page"
KEYS = {"LARDER_API_KEYS": f"a-key-for-everything:*, {PAGE_KEY}:menu"}
FIRST, LAST = "teriyaki-bowl", "cinnamon-roll"
# how long something may take on a busy machine
PATIENCE_SECONDS = 20.0

Event = dict[str, Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    assert found, "Install a browser first, as root: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    with running(tmp_path_factory.mktemp("menus"), "--demo", environment=KEYS) as collector:
        yield collector


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with watched_page(browser) as page:
        yield page


@contextmanager
def watched_page(browser: Browser) -> Iterator[Page]:
    """Give a page of a guest's own, on which no script fails."""
    trouble: list[str] = []
    with browser.new_context(viewport={"width": 400, "height": 700}) as context:
        page = context.new_page()
        page.on("pageerror", lambda error: trouble.append(str(error)))
        yield page
    assert not trouble


@dataclass
class Menu:
    """A menu of a restaurant of its own, and what has landed of it."""

    collector: RunningCollector
    location: str

    @property
    def address(self) -> str:
        origin = f"http://127.0.0.1:{self.collector.port}"
        return f"{origin}/menu?key={PAGE_KEY}&location={self.location}&table=7"

    def open(self, page: Page) -> None:
        page.goto(self.address)
        page.wait_for_function("window.larderMenu !== undefined")

    def landed(self) -> list[Event]:
        """Return the events that have landed, the earliest first."""
        files = [file.path for file in find_files(self.collector.home / "landing")]
        events = [json.loads(line) for path in files for line in path.read_bytes().splitlines()]
        own = [event for event in events if event["location_id"] == self.location]
        return sorted(own, key=lambda event: str(event["occurred_at"]))

    def kinds(self) -> Counter[str]:
        """Count the different events that have landed, by kind."""
        events = {event["event_id"]: event["kind"] for event in self.landed()}
        return Counter(events.values())

    def visitors(self) -> set[str]:
        return {event["visitor_id"] for event in self.landed()}

    def wait_for(self, kind: str, count: int = 1) -> None:
        """Wait until so many different events of the kind have landed, and no more."""
        until = time.monotonic() + PATIENCE_SECONDS
        while self.kinds()[kind] < count:
            assert time.monotonic() < until, f"{count} of {kind} have not landed: {self.kinds()}"
            time.sleep(0.1)
        assert self.kinds()[kind] == count

    def first(self, kind: str, item_id: str | None = None) -> Event:
        """Wait until such an event has landed, and return the first one."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            for event in self.landed():
                if event["kind"] == kind and item_id in (None, event.get("item_id")):
                    return event
            assert time.monotonic() < until, f"{kind} of {item_id} has not landed: {self.kinds()}"
            time.sleep(0.1)


@pytest.fixture
def menu(collector: RunningCollector, request: pytest.FixtureRequest) -> Menu:
    return Menu(collector, request.node.name)


def wait_until_sent(page: Page) -> None:
    page.wait_for_function("larderMenu.waiting() === 0", timeout=PATIENCE_SECONDS * 1000)


def add(page: Page, item_id: str) -> None:
    page.locator(f"[data-menu-item={item_id}] [data-menu-add]").click()


def loaded_and_rejected(collector: RunningCollector) -> int:
    """Load what has landed, and return how many menu events were rejected."""
    summary = load(settings_of(collector.home), lambda: ARRIVED)
    return summary.entities["menu/menu_events"].rejected


def test_what_a_guest_does_arrives(menu: Menu, page: Page) -> None:
    menu.open(page)
    time.sleep(1.3)  # long enough to have looked at the first
    add(page, LAST)  # the browser scrolls there, past all others
    page.locator("[data-menu-order]").click()
    wait_until_sent(page)
    opened, viewed = menu.first("menu_opened"), menu.first("item_viewed", FIRST)
    added, ordered = menu.first("item_added"), menu.first("order_placed")
    assert opened["table_id"] == "7"
    assert (viewed["section"], viewed["position"]) == ("Bowls and salads", 1)
    assert 1 <= viewed["dwell_seconds"] < PATIENCE_SECONDS
    assert (added["item_id"], added["section"], added["position"]) == (LAST, "Sweet", 3)
    assert ordered["item_id"] == LAST
    assert menu.visitors() == {opened["visitor_id"]}
    assert loaded_and_rejected(menu.collector) == 0


def test_what_only_went_by_was_skipped(menu: Menu, page: Page) -> None:
    menu.open(page)
    for _ in range(40):  # steadily to the end, each item in view for a moment
        page.mouse.wheel(0, 60)
        time.sleep(0.03)
    time.sleep(1.3)
    page.evaluate("scrollTo(0, 0)")
    assert menu.first("item_skipped", "pesto-wrap")["dwell_seconds"] < 1
    assert menu.first("item_viewed", LAST)["dwell_seconds"] >= 1
    assert menu.first("section_viewed")["dwell_seconds"] >= 1


def test_what_happens_offline_is_sent_later(menu: Menu, page: Page) -> None:
    menu.open(page)
    menu.wait_for("menu_opened")
    page.context.set_offline(True)
    add(page, FIRST)
    time.sleep(3)
    assert page.evaluate("larderMenu.waiting()") >= 1
    assert not menu.kinds()["item_added"]
    page.context.set_offline(False)
    menu.wait_for("item_added")


def test_a_page_that_is_closed_at_once_has_told(menu: Menu, page: Page) -> None:
    menu.open(page)
    add(page, FIRST)
    page.close(run_before_unload=False)
    menu.wait_for("item_added")


def test_what_a_beacon_took_counts_once(menu: Menu, page: Page) -> None:
    context = page.context
    menu.open(page)
    add(page, FIRST)
    page.goto("about:blank")
    menu.wait_for("item_added")
    again = context.new_page()  # sends again what nobody confirmed
    menu.open(again)
    wait_until_sent(again)
    menu.wait_for("menu_opened", 2)
    menu.wait_for("item_added")
    assert loaded_and_rejected(menu.collector) == 0


def test_a_visitor_stays_the_same_unless_that_is_unwanted(
    menu: Menu, page: Page, browser: Browser
) -> None:
    for opened in (1, 2):
        menu.open(page)
        menu.wait_for("menu_opened", opened)
    assert len(menu.visitors()) == 1
    with watched_page(browser) as private:
        private.add_init_script("navigator.__defineGetter__('globalPrivacyControl', () => true)")
        for opened in (3, 4):
            menu.open(private)
            menu.wait_for("menu_opened", opened)
    assert len(menu.visitors()) == 3


def open_own(menu: Menu, page: Page, attributes: str = "") -> None:
    """Open a page of a restaurant's own, whose script has these attributes."""
    address = f"http://127.0.0.1:{menu.collector.port}/own.html"
    script = f'<script src="/menu.js" data-key="{PAGE_KEY}" data-location="{menu.location}"'
    html = f"<!doctype html><title>Menu</title>{script} {attributes} defer></script>"
    page.route(address, lambda route: route.fulfill(body=html, content_type="text/html"))
    page.goto(address)
    page.wait_for_function("window.larderMenu !== undefined")


def test_who_signs_in_is_named_from_then_on_and_not_remembered(menu: Menu, page: Page) -> None:
    open_own(menu, page)
    page.evaluate("larderMenu.added('before')")
    page.evaluate("larderMenu.signedIn('customer-7')")
    page.evaluate("larderMenu.added('after')")
    page.evaluate("larderMenu.ordered()")
    wait_until_sent(page)
    menu.wait_for("order_placed", 2)
    named = {(one["kind"], one.get("item_id"), one.get("customer_id")) for one in menu.landed()}
    assert named == {
        ("menu_opened", None, None),
        ("item_added", "before", None),
        ("item_added", "after", "customer-7"),
        ("order_placed", "before", "customer-7"),
        ("order_placed", "after", "customer-7"),
    }
    assert len(menu.visitors()) == 1  # whether both are one person is for consent to say
    assert "customer-7" not in page.evaluate("JSON.stringify(localStorage)")
    page.reload()
    menu.wait_for("menu_opened", 2)
    assert not any(one.get("customer_id") for one in menu.landed() if one["kind"] == "menu_opened")


def test_a_page_that_knows_its_guest_names_them_from_the_start(menu: Menu, page: Page) -> None:
    open_own(menu, page, 'data-customer="customer-8"')
    assert menu.first("menu_opened")["customer_id"] == "customer-8"
    page.evaluate("larderMenu.signedIn('customer-9')")  # somebody else, at the same table
    page.evaluate("larderMenu.added('cake')")
    assert menu.first("item_added")["customer_id"] == "customer-9"


def test_a_visitor_of_a_page_is_forgotten_with_it(menu: Menu, page: Page) -> None:
    for opened in (1, 2):
        open_own(menu, page, 'data-visitor="page"')
        page.evaluate("larderMenu.added('cake')")
        menu.wait_for("menu_opened", opened)
        menu.wait_for("item_added", opened)
    wait_until_sent(page)
    assert len(menu.visitors()) == 2  # one a page, for all that is done on it
    assert page.evaluate("Object.keys(localStorage)") == []
    open_own(menu, page)  # while without it one is kept
    menu.wait_for("menu_opened", 3)
    wait_until_sent(page)
    assert page.evaluate("Object.keys(localStorage)") == ["larder.menu.visitor"]


def test_a_collector_that_was_away_gets_all_once(tmp_path: Path, page: Page) -> None:
    with running(tmp_path, "--demo", environment=KEYS) as collector:
        menu = Menu(collector, "away")
        menu.open(page)
        menu.wait_for("menu_opened")
        collector.kill()
        for item_id in (FIRST, LAST, FIRST):
            add(page, item_id)
        time.sleep(3)
        collector.start()
        wait_until_sent(page)
        menu.wait_for("item_added", 3)
        ids = Counter(event["event_id"] for event in menu.landed())
        assert set(ids.values()) == {1}


@contextmanager
def site(folder: Path, port: int) -> Iterator[str]:
    """Serve the demonstration as a page of another site, with the collector's script."""
    server = ThreadingHTTPServer(("127.0.0.1", port), partial(QuietHandler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://localhost:{port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    """Serve files without a word."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def test_pages_of_listed_sites_alone_may_send(tmp_path: Path, page: Page) -> None:
    listed, other = free_port(), free_port()
    origin = f"http://localhost:{listed}"
    chosen = KEYS | {"LARDER_MENU_ORIGINS": f"https://bistro.example, {origin}"}
    with running(tmp_path / "home", environment=chosen) as collector:
        html = (files("loaders.collector") / "static" / "menu.html").read_text(encoding="utf-8")
        (tmp_path / "site").mkdir()
        script = f"http://127.0.0.1:{collector.port}/menu.js"
        (tmp_path / "site" / "menu.html").write_text(html.replace("/menu.js", script))
        with site(tmp_path / "site", listed) as address:
            page.goto(f"{address}/menu.html?key={PAGE_KEY}&location=bistro")
            Menu(collector, "bistro").wait_for("menu_opened")
            wait_until_sent(page)
        with site(tmp_path / "site", other) as address:
            with page.expect_console_message(lambda said: "CORS policy" in said.text):
                page.goto(f"{address}/menu.html?key={PAGE_KEY}&location=elsewhere")
            assert page.evaluate("larderMenu.waiting()") >= 1
        assert not Menu(collector, "elsewhere").landed()
        preflight = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        assert collector._ask("OPTIONS", "/v1/menu/events", None, preflight)[0] == 200
        preflight["Origin"] = "https://evil.example"
        assert collector._ask("OPTIONS", "/v1/menu/events", None, preflight)[0] == 403


def test_the_key_in_an_address_is_one_for_menu_alone(collector: RunningCollector) -> None:
    collector.hang_up()  # the connection of its start has been idle for too long
    event = {"occurred_at": "2024-06-01T10:00:00Z", "location_id": "a"}
    for key, status in ((PAGE_KEY, 200), ("a-key-for-everything", 401), ("a-key-of-nobody", 401)):
        assert collector.post(f"/v1/menu/events?key={key}", event, key="")[0] == status
    assert collector.post(f"/v1/catalog/items?key={PAGE_KEY}", event, key="")[0] == 401


@pytest.mark.parametrize(("path", "status"), [("/v1/menu/events", 403), ("/v1/catalog/items", 403)])
def test_no_page_of_another_site_sends_to_this_machine(
    collector: RunningCollector, path: str, status: int
) -> None:
    event = {"occurred_at": "2024-06-01T10:00:00Z", "location_id": "a"}
    assert collector.post(path, event, {"Origin": "https://evil.example"})[0] == status
