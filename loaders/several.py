"""Tell apart several events that were sent as one record, with what they share beside them."""

from __future__ import annotations

import msgspec

MARK = '"events"'
_NULL = msgspec.Raw(b"null")


class _Several(msgspec.Struct):
    events: list[msgspec.Raw]
    user: msgspec.Raw = _NULL


_several = msgspec.json.Decoder(_Several)


def told_apart(record: bytes) -> list[bytes]:
    """Give each event of `{"events": […], "user": …}` as `{"event": …, "user": …}`.

    Any other record is its own only part, and so is one without an event, which nothing can be
    taken from: the checks say so.
    """
    if MARK.encode() not in record:
        return [record]
    try:
        several = _several.decode(record)
    except (msgspec.DecodeError, RecursionError):
        return [record]
    user = bytes(several.user)
    parts = [b'{"event":%b,"user":%b}' % (bytes(event), user) for event in several.events]
    return parts or [record]
