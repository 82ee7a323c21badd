"""What keeps records from being sent, each said with its own remedy."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from collecting import KEY, SECRET, free_port, running, trip_event

from larder.errors import LarderError
from loaders.entities import Entity, read_entities
from loaders.sending.client import Answer, Client

TRIPS = read_entities()["trips/trip_events"]
FENCES = read_entities()["trips/geofences"]
LINES = [json.dumps(trip_event(1)).encode()]
KEYS = f"{KEY}:trips"


def refusal(client: Client, entity: Entity = TRIPS) -> str:
    """Send, and return the one line that says why not."""
    with pytest.raises(LarderError) as refused:
        client.send(entity, LINES)
    said = str(refused.value)
    assert "\n" not in said
    assert KEY not in said and SECRET not in said
    return said


def test_what_is_signed_for_a_collector_without_the_secret_names_the_secret(
    tmp_path: Path,
) -> None:
    no_secret = {"LARDER_API_KEYS": KEYS, "LARDER_RADAR_SECRET": ""}
    with running(tmp_path / "keys", environment=no_secret) as collector:
        url = f"http://127.0.0.1:{collector.port}"
        said = refusal(Client(url, KEYS, SECRET.encode()))
        assert "set it to the secret that the collector has, or leave it out" in said
        assert "LARDER_RADAR_SECRET" in said
        assert Client(url, KEYS).send(TRIPS, LINES) == Answer(1, 0)  # as the line advises
        # what the provider does not sign goes with a key, and it is the key that is wrong
        other = refusal(Client(url, "another-key-entirely:trips", SECRET.encode()), FENCES)
        assert "scopes have trips" in other
        assert "LARDER_RADAR_SECRET" not in other


def test_a_wrong_secret_names_the_secret(tmp_path: Path) -> None:
    both = {"LARDER_API_KEYS": KEYS, "LARDER_RADAR_SECRET": SECRET}
    with running(tmp_path / "both", environment=both) as collector:
        url = f"http://127.0.0.1:{collector.port}"
        said = refusal(Client(url, KEYS, b"another"))
        assert "X-Radar-Signature is not that of the signing id. They are signed with" in said
        assert "scopes" not in said
        assert Client(url, KEYS, SECRET.encode()).send(TRIPS, LINES) == Answer(1, 0)


class Moved(BaseHTTPRequestHandler):
    """Point to https, as a proxy does."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(301)
        self.send_header("Location", f"https://events.example.org{self.path}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def proxy() -> Iterator[str]:
    """Serve it, and give its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Moved) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_an_address_that_moved_is_told_with_where_it_points_to() -> None:
    with proxy() as url:
        with pytest.raises(LarderError) as refused:
            Client(url).require_collector()
        for said in (str(refused.value), refusal(Client(url, KEYS))):
            assert f"{url} is not the collector itself: it answers HTTP 301 and points to" in said
            assert "https://events.example.org/" in said
            assert "larder collect" not in said


def test_nobody_there_is_still_nobody_there() -> None:
    with pytest.raises(LarderError, match="No collector answers at"):
        Client(f"http://127.0.0.1:{free_port()}").require_collector()
