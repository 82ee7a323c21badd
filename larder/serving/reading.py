"""Read the published marts: queries, saved analyses, exports."""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Literal

import duckdb
import jinja2
import yaml
from rich.table import Table

from larder import snowflake, warehouse
from larder.errors import WarehouseError
from larder.serving.marts import Marts, open_marts
from larder.serving.publish import MARTS_SCHEMA
from larder.settings import PROJECT_ROOT, Settings
from larder.warehouse import METADATA_TABLE, literal, quoted

ExportFormat = Literal["csv", "parquet", "ndjson", "json"]
# A terminal shows no more with profit; `--format csv` and `larder export` give everything.
SHOWN_ROWS = 200

_COPY_OPTIONS: dict[ExportFormat, str] = {
    "csv": "format csv, header",
    "parquet": "format parquet, compression zstd",
    "ndjson": "format json",
    "json": "format json, array true",
}
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
_DATE_COLUMN = re.compile(r".+_(date|at)|period_start")


@dataclass(frozen=True)
class QueryResult:
    """Hold the rows of a query; `is_cut` says that there were more than the limit."""

    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]
    is_cut: bool = False


@dataclass(frozen=True)
class Export:
    """Say what was exported where; `date_column` is what the dates were compared with."""

    table: str
    path: Path
    rows: int
    date_column: str | None


def run_query(settings: Settings, sql: str, *, limit: int | None = None) -> QueryResult:
    """Run SQL over the published marts, which it can only read; at most `limit` rows.

    Raises:
        WarehouseError: nothing is published, or the engine refuses the query; carries its message.
    """
    if settings.target == "prod":
        return _run_on_snowflake(settings, sql, limit)
    with warehouse.open_sandbox(settings) as connection:
        try:
            if not connection.extract_statements(sql):
                raise WarehouseError("the query is empty. Give one, such as: show tables")
            connection.execute(sql)
            columns = tuple(column[0] for column in connection.description or [])
            rows = connection.fetchall() if limit is None else connection.fetchmany(limit + 1)
        except duckdb.Error as error:
            raise WarehouseError(f"the query could not be run. {error}") from None
    is_cut = limit is not None and len(rows) > limit
    return QueryResult(columns, rows[:limit], is_cut)


def _run_on_snowflake(settings: Settings, sql: str, limit: int | None) -> QueryResult:
    """Run SQL as the role that can only read what is published."""
    from snowflake.connector.errors import ProgrammingError

    with snowflake.open_snowflake(settings, "reader") as connection, connection.cursor() as cursor:
        try:
            cursor.execute(f"use schema {snowflake.PUBLISHED}.{MARTS_SCHEMA}")
            cursor.execute(sql)
            found = cursor.fetchall() if limit is None else cursor.fetchmany(limit + 1)
        except ProgrammingError as error:
            raise WarehouseError(f"the query could not be run. {error.raw_msg}") from None
        columns = tuple(column.name.lower() for column in cursor.description or [])
    rows = [tuple(row) for row in found]
    return QueryResult(columns, rows[:limit], limit is not None and len(rows) > limit)


def saved_analysis(settings: Settings, name: str, *, project: Path = PROJECT_ROOT) -> str:
    """Return the SQL of `analyses/**/<name>.sql` over the published marts.

    It may use `ref` (a published table) and `var` (of `dbt_project.yml`), nothing else.

    Raises:
        WarehouseError: unknown analysis, table or var; the message lists the names there are.
    """
    analyses = list_analyses(project)
    if name not in analyses:
        raise WarehouseError(
            f"there is no analysis {name} in {project / 'analyses'}. There are: "
            f"{', '.join(sorted(analyses)) or 'none'}."
        )
    with open_marts(settings) as connection:
        tables = _tables(connection)
    variables = _project_variables(project / "dbt_project.yml")

    def ref(*names: str) -> str:
        """Take `ref('model')` and `ref('package', 'model')`, as dbt does."""
        _require_known(names[-1], tables, f"published table (analysis {name})")
        return f"{MARTS_SCHEMA}.{quoted(names[-1])}"

    def var(key: str, default: object = None) -> object:
        if default is None or key in variables:
            _require_known(key, list(variables), f"var in dbt_project.yml (analysis {name})")
        return variables.get(key, default)

    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - the output is SQL, not HTML
    )
    environment.globals = {"ref": ref, "var": var}
    file = analyses[name]
    try:
        return environment.from_string(file.read_text(encoding="utf-8")).render()
    except jinja2.TemplateError as error:
        raise WarehouseError(
            f"{file} cannot be run here: {error.message}. An analysis may use ref and var only."
        ) from None


def list_analyses(project: Path = PROJECT_ROOT) -> dict[str, Path]:
    """Return the saved analyses by name."""
    return {file.stem: file for file in sorted((project / "analyses").rglob("*.sql"))}


def question_of(analysis: Path) -> str:
    """Return the question that a saved analysis answers: its first line."""
    with analysis.open(encoding="utf-8") as file:
        return file.readline().removeprefix("--").strip()


