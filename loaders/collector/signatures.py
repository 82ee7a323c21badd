"""Signed webhooks: `X-Radar-Signature` is the HMAC-SHA1 of `X-Radar-Signing-Id`.

The signature does not cover the body, so one that was overheard would sign any other. A signing id
is therefore bound to the first body that it came with: with the same body it is an honest retry,
with another it is refused.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from loaders.sqlite import open_shared

_LOOK_UP_AT_ONCE = 900
_DIGEST_BYTES = 16
# 32 MiB of write-ahead log
_WAL_PAGES = 8_000
_CACHE_KIBIBYTES = 16_384
# One statement for all claims of a group, from two blobs that hold their digests one after another:
# a statement a claim would let go of the interpreter's lock each time, and wait to get it back.
_CLAIM = f"""
    insert or ignore into signing_ids
    with recursive number(n) as (
        select 0 union all select n + 1 from number where n + 1 < ?3
    )
    select
        substr(?1, n * {_DIGEST_BYTES} + 1, {_DIGEST_BYTES}),
        substr(?2, n * {_DIGEST_BYTES} + 1, {_DIGEST_BYTES})
    from number
"""


class Claim(NamedTuple):
    """Bind a signing id to a body; both as digests."""

    signing_id: bytes
    body: bytes


class Signatures:
    """Check signatures under one secret."""

    def __init__(self, secret: bytes) -> None:
        # to be copied: deriving the key's two pads anew each time would cost more than the rest
        self._keyed = hmac.new(secret, digestmod="sha1")

    def are_right(self, signing_id: bytes, signature: bytes) -> bool:
        """Tell, in constant time, whether the signature is that of the signing id."""
        expected = self._keyed.copy()
        expected.update(signing_id)
        return hmac.compare_digest(expected.hexdigest().encode(), signature.lower())


def claim(signing_id: bytes, body: bytes) -> Claim:
    """Return the claim of a body to a signing id."""
    return Claim(sha256(signing_id).digest()[:_DIGEST_BYTES], sha256(body).digest()[:_DIGEST_BYTES])


class SigningIds:
    """Remember which body each signing id came with; shared by all collectors of a spool.

    Kept for good, about 50 bytes each: a signature never expires. A power failure may take the last
    moments, in which an id could then be claimed again; the kill of a process takes nothing.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._connection = open_shared(path, busy_seconds=10)
        # ids come in no order, so nearly each changes a page: pages are kept, and written back late
        self._connection.execute(f"pragma wal_autocheckpoint = {_WAL_PAGES}")
        self._connection.execute(f"pragma cache_size = -{_CACHE_KIBIBYTES}")
        self._connection.execute(
            "create table if not exists signing_ids "
            "(signing_id blob primary key, body blob not null) without rowid"
        )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def refused(self, claims: Iterable[Claim]) -> frozenset[Claim]:
        """Claim these signing ids, and return the claims that came too late, with another body."""
        wanted = list(dict.fromkeys(claims))
        digests = (b"".join(of_all) for of_all in zip(*wanted, strict=True))
        made = self._connection.execute(_CLAIM, (*digests, len(wanted))).rowcount
        if made == len(wanted):
            return frozenset()
        held: dict[bytes, bytes] = {}
        for start in range(0, len(wanted), _LOOK_UP_AT_ONCE):
            part = [one.signing_id for one in wanted[start : start + _LOOK_UP_AT_ONCE]]
            marks = ", ".join("?" * len(part))
            held.update(
                self._connection.execute(
                    f"select signing_id, body from signing_ids where signing_id in ({marks})", part
                ).fetchall()
            )
        return frozenset(one for one in wanted if held[one.signing_id] != one.body)
