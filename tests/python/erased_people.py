"""A person who is everywhere, for the tests of the erasure, and what is left of them."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from importlib import import_module
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from landing_zone import Home, event, line

from loaders.landing import find_files, sha256_of

GONE, STAYS = "C-000017", "C-000018"
EMAIL, NAME, PHONE = "zoe.quiller@example.org", "Zoë Quiller-Brandt", "+1 202 555 0171"


def customer(customer_id: str, **changes: Any) -> dict[str, Any]:
    """Return a version of a customer."""
    return {
        "customer_id": customer_id,
        "full_name": f"Somebody {customer_id}",
        "email": f"{customer_id}@example.org",
        "phone": None,
        "birth_date": "1980-02-03",
        "registered_at": "2024-01-01T00:00:00Z",
        "updated_at": "2024-01-01T00:00:00Z",
    } | changes


def order(number: int, customer_id: str | None) -> dict[str, Any]:
    """Return a line of an order."""
    return {
        "order_id": f"o{number}",
        "line_number": 1,
        "ordered_at": "2024-05-01T00:00:00Z",
        "location_id": "L1",
        "item_id": "I1",
        "quantity": 1,
        "unit_price_usd": 5,
        "customer_id": customer_id,
        "status": "picked_up",
        "updated_at": "2024-05-01T00:00:00Z",
    }


def as_csv(records: list[dict[str, Any]]) -> bytes:
    """Return records as a CSV file."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]))
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().encode()


def write_everything(home: Home) -> None:
    """Land files of every format that hold the person, and others."""
    theirs = customer(GONE, full_name=NAME, email=EMAIL, phone=PHONE)
    home.land("accounts/customers/a.csv", as_csv([customer(STAYS), theirs]))
    home.land(
        "accounts/customers/b.json",
        json.dumps([theirs | {"updated_at": "2024-02-01"}, customer("C-3")], indent=1).encode(),
    )
    home.land(
        "accounts/customers/broken.ndjson",
        line({"full_name": NAME, "email": EMAIL})
        + f'{{"customer_id": "{GONE}", "ema'.encode()
        + b"\n"
        + line(customer("C-5", registered_at="never")),
    )
    home.land("accounts/customers/alone.ndjson", line(theirs | {"updated_at": "2024-03-01"}))
    consent = {"purpose": "targeting", "is_granted": True, "updated_at": "2024-01-01"}
    home.land(
        "accounts/consents/a.ndjson.gz",
        gzip.compress(
            line(consent | {"customer_id": GONE}) + line(consent | {"customer_id": STAYS})
        ),
    )
    home.land(
        "fridge/stock_events/a.ndjson.zst",
        pa.compress(
            line(event(1, customer_id=GONE)) + line(event(2, customer_id=STAYS)) + line(event(3)),
            "zstd",
            asbytes=True,
        ),
    )
    target = home.settings.landing_folder / "orders/order_lines/a.parquet"
    target.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([order(1, GONE), order(2, STAYS)]), target)
    patient = {"resourceType": "Patient", "meta": {"lastUpdated": "2024-01-01T00:00:00Z"}}
    identifier = [{"system": "urn:larder:customer", "value": GONE}]
    home.land(
        "clinic/patients/a.ndjson",
        line(patient | {"id": "patient-0017", "identifier": identifier})
        + line(patient | {"id": "patient-0018"}),
    )
    observation = {"meta": {"lastUpdated": "2024-01-01T00:00:00Z"}}
    home.land(
        "clinic/observations/a.ndjson",
        line(observation | {"id": "ob1", "subject": {"reference": "Patient/patient-0017"}})
        + line(observation | {"id": "ob2", "subject": {"reference": "Patient/patient-0018"}}),
    )


def build(home: Home, token: str) -> None:
    """Make a build and a generation with the token and another one, and a truth with the ids."""
    with duckdb.connect(str(home.settings.build_database)) as connection:
        connection.execute("create schema marts")
        connection.execute(
            "create table marts.dim_customers (customer_key varchar not null, age_group varchar)"
        )
        connection.execute("create table marts.fct_sales (sale_key int, customer_key varchar)")
        connection.execute("comment on table marts.fct_sales is 'one row per sale'")
        for key in (token, "f" * 32):
            connection.execute("insert into marts.dim_customers values ($1, '30-39')", [key])
            connection.execute("insert into marts.fct_sales values (1, $1)", [key])
    generation = home.settings.generations_folder / "one" / "larder.duckdb"
    generation.parent.mkdir(parents=True)
    generation.write_bytes(home.settings.build_database.read_bytes())
    truth = home.settings.truth_folder / "tastes.parquet"
    truth.parent.mkdir(parents=True)
    pq.write_table(pa.table({"customer_id": [GONE, STAYS]}), truth)


def contents(home: Home) -> set[str]:
    """Return the hashes of the landing files."""
    return {sha256_of(file.path) for file in find_files(home.settings.landing_folder)}


def everything(home: Home) -> bytes:
    """Return the content of all files, decompressed, but for the vault's."""
    found = b""
    for path in home.settings.home.rglob("*"):
        if not path.is_file() or path.parent == home.settings.vault_folder:
            continue
        data = path.read_bytes()
        found += data
        if path.suffix == ".gz":
            found += gzip.decompress(data)
        elif path.suffix == ".zst":
            with pa.CompressedInputStream(pa.OSFile(str(path)), "zstd") as stream:
                found += stream.read()
        elif path.suffix == ".parquet":
            found += json.dumps(
                pq.read_table(path).to_pylist(), default=str, ensure_ascii=False
            ).encode()
    return found


def die_at(patch: pytest.MonkeyPatch, places: tuple[str, ...], moment: int) -> None:
    """Kill whoever calls the functions at these places, together, for the n-th time."""
    calls = 0

    def dying(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == moment:
                raise KeyboardInterrupt
            return original(*arguments, **options)

        return call

    for place in places:
        module, _, name = place.rpartition(".")
        patch.setattr(place, dying(getattr(import_module(module), name)))