def as_csv(result: QueryResult) -> str:
    """Write a result as CSV with a header; null is empty, lists and structs are JSON text."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(result.columns)
    writer.writerows([_csv_value(value) for value in row] for row in result.rows)
    return text.getvalue()


def as_json(result: QueryResult) -> str:
    """Write a result as a JSON array of objects; instants and dates in ISO 8601."""
    rows = [
        {name: _plain(value) for name, value in zip(result.columns, row, strict=True)}
        for row in result.rows
    ]
    return json.dumps(rows, ensure_ascii=False, indent=2)


def as_table(result: QueryResult) -> Table:
    """Lay a result out for a terminal, at most `SHOWN_ROWS` rows; the caption says what is cut."""
    shown = result.rows[:SHOWN_ROWS]
    table = Table(caption=_caption(result))
    for index, column in enumerate(result.columns):
        is_number = any(isinstance(row[index], int | float | Decimal) for row in shown)
        table.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for row in shown:
        table.add_row(*(_shown_value(value) for value in row))
    return table


def as_records(result: QueryResult) -> Table:
    """Lay the same rows out one column a line, for results that are wider than the terminal."""
    table = Table(caption=_caption(result), show_header=False)
    table.add_column(style="dim", overflow="fold")
    table.add_column(overflow="fold")
    for row in result.rows[:SHOWN_ROWS]:
        for column, value in zip(result.columns, row, strict=True):
            table.add_row(column, _shown_value(value))
        table.add_section()
    return table


def _caption(result: QueryResult) -> str:
    shown = min(len(result.rows), SHOWN_ROWS)
    is_cut = result.is_cut or len(result.rows) > shown
    more = f" of more than {shown:,}; --format csv gives all" if is_cut else ""
    return f"{shown:,} row{'' if shown == 1 else 's'}{more}"


def export_table(
    settings: Settings,
    table: str,
    destination: Path,
    file_format: ExportFormat,
    *,
    date_from: date | None = None,
    date_to: date | None = None,
) -> Export:
    """Write a published table to a file, whole or from `date_from` to `date_to`, both included.

    The dates are compared with the table's first date or timestamp column that is called
    `*_date`, `*_at` or `period_start`. A text file whose name ends in `.gz` or `.zst` is
    compressed. The file appears whole under its name, or not at all.

    Raises:
        WarehouseError: unknown table, no such column, the dates are the wrong way round, or the
            destination cannot be written.
    """
    if date_from and date_to and date_from > date_to:
        raise WarehouseError(
            f"the first date {date_from} is after the last date {date_to}. Give them the other "
            "way round."
        )
    if destination.is_dir() or not destination.parent.is_dir():
        raise WarehouseError(
            f"{destination} cannot be written: name a file in a folder that is there."
        )
    with warehouse.open_published(settings) as connection:
        _require_known(table, _tables(connection), "published table")
        column = date_column(connection, table) if date_from or date_to else None
        source = f"select * from {MARTS_SCHEMA}.{quoted(table)}"
        if column is not None:
            source += " where " + _between(column, date_from, date_to)
        aside = destination.with_name(f".{destination.name}.{os.getpid()}.tmp")
        options = _COPY_OPTIONS[file_format]
        if file_format != "parquet":
            options += f", compression {_COMPRESSIONS.get(destination.suffix, 'none')}"
        try:
            copied = connection.execute(
                f"copy ({source}) to {literal(str(aside))} ({options})"
            ).fetchall()
            with aside.open("rb") as written:
                os.fsync(written.fileno())
            aside.replace(destination)
        except (duckdb.IOException, OSError) as error:
            raise WarehouseError(f"{destination} cannot be written: {error}") from None
        finally:
            aside.unlink(missing_ok=True)
    return Export(table, destination, int(copied[0][0]), column)


def date_column(connection: duckdb.DuckDBPyConnection, table: str) -> str:
    """Return the column that a date range of a published table means.

    Raises:
        WarehouseError: the table has none.
    """
    columns = connection.execute(
        "select column_name, data_type from duckdb_columns() "
        "where schema_name = ? and table_name = ? order by column_index",
        [MARTS_SCHEMA, table],
    ).fetchall()
    for name, data_type in columns:
        if data_type.startswith(("DATE", "TIMESTAMP")) and _DATE_COLUMN.fullmatch(name):
            return str(name)
    raise WarehouseError(
        f"{table} has no date or timestamp column called *_date, *_at or period_start, so it "
        "cannot be cut by date. Export it whole."
    )


def _between(column: str, date_from: date | None, date_to: date | None) -> str:
    """Compare with the midnights around the range, so that a timestamp's last day counts."""
    conditions = []
    if date_from is not None:
        conditions.append(f"{quoted(column)} >= date '{date_from.isoformat()}'")
    if date_to is not None:
        after = date_to + timedelta(days=1)
        conditions.append(f"{quoted(column)} < date '{after.isoformat()}'")
    return " and ".join(conditions)


def _tables(connection: Marts) -> list[str]:
    rows = connection.execute(
        "select lower(table_name) from information_schema.tables "
        "where lower(table_schema) = $schema order by 1",
        {"schema": MARTS_SCHEMA},
    ).fetchall()
    return [name for (name,) in rows if name != METADATA_TABLE]


def _require_known(name: str, known: Sequence[str], what: str) -> None:
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=5)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    listing = ", ".join(known) or "none"
    raise WarehouseError(f"there is no {what} called {name}. {hint}There are: {listing}.")


def _project_variables(project_file: Path) -> dict[str, object]:
    """Read the vars of a dbt project; those under the project's name win, as in dbt."""
    if not project_file.is_file():
        return {}
    content = yaml.safe_load(project_file.read_text(encoding="utf-8")) or {}
    variables = dict(content.get("vars") or {})
    own = variables.pop(content.get("name"), None)
    return {**variables, **(own or {})}


def _plain(value: object) -> object:
    """Return what JSON knows; a number that is not finite is null there."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else str(value)


def _csv_value(value: object) -> object:
    if isinstance(value, list | tuple | dict):
        return json.dumps(_plain(value), ensure_ascii=False)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return value


def _shown_value(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        text = f"{value:,.4f}"
        return text.rstrip("0").rstrip(".") if abs(value) >= 0.001 or not value else f"{value:.3g}"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    return str(_csv_value(value)).replace("[", "\\[")
