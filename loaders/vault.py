"""The vault: person → one random token a domain.

Its folder has mode 0700 and it is the only place where two domains of one person meet. It knows
people by HMAC-SHA-256(key, person id), so it says nothing without the key.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path

from larder.errors import KeyMismatchError
from larder.keys import fingerprint, make_key, person_hash, read_key
from larder.settings import Settings
from loaders.entities import Domain

# Ids whose tokens are kept in memory; 1 M of them take about 200 MB.
CACHED_PERSONS = 500_000

SCHEMA = """
create table if not exists vault (fingerprint text not null);
create table if not exists tokens (
    domain text not null,
    person_hash blob not null,
    token text not null unique,
    primary key (domain, person_hash)
) without rowid;
create table if not exists tombstones (person_hash blob primary key) without rowid;
"""


class Vault:
    """Give tokens for person ids; safe for several threads and several processes."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._key = key
        self._lock = threading.Lock()
        self._cache: dict[tuple[str, str], str | None] = {}
        self._connection = sqlite3.connect(
            path, timeout=60, isolation_level=None, check_same_thread=False
        )
        self._connection.execute("pragma synchronous = full")
        self._connection.execute("begin immediate")
        for statement in SCHEMA.split(";"):
            self._connection.execute(statement)
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

    def __enter__(self) -> Vault:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def tokens(self, domain: Domain, person_ids: Iterable[str]) -> dict[str, str | None]:
        """Return the token of each person in the domain, made where there is none.

        An erased person has the token None: what they are part of must not be kept.
        """
        wanted = set(person_ids)
        with self._lock:
            found = {
                person_id: self._cache[domain, person_id]
                for person_id in wanted
                if (domain, person_id) in self._cache
            }
            missing = sorted(wanted - found.keys())
            if missing:
                made = self._look_up_or_make(domain, missing)
                found |= made
                if len(self._cache) + len(made) > CACHED_PERSONS:
                    self._cache.clear()
                self._cache.update({(domain, key): token for key, token in made.items()})
        return found

    def _look_up_or_make(self, domain: Domain, person_ids: list[str]) -> dict[str, str | None]:
        hashes = {person_id: person_hash(self._key, person_id) for person_id in person_ids}
        found = self._look_up(domain, hashes)
        new = [hashed for person_id, hashed in hashes.items() if person_id not in found]
        if new:
            self._connection.execute("begin immediate")
            # Another loader may have been first: its token stays.
            self._connection.executemany(
                "insert or ignore into tokens values (?, ?, ?)",
                [(domain, hashed, secrets.token_hex(16)) for hashed in new],
            )
            self._connection.execute("commit")
            found |= self._look_up(domain, hashes)
        return found

    def _look_up(self, domain: Domain, hashes: dict[str, bytes]) -> dict[str, str | None]:
        select = "select token from tokens where domain = ? and person_hash = ?"
        erased = "select 1 from tombstones where person_hash = ?"
        found: dict[str, str | None] = {}
        for person_id, hashed in hashes.items():
            if self._connection.execute(erased, [hashed]).fetchone():
                found[person_id] = None
            elif row := self._connection.execute(select, [domain, hashed]).fetchone():
                found[person_id] = row[0]
        return found

    def erase(self, person_id: str) -> list[str]:
        """Forget the person's tokens, leave a keyed tombstone, and return what was forgotten."""
        hashed = person_hash(self._key, person_id)
        with self._lock:
            self._connection.execute("begin immediate")
            tokens = [
                row[0]
                for row in self._connection.execute(
                    "delete from tokens where person_hash = ? returning token", [hashed]
                ).fetchall()
            ]
            self._connection.execute("insert or ignore into tombstones values (?)", [hashed])
            self._connection.execute("commit")
            self._cache.clear()
        return tokens


def open_vault(settings: Settings) -> Vault:
    """Open the vault; the first time, make it and its key.

    Raises:
        KeyMismatchError: the key is missing, unreadable or another one than the vault's.
    """
    folder = settings.vault_folder
    path = folder / "vault.sqlite"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    key = read_key(settings.key_file) if path.exists() else make_key(settings.key_file)
    return Vault(path, key)
