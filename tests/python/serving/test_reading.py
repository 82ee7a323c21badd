from __future__ import annotations

import csv
import gzip
import io
import json
from datetime import date
from pathlib import Path

import duckdb
import pytest
import sqlglot
from rich.console import Console
from serving_processes import NOW, settings_for
from sqlglot import exp
from warehouse_homes import ANALYSED

from larder.errors import WarehouseError
from larder.serving.exporting import ExportFormat, export_table
from larder.serving.publish import publish
from larder.serving.reading import (
    SHOWN_ROWS,
    QueryResult,
    as_csv,
    as_json,
    as_records,
    as_table,
    list_analyses,
    run_query,
    saved_analysis,
)
from larder.settings import Settings

BUILD = """
create schema marts;
create table marts.fct_sales as
    select
        number as sale_key,
        timestamp '2019-04-01' + number * interval 12 hour as sold_at,
        'item ' || number as item_id,
        ['a', 'b'] as item_ids,
        (number / 4)::decimal(9, 2) as amount_usd,
        if(number = 0, null, number * 0.1) as share
    from range(60) as numbers (number);
create table marts.fct_stock_days as
    select 'x' as location_id, date '2019-04-01' + number::integer as stock_date, now() as last_event_at
    from range(30) as numbers (number);
create table marts.dim_items as select 'x' as item_id, date '2019-04-01' as opened_on;
"""  # noqa: E501


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings: Settings = settings_for(tmp_path_factory.mktemp("home"))
    with duckdb.connect(str(settings.build_database)) as connection:
        connection.execute(BUILD)
    publish(settings, NOW)
    return settings


@pytest.mark.parametrize("name", ["fct_sales", "marts.fct_sales", "larder.marts.fct_sales"])
def test_names_are_found_with_and_without_their_schema(settings: Settings, name: str) -> None:
    result = run_query(settings, f"select count(*) as sales from {name}")
    assert result == QueryResult(("sales",), [(60,)])


def test_a_limit_cuts_and_says_so(settings: Settings) -> None:
    result = run_query(settings, "select sale_key from fct_sales order by sale_key", limit=2)
    assert result == QueryResult(("sale_key",), [(0,), (1,)], is_cut=True)
    whole = run_query(settings, "select sale_key from fct_sales", limit=60)
    assert not whole.is_cut


@pytest.mark.parametrize(
    "sql",
    [
        "create table fct_new as select 1 as one",
        "create view marts.fct_new as select 1 as one",
        "insert into fct_sales (sale_key) values (99)",
        "update fct_sales set sale_key = 1",
        "delete from fct_sales",
        "drop table marts.fct_sales",
        "alter table fct_sales add column more integer",
        "comment on table fct_sales is 'mine'",
        "copy fct_sales to '{folder}/stolen.csv'",
        "copy fct_sales from '/etc/passwd'",
        "export database '{folder}'",
        "attach '{folder}/new.duckdb'",
        "attach '{link}' as again (read_write)",
        "select * from read_text('/etc/passwd')",
        "select * from read_csv('/etc/passwd')",
        "select * from read_blob('/etc/passwd')",
        "select * from '/etc/passwd'",
        "select * from glob('/etc/*')",
        "select * from sql",  # a variable of the program that runs the query
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true",
        "set lock_configuration = false",
        "reset memory_limit",
        "pragma temp_directory = '/etc'",
        "select 1; drop table marts.fct_sales",
    ],
)
def test_a_query_can_only_read_the_marts(settings: Settings, tmp_path: Path, sql: str) -> None:
    before = settings.published_database.read_bytes()
    with pytest.raises(WarehouseError, match="the query could not be run"):
        run_query(settings, sql.format(folder=tmp_path, link=settings.published_database))
    assert settings.published_database.read_bytes() == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("selec 1", "syntax error"),
        ("select * from fct_sale", 'Did you mean "fct_sales"'),
        ("select nothing from fct_sales", "nothing"),
        ("select 'x'::integer", "Could not convert"),
        ("", "the query is empty"),
        ("-- nothing", "the query is empty"),
    ],
)
def test_a_mistake_is_told_in_the_words_of_the_engine(
    settings: Settings, sql: str, said: str
) -> None:
    with pytest.raises(WarehouseError, match=said) as raised:
        run_query(settings, sql)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_nothing_published_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match=r"nothing is published yet.*`larder run`"):
        run_query(settings_for(tmp_path), "select 1")


