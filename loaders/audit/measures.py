"""Measure a batch with DuckDB, over all of its records, and cut the frame that is looked at.

Only the columns that a rule names are ever read, and those that are personal, or name a person,
only as "is it there".
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

import duckdb

from larder.warehouse import literal, quoted
from loaders.audit.rules import BOUNDED, OF_AN_INSTANT, REFERENCES, Rule
from loaders.checks import text_of, typed
from loaders.entities import Entity, read_entities

if TYPE_CHECKING:
    import pandas as pd

FRAME_ROWS = 200_000
# Content hashes are spread evenly, so a share of their range is that share of the records; a
# little less, so that the cut stays under the limit without sorting everything.
SAMPLE_MARGIN = 0.97
HASH_PREFIX_DIGITS = 12
HISTORY_DAYS = 28
LEAST_HISTORY_DAYS = 7

# A row that a reader could make nothing of and a blank line have no payload; an erased record
# neither.
IS_RECORD = "(rejection_reason is not null or payload is not null)"
IS_GOOD = "(rejection_reason is null and payload is not null)"


@dataclass
class Batch:
    """Hold what is measured of some segments of one entity."""

    entity: Entity
    segments: Sequence[str]
    files: Sequence[str]
    records: int = 0
    good: dict[str, int] = field(default_factory=dict)
    days: dict[str, dict[date, int]] = field(default_factory=dict)
    counted: dict[int, int] = field(default_factory=dict)
    broken: dict[int, int] = field(default_factory=dict)
    newest: dict[str, datetime] = field(default_factory=dict)

    @cached_property
    def segment_of(self) -> dict[str, str]:
        """The segments by their files."""
        return dict(zip(self.files, self.segments, strict=True))

    @property
    def usable(self) -> list[str]:
        """The segments with at least one good record; the others hold dead letters only."""
        return [segment for segment in self.segments if self.good.get(segment)]


def measure(connection: duckdb.DuckDBPyConnection, batch: Batch, rules: Sequence[Rule]) -> None:
    """Count, over all records, what the frame cannot tell: shares, days, the newest instants.

    The tables `known_<column>` of the references must be there.
    """
    day_columns = [rule.column for rule in rules if rule.expectation.startswith("volume")]
    instants = sorted({rule.column for rule in rules if rule.expectation in OF_AN_INSTANT})
    counting = [
        (number, rule)
        for number, rule in enumerate(rules)
        if rule.expectation in ("rejected_share", "unreadable_share", "unknown_share")
    ]
    day = f"{_value(batch.entity, day_columns[0])}::date" if day_columns else "null::date"
    measures = [
        f"count(*) filter (where {IS_RECORD})",
        f"count(*) filter (where {IS_GOOD})",
        *(f"max({_value(batch.entity, column)})" for column in instants),
        *(count for _, rule in counting for count in _counts(batch.entity, rule)),
    ]
    columns = [rule.column for _, rule in counting] + instants + day_columns[:1]
    rows = connection.execute(
        f"select filename, {day}, {', '.join(measures)} "
        f"from ({_records(batch, columns)}) group by all",
        [list(batch.files)],
    ).fetchall()
    batch.records = sum(row[2] for row in rows)
    for file, of_day, _, good, *rest in rows:
        segment = batch.segment_of[file]
        batch.good[segment] = batch.good.get(segment, 0) + good
        if of_day is not None and good:
            days = batch.days.setdefault(segment, {})
            days[of_day] = days.get(of_day, 0) + good
        for column, instant in zip(instants, rest, strict=False):
            if instant is not None:
                batch.newest[column] = max(instant, batch.newest.get(column, instant))
        counts = rest[len(instants) :]
        for at, (number, _) in enumerate(counting):
            batch.counted[number] = batch.counted.get(number, 0) + counts[2 * at]
            batch.broken[number] = batch.broken.get(number, 0) + counts[2 * at + 1]
    for number, rule in enumerate(rules):
        if rule.expectation == "duplicate_share":
            batch.counted[number] = sum(batch.good.values())
            batch.broken[number] = _duplicates(connection, batch.files)


def measured(
    batch: Batch,
    rules: Mapping[int, Rule],
    history: Mapping[date, int],
    now: datetime,
) -> dict[int, float]:
    """Return the one number that each rule about the whole batch is judged by, where it has one.

    Shares are from 0 to 1, ages are hours before `now` (UTC without zone), volumes are the
    records of a day against the usual.
    """
    found: dict[int, float] = {}
    for number, rule in rules.items():
        if number in batch.counted:
            found[number] = batch.broken[number] / max(batch.counted[number], 1)
        elif rule.expectation == "fresh_within_hours" and rule.column in batch.newest:
            newest = batch.newest[rule.column]
            # what comes late says nothing of how new the newest is
            if newest.date() >= max(history, default=date.min):
                found[number] = (now - newest).total_seconds() / 3600
        elif rule.expectation in ("volume_at_least", "volume_at_most"):
            ratio = volume_ratio(batch.days, history)
            if ratio is not None:
                found[number] = ratio
    return found


def volume_ratio(
    segments: Mapping[str, Mapping[date, int]], history: Mapping[date, int]
) -> float | None:
    """Compare the days that a batch completes with the 28 days before them.

    `segments` are the records a day of each segment, `history` those of all accepted ones. The
    newest day is not over yet and not judged. Null when there is nothing to judge or to compare
    with (fewer than seven days).
    """
    arrived: dict[date, int] = defaultdict(int)
    for days in segments.values():
        for day, records in days.items():
            arrived[day] += records
    newest = max([*arrived, *history], default=date.min)
    judged = sorted(day for day in arrived if day < newest)
    if not judged:
        return None
    first = judged[0] - timedelta(days=HISTORY_DAYS)
    usual = [records for day, records in history.items() if first <= day < judged[0]]
    if len(usual) < LEAST_HISTORY_DAYS:
        return None
    total = sum(arrived[day] + history.get(day, 0) for day in judged)
    return (total / len(judged)) / (sum(usual) / len(usual))


def share_by_segment(
    connection: duckdb.DuckDBPyConnection, batch: Batch, rule: Rule
) -> dict[str, float]:
    """Return the share of records that break a rule about records, in each segment."""
    counted, broken = _counts(batch.entity, rule)
    rows = connection.execute(
        f"select filename, {counted}, {broken} from ({_records(batch, [rule.column])}) group by 1",
        [list(batch.files)],
    ).fetchall()
    return {batch.segment_of[row[0]]: row[2] / max(row[1], 1) for row in rows}


def frame(
    connection: duckdb.DuckDBPyConnection, batch: Batch, rules: Sequence[Rule]
) -> pd.DataFrame:
    """Return at most 200,000 good records, chosen by content hash, with the columns of the rules.

    A column that a range is asked of holds numbers, every other one true or null: is it there.
    """
    names = dict.fromkeys(rule.column for rule in rules if rule.needs_frame)
    ranged = {rule.column for rule in rules if rule.expectation in BOUNDED}
    columns = ", ".join(
        f"{_number(batch.entity, name)} as {quoted(name)}"
        if name in ranged
        else f"case when {_given(batch.entity, name)} then true end as {quoted(name)}"
        for name in names
    )
    good = sum(batch.good.values())
    where = IS_GOOD
    if good > FRAME_ROWS:
        share = SAMPLE_MARGIN * FRAME_ROWS / good
        cut = f"{int(share * 16**HASH_PREFIX_DIGITS):0{HASH_PREFIX_DIGITS}x}"
        where += f" and content_hash < {literal(cut)}"
    # ordered by nothing: a limit only cuts when many records are the same
    query = (
        f"select {columns or 'true as record'} from ({_records(batch, list(names), where)}) "
        f"limit {FRAME_ROWS}"
    )
    found = connection.execute(query, [list(batch.files)]).df()
    if found.empty:  # all records are alike and their hash is above the cut
        query = query.replace(where, IS_GOOD)
        found = connection.execute(query, [list(batch.files)]).df()
    return found


def create_known(connection: duckdb.DuckDBPyConnection, column: str, files: Sequence[str]) -> None:
    """Make the table `known_<column>` of the ids that the catalogue's segments know."""
    connection.execute(f"create or replace temp table known_{column} (id varchar)")
    if files:
        entity = read_entities()[REFERENCES[column]]
        catalogue = Batch(entity, files, files)
        connection.execute(
            f"insert into known_{column} select distinct {text_of(entity.field(column))} "
            f"from ({_records(catalogue, [column], IS_GOOD)})",
            [list(files)],
        )


