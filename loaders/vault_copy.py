"""The copy of the vault in Snowflake: what is left of it when the loader's host is not.

It has the tokens, the tombstones and the fingerprint of the key, never the key and never what an
erasure has planned. Who has which token is decided there: primary keys are not enforced, so each
batch takes a turn, adds whom nobody has added, and is read back before it counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from larder.errors import KeyMismatchError, WarehouseError
from larder.keys import fingerprint, read_key
from larder.lock import hold
from larder.settings import Settings
from larder.snowflake import PEOPLE, fetch, open_snowflake
from loaders.copied import TOKEN_SCHEMA, Copied
from loaders.staging import own_place, temporary_table, transaction
from loaders.vault import Tombstone, Vault, open_vault

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection

STAGE = f"{PEOPLE}.arriving"
TOKENS_AT_ONCE = 250_000
SAME_PERSON = "(known.domain = sent.domain and known.person_hash = sent.person_hash)"
ALL = f"select domain, person_hash, token from {PEOPLE}.tokens as known"
LIVING = f"{ALL} where not exists (select 1 from {PEOPLE}.tombstones as sent where {SAME_PERSON})"
TOMBSTONE_SCHEMA = pa.schema(
    [("domain", pa.string()), ("person_hash", pa.string()), ("is_finished", pa.string())]
)


def bring_up_to_date(
    settings: Settings, connection: SnowflakeConnection, erasing: Collection[str] = ()
) -> int:
    """Bring the vault and its copy together; return how many tokens were sent.

    `erasing` are tokens of the person whom the caller is erasing.

    Raises:
        KeyMismatchError: the vault cannot be used, or the copy was made with another key.
        WarehouseError: another home has given other tokens, or has erased people who are still in
            this one; or Snowflake refuses. Of a batch all is there, or nothing.
    """
    with open_vault(settings) as vault, Copied(settings.vault_folder / "vault.sqlite") as copied:
        fetch(connection, f"remove {own_place(settings, STAGE)}")  # what a killed one has left
        _agree_on_the_key(settings, connection)
        _exchange_tombstones(settings, connection, copied)
        if left := set(vault.buried_tokens()) - set(erasing):
            raise WarehouseError(
                f"{settings.home} still holds {len(left):,} tokens of people who were erased: that "
                "was not finished here, or was done in another home of this account. Nothing was "
                "uploaded. Run `larder erase` for them here as well (docs/runbook.md, `Two "
                "hosts`)."
            )
        if _count(connection) != copied.count():
            _refuse_others(settings, copied.compare(_copied_tokens(connection, LIVING)))
        sent = 0
        for tokens in copied.pending(TOKENS_AT_ONCE):
            _send(settings, connection, tokens)
            copied.mark(tokens)
            sent += tokens.num_rows
        return sent


def bring_back(settings: Settings, path: Path) -> None:
    """Make the vault that is not there from its copy, if there is one; it is there whole or not.

    Raises:
        KeyMismatchError: the key file is missing, or is not of the key that the copy was made with.
        WarehouseError: Snowflake refuses or is lost; no vault was made.
    """
    lock = path.with_name("arriving.lock")
    with hold(lock, "larder vault", settings.lock_wait_seconds):
        if path.exists():
            return  # another process was first
        with open_snowflake(settings, "loader") as connection:
            if not fetch(connection, f"select fingerprint from {PEOPLE}.fingerprint"):
                return
            key = read_key(settings.key_file)
            _require_key(settings, connection, key)
            aside = path.with_name("arriving-vault.sqlite")
            for leftover in path.parent.glob(f"{aside.name}*"):
                leftover.unlink()
            with Vault(aside, key), Copied(aside) as copied:
                # those of an erasure that was not finished, too: it has to go on from here
                _refuse_others(settings, copied.compare(_copied_tokens(connection, ALL)))
                copied.take_over_tombstones(_copied_tombstones(connection))
        aside.replace(path)


def _agree_on_the_key(settings: Settings, connection: SnowflakeConnection) -> None:
    """Leave the fingerprint of our key, if there is none; refuse another one."""
    key = read_key(settings.key_file)
    if fetch(connection, f"select fingerprint from {PEOPLE}.fingerprint"):
        _require_key(settings, connection, key)
        return
    with transaction(connection):
        fetch(
            connection,
            f"insert into {PEOPLE}.fingerprint (fingerprint, turns) select %s, 0",
            fingerprint(key),
        )
        _take_turn(connection)
        _require_key(settings, connection, key)


def _take_turn(connection: SnowflakeConnection) -> None:
    """Let no other home change tokens until this transaction ends: an update locks its table."""
    fetch(connection, f"update {PEOPLE}.fingerprint set turns = turns + 1")


def _require_key(settings: Settings, connection: SnowflakeConnection, key: bytes) -> None:
    found = {one for (one,) in fetch(connection, f"select fingerprint from {PEOPLE}.fingerprint")}
    if found != {fingerprint(key)}:
        raise KeyMismatchError(
            f"The vault in Snowflake ({PEOPLE}) was made with key {' and '.join(sorted(found))}, "
            f"the key file {settings.key_file} holds {fingerprint(key)}. Point LARDER_KEY_FILE at "
            "the right key; nothing was changed."
        )


def _exchange_tombstones(
    settings: Settings, connection: SnowflakeConnection, copied: Copied
) -> None:
    """Give each side the tombstones of the other; take the tokens of whom we erased off the copy.

    Those of an erasure that has not ended stay: a new host needs them to go on with it.
    """
    there = set(_copied_tombstones(connection))
    here = copied.tombstones()
    copied.take_over_tombstones(there - here.keys())
    ours = {
        one: is_finished
        for one, (is_copied, is_finished) in here.items()
        if one not in there or not is_copied
    }
    if not ours:
        return
    rows = [
        {"domain": domain, "person_hash": hashed.hex(), "is_finished": "yes" if done else "no"}
        for (domain, hashed), done in sorted(ours.items())
    ]
    sent = pa.Table.from_pylist(rows, TOMBSTONE_SCHEMA)
    with (
        temporary_table(settings, connection, PEOPLE, own_place(settings, STAGE), sent) as name,
        transaction(connection),
    ):
        _take_turn(connection)
        fetch(
            connection,
            f"insert into {PEOPLE}.tombstones (domain, person_hash) "
            f"select domain, person_hash from {name} as sent where not exists "
            f"(select 1 from {PEOPLE}.tombstones as known where {SAME_PERSON})",
        )
        fetch(
            connection,
            f"delete from {PEOPLE}.tokens using {name} as sent where tokens.domain = sent.domain "
            "and tokens.person_hash = sent.person_hash and sent.is_finished = 'yes'",
        )
    copied.mark_tombstones([one for one, is_finished in ours.items() if is_finished])


def _copied_tombstones(connection: SnowflakeConnection) -> Iterator[Tombstone]:
    for domain, hashed in fetch(connection, f"select domain, person_hash from {PEOPLE}.tombstones"):
        yield domain, bytes.fromhex(hashed)


def _count(connection: SnowflakeConnection) -> int:
    return int(fetch(connection, f"select count(*) from ({LIVING}) as living")[0][0])


def _copied_tokens(connection: SnowflakeConnection, query: str) -> Iterator[pa.Table]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        for batch in cursor.fetch_arrow_batches():
            yield batch.rename_columns(TOKEN_SCHEMA.names)


def _send(settings: Settings, connection: SnowflakeConnection, tokens: pa.Table) -> None:
    """Add tokens to the copy, all of them or none."""
    with (
        temporary_table(settings, connection, PEOPLE, own_place(settings, STAGE), tokens) as name,
        transaction(connection),
    ):
        _take_turn(connection)
        fetch(
            connection,
            f"insert into {PEOPLE}.tokens (domain, person_hash, token) "
            f"select domain, person_hash, token from {name} as sent where not exists "
            f"(select 1 from {PEOPLE}.tokens as known where {SAME_PERSON}) and not exists "
            f"(select 1 from {PEOPLE}.tombstones as known where {SAME_PERSON})",
        )
        found, same = fetch(
            connection,
            "select count(*), sum(case when known.token = sent.token then 1 else 0 end) "
            f"from {name} as sent inner join {PEOPLE}.tokens as known on {SAME_PERSON}",
        )[0]
        if found < tokens.num_rows:
            raise WarehouseError(
                f"{tokens.num_rows - found:,} people were erased in another home of this account "
                "in this moment. Nothing was uploaded. Run again."
            )
        _refuse_others(settings, found - int(same))


def _refuse_others(settings: Settings, differing: int) -> None:
    if differing:
        raise WarehouseError(
            f"{differing:,} people have another token in Snowflake ({PEOPLE}) than in "
            f"{settings.vault_folder}: another home of this account met them first. Nothing was "
            "uploaded. Let one home load for an account; in this one, move "
            f"{settings.raw_folder.name} and {settings.vault_folder.name} away and run again: the "
            "vault is brought back, the landing zone loaded anew (docs/runbook.md, `Two hosts`)."
        )