def test_formats_give_back_what_was_read(settings: Settings) -> None:
    sql = (
        "select sale_key, sold_at, item_ids, amount_usd, share, 'nan'::double as odd, "
        "true as is_so, {'a': date '2019-04-01'} as parts "
        "from fct_sales order by sale_key limit 2"
    )
    result = run_query(settings, sql)

    rows = list(csv.reader(io.StringIO(as_csv(result))))
    assert rows[0] == list(result.columns)
    assert rows[1][:5] == ["0", "2019-04-01T00:00:00", '["a", "b"]', "0.00", ""]
    assert rows[1][6:] == ["true", '{"a": "2019-04-01"}']
    assert json.loads(as_json(result))[1] == {
        "sale_key": 1,
        "sold_at": "2019-04-01T12:00:00",
        "item_ids": ["a", "b"],
        "amount_usd": 0.25,
        "share": 0.1,
        "odd": None,
        "is_so": True,
        "parts": {"a": "2019-04-01"},
    }
    console = Console(width=200, file=io.StringIO())
    console.print(as_table(result))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "2019-04-01 12:00:00" in shown
    assert '["a", "b"]' in shown
    assert "2 rows" in shown


def test_a_long_table_says_that_it_is_cut() -> None:
    table = as_table(QueryResult(("number",), [(number,) for number in range(SHOWN_ROWS + 1)]))
    assert table.row_count == SHOWN_ROWS
    assert "--format csv gives all" in str(table.caption)


def test_a_wide_result_is_laid_out_one_column_a_line() -> None:
    names = tuple(f"column_{number}" for number in range(30))
    console = Console(width=60, file=io.StringIO())
    console.print(as_records(QueryResult(names, [tuple(range(30)), tuple(range(30, 60))])))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert [shown.count(name) for name in names[3:]] == [2] * 27
    assert "59" in shown
    assert "2 rows" in shown


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "analyses" / "sales").mkdir(parents=True)
    (tmp_path / "dbt_project.yml").write_text(
        "name: larder\nvars:\n  least_sales: 3\n  shop: 'wide'\n  larder:\n    shop: 'own'\n",
        encoding="utf-8",
    )
    for name, text in {
        "good": "select count(*) as sales, '{{ var('shop') }}' as shop, {{ var('none', 7) }} as n "
        "from {{ ref('fct_sales') }} as sal join {{ ref('larder', 'dim_items') }} as itm on true "
        "where sal.sale_key < {{ var('least_sales') }}",
        "bad_ref": "select * from {{ ref('fct_sale') }}",
        "bad_var": "select {{ var('least_sale') }}",
        "bad_macro": "{{ config(enabled=true) }} select 1",
        "bad_syntax": "select {{ ",
    }.items():
        (tmp_path / "analyses" / "sales" / f"{name}.sql").write_text(text, encoding="utf-8")
    return tmp_path


def test_a_saved_analysis_runs_over_the_published_marts(settings: Settings, project: Path) -> None:
    result = run_query(settings, saved_analysis(settings, "good", project=project))
    assert result == QueryResult(("sales", "shop", "n"), [(3, "own", 7)])
    assert sorted(list_analyses(project)) == [
        "bad_macro",
        "bad_ref",
        "bad_syntax",
        "bad_var",
        "good",
    ]


@pytest.mark.parametrize("name", sorted(list_analyses()))
def test_the_shipped_analyses_run_over_the_sample(built_home: Settings, name: str) -> None:
    result = run_query(built_home, saved_analysis(built_home, name))
    subject = ANALYSED.get(list_analyses()[name].parent.name, "fct_sales")
    ((events,),) = run_query(built_home, f"select count(*) from {subject}").rows
    assert result.rows or not events


@pytest.mark.parametrize("name", sorted(list_analyses()))
def test_the_shipped_analyses_leave_the_case_of_names_to_the_engine(
    built_home: Settings, name: str
) -> None:
    parsed = sqlglot.parse_one(saved_analysis(built_home, name), read="snowflake")
    assert list(parsed.find_all(exp.Table))
    # what dbt made unquoted is in capitals there, and a quoted name is taken as it is written
    quoted = [one.name for one in parsed.find_all(exp.Identifier) if one.quoted]
    assert not [one for one in quoted if one != one.upper()]


