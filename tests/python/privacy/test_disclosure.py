"""Attacks on what is published of people: joining a customer's rows, and subtracting counts.

The models run as dbt compiles them, over many made-up populations with small groups in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pytest
from dbt_client import Dbt
from scipy.optimize import linprog

MODELS = {
    "int_accounts__customer_months": "intermediate",
    "int_accounts__customer_disclosure": "intermediate",
    "dim_customers": "marts",
    "int_accounts__family_memberships": "intermediate",
    "int_accounts__family_counts": "intermediate",
    "fct_family_counts": "marts",
    "rpt_family_growth": "marts",
}
LEAST = 11
QUARTERS = 7
MEASURES = ("new_members", "members", "left_members")
Place = tuple[str, str | None, str | None]
Cell = tuple[Place, str, int, str]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@pytest.fixture(scope="module")
def sql(dbt: Dbt, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The compiled SQL of the models about people."""
    home = tmp_path_factory.mktemp("disclosure")
    result = dbt.run(home, "compile", "--select", *MODELS)
    assert result.success, result.message
    found = {}
    for file in (home / "dbt" / "compile" / "compiled").rglob("*.sql"):
        if file.stem in MODELS:
            found[file.stem] = Path(file).read_text(encoding="utf-8")
    assert found.keys() == MODELS.keys()
    return found


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty warehouse in memory, whose now is the last day of the seventh quarter."""
    with duckdb.connect() as connection:
        connection.execute("attach ':memory:' as build")
        for schema in ("anonymised", "intermediate", "marts"):
            connection.execute(f"create schema build.{schema}")
        connection.execute(
            "create table build.intermediate.int_clock__now as "
            "select timestamp '2024-10-02 12:00:00' as as_of_at"
        )
        connection.execute(
            "create table build.intermediate.int_clock__dates as select cast(day as date) as "
            "calendar_date from range(date '2023-01-01', date '2025-01-01', interval 1 day) t(day)"
        )
        connection.execute(
            "create table build.anonymised.anon_accounts__customers (customer_key varchar, "
            "community_id varchar, age_group varchar, sex varchar, region varchar, "
            "is_deleted boolean, is_current boolean, registered_month date, "
            "family_joined_at timestamp, family_left_at timestamp, updated_at timestamp)"
        )
        yield connection


def build(
    connection: duckdb.DuckDBPyConnection, sql: dict[str, str], versions: list[tuple[object, ...]]
) -> None:
    """Fill the anonymised customers and run the models."""
    table = "build.anonymised.anon_accounts__customers"
    connection.execute(f"truncate {table}")
    columns = (
        "customer_key, community_id, age_group, sex, region, is_deleted, family_joined_at, "
        "family_left_at, updated_at"
    )
    connection.executemany(
        f"insert into {table} ({columns}) values (?, ?, ?, ?, ?, ?, ?, ?, ?)", versions
    )
    connection.execute(
        f"update {table} as one set is_current = not exists (select 1 from {table} as other "
        "where other.customer_key = one.customer_key and other.updated_at > one.updated_at)"
    )
    for name, schema in MODELS.items():
        connection.execute(f"create or replace table build.{schema}.{name} as {sql[name]}")


def population(seed: int) -> list[tuple[object, ...]]:
    """Make up customers with their versions: skewed groups, moves, joinings, leavings."""
    rng = np.random.default_rng(seed)
    people = int(rng.integers(3, 700))
    start = np.datetime64("2023-01-01T00:00:00")
    days = QUARTERS * 91
    growth = rng.random() < 0.5
    versions: list[tuple[Any, ...]] = []
    for number in range(people):
        region = [None, "A", "B", "C"][rng.choice(4, p=[0.05, 0.5, 0.3, 0.15])]
        community = None if rng.random() < 0.3 else f"{region}{rng.integers(1, 3)}"
        when = int(rng.integers(0, 60))
        row: list[Any] = [
            f"key{number:04d}",
            community,
            ["18-29", "30-44", "75+", None][rng.choice(4, p=[0.5, 0.35, 0.1, 0.05])],
            ["female", "male", "other"][rng.choice(3, p=[0.5, 0.47, 0.03])],
            region,
            False,
            None,
            None,
        ]
        versions.append((*row, start + np.timedelta64(when, "D")))
        if rng.random() < 0.8:
            when = int(days * rng.random() ** (0.5 if growth else 2)) + 1
            row[6] = start + np.timedelta64(when, "D")
            versions.append((*row, row[6] + np.timedelta64(60, "s")))
            if rng.random() < (0.1 if growth else 0.5) and when + 2 < days:
                when = int(rng.integers(when + 1, days))
                row[7] = start + np.timedelta64(when, "D")
                versions.append((*row, row[7] + np.timedelta64(60, "s")))
        if rng.random() < 0.05:
            row[4], row[1] = "B", "B1"
            versions.append((*row, start + np.timedelta64(days + 1, "D")))
        if rng.random() < 0.02:
            row[5] = True
            versions.append((*row, start + np.timedelta64(days + 3, "D")))
    return [
        tuple(
            value.astype("datetime64[us]").item() if isinstance(value, np.datetime64) else value
            for value in version
        )
        for version in versions
    ]


@pytest.mark.parametrize("seed", range(8))
def test_the_joined_rows_of_a_customer_are_shared_by_eleven(
    seed: int, sql: dict[str, str], warehouse: duckdb.DuckDBPyConnection
) -> None:
    versions = population(seed)
    build(warehouse, sql, versions)
    rows = warehouse.execute(
        "select customer_key, valid_from, valid_to, age_group, sex, region, community_id, "
        "is_family_member, family_joined_on, is_current from build.marts.dim_customers "
        "order by customer_key, valid_from"
    ).fetchall()
    profiles: dict[str, list[tuple[object, ...]]] = {}
    for key, *values in rows:
        profiles.setdefault(key, []).append(tuple(values))
    # everybody is there, with one current row each
    assert profiles.keys() == {str(version[0]) for version in versions}
    assert all(sum(bool(row[-1]) for row in rows) == 1 for rows in profiles.values())
    shared: dict[tuple[tuple[object, ...], ...], int] = {}
    for profile in profiles.values():
        shared[tuple(profile)] = shared.get(tuple(profile), 0) + 1
    if len(profiles) < LEAST:
        ((only,),) = shared
        assert set(only[2:8]) == {None}
    else:
        assert min(shared.values()) >= LEAST, shared
    for row in rows:
        assert row[1].day == 1
        assert row[2] is None or row[2].day == 1
        assert row[8] is None or row[8].day == 1


def test_a_history_that_eleven_share_is_published(
    sql: dict[str, str], warehouse: duckdb.DuckDBPyConnection
) -> None:
    def mover(number: int, months: list[int]) -> list[tuple[object, ...]]:
        return [
            (f"key{number}", None, "30-44", "female", region, False, None, None,
             f"2024-{month:02d}-1{number % 9} 08:00:00")
            for month, region in zip(months, ["A", "B", "A"], strict=False)
        ]  # fmt: skip

    same = [row for number in range(LEAST) for row in mover(number, [1, 5])]
    later = [row for number in range(20, 20 + LEAST - 1) for row in mover(number, [1, 6])]
    build(warehouse, sql, same + later)

    def histories() -> set[tuple[int, str]]:
        return set(
            warehouse.execute(
                "select distinct month(valid_from), region from build.marts.dim_customers "
                "where year(valid_from) = 2024"
            ).fetchall()
        )

    # eleven moved in May, ten in June: the ten have to go with the eleven, or be told nothing of
    assert histories() == set()
    build(warehouse, sql, same + later + mover(40, [1, 6]))
    assert histories() == {(1, "A"), (5, "B"), (6, "B")}


class Books:
    """What an attacker knows of the growth of the family: the identities and what is shown."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        truth = connection.execute(
            "select scope, scope_id, parent_id, period, period_start, "
            f"{', '.join(MEASURES)} from build.intermediate.int_accounts__family_counts"
        ).fetchall()
        shown = {
            tuple(row[:4]): tuple(row[4:])
            for row in connection.execute(
                f"select scope, scope_id, period, period_start, {', '.join(MEASURES)} "
                "from build.marts.rpt_family_growth where not is_suppressed"
            ).fetchall()
        }
        self.truth: dict[Cell, int] = {}
        self.published: dict[Cell, int] = {}
        for scope, scope_id, parent, period, start, *counts in truth:
            index = (start.year - 2023) * 12 + start.month - 1
            for measure, count in zip(MEASURES, counts, strict=True):
                cell = ((scope, scope_id, parent), period, index, measure)
                self.truth[cell] = int(count)
                row = shown.get((scope, scope_id, period, start))
                if row is not None:
                    self.published[cell] = int(row[MEASURES.index(measure)])
        self.cells = {cell: number for number, cell in enumerate(self.truth)}
        self.places = sorted({cell[0] for cell in self.cells}, key=str)

    def identities(self) -> tuple[Floats, Floats]:
        """Return A and b of A·x = b: the tree of places, the quarters, the stocks, the report."""
        rows: list[dict[Cell, int]] = []
        values: list[int] = []
        times = sorted({(cell[1], cell[2]) for cell in self.cells})
        first = min(index for _, index in times)
        for place, (period, index), measure in product(self.places, times, MEASURES):
            children = [
                other for other in self.places
                if other[2] == place[1] and place[1] is not None
                and (place[0], other[0]) in (("network", "region"), ("region", "community"))
            ]  # fmt: skip
            if children:
                rows.append(
                    {(child, period, index, measure): 1 for child in children}
                    | {(place, period, index, measure): -1}
                )
                values.append(0)
            if period == "quarter" and measure != "members":
                rows.append(
                    {(place, "month", index + month, measure): 1 for month in range(3)}
                    | {(place, "quarter", index, measure): -1}
                )
                values.append(0)
            if measure == "members":
                step = 3 if period == "quarter" else 1
                row = {
                    (place, period, index, "members"): 1,
                    (place, period, index, "new_members"): -1,
                    (place, period, index, "left_members"): 1,
                }
                if index > first:
                    row[(place, period, index - step, "members")] = -1
                rows.append(row)
                values.append(0)
                if period == "quarter":
                    rows.append(
                        {(place, "quarter", index, measure): 1,
                         (place, "month", index + 2, measure): -1}
                    )  # fmt: skip
                    values.append(0)
        for cell, count in self.published.items():
            rows.append({cell: 1})
            values.append(count)
        matrix = np.zeros((len(rows), len(self.cells)))
        for number, row in enumerate(rows):
            for cell, factor in row.items():
                matrix[number, self.cells[cell]] += factor
        return matrix, np.array(values, dtype=float)

    def small(self) -> list[int]:
        """Return the numbers of the cells that nobody may find out."""
        return [number for cell, number in self.cells.items() if 0 < self.truth[cell] < LEAST]


