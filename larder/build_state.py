"""What a build is made from, which build has passed its tests, and which one readers have."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import duckdb

from larder import snowflake
from larder.errors import BuildError
from larder.settings import PROJECT_ROOT, Settings
from larder.warehouse import literal, open_build, require_build
from loaders.ledger import find_segments

# What the build is made of, besides the accepted segments.
PROJECT_PARTS = (
    "dbt_project.yml",
    "models",
    "macros",
    "seeds",
    "snapshots",
    "python_models",
    "tests/dbt",
    "larder/learning",
    "docs",
)

# … and what unit tests see of the machine.
ENGINES = ("dbt-core", "dbt-duckdb", "dbt-snowflake", "duckdb")


def project_files() -> Iterator[Path]:
    """Find the files of the project that a build is made from."""
    for part in PROJECT_PARTS:
        path = PROJECT_ROOT / part
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.suffix in (".sql", ".yml", ".csv", ".py", ".md"):
                yield file


def fingerprint(settings: Settings) -> str:
    """Return what a build depends on as one hash: segments, verdicts, project, as-of moment."""
    digest = sha256()
    for segment in sorted(find_segments(settings.raw_folder)):
        # An erasure rewrites a segment under its name.
        status = segment.stat()
        digest.update(f"{segment.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    for verdict in sorted((settings.audit_folder / "verdicts").glob("*.parquet")):
        digest.update(f"{verdict.name}\n".encode())
    digest.update(project_fingerprint().encode())
    digest.update(f"{settings.as_of}\n{settings.target}".encode())
    return digest.hexdigest()


def unit_test_fingerprint(settings: Settings) -> str:
    """Return what the outcome of unit tests depends on as one hash; their data are made up."""
    engines = " ".join(version(name) for name in ENGINES)
    return sha256(f"{project_fingerprint()}\n{settings.target}\n{engines}".encode()).hexdigest()


def project_fingerprint() -> str:
    """Return the version of the project, that is of its files, as one hash."""
    digest = sha256()
    for file in project_files():
        digest.update(f"{file.relative_to(PROJECT_ROOT)}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def forget_tested(settings: Settings) -> None:
    """Take back that the build has passed its tests, before something changes it."""
    _tested(settings).unlink(missing_ok=True)


def mark_tested(settings: Settings, made_from: str) -> None:
    """Keep that the build as it is now has passed every test, and what it was made from."""
    _write(_tested(settings), {"build": _stamp(settings), "made_from": made_from})


def has_unit_tested(settings: Settings, tested: str) -> bool:
    """Tell whether unit tests have passed here on what this fingerprint stands for."""
    return _read(_unit_tested(settings)).get("passed") == tested


def mark_unit_tested(settings: Settings, tested: str) -> None:
    """Keep that unit tests have passed."""
    _write(_unit_tested(settings), {"passed": tested})


def require_tested_build(settings: Settings) -> str:
    """Return the fingerprint of what the build was made from, if it has passed its tests.

    Raises:
        BuildError: it failed, was killed, or somebody has written into it since.
    """
    if settings.target != "prod":
        require_build(settings)
    tested = _read(_tested(settings))
    if tested.get("build") != _stamp(settings):
        raise BuildError(
            f"{_build_name(settings)} has not passed its tests as it is now: the last build "
            "failed or was killed, or something else has written into it. Run `larder build` and "
            "publish again; readers keep what is published."
        )
    return tested["made_from"]


def holds_any(settings: Settings, segments: Collection[str]) -> bool:
    """Tell whether the build was made from any of these segments."""
    if not segments:
        return False
    names = ", ".join(literal(name) for name in segments)
    return _count(settings, f"select count(*) from raw.segments where segment in ({names})") > 0


def is_drifting(settings: Settings) -> bool:
    """Tell whether the last build said that a model no longer fits what happens."""
    query = "select count(*) from marts.rpt_alerts where alert_kind = 'model_drift'"
    return _count(settings, query) > 0


def _count(settings: Settings, query: str) -> int:
    """Ask the last build for a number; nought where it has no such table yet."""
    if settings.target == "prod":
        return snowflake.count(settings, "transformer", query)
    if not settings.build_database.exists():
        return 0
    try:
        with open_build(settings) as connection:
            found = connection.execute(query).fetchall()
    except (duckdb.CatalogException, duckdb.IOException):
        # killed before its first table, or no database at all: dbt will say so
        return 0
    return int(found[0][0])


def published_from(settings: Settings) -> dict[str, str]:
    """Return the generation that readers were given, with what it was made from; or nothing."""
    return _read(_published(settings))


def say_published(settings: Settings, generation: str, made_from: str) -> None:
    """Keep which generation readers were given, and what it was made from."""
    _write(_published(settings), {generation: made_from})


def _tested(settings: Settings) -> Path:
    return settings.home / "tested.json"


def _unit_tested(settings: Settings) -> Path:
    return settings.home / "unit_tested.json"


def _published(settings: Settings) -> Path:
    return settings.home / "published.json"


def _build_name(settings: Settings) -> str:
    return snowflake.ANALYTICS if settings.target == "prod" else str(settings.build_database)


def _stamp(settings: Settings) -> str:
    if settings.target == "prod":
        return _stamp_of_account(settings)
    status = settings.build_database.stat()
    return f"{status.st_size} {status.st_mtime_ns}"


def _stamp_of_account(settings: Settings) -> str:
    """Say how many marts the account has and when one was last written to, by whomever.

    By LAST_ALTERED of Snowflake's view INFORMATION_SCHEMA.TABLES, which moves with every DDL and
    DML, also one that changes no row, and may move with maintenance of Snowflake's own: that takes
    one more build.
    """
    # a build replaces some marts whatever has changed, so another home's moves it, too
    with snowflake.open_snowflake(settings, "transformer") as connection:
        ((marts, altered_at),) = snowflake.fetch(
            connection,
            "select count(*), max(last_altered) "
            f"from {snowflake.ANALYTICS}.information_schema.tables "
            "where lower(table_schema) = 'marts'",
        )
    return f"{marts} {altered_at}"


def _read(path: Path) -> dict[str, str]:
    try:
        content: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content


def _write(path: Path, content: dict[str, str]) -> None:
    aside = path.with_name(f".{path.name}.tmp")
    aside.write_text(json.dumps(content), encoding="utf-8")
    aside.replace(path)
