"""Who is to be erased: all that the person is known by."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import duckdb

from larder.settings import Settings
from larder.warehouse import literal
from loaders.entities import Domain
from loaders.ledger import find_segments
from loaders.vault import Vault

CUSTOMERS, PATIENTS = "accounts/customers", "clinic/patients"
CUSTOMER_SYSTEM = "urn:larder:customer"
# A shorter id, or one of few digits, stands in many places where it means something else: it is
# looked for in the fields of persons only.
LEAST_TELLING_LENGTH = 6


@dataclass(frozen=True)
class Person:
    """Hold all that a person is known by: ids by domain, tokens, and telling personal values."""

    ids: dict[Domain, list[str]]
    tokens: list[str]
    values: list[str]

    def texts(self) -> list[str]:
        """Return every id and value; a text that contains none of them is not about the person."""
        return [*dict.fromkeys([*(one for ids in self.ids.values() for one in ids), *self.values])]

    def telling(self) -> list[str]:
        """Return what is looked for anywhere: tokens, values, and the ids that tell enough."""
        ids = (one for of_domain in self.ids.values() for one in of_domain)
        return [*dict.fromkeys([*self.tokens, *self.values, *filter(is_telling, ids)])]

    def needles(self) -> list[bytes]:
        """Return the bytes to look for in files, plain and as JSON escapes them."""
        escaped = (json.dumps(text)[1:-1] for text in self.texts())
        return [*dict.fromkeys(text.encode() for text in [*self.texts(), *escaped])]


def find_driver(vault: Vault, driver_id: str) -> Person:
    """Return what a driver is known by: an id and a token; no record of ours describes them."""
    unfinished = vault.read_plan(driver_id)
    planned: list[str] = json.loads(unfinished)["tokens"] if unfinished else []
    tokens = [*planned, *vault.known_tokens(driver_id, ["driver"])]
    return Person({"commerce": [], "driver": [driver_id]}, list(dict.fromkeys(tokens)), [])


def find_person(
    settings: Settings, connection: duckdb.DuckDBPyConnection, vault: Vault, customer_id: str
) -> Person:
    unfinished = vault.read_plan(customer_id)
    plan: dict[str, Any] = json.loads(unfinished) if unfinished else {}
    ids: dict[Domain, list[str]] = {
        "commerce": [customer_id],
        "health": [
            *plan.get("ids", {}).get("health", []),
            *_patients_of(settings, connection, customer_id),
        ],
    }
    tokens = [
        token
        for domain, of_domain in ids.items()
        for one in of_domain
        for token in vault.known_tokens(one, [domain])
    ]
    values = _telling_values(settings, connection, customer_id)
    return Person(
        {domain: list(dict.fromkeys(ids[domain])) for domain in ids},
        list(dict.fromkeys([*plan.get("tokens", []), *tokens])),
        list(dict.fromkeys([*plan.get("values", []), *values])),
    )


def _good_records(settings: Settings, entity: str) -> str | None:
    if not any(find_segments(settings.raw_folder, entity)):
        return None
    pattern = literal(str(settings.raw_folder / entity / "process_hour=*" / "*.parquet"))
    return (
        f"(select payload, natural_key from read_parquet({pattern}, hive_partitioning = false) "
        "where rejection_reason is null and payload is not null)"
    )


def _patients_of(
    settings: Settings, connection: duckdb.DuckDBPyConnection, customer_id: str
) -> list[str]:
    records = _good_records(settings, PATIENTS)
    if records is None:
        return []
    rows = connection.execute(
        f"select distinct natural_key from {records} where list_contains(list_transform("
        "from_json(json_extract(payload, '$.identifier'), "
        """'[{"system": "VARCHAR", "value": "VARCHAR"}]'), """
        "lambda one: one.system || '|' || trim(one.value)), $identifier)",
        {"identifier": f"{CUSTOMER_SYSTEM}|{customer_id}"},
    ).fetchall()
    return [row[0] for row in rows]


def _telling_values(
    settings: Settings, connection: duckdb.DuckDBPyConnection, customer_id: str
) -> list[str]:
    """Return the person's addresses, numbers and names that no other customer shares."""
    records = _good_records(settings, CUSTOMERS)
    if records is None:
        return []
    values: list[str] = []
    for name in ("full_name", "email", "phone"):
        rows = connection.execute(
            f"select value from (select trim(payload->>'{name}') as value, natural_key "
            f"from {records}) where length(value) >= $length "
            "group by value having bool_and(natural_key = $customer)",
            {"length": LEAST_TELLING_LENGTH, "customer": customer_id},
        ).fetchall()
        values.extend(row[0] for row in rows)
    return values


def is_telling(person_id: str) -> bool:
    return len(person_id) >= LEAST_TELLING_LENGTH + 2 * person_id.isdigit()
