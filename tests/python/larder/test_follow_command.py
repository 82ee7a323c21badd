"""The command that follows the landing zone: what runs beside it, and how that ends."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from landing_zone import event, line, make_home

from larder.cli.jobs import _follow
from larder.errors import BuildError

SECONDS = 30.0


def test_a_bug_in_preparing_schema_live_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("larder.live_models.live_models", broken)
    late = threading.Timer(SECONDS, os.kill, (os.getpid(), signal.SIGTERM))
    late.start()
    try:
        with pytest.raises(ZeroDivisionError, match="a bug"):
            _follow(make_home(tmp_path).settings)
        assert late.is_alive()  # it has ended by itself
    finally:
        late.cancel()


def test_a_schema_live_that_cannot_be_made_is_a_line_and_loading_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = make_home(tmp_path)
    told = threading.Event()

    def refused(*_: Any) -> None:
        told.set()
        raise BuildError("dbt could not compile it.")

    def land_and_end() -> None:
        assert told.wait(SECONDS)
        time.sleep(0.5)
        home.land("fridge/stock_events/a.ndjson", line(event(1)))
        until = time.monotonic() + SECONDS
        raw = home.settings.raw_folder
        while time.monotonic() < until and not list(raw.glob("[!_]*/*/*/*.parquet")):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("larder.live_models.live_models", refused)
    ending = threading.Thread(target=land_and_end)
    ending.start()
    assert _follow(home.settings) == 0
    ending.join(SECONDS)
    said = capsys.readouterr().out
    assert "schema live is not ready: dbt could not compile it.\n" in said
    assert "1 files loaded" in said
    assert home.keys() == ["e1"]