def test_there_are_shipped_analyses() -> None:
    assert list_analyses()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("god", "There are: bad_macro, bad_ref, bad_syntax, bad_var, good"),
        ("bad_ref", "fct_sale.*Did you mean fct_sales.*dim_items, fct_sales, fct_stock_days"),
        ("bad_var", "least_sale.*Did you mean least_sales"),
        ("bad_macro", "'config' is undefined.*ref and var only"),
        ("bad_syntax", r"bad_syntax\.sql cannot be run"),
    ],
)
def test_an_analysis_that_cannot_run_says_why(
    settings: Settings, project: Path, name: str, said: str
) -> None:
    with pytest.raises(WarehouseError, match=said):
        saved_analysis(settings, name, project=project)


@pytest.mark.parametrize(
    ("file_format", "file_name", "reader"),
    [
        ("csv", "sales.csv", "read_csv"),
        ("csv", "sales.csv.gz", "read_csv"),
        ("parquet", "sales.parquet", "read_parquet"),
        ("ndjson", "sales.ndjson", "read_json"),
        ("ndjson", "sales.ndjson.zst", "read_json"),
        ("json", "sales's.json", "read_json"),
    ],
)
def test_an_export_holds_the_days_asked_for(
    settings: Settings, tmp_path: Path, file_format: ExportFormat, file_name: str, reader: str
) -> None:
    path = tmp_path / file_name
    path.write_text("an earlier export", encoding="utf-8")
    export = export_table(
        settings,
        "fct_sales",
        path,
        file_format,
        date_from=date(2019, 4, 2),
        date_to=date(2019, 4, 3),
    )
    assert (export.rows, export.date_column, export.path) == (4, "sold_at", path)
    with duckdb.connect() as connection:
        rows = connection.execute(
            f"select sale_key, sold_at::timestamp::varchar from {reader}(?) order by sale_key",
            [str(path)],
        ).fetchall()
    # both days whole: the last one to its midnight
    assert rows == [
        (2, "2019-04-02 00:00:00"),
        (3, "2019-04-02 12:00:00"),
        (4, "2019-04-03 00:00:00"),
        (5, "2019-04-03 12:00:00"),
    ]
    assert [entry.name for entry in tmp_path.iterdir()] == [file_name]


def test_a_json_export_is_one_array_and_ndjson_is_lines(settings: Settings, tmp_path: Path) -> None:
    for file_format in ("json", "ndjson"):
        export_table(settings, "dim_items", tmp_path / file_format, file_format)
    assert json.loads((tmp_path / "json").read_text(encoding="utf-8"))[0]["item_id"] == "x"
    assert json.loads((tmp_path / "ndjson").read_text(encoding="utf-8"))["item_id"] == "x"
    export_table(settings, "dim_items", tmp_path / "items.csv.gz", "csv")
    assert gzip.decompress((tmp_path / "items.csv.gz").read_bytes()).startswith(b"item_id,opened")


def test_one_end_of_a_range_is_enough_and_dates_work_as_instants_do(
    settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "days.csv"
    since = export_table(settings, "fct_stock_days", path, "csv", date_from=date(2019, 4, 21))
    until = export_table(settings, "fct_stock_days", path, "csv", date_to=date(2019, 4, 3))
    whole = export_table(settings, "fct_stock_days", path, "csv")
    assert [(export.rows, export.date_column) for export in (since, until, whole)] == [
        (10, "stock_date"),
        (3, "stock_date"),
        (30, None),
    ]


def test_an_export_that_cannot_be_says_why(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match=r"fct_sale.*Did you mean fct_sales"):
        export_table(settings, "fct_sale", tmp_path / "x.csv", "csv")
    with pytest.raises(WarehouseError, match="dim_items has no date or timestamp column"):
        export_table(settings, "dim_items", tmp_path / "x.csv", "csv", date_from=date(2019, 4, 1))
    with pytest.raises(WarehouseError, match="the other way round"):
        export_table(
            settings,
            "fct_sales",
            tmp_path / "x.csv",
            "csv",
            date_from=date(2019, 4, 2),
            date_to=date(2019, 4, 1),
        )
    with pytest.raises(WarehouseError, match="name a file in a folder that is there"):
        export_table(settings, "fct_sales", tmp_path / "none" / "x.csv", "csv")
    with pytest.raises(WarehouseError, match="name a file in a folder that is there"):
        export_table(settings, "fct_sales", tmp_path, "csv")
    assert list(tmp_path.iterdir()) == []
