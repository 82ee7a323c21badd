"""Read the published marts: queries and saved analyses."""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path

import duckdb
import jinja2
import yaml
from rich.table import Table

from larder import snowflake, warehouse
from larder.errors import WarehouseError
from larder.serving.built import copy_tables, named_tables
from larder.serving.marts import Marts, open_marts
from larder.serving.publish import MARTS_SCHEMA
from larder.serving.snowflake_tables import open_tables
from larder.settings import PROJECT_ROOT, Settings
from larder.warehouse import METADATA_TABLE, Fill

# A terminal shows no more with profit; `--format csv` and `larder export` give everything.
SHOWN_ROWS = 200


@dataclass(frozen=True)
class QueryResult:
    """Hold the rows of a query; `is_cut` says that there were more than the limit."""

    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]
    is_cut: bool = False


def run_query(
    settings: Settings, sql: str, *, limit: int | None = None, fill: Fill | None = None
) -> QueryResult:
    """Run SQL over the published marts, which it can only read; at most `limit` rows.

    With `fill`, which makes more tables beside them, the SQL is DuckDB's, on Snowflake too.

    Raises:
        WarehouseError: nothing is published, or the engine refuses the query; carries its message.
    """
    if settings.target == "prod" and fill is None:
        return _run_on_snowflake(settings, sql, limit)
    with _sandbox(settings, sql, fill) as connection:
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


@contextmanager
def _sandbox(
    settings: Settings, sql: str, fill: Fill | None
) -> Iterator[duckdb.DuckDBPyConnection]:
    if settings.target != "prod":
        with warehouse.open_sandbox(settings, fill) as connection:
            yield connection
        return
    assert fill is not None
    named = named_tables([sql], MARTS_SCHEMA).get(MARTS_SCHEMA, set())
    with open_tables(settings, "reader") as tables:
        copy_tables(tables, snowflake.PUBLISHED, MARTS_SCHEMA, named | {METADATA_TABLE})
        tables.connection.execute(f"set search_path = '{MARTS_SCHEMA}'")
        fill(tables.connection)
        warehouse.lock(tables.connection)
        yield tables.connection


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
        tables = published_tables(connection)
    variables = _project_variables(project / "dbt_project.yml")

    def ref(*names: str) -> str:
        """Take `ref('model')` and `ref('package', 'model')`, as dbt does."""
        require_known(names[-1], tables, f"published table (analysis {name})")
        # not quoted: dbt leaves it to each engine how a name is spelt, and Snowflake's are capitals
        return f"{MARTS_SCHEMA}.{names[-1]}"

    def var(key: str, default: object = None) -> object:
        if default is None or key in variables:
            require_known(key, list(variables), f"var in dbt_project.yml (analysis {name})")
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


def published_tables(connection: Marts) -> list[str]:
    """List the published tables."""
    rows = connection.execute(
        "select lower(table_name) from information_schema.tables "
        "where lower(table_schema) = $schema order by 1",
        {"schema": MARTS_SCHEMA},
    ).fetchall()
    return [name for (name,) in rows if name != METADATA_TABLE]


def require_known(name: str, known: Sequence[str], what: str) -> None:
    """Refuse a name that is not known, and say which are.

    Raises:
        WarehouseError: there is none of that name.
    """
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
    content = yaml.load(project_file.read_text(encoding="utf-8"), yaml.CSafeLoader) or {}
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
