"""The event bus: chosen trip events, each in one shape, at least once and in order per trip.

A load makes raw segments; `filling.py` puts the chosen events of new segments into the outbox
(`outbox.py`), `sending.py` takes them from there to the bus (`buses.py`, `kinesis.py`). Whatever is
killed in between, a message is repeated and never lost.
"""

from loaders.bus.outbox import Backlog, begin_outbox, read_backlog
from loaders.bus.publishing import BusSummary, Publisher

__all__ = ["Backlog", "BusSummary", "Publisher", "begin_outbox", "read_backlog"]
