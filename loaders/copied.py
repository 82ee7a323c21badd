"""Which tokens of the vault its copy in Snowflake has; the side of the home."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from loaders.vault import Tombstone

ARRIVING = "arriving.sqlite"
TOKEN_SCHEMA = pa.schema(
    [("domain", pa.string()), ("person_hash", pa.string()), ("token", pa.string())]
)
# There are few tombstones, so they are looked up in the tokens and not the other way.
BURIED = "tombstones cross join tokens using (domain, person_hash)"


class Copied:
    """Keep in a vault's file which of its rows the copy has; a hash is hexadecimal there."""

    def __init__(self, path: Path) -> None:
        self._arriving = path.with_name(ARRIVING)
        self._arriving.unlink(missing_ok=True)  # what a killed one has left
        self._connection = sqlite3.connect(path, timeout=60, isolation_level=None)
        self._connection.execute("pragma secure_delete = on")
        # only where there is a copy: elsewhere nothing ever left this index
        self._connection.execute(
            "create index if not exists tokens_to_copy on tokens (domain, person_hash) "
            "where is_copied = 0"
        )

    def __enter__(self) -> Copied:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def count(self) -> int:
        """Return how many tokens the copy should have, without those of erased people."""
        return int(
            self._connection.execute(
                "select (select count(*) from tokens where is_copied) - "
                f"(select count(*) from {BURIED} where tokens.is_copied)"
            ).fetchone()[0]
        )

    def pending(self, at_once: int) -> Iterator[pa.Table]:
        """Give the tokens that the copy has to get; each batch is marked before the next."""
        while rows := self._connection.execute(
            "select domain, lower(hex(person_hash)), token from tokens "
            "where is_copied = 0 and not exists (select 1 from tombstones where "
            "(tombstones.domain, tombstones.person_hash) = (tokens.domain, tokens.person_hash)) "
            "order by domain, person_hash limit ?",
            [at_once],
        ).fetchall():
            columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
            yield pa.table(columns, TOKEN_SCHEMA)

    def mark(self, tokens: pa.Table) -> None:
        """Remember that the copy has these tokens."""
        self._write_all(
            "update tokens set is_copied = 1 where domain = ? and person_hash = ? and token = ?",
            _rows(tokens),
        )

    def tombstones(self) -> dict[Tombstone, tuple[bool, bool]]:
        """Return for each tombstone whether it is copied, and whether the erasure has ended."""
        rows = self._connection.execute(
            "select domain, person_hash, is_copied, not exists (select 1 from tokens where "
            "(tokens.domain, tokens.person_hash) = (tombstones.domain, tombstones.person_hash)) "
            "from tombstones"
        ).fetchall()
        return {(domain, hashed): (bool(sent), bool(done)) for domain, hashed, sent, done in rows}

    def mark_tombstones(self, tombstones: Iterable[Tombstone]) -> None:
        """Remember that the copy has these tombstones, and that their tokens were taken off it."""
        self._write_all(
            "update tombstones set is_copied = 1 where domain = ? and person_hash = ?", tombstones
        )

    def take_over_tombstones(self, tombstones: Iterable[Tombstone]) -> None:
        """Take over tombstones of the copy; of whom we have no token we take none off it."""
        self._write_all(
            "insert or ignore into tombstones select ?1, ?2, not exists "
            "(select 1 from tokens where (domain, person_hash) = (?1, ?2))",
            tombstones,
        )

    def compare(self, batches: Iterable[pa.Table]) -> int:
        """Compare with all tokens of the copy: take over those that only it has.

        Returns how many people have another token there; then nothing is changed.
        """
        try:
            self._connection.execute("attach ? as arriving", [str(self._arriving)])
            self._arriving.chmod(0o600)
            self._connection.execute(
                "create table arriving.there (domain text, person_hash blob, token text, "
                "primary key (domain, person_hash, token)) without rowid"
            )
            for batch in batches:
                self._write_all(
                    "insert or ignore into arriving.there values (?, ?, ?)", _rows(batch)
                )
            differing: int = self._connection.execute(
                "select (select count(*) from tokens inner join arriving.there "
                "using (domain, person_hash) where tokens.token <> there.token) + "
                # two homes at once, which Snowflake has not kept apart
                "(select count(*) - count(distinct domain || hex(person_hash)) from arriving.there)"
            ).fetchone()[0]
            if not differing:
                self._take_over()
            return differing
        finally:
            self._connection.execute("detach arriving")
            self._arriving.unlink(missing_ok=True)

    def _take_over(self) -> None:
        is_there = (
            "exists (select 1 from arriving.there where (there.domain, there.person_hash) = "
            "(tokens.domain, tokens.person_hash))"
        )
        self._connection.execute("begin immediate")
        self._connection.execute(
            "insert or ignore into tokens "
            "select domain, person_hash, token, 1 from arriving.there where not exists "
            "(select 1 from tombstones where (tombstones.domain, tombstones.person_hash) = "
            "(there.domain, there.person_hash))"
        )
        self._connection.execute(
            f"update tokens set is_copied = not is_copied where is_copied <> {is_there}"
        )
        self._connection.execute("commit")

    def _write_all(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        self._connection.execute("begin immediate")
        self._connection.executemany(statement, rows)
        self._connection.execute("commit")


def _rows(tokens: pa.Table) -> Iterator[tuple[str, bytes, str]]:
    columns = (tokens.column(name).to_pylist() for name in TOKEN_SCHEMA.names)
    for domain, person_hash, token in zip(*columns, strict=True):
        yield domain, bytes.fromhex(person_hash), token