def read_history(
    connection: duckdb.DuckDBPyConnection, files: Sequence[str], segments: Sequence[str]
) -> dict[date, int]:
    """Return the records a day of the accepted segments given."""
    if not files or not segments:
        return {}
    rows = connection.execute(
        "select day, sum(records)::bigint from ("
        "    select segment, day, max(records) as records from read_parquet($1) "
        "    where segment in (select unnest($2)) group by all"
        ") group by day",
        [list(files), list(segments)],
    ).fetchall()
    return dict(rows)


def _records(batch: Batch, columns: Sequence[str], where: str = "true") -> str:
    """Give the query of a batch's rows: their file, `record` for the columns, and `json`."""
    fields = [batch.entity.field(column) for column in dict.fromkeys(columns) if column]
    flat = [name for item in fields for name in item.sources if not name.startswith("$.")]
    structure = json.dumps(dict.fromkeys([*flat, "event_id"], "VARCHAR"))
    return (
        f"select filename, payload, rejection_reason, "
        f"unreadable_fields, case when {IS_GOOD} then payload end as json, "
        f"case when {IS_GOOD} then from_json(payload, {literal(structure)}) end as record "
        f"from read_parquet($1, filename = true, hive_partitioning = false) "
        f"where {where}"
    )


def _value(entity: Entity, column: str) -> str:
    item = entity.field(column)
    return typed(item, text_of(item))


