"""The collector as an AWS Lambda behind API Gateway: billed by use, answered when Firehose has it.

What a request may send is decided as in `larder collect`. Firehose keeps what it has taken in three
availability zones and writes it to the landing bucket; signing ids are claimed in DynamoDB, which
all instances share.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from loaders.collector.answers import Lines
from loaders.collector.bodies import Received
from loaders.collector.pages import Pages, read_origins
from loaders.collector.reception import CLAIMED, Headers, Reception, RefusedError
from loaders.collector.senders import Senders
from loaders.collector.signatures import Claim

# A record of Firehose may have 1,000 KiB.
MOST_RECORD_BYTES = 1_000 * 1024
TRIES = 3
RETRY_SECONDS = 1
# How long one call may take. It is tried again here, not by the SDK, which knows no end of ours.
CONNECT_SECONDS, READ_SECONDS = 1, 5
CLIENT = Config(
    connect_timeout=CONNECT_SECONDS,
    read_timeout=READ_SECONDS,
    retries={"mode": "standard", "total_max_attempts": 1},
)
# Killed, the function would leave the sender with an error that does not say to come again.
ANSWER_SECONDS = 1
# at most, before the second try; then twice as long
PAUSE_SECONDS = 0.1
SDK_ERRORS = (ClientError, BotoCoreError)

log = logging.getLogger("larder.collector")


class Context(Protocol):
    """What Lambda tells of an invocation, as far as it is asked here."""

    def get_remaining_time_in_millis(self) -> int:
        """Return after how many milliseconds the function is killed."""


def handler(event: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Answer a request of an HTTP API (payload format 2.0).

    Its environment: `LARDER_API_KEYS`, `LARDER_RADAR_SECRET` and `LARDER_MENU_ORIGINS` as of the
    collector,
    `LARDER_COLLECT_STREAMS` (what the names of the delivery streams begin with) and
    `LARDER_COLLECT_SIGNING_IDS` (a table of DynamoDB with the key `signing_id`).
    """
    method = event["requestContext"]["http"]["method"]
    headers = {
        name.lower().encode(): value.encode() for name, value in event.get("headers", {}).items()
    }
    try:
        if method == "GET" and event["rawPath"] == "/healthz":
            return _answer(200, {"status": "alive"})
        pages = _reception().pages
        if method == "OPTIONS":
            asked = pages.asked_before(headers)
            return _answer(200 if asked else 403, {}, pages.told(headers) + asked)
        if method != "POST":
            raise RefusedError(405, "method", "POST events, or GET /healthz")
        received = _take(event, headers, context)
    except RefusedError as refusal:
        log.info("refused", extra={"status": refusal.status, "reason": refusal.reason})
        told = [*pages.told(headers), *refusal.told]
        return _answer(refusal.status, {"error": refusal.why}, told)
    return _answer(
        200 if received.accepted else 422,
        {"accepted": received.accepted, "rejected": received.rejected},
        pages.told(headers),
    )


def _take(event: Mapping[str, Any], headers: Headers, context: Context) -> Received:
    query = event.get("rawQueryString", "").encode()
    expected = _reception().expect(event["rawPath"], headers, query)
    body = event.get("body") or ""
    content = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
    received, claimed = expected.take(content)
    batch = _Batch(received)
    if claimed is not None:
        _try(lambda: _claim(claimed), context)
    _try(batch.put, context)
    return received


def _try(call: Callable[[], None], context: Context) -> None:
    """Call until it works, three times at most, and only while there is time for the answer, too.

    Raises:
        RefusedError: it has not worked.
    """
    longest = CONNECT_SECONDS + READ_SECONDS + ANSWER_SECONDS
    for tried in range(TRIES):
        if context.get_remaining_time_in_millis() < 1000 * longest:
            log.error("not kept", extra={"why": "the time of the function is over"})
            break
        try:
            return call()
        except _PartError as error:
            log.warning("not kept yet", extra={"why": str(error)})
        except SDK_ERRORS:
            log.exception("not kept yet")
        time.sleep(random.uniform(0, PAUSE_SECONDS * 2**tried))  # noqa: S311
    raise RefusedError(503, "full", "not all was kept: send it again", RETRY_SECONDS)


@cache
def _reception() -> Reception:
    # the rate is limited by API Gateway, which sees all instances
    secret = os.environ.get("LARDER_RADAR_SECRET")
    senders = Senders(os.environ.get("LARDER_API_KEYS", ""), 0.0)
    if not senders.are_known and not secret:
        raise RuntimeError("Set LARDER_API_KEYS or LARDER_RADAR_SECRET: this is open to everybody.")
    pages = Pages(read_origins(os.environ.get("LARDER_MENU_ORIGINS", "")))
    return Reception(senders, secret.encode() if secret else None, pages)


def _claim(claimed: Claim) -> None:
    """Bind the signing id to its body, or refuse: it is bound to another one."""
    body = {"B": claimed.body}
    try:
        _dynamodb().put_item(
            TableName=os.environ["LARDER_COLLECT_SIGNING_IDS"],
            Item={"signing_id": {"B": claimed.signing_id}, "body": body},
            ConditionExpression="attribute_not_exists(signing_id) or body = :body",
            ExpressionAttributeValues={":body": body},
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
            raise RefusedError(401, "signing id", CLAIMED) from None
        raise


class _PartError(Exception):
    """Firehose has not taken all."""


class _Batch:
    """The records that Firehose has not taken yet."""

    def __init__(self, received: Received) -> None:
        self._stream = f"{os.environ['LARDER_COLLECT_STREAMS']}-{received.entity.replace('/', '-')}"
        self._left = [{"Data": data} for data in _records(received.lines)]

    def put(self) -> None:
        """Put what is left."""
        answer = _firehose().put_record_batch(DeliveryStreamName=self._stream, Records=self._left)
        if not answer["FailedPutCount"]:
            return
        results = zip(self._left, answer["RequestResponses"], strict=True)
        self._left = [record for record, one in results if "ErrorCode" in one]
        raise _PartError(f"Firehose has not taken {len(self._left)} records")


def _records(lines: list[bytes]) -> Iterator[bytes]:
    """Put lines together, as many as a record may hold."""
    held: list[bytes] = []
    size = 0
    for line in lines:
        if len(line) >= MOST_RECORD_BYTES:
            raise RefusedError(413, "size", f"a record has {MOST_RECORD_BYTES:,} bytes or more")
        if held and size + len(line) + 1 > MOST_RECORD_BYTES:
            yield b"".join(held)
            held, size = [], 0
        held += (line, b"\n")
        size += len(line) + 1
    yield b"".join(held)


@cache
def _firehose() -> Any:
    return boto3.client("firehose", config=CLIENT)


@cache
def _dynamodb() -> Any:
    return boto3.client("dynamodb", config=CLIENT)


def _answer(status: int, content: dict[str, object], told: Lines | None = None) -> dict[str, Any]:
    headers = {name.decode(): value.decode() for name, value in told or []}
    return {
        "statusCode": status,
        "headers": headers | {"content-type": "application/json"},
        "body": json.dumps(content),
    }