def determined(matrix: Floats) -> Flags:
    """Return for each unknown whether the equations alone fix it: no solution of A·x = 0 moves it.

    Their solutions are the null space of A, which is that of the symmetric A'A.
    """
    eigenvalues, vectors = np.linalg.eigh(matrix.T @ matrix)
    null = vectors[:, eigenvalues < 1e-8]
    fixed: Flags = np.abs(null).max(axis=1, initial=0.0) < 1e-6
    return fixed


def leaks(books: Books) -> list[Cell]:
    """Return the small counts that the identities and what is shown give away."""
    matrix, values = books.identities()
    truth = np.array(list(books.truth.values()), dtype=float)
    assert np.abs(matrix @ truth - values).max() == 0, "the identities do not hold"
    fixed = determined(matrix)
    return [
        cell
        for cell, number in books.cells.items()
        if fixed[number] and 0 < books.truth[cell] < LEAST
    ]


@pytest.mark.parametrize("seed", range(24, 32))
def test_no_small_count_is_the_difference_of_shown_ones(
    seed: int, sql: dict[str, str], warehouse: duckdb.DuckDBPyConnection
) -> None:
    build(warehouse, sql, population(seed))
    books = Books(warehouse)
    assert not [cell for cell, count in books.published.items() if 0 < count < LEAST]
    assert not leaks(books)


