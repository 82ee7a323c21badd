"""The emulated account itself: one that does not start is no endless test run."""

from __future__ import annotations

import signal
from pathlib import Path

import conftest
import pytest


def test_an_emulator_that_hangs_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = tmp_path / "hanging.py"
    hanging.write_text("import time\n\ntime.sleep(600)\n", encoding="utf-8")
    monkeypatch.setattr(conftest, "EMULATOR", hanging)
    monkeypatch.setattr(conftest, "START_SECONDS", 1)
    with (
        pytest.raises(TimeoutError, match="starting an account took longer than 1 s"),
        conftest.emulated_account(tmp_path),
    ):
        pass
    # the limit of this test itself still stands
    left, _ = signal.getitimer(signal.ITIMER_REAL)
    assert left > conftest.START_SECONDS
