"""Read one message of a Singer tap, or of an Airbyte source, and tell where its record belongs.

See the Singer specification ("Output": SCHEMA, RECORD, STATE) and the Airbyte protocol
(AirbyteMessage). Numbers keep every digit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from larder.errors import LandingError
from loaders.entities import read_entities
from loaders.readers.exact_json import dumps, loads

SEPARATORS = ("/", "-", "__", ".")
UNKNOWN_FOLDER = "unknown"
# A name of a file may have 255 bytes.
LONGEST_FOLDER = 150
# They tell of the stream and hold nothing of it.
IGNORED = {
    "ACTIVATE_VERSION",
    "CATALOG",
    "CONNECTION_STATUS",
    "CONTROL",
    "LOG",
    "SCHEMA",
    "SPEC",
    "TRACE",
}
_STREAM = re.compile(rb'"stream"\s*:\s*"((?:[^"\\]|\\.)+)"')


@dataclass(frozen=True)
class Record:
    """Hold a line to be landed, and the stream that it is of, if that is known."""

    stream: str | None
    line: bytes


@dataclass(frozen=True)
class State:
    """Hold what is given back once all before it is durable."""

    text: str


def read_message(line: bytes) -> Record | State | None:
    """Return what a message asks for; null for those that ask for nothing.

    A line that is no message is a record that will be a dead letter.

    Raises:
        LandingError: the message names files with records, which would be lost.
    """
    try:
        message = loads(line.decode())
    except (ValueError, RecursionError):
        return _broken(line)
    kind = message.get("type") if isinstance(message, dict) else None
    if kind == "RECORD":
        return _record(message, line)
    if kind == "STATE" and "value" in message:
        return State(dumps(message["value"]))
    if kind == "STATE" and "state" in message:
        return State(line.decode().strip())  # Airbyte wants the whole message back
    if kind == "BATCH":
        raise LandingError(
            "The stream on standard input holds a BATCH message, which names files instead of "
            "holding records. Take `batch_config` out of the tap's settings and run again; what "
            "came after the last state that was given back will be sent again."
        )
    return None if isinstance(kind, str) and kind in IGNORED else _broken(line)


def _record(message: dict[str, Any], line: bytes) -> Record:
    record, stream = message.get("record"), message.get("stream")
    if stream is None and isinstance(record, dict) and "data" in record:  # Airbyte's
        namespace = record.get("namespace")
        stream, record = record.get("stream"), record["data"]
        if isinstance(stream, str) and namespace and place_of(stream).startswith(UNKNOWN_FOLDER):
            stream = f"{namespace}/{stream}"
    if not isinstance(stream, str) or not isinstance(record, dict):
        return _broken(line)
    return Record(stream, dumps(record).encode())


def _broken(line: bytes) -> Record:
    found = _STREAM.search(line)
    return Record(found.group(1).decode(errors="replace") if found else None, line)


@cache
def _places() -> dict[str, str]:
    return {
        f"{entity.source}{separator}{entity.name}": entity.path
        for entity in read_entities().values()
        for separator in SEPARATORS
    }


def place_of(stream: str) -> str:
    """Return the folder of the landing zone for a stream: its entity's, or one of the unknown."""
    return _places().get(stream.lower()) or f"{UNKNOWN_FOLDER}/{_folder_name(stream)}"


def _folder_name(stream: str) -> str:
    """Return a name that is a folder's anywhere and never of what is not there yet."""
    name = re.sub(r"[^A-Za-z0-9_.%-]", "_", quote(stream, safe=""))
    if name.startswith((".", "_")):
        name = f"stream{name}"
    if len(name) > LONGEST_FOLDER:
        name = f"{name[:LONGEST_FOLDER]}-{sha256(stream.encode()).hexdigest()[:16]}"
    return f"{name}_" if name.endswith(".tmp") else name
