"""The vault: person → one random token a domain.

Its folder has mode 0700 and it is the only place where two domains of one person meet. It knows
people by HMAC-SHA-256(key, person id), so it says nothing without the key.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

from larder.errors import KeyMismatchError
from larder.keys import content_name, fingerprint, make_key, person_hash, read_key
from larder.settings import Settings
from loaders.entities import DOMAINS, Domain
from loaders.sqlite import open_shared

# Ids whose tokens are kept in memory; 1 M of them take about 200 MB.
CACHED_PERSONS = 500_000
# How long the log may get between two `sync`s, in pages of 4 KiB.
LOG_PAGES = 25_000
# Below SQLite's least limit of parameters in a statement.
LOOK_UP_AT_ONCE = 900

Tombstone = tuple[str, bytes]
"""Domain and keyed hash of somebody who was erased."""

SCHEMA = """
create table if not exists vault (fingerprint text not null);
create table if not exists tokens (
    domain text not null,
    person_hash blob not null,
    token text not null,
    is_copied integer not null default 0,
    primary key (domain, person_hash)
) without rowid;
create table if not exists tombstones (
    domain text not null,
    person_hash blob not null,
    is_copied integer not null default 0,
    primary key (domain, person_hash)
) without rowid;
create table if not exists erasures (
    person_hash blob primary key,
    plan text not null
) without rowid;
"""


class Vault:
    """Give tokens for person ids; safe for several threads and several processes."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._key = key
        self._lock = threading.Lock()
        self._cache: dict[Domain, dict[str, str | None]] = {domain: {} for domain in DOMAINS}
        # Tokens are given out by the thousand, so they are made durable together (`sync`), before
        # anything that holds one is; what a power failure takes before that was never used.
        self._connection = open_shared(path, busy_seconds=60)
        self._version = self._erased = -1
        self._connection.execute(f"pragma wal_autocheckpoint = {LOG_PAGES}")
        # what is erased must not stay in free pages
        self._connection.execute("pragma secure_delete = on")
        self._connection.execute("begin immediate")
        for statement in SCHEMA.split(";"):
            self._connection.execute(statement)
        self._add_columns()
        row = self._connection.execute("select fingerprint from vault").fetchone()
        if row is None:
            self._connection.execute("insert into vault values (?)", [fingerprint(key)])
        self._connection.execute("commit")
        path.chmod(0o600)
        if row is not None and row[0] != fingerprint(key):
            self._connection.close()
            raise KeyMismatchError(
                f"The vault in {path.parent} was made with key {row[0]}, the key file holds "
                f"{fingerprint(key)}. Point LARDER_KEY_FILE at the right key; nothing was changed."
            )

    def _add_columns(self) -> None:
        """Give the file of an earlier version what this one knows."""
        for table in ("tokens", "tombstones"):
            columns = self._connection.execute(f"pragma table_info({table})").fetchall()
            if "is_copied" not in {name for _, name, *_ in columns}:
                self._connection.execute(
                    f"alter table {table} add column is_copied integer not null default 0"
                )

    def __enter__(self) -> Vault:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def tokens(self, domain: Domain, person_ids: Sequence[str]) -> list[str | None]:
        """Return the token of each person in the domain, made where there is none.

        An erased person has the token None: what they are part of must not be kept.
        """
        with self._lock:
            self._forget_outdated()
            cache = self._cache[domain]
            try:
                return [cache[person_id] for person_id in person_ids]
            except KeyError:
                pass
            missing = {person_id for person_id in person_ids if person_id not in cache}
            made = self._look_up_or_make(domain, missing)
            known = {person_id: cache[person_id] for person_id in person_ids if person_id in cache}
            if len(cache) + len(made) > CACHED_PERSONS:
                cache.clear()
            cache.update(made)
            known |= made
        return [known[person_id] for person_id in person_ids]

    def _forget_outdated(self) -> None:
        """Clear what is remembered when another process has erased somebody."""
        version = self._connection.execute("pragma data_version").fetchone()[0]
        if version != self._version:
            self._version = version
            erased = self._connection.execute("select count(*) from tombstones").fetchone()[0]
            if erased != self._erased:
                self._erased = erased
                for cache in self._cache.values():
                    cache.clear()

    def sync(self) -> None:
        """Make all tokens that were given out durable."""
        with self._lock:
            self._connection.execute("pragma wal_checkpoint(full)")

    def known_tokens(self, person_id: str, domains: Iterable[Domain] = DOMAINS) -> list[str]:
        """Return the tokens that the person has in those domains; makes none."""
        hashed = person_hash(self._key, person_id)
        with self._lock:
            found = [self._select("tokens", "token", domain, [hashed]) for domain in domains]
        return [str(token) for tokens in found for token in tokens.values()]

    def _look_up_or_make(self, domain: Domain, person_ids: Iterable[str]) -> dict[str, str | None]:
        hashes = {person_id: person_hash(self._key, person_id) for person_id in person_ids}
        wanted = sorted(set(hashes.values()))
        # A tombstone counts before a token: the token lives on until the erasure is finished.
        erased = self._select("tombstones", "null", domain, wanted)
        wanted = [hashed for hashed in wanted if hashed not in erased]
        tokens = self._select("tokens", "token", domain, wanted)
        if new := [hashed for hashed in wanted if hashed not in tokens]:
            self._connection.execute("begin immediate")
            # Another loader may have been first: its token stays, and so does an erasure.
            self._connection.executemany(
                "insert or ignore into tokens (domain, person_hash, token) "
                "select ?1, ?2, ?3 where not exists "
                "(select 1 from tombstones where domain = ?1 and person_hash = ?2)",
                [(domain, hashed, secrets.token_hex(16)) for hashed in new],
            )
            self._connection.execute("commit")
            tokens |= self._select("tokens", "token", domain, new)
        return {person_id: tokens.get(hashed) for person_id, hashed in hashes.items()}

    def _select(
        self, table: str, column: str, domain: Domain, hashes: Sequence[bytes]
    ) -> dict[bytes, str | None]:
        found = {}
        for start in range(0, len(hashes), LOOK_UP_AT_ONCE):
            part = hashes[start : start + LOOK_UP_AT_ONCE]
            marks = ", ".join("?" * len(part))
            rows = self._connection.execute(
                f"select person_hash, {column} from {table} "
                f"where domain = ? and person_hash in ({marks})",
                [domain, *part],
            )
            found.update(dict(rows.fetchall()))
        return found

    def bury(self, domain: Domain, person_ids: Iterable[str]) -> None:
        """Leave keyed tombstones: from now on, no loader takes anything of these persons."""
        with self._lock:
            self._connection.execute("begin immediate")
            self._connection.executemany(
                "insert or ignore into tombstones (domain, person_hash) values (?, ?)",
                [(domain, person_hash(self._key, person_id)) for person_id in person_ids],
            )
            self._connection.execute("commit")
            self._erased = -1
            self._connection.execute("pragma wal_checkpoint(full)")
            for cache in self._cache.values():
                cache.clear()

    def forget(self, domain: Domain, person_ids: Iterable[str]) -> None:
        """Remove the tokens of these persons for good; their tombstones stay."""
        with self._lock:
            self._connection.execute("begin immediate")
            self._connection.executemany(
                "delete from tokens where domain = ? and person_hash = ?",
                [(domain, person_hash(self._key, person_id)) for person_id in person_ids],
            )
            self._connection.execute("commit")

    def scrub(self) -> None:
        """Take what was removed out of the log as well, so that no file holds it any more."""
        with self._lock:
            self._connection.execute("pragma wal_checkpoint(truncate)")

    def read_plan(self, person_id: str) -> str | None:
        """Return what an unfinished erasure of the person still has to remove."""
        row = self._connection.execute(
            "select plan from erasures where person_hash = ?", [person_hash(self._key, person_id)]
        ).fetchone()
        return str(row[0]) if row else None

    def write_plan(self, person_id: str, plan: str | None) -> None:
        """Keep what an erasure has to remove, or, when it is finished, forget it."""
        hashed = person_hash(self._key, person_id)
        with self._lock:
            if plan is None:
                self._connection.execute("delete from erasures where person_hash = ?", [hashed])
            else:
                self._connection.execute(
                    "insert or replace into erasures values (?, ?)", [hashed, plan]
                )
            self._connection.execute("pragma wal_checkpoint(full)")

    def tombstones(self) -> set[Tombstone]:
        """Return who was erased, as domain and keyed hash."""
        rows = self._connection.execute("select domain, person_hash from tombstones").fetchall()
        return {(domain, hashed) for domain, hashed in rows}

    def bury_hashes(self, tombstones: Iterable[Tombstone]) -> None:
        """Take over tombstones from elsewhere, such as a backup."""
        with self._lock:
            self._connection.execute("begin immediate")
            self._connection.executemany(
                "insert or ignore into tombstones (domain, person_hash) values (?, ?)",
                list(tombstones),
            )
            self._connection.execute("commit")
            self._erased = -1
            for cache in self._cache.values():
                cache.clear()

    def buried_tokens(self) -> list[str]:
        """Return the tokens of people with a tombstone, which an erasure has not forgotten yet."""
        rows = self._connection.execute(
            "select token from tokens inner join tombstones using (domain, person_hash)"
        ).fetchall()
        return [row[0] for row in rows]

    def forget_buried(self) -> None:
        """Remove the tokens of all people with a tombstone, and what was planned for them."""
        with self._lock:
            self._connection.execute("begin immediate")
            self._connection.execute(
                "delete from tokens where (domain, person_hash) in "
                "(select domain, person_hash from tombstones)"
            )
            self._connection.execute("delete from erasures")
            self._connection.execute("commit")

    def plans(self) -> int:
        """Return how many erasures were begun and not finished."""
        return int(self._connection.execute("select count(*) from erasures").fetchone()[0])

    def erasures(self) -> str:
        """Return 16 hexadecimal digits that change with every erasure, begun or finished."""
        rows = sorted(
            [
                *self.tombstones(),
                *self._connection.execute("select 'unfinished', person_hash from erasures"),
            ]
        )
        return sha256(repr(rows).encode()).hexdigest()[:16]

    def copy_to(self, path: Path) -> None:
        """Write a consistent copy of the vault, whoever writes into it meanwhile."""
        path.touch(mode=0o600)
        copy = sqlite3.connect(path)
        try:
            self._connection.backup(copy)
        finally:
            copy.close()

    def hashes(self, person_ids: Iterable[str]) -> list[bytes]:
        """Return how the vault knows these persons."""
        return [person_hash(self._key, person_id) for person_id in person_ids]

    def content_name(self, content: bytes) -> str:
        """Return a name for a content that may hold persons."""
        return content_name(self._key, content)


def open_vault(settings: Settings) -> Vault:
    """Open the vault; the first time, bring back its copy, or make it and its key.

    Raises:
        KeyMismatchError: the key is missing, unreadable or another one than the vault's.
        WarehouseError: the vault is not here, and Snowflake does not tell whether it has a copy.
    """
    folder = settings.vault_folder
    path = folder / "vault.sqlite"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    if settings.target == "prod" and not path.exists():
        from loaders.vault_copy import bring_back  # which needs vaults itself

        bring_back(settings, path)
    key = read_key(settings.key_file) if path.exists() else make_key(settings.key_file)
    return Vault(path, key)