def test_the_attack_succeeds_when_each_row_is_judged_alone(
    sql: dict[str, str], warehouse: duckdb.DuckDBPyConnection
) -> None:
    build(warehouse, sql, population(29))
    books = Books(warehouse)
    for (place, period, index, _), _ in list(books.truth.items()):
        cells: list[Cell] = [(place, period, index, measure) for measure in MEASURES]
        counts = [books.truth[cell] for cell in cells]
        if place[1] is not None and not any(0 < count < LEAST for count in counts):
            books.published.update(zip(cells, counts, strict=True))
    assert leaks(books)


@pytest.mark.parametrize("seed", [24, 29])
def test_no_small_count_is_pinned_by_counts_not_being_negative(
    seed: int, sql: dict[str, str], warehouse: duckdb.DuckDBPyConnection
) -> None:
    build(warehouse, sql, population(seed))
    books = Books(warehouse)
    matrix, values = books.identities()
    rng = np.random.default_rng(seed)
    small = books.small()
    for number in rng.choice(small, min(12, len(small)), replace=False):
        goal = np.zeros(len(books.cells))
        goal[number] = 1
        least, most = (
            linprog(sign * goal, A_eq=matrix, b_eq=values, bounds=(0, None), method="highs")
            for sign in (1, -1)
        )
        assert least.status == 0, least.message
        assert most.status == 3 or -most.fun - least.fun >= 1, list(books.cells)[number]


def test_the_report_is_not_empty_for_a_large_network(
    sql: dict[str, str], warehouse: duckdb.DuckDBPyConnection
) -> None:
    versions: list[tuple[object, ...]] = []
    for number in range(1200):
        region = "AB"[number % 2]
        month = number % 12 + 1
        joined = f"2023-{month:02d}-10 00:00:00"
        left = f"2024-{month % 6 + 1:02d}-10 00:00:00" if number % 3 == 0 else None
        versions.append(
            (f"key{number}", f"{region}1", "30-44", "female", region, False, joined, left, joined)
        )
    build(warehouse, sql, versions)
    shown = dict(
        warehouse.execute(
            "select scope || ' ' || period, count(*) filter (not is_suppressed) "
            "from build.marts.rpt_family_growth group by all"
        ).fetchall()
    )
    assert shown["network quarter"] == QUARTERS
    assert shown["region quarter"] == 2 * QUARTERS
    assert shown["community quarter"] == 2 * QUARTERS
    assert shown["network month"] > 0
    (counts,) = warehouse.execute(
        "select new_members, members, left_members from build.marts.rpt_family_growth "
        "where scope = 'network' and period = 'quarter' and period_start = date '2024-04-01'"
    ).fetchall()
    assert counts[1] == 1200 - 400
