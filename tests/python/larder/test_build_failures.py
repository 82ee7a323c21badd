"""What a build that fails says: what dbt said and, of Snowflake's refusals, what mends them."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path

import pytest

from larder import build as building
from larder.settings import Settings
from larder.snowflake import LOST, REMEDIES

SUSPENDED = "090073 (22000): Warehouse 'LARDER_TRANSFORMING' cannot be resumed"
NO_RIGHT = "003001 (42501): SQL access control error:"
CUT_OFF = "('Connection broken: IncompleteRead(1 bytes read)', IncompleteRead(1 bytes read))"
NO_ACCOUNT = "250001 (08001): None: Failed to connect to DB: none.snowflakecomputing.com:443."
UNREACHED = "250003: 250003: Failed to execute request: timed out"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", key_file=tmp_path / "key", target="prod")


def explain(settings: Settings, *failed: str, last: str = "") -> list[str]:
    """Return the lines that are said of these messages of models, or of what dbt said last."""
    target = building.target_folder(settings, "build")
    target.mkdir(parents=True, exist_ok=True)
    if failed:
        results = [
            {
                "status": "error",
                "unique_id": f"model.larder.stg_{number}",
                "message": f"Database Error in model stg_{number} (a.sql)\n  {one}\n  compiled",
            }
            for number, one in enumerate(failed)
        ]
        (target / "run_results.json").write_text(json.dumps({"results": results}), "utf-8")
    return building._explain(target, deque([last]), settings).splitlines()


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        (SUSPENDED, REMEDIES[90073]),
        (NO_RIGHT, REMEDIES[3001]),
        (NO_ACCOUNT, REMEDIES[250001]),
        (UNREACHED, LOST),
        (CUT_OFF, LOST),
    ],
)
def test_a_refusal_in_a_model_or_before_any_has_its_remedy(
    settings: Settings, said: str, remedy: str
) -> None:
    before_any = explain(settings, last=f"Encountered an error:\nRuntime Error\n  {said}")
    in_a_model = explain(settings, said)
    for lines in (before_any, in_a_model):
        assert f"To mend it: {remedy}." in lines
        assert any(said in line for line in lines)


def test_each_remedy_is_said_once(settings: Settings) -> None:
    lines = explain(settings, SUSPENDED, NO_RIGHT, SUSPENDED)
    assert [line for line in lines if line.startswith("To mend it")] == [
        f"To mend it: {REMEDIES[number]}." for number in (90073, 3001)
    ]


@pytest.mark.parametrize(
    "said",
    [
        "Got 390144 results, configured to fail if != 0",
        "001003 (42000): SQL compilation error:",
        "Binder Error: 3001 is no column",
    ],
)
def test_our_own_failure_has_no_remedy_of_snowflakes(settings: Settings, said: str) -> None:
    assert "To mend it" not in "\n".join(explain(settings, said))


def test_duckdb_has_none_of_snowflakes_numbers(settings: Settings) -> None:
    here = settings.model_copy(update={"target": "dev"})
    assert "To mend it" not in "\n".join(explain(here, SUSPENDED))
