"""Take a person out of what waits for the event bus."""

from __future__ import annotations

from larder.settings import Settings
from loaders.bus.outbox import bus_lock, open_outbox, outbox_file
from loaders.erasing.person import Person
from loaders.erasing.report import Erasure


def erase_from_outbox(settings: Settings, person: Person, report: Erasure) -> None:
    """Remove their messages, after their records: what is queued later is read without them.

    A message that was sent is out of reach; its token means nothing once the vault forgets it.

    Raises:
        BusError: the outbox cannot be used.
        WarehouseBusyError: messages were being sent for very long.
    """
    if not person.tokens or not outbox_file(settings).exists():
        return
    with bus_lock(settings), open_outbox(settings) as outbox, outbox.transaction():
        report.messages += outbox.forget(person.tokens)
