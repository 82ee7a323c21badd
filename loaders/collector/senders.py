"""Who may send what, and how much: API keys with scopes, and a rate for each sender."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

from larder.errors import SettingsError
from loaders.entities import read_entities

EVERYTHING = "*"
BURST_SECONDS = 2.0
_SHORTEST_KEY = 16
_ENTRY = re.compile(r"([\w.~+/=-]+):([a-z*]+(?:\+[a-z*]+)*)")


@dataclass
class Sender:
    """Say what the holder of a key may send: sources of the contract, or everything."""

    scopes: frozenset[str]
    rate: float
    _tokens: float = field(init=False)
    _filled: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._tokens = self.rate * BURST_SECONDS

    def may_send(self, source: str) -> bool:
        """Tell whether entities of the source are in its scopes."""
        return EVERYTHING in self.scopes or source in self.scopes

    def wait_seconds(self, events: int, clock: Callable[[], float] = time.monotonic) -> float:
        """Return after how many seconds so many events may come; 0 takes them now.

        A token bucket: two seconds' worth may come at once. More than that in one request are
        taken from a full bucket and paid for afterwards.
        """
        if self.rate <= 0:
            return 0.0
        now = clock()
        full = self.rate * BURST_SECONDS
        if self._filled:
            self._tokens = min(self._tokens + (now - self._filled) * self.rate, full)
        self._filled = now
        needed = min(events, full)
        if self._tokens >= needed:
            self._tokens -= events
            return 0.0
        return (needed - self._tokens) / self.rate


class Senders:
    """Know the senders by their keys, of which only digests are kept."""

    def __init__(self, keys: str, rate: float) -> None:
        self._senders = {
            _digest(key.encode()): Sender(scopes, rate) for key, scopes in _read_keys(keys).items()
        }
        self.anybody = Sender(frozenset([EVERYTHING]), rate)

    @property
    def are_known(self) -> bool:
        """Tell whether any key is configured."""
        return bool(self._senders)

    def find(self, authorization: bytes) -> Sender | None:
        """Return the holder of the key in an `Authorization: Bearer` header."""
        kind, _, key = authorization.partition(b" ")
        if kind.lower() != b"bearer":
            return None
        # looked up by its digest, which tells nothing of how near a guess was
        return self._senders.get(_digest(key.strip()))


def key_for(keys: str, source: str) -> str | None:
    """Return the first key, of those in LARDER_API_KEYS, that may send a source."""
    for key, scopes in _read_keys(keys).items():
        if Sender(scopes, 0.0).may_send(source):
            return key
    return None


def _read_keys(keys: str) -> dict[str, frozenset[str]]:
    """Return the scopes of each key.

    Raises:
        SettingsError: an entry is none, is there twice, or names what nobody can send.
    """
    found: dict[str, frozenset[str]] = {}
    for number, entry in enumerate(filter(None, re.split(r"[\s,]+", keys)), start=1):
        match = _ENTRY.fullmatch(entry)
        if not match or len(match[1]) < _SHORTEST_KEY:
            raise SettingsError(
                "LARDER_API_KEYS: each key has at least 16 letters, digits or any of .~+/=-_, "
                "then a colon and its scopes, such as 3q9xKf7LmZp2WvTa:trips+menu, or :* for "
                "everything; several are separated by commas."
            )
        key, scopes = match[1], frozenset(match[2].split("+"))
        if key in found:
            raise SettingsError(
                f"LARDER_API_KEYS: entry {number} has a key that an entry before it has, too. "
                "Name each key once, with all its scopes, such as :trips+menu."
            )
        known = {entity.source for entity in read_entities().values()}
        if unknown := sorted(scopes - known - {EVERYTHING}):
            raise SettingsError(
                f"LARDER_API_KEYS: entry {number} has the scope {unknown[0]}, and there is no such "
                f"source. Choose of {', '.join(sorted(known))}, or * for everything."
            )
        found[key] = scopes
    return found


def _digest(key: bytes) -> bytes:
    return sha256(key).digest()
