"""When a build trains: as asked, or because the last one said that a model drifts."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from larder import build as building
from larder.build_state import is_drifting
from larder.errors import BuildError
from larder.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    home = tmp_path / "warehouse"
    home.mkdir()
    return Settings(home=home, key_file=tmp_path / "key")


def alert(settings: Settings, *kinds: str) -> None:
    """Leave a build with these alerts."""
    with duckdb.connect(str(settings.build_database)) as connection:
        connection.execute("create schema if not exists marts")
        connection.execute("create or replace table marts.rpt_alerts (alert_kind varchar)")
        for kind in kinds:
            connection.execute("insert into marts.rpt_alerts values (?)", [kind])


def test_only_an_alarm_of_a_model_is_drift(settings: Settings) -> None:
    assert not is_drifting(settings)
    settings.build_database.write_text("no database")
    assert not is_drifting(settings)
    settings.build_database.unlink()
    with duckdb.connect(str(settings.build_database)):
        pass
    assert not is_drifting(settings)  # killed before its last table
    alert(settings, "expiring", "stale_feed")
    assert not is_drifting(settings)
    alert(settings, "expiring", "model_drift")
    assert is_drifting(settings)


@pytest.mark.parametrize(
    ("alerts", "train", "told"),
    [((), False, ""), (("model_drift",), False, "drift"), (("model_drift",), True, "now")],
)
def test_a_build_tells_dbt_why_it_should_train(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    alerts: tuple[str, ...],
    train: bool,
    told: str,
) -> None:
    alert(settings, *alerts)
    seen: dict[str, str] = {}

    def stopped(*_: object, **environment: str) -> None:
        seen.update(environment)
        raise BuildError("stopped here")

    monkeypatch.setattr(building, "run_dbt", stopped)
    with pytest.raises(BuildError, match="stopped here"):
        building.build(settings, train=train)
    assert seen["LARDER_TRAIN"] == told
