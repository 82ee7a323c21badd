"""The zip of `larder.learning` that Python models import on Snowflake."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from larder.deploy.statements import Statement
from larder.settings import PROJECT_ROOT, Settings
from larder.snowflake import fetch, open_snowflake

STAGE = "@larder_analytics.deployment.code"
PLACE = "code of the Python models"
NAME = re.compile(r"learning-[0-9a-f]{12}\.zip")
# As many as there are generations to go back to.
KEPT_ARCHIVES = 3
# The earliest moment that a zip can hold: the same sources give the same bytes, whenever.
EPOCH = (1980, 1, 1, 0, 0, 0)
READ_BY_ALL = 0o644 << 16


@dataclass(frozen=True)
class Archive:
    """Hold a zip and the name that says what is in it."""

    name: str
    content: bytes


def make_archive(project: Path = PROJECT_ROOT) -> Archive:
    """Return `larder/learning` as a zip that Python can import from; same sources, same bytes."""
    package = project / "larder"
    files = sorted([package / "__init__.py", *(package / "learning").rglob("*.py")])
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for file in files:
            entry = zipfile.ZipInfo(file.relative_to(project).as_posix(), date_time=EPOCH)
            entry.external_attr = READ_BY_ALL
            entry.create_system = 3  # as on Linux, wherever it is made
            # stored: what compression makes depends on the version of zlib
            archive.writestr(entry, file.read_bytes())
    digest = hashlib.sha256(content.getvalue()).hexdigest()[:12]
    return Archive(f"learning-{digest}.zip", content.getvalue())


def learning_import(settings: Settings, project: Path = PROJECT_ROOT) -> str:
    """Return where Snowflake finds the zip of these sources; on DuckDB nothing, it needs none."""
    if settings.target != "prod":
        return ""
    return f"{STAGE.upper()}/{make_archive(project).name}"


def stage_archive(settings: Settings) -> None:
    """Put the zip of these sources where the models of this build look for it, unless it is there.

    Raises:
        WarehouseError: Snowflake refuses.
    """
    archive = make_archive()
    file = settings.home / "deploy" / archive.name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(archive.content)
    with open_snowflake(settings, "transformer") as connection:
        fetch(connection, put_statement(file).sql)


def put_statement(file: Path) -> Statement:
    """Return the statement that stages a zip as it is."""
    path = str(file).replace("\\", "/").replace("'", "\\'")
    return Statement(
        f"put 'file://{path}' {STAGE} auto_compress = false source_compression = none "
        "overwrite = false",
        PLACE,
        0,
    )


def list_statement() -> Statement:
    """Return the query for what is staged: name, size, hash, moment."""
    return Statement(f"list {STAGE}", PLACE, 0)


def remove_statements(listed: Sequence[tuple[Any, ...]], current: str) -> list[Statement]:
    """Return the statements that remove old zips.

    The current one stays, and the newest of the others up to `KEPT_ARCHIVES` in all: a build that
    goes on now may still import one, and each build stages its own.
    """
    staged = {
        found[0]: _moment(str(row[3]))
        for row in listed
        if (found := NAME.search(str(row[0]))) is not None
    }
    newest = sorted(staged.keys() - {current}, key=lambda name: (staged[name], name), reverse=True)
    return [
        Statement(f"remove {STAGE}/{name}", PLACE, 0)
        for name in sorted(newest[KEPT_ARCHIVES - 1 :])
    ]


def _moment(listed: str) -> datetime:
    return parsedate_to_datetime(listed)
