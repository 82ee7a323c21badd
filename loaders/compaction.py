"""Compaction: many small segments become one, so that a build never opens thousands of files.

A compacted segment holds the rows of its parts as they were, and names them in its Parquet
metadata. While a part is still there (something was killed), a build sees the compacted segment
only, at the moment its parts were accepted: see macros/compacted_segments_sql.sql.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import duckdb

from larder.lock import hold
from larder.settings import Settings
from larder.warehouse import literal, open_memory
from loaders.asides import commit, make_aside, remove_aside
from loaders.audit.measures import read_history
from loaders.audit.verdicts import ACCEPTED, Verdict, Verdicts, audit_lock
from loaders.ledger import COMPACTED_PREFIX, find_segments, read_origins, read_parts
from loaders.load import entity_lock
from loaders.segments import copy_options, segment_rows

# Hours that are over for so long get no more segments, whatever is late.
LEAST_AGE = timedelta(hours=24)
# With so many small segments of an entity none is too young: a build opens each several times.
MANY_SEGMENTS = 256
# So many of about one size become one, so a record is rewritten once for each factor of 16 in size.
LEAST_PARTS = 16
# A segment of this size is no longer small; a compacted one may be one part larger.
TARGET_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True)
class CompactionSummary:
    """Count the small segments that went and the larger ones that hold their rows now."""

    parts: int = 0
    segments: int = 0


def compact(settings: Settings, now: Callable[[], datetime]) -> CompactionSummary:
    """Merge small segments, entity by entity; finish what was killed.

    Those of hours long over, and where an entity has very many, the new ones, too. Only segments
    that an audit accepted are touched, and none while somebody has the build open, for a build
    that runs reads the very files. Memory does not grow with their size.

    Raises:
        WarehouseBusyError: a loader or an audit did not end in time.
    """
    if not settings.raw_folder.is_dir() or _is_in_use(settings.build_database):
        return CompactionSummary()
    parts = segments = 0
    entities: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(find_segments(settings.raw_folder)):
        entities[path.parents[1].relative_to(settings.raw_folder).as_posix()].append(path)
    for entity, found in entities.items():
        _finish(settings.raw_folder, found)
        small = [path for path in found if path.exists() and _is_small(path)]
        if len(small) < MANY_SEGMENTS:
            small = [path for path in small if _is_old(path, now())]
        if len(small) < LEAST_PARTS:
            continue
        settings.audit_folder.mkdir(parents=True, exist_ok=True)
        with (
            entity_lock(settings, entity, "larder run", now),
            hold(audit_lock(settings), "larder run", settings.lock_wait_seconds, now=now),
        ):
            verdicts = Verdicts(settings)
            for group in _groups(settings, verdicts, small):
                _compact(settings, verdicts, group, now())
                parts, segments = parts + len(group), segments + 1
    return CompactionSummary(parts, segments)


def _is_in_use(database: Path) -> bool:
    if not database.exists():
        return False
    try:
        duckdb.connect(str(database)).close()
    except duckdb.IOException:
        return True
    return False


def _is_small(segment: Path) -> bool:
    return segment.stat().st_size < TARGET_BYTES


def _is_old(segment: Path, now: datetime) -> bool:
    hour = datetime.strptime(segment.parent.name, "process_hour=%Y-%m-%dT%H").replace(tzinfo=UTC)
    return now - hour >= LEAST_AGE


def _groups(settings: Settings, verdicts: Verdicts, small: Sequence[Path]) -> list[list[Path]]:
    """Put what was accepted, of about one size, into groups of one segment each, oldest first."""
    groups: list[list[Path]] = []
    open_groups: dict[int, tuple[list[Path], int]] = {}
    for path in small:
        verdict = verdicts.latest.get(path.relative_to(settings.raw_folder).as_posix())
        if verdict is None or verdict.verdict not in ACCEPTED:
            continue
        size = path.stat().st_size
        magnitude = int(math.log(size, LEAST_PARTS))
        group, total = open_groups.get(magnitude, ([], TARGET_BYTES))
        if total >= TARGET_BYTES:
            group, total = [], 0
            groups.append(group)
        group.append(path)
        open_groups[magnitude] = group, total + size
    return [group for group in groups if len(group) >= LEAST_PARTS]


def _compact(settings: Settings, verdicts: Verdicts, parts: Sequence[Path], now: datetime) -> None:
    """Write one segment of the parts: first its verdict, then itself, then they go."""
    raw = settings.raw_folder
    names = [path.relative_to(raw).as_posix() for path in parts]
    origins = [origin for path in parts for origin in read_origins(path)]
    digest = sha256("\n".join(names).encode()).hexdigest()
    final = parts[-1].with_name(f"{COMPACTED_PREFIX}{digest[:32]}.parquet")
    aside = make_aside(raw)
    try:
        with open_memory(settings) as connection:
            connection.execute(
                "copy (select * exclude (file_row_number) replace ("
                "coalesce(line_number, file_row_number + 1) as line_number) "
                f"from {segment_rows(parts)}"
                f") to {literal(str(aside / 'segment'))} "
                f"({copy_options(origins, names)})"
            )
            name = final.relative_to(raw).as_posix()
            volumes = read_history(connection, verdicts.volume_files(), names)
        decided_at = verdicts.instant(now)
        verdicts.write(
            [Verdict(name, "accepted", decided_at, f"compacted from {len(parts)}", "compaction")],
            verdicts.fingerprint,
            [(name, day, records) for day, records in volumes.items()],
        )
        commit(aside / "segment", final)
    finally:
        remove_aside(aside)
    for path in parts:
        path.unlink()


def _finish(raw: Path, segments: Sequence[Path]) -> None:
    """Remove the parts that a compaction which was killed has left."""
    for path in segments:
        if path.name.startswith(COMPACTED_PREFIX):
            for name in read_parts(path):
                (raw / name).unlink(missing_ok=True)
