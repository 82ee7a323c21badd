"""Who is to be erased: all that the person is known by."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import duckdb

from larder.settings import Settings
from larder.warehouse import literal
from loaders.entities import Domain
from loaders.ledger import find_segments
from loaders.vault import Vault

CUSTOMERS, PATIENTS = "accounts/customers", "clinic/patients"
CLICKS = "menu/menu_events"
CUSTOMER_SYSTEM = "urn:larder:customer"
# A shorter id, or one of few digits, stands in many places where it means something else: it is
# looked for in the fields of persons only.
LEAST_TELLING_LENGTH = 6


@dataclass(frozen=True)
class Person:
    """Hold all that a person is known by: ids by domain, tokens, and telling personal values.

    `keys` name clicks in tables, and are made of tokens where a click has no id. `left` counts the
    others, by domain, who share a device with the person and stay.
    """

    ids: dict[Domain, list[str]] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    left: dict[Domain, int] = field(default_factory=dict)

    @property
    def marks(self) -> list[str]:
        """What stands for the person in a table: tokens, and what is made of them."""
        return [*self.tokens, *self.keys]

    def texts(self) -> list[str]:
        """Return every id and value; a text that contains none of them is not about the person."""
        return [*dict.fromkeys([*(one for ids in self.ids.values() for one in ids), *self.values])]

    def telling(self) -> list[str]:
        """Return what is looked for anywhere: marks, values, and the ids that tell enough."""
        ids = (one for of_domain in self.ids.values() for one in of_domain)
        return [*dict.fromkeys([*self.marks, *self.values, *filter(is_telling, ids)])]

    def needles(self) -> list[bytes]:
        """Return the bytes to look for in files, plain and as JSON escapes them."""
        escaped = (json.dumps(text)[1:-1] for text in self.texts())
        return [*dict.fromkeys(text.encode() for text in [*self.texts(), *escaped])]


def plan_name(domain: Domain, person_id: str) -> str:
    """Return what the plan of an erasure is kept under: an id may be of two people."""
    return person_id if domain == "commerce" else f"{domain}|{person_id}"


def find_person(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    vault: Vault,
    domain: Domain,
    person_id: str,
) -> Person:
    """Return what the person of this id in a domain is known by.

    A customer is all patients that name them, and all visitors of menus that nobody else has
    signed in as; a driver, a patient or a visitor who is named is nobody else.
    """
    unfinished = vault.read_plan(plan_name(domain, person_id))
    plan = Person(**json.loads(unfinished)) if unfinished else Person()
    ids: dict[Domain, list[str]] = {domain: [person_id]}
    left: dict[Domain, int] = {}
    values: list[str] = []
    if domain == "commerce":
        own, shared = _visitors_of(settings, connection, person_id)
        ids["health"] = _patients_of(settings, connection, person_id)
        ids["visitor"], left["visitor"] = own, len(shared)
        values = _telling_values(settings, connection, person_id)
    elif domain == "visitor":
        left["commerce"] = _count_signed_in(settings, connection, person_id)
    ids = {one: [*dict.fromkeys([*plan.ids.get(one, []), *found])] for one, found in ids.items()}
    tokens = [
        token
        for one, of_domain in ids.items()
        for known in of_domain
        for token in vault.known_tokens(known, [one])
    ]
    return Person(
        ids,
        [*dict.fromkeys([*plan.tokens, *tokens])],
        [*dict.fromkeys([*plan.values, *values])],
        plan.keys,
        {one: max(number, plan.left.get(one, 0)) for one, number in left.items()},
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


def _signed_in(settings: Settings) -> str | None:
    """Give SQL for each visitor together with a customer who has signed in as them."""
    records = _good_records(settings, CLICKS)
    return records and (
        "(select distinct trim(payload->>'visitor_id') as visitor, "
        f"trim(payload->>'customer_id') as customer from {records} "
        "where payload->>'visitor_id' is not null and payload->>'customer_id' is not null)"
    )


def _visitors_of(
    settings: Settings, connection: duckdb.DuckDBPyConnection, customer_id: str
) -> tuple[list[str], list[str]]:
    """Return the visitors that only this customer was, and those that others were, too."""
    signed_in = _signed_in(settings)
    if signed_in is None:
        return [], []
    rows = connection.execute(
        f"select visitor, count(*) = 1 from {signed_in} group by visitor "
        "having bool_or(customer = $customer) order by visitor",
        {"customer": customer_id},
    ).fetchall()
    return [one for one, is_own in rows if is_own], [one for one, is_own in rows if not is_own]


def _count_signed_in(
    settings: Settings, connection: duckdb.DuckDBPyConnection, visitor_id: str
) -> int:
    signed_in = _signed_in(settings)
    if signed_in is None:
        return 0
    ((customers,),) = connection.execute(
        f"select count(*) from {signed_in} where visitor = $visitor", {"visitor": visitor_id}
    ).fetchall()
    return int(customers)


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