def _number(entity: Entity, column: str) -> str:
    return f"({_value(entity, column)})::double"


def _given(entity: Entity, column: str) -> str:
    item = entity.field(column)
    return f"{text_of(item)} is not null"


def _counts(entity: Entity, rule: Rule) -> tuple[str, str]:
    """Give the counts of the records that a rule looks at, and of those that break it."""
    column = rule.column
    match rule.expectation:
        case "rejected_share":
            counted, broken = IS_RECORD, "rejection_reason is not null"
        case "unreadable_share":
            broken = (
                f"list_contains(string_split(unreadable_fields, ','), {literal(column)})"
                if column
                else "unreadable_fields is not null"
            )
            counted = IS_GOOD
        case "unknown_share":
            counted = _given(entity, column)
            unknown = f"{text_of(entity.field(column))} not in (select id from known_{column})"
            broken = f"{counted} and {unknown}"
        case "not_null":
            counted, broken = IS_GOOD, f"{IS_GOOD} and not ({_given(entity, column)})"
        case "at_least" | "at_most":
            operator = "<" if rule.expectation == "at_least" else ">"
            counted = f"{_number(entity, column)} is not null"
            broken = f"{_number(entity, column)} {operator} {rule.bound}"
        case _:
            raise ValueError(rule.expectation)
    return tuple(f"count(*) filter (where {condition})" for condition in (counted, broken))  # type: ignore[return-value]


def _duplicates(connection: duckdb.DuckDBPyConnection, files: Sequence[str]) -> int:
    # 64 bits are enough to tell the records of a batch apart for a count
    rows = connection.execute(
        "select coalesce(sum(copies - 1), 0)::bigint from ("
        "    select hash(content_hash) as content, count(*) as copies "
        "    from read_parquet($1, hive_partitioning = false) "
        f"    where {IS_GOOD} group by content"
        ")",
        [list(files)],
    ).fetchall()
    return int(rows[0][0])
