"""From raw segments to the outbox: the chosen events of all that was loaded since the last time."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime

import duckdb

from larder.settings import Settings
from larder.warehouse import open_memory
from loaders.bus.messages import Message, read_messages
from loaders.bus.outbox import Outbox, open_outbox, segment_names
from loaders.ledger import holds_only
from loaders.vault import open_vault

# A compaction may remove a segment between the list and the look into it.
TRIES = 3


def fill(settings: Settings, now: Callable[[], datetime]) -> int:
    """Queue the chosen events of segments that were not read yet; return how many are new.

    It is one transaction: killed, it is done again.

    Raises:
        BusError: the outbox cannot be used.
        KeyMismatchError: the vault cannot be used.
    """
    with open_outbox(settings) as outbox:
        if segment_names(settings) <= outbox.read_segments():
            return 0
        for left in reversed(range(TRIES)):
            try:
                # What an erasure rewrites is read before it clears the outbox, or after it has
                # been rewritten: the erasure waits for this transaction.
                with outbox.transaction():
                    return _fill(settings, outbox, now())
            except (FileNotFoundError, duckdb.IOException):
                if not left:
                    raise
    raise AssertionError("the last try returns or raises")


def _fill(settings: Settings, outbox: Outbox, now: datetime) -> int:
    present, known = segment_names(settings), outbox.read_segments()
    unread = [
        name
        for name in sorted(present - known)
        if not holds_only(settings.raw_folder / name, known)
    ]
    queued = outbox.queue(_messages(settings, unread), now) if unread else 0
    outbox.note_read(present)
    return queued


def _messages(settings: Settings, names: Collection[str]) -> list[Message]:
    segments = [settings.raw_folder / name for name in names]
    with open_vault(settings) as vault, open_memory(settings) as connection:
        return list(read_messages(connection, segments, vault.content_name))
