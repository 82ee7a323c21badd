"""What S3 says of arrived objects in a message of SQS: straight, through SNS or EventBridge."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote_plus

TEST_EVENT = "s3:TestEvent"
# What says that an object has new bytes; the rest (removed, tagged, archived) is of no interest.
ARRIVALS = ("ObjectCreated", "ObjectRestore:Completed")
EVENT_BRIDGE_ARRIVALS = ("Object Created", "Object Restore Completed")


class MalformedMessageError(Exception):
    """A message is no notification of S3."""


def arrived_keys(body: str) -> list[tuple[str, str]]:
    """Return bucket and key of each object that a message says has arrived.

    See "Event message structure" in the user guide of S3. SNS wraps such a message as text;
    EventBridge has a form of its own, in which a key is not encoded.

    Raises:
        MalformedMessageError: it is no notification of S3.
    """
    try:
        message = json.loads(body)
        if isinstance(message, dict) and message.get("Type") == "Notification":
            message = json.loads(message["Message"])
        return _keys(message)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise MalformedMessageError from None


def _keys(message: dict[str, Any]) -> list[tuple[str, str]]:
    if message.get("Event") == TEST_EVENT:
        return []
    if "detail-type" in message:
        detail = message["detail"]
        place = _place(detail["bucket"]["name"], detail["object"]["key"])
        return [place] if message["detail-type"] in EVENT_BRIDGE_ARRIVALS else []
    return [
        _place(record["s3"]["bucket"]["name"], unquote_plus(record["s3"]["object"]["key"]))
        for record in message["Records"]
        # some stores write s3:ObjectCreated:Put
        if record["eventName"].removeprefix("s3:").startswith(ARRIVALS)
    ]


def _place(bucket: object, key: object) -> tuple[str, str]:
    if not isinstance(bucket, str) or not isinstance(key, str):
        raise TypeError
    return bucket, key
