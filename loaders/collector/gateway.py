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
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

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
# API Gateway gives up after 30 seconds, so we do before.
CLIENT = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "max_attempts": 3})

log = logging.getLogger("larder.collector")


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001
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
        received = _take(event, headers)
    except RefusedError as refusal:
        log.info("refused", extra={"status": refusal.status, "reason": refusal.reason})
        told = [*pages.told(headers), *refusal.told]
        return _answer(refusal.status, {"error": refusal.why}, told)
    return _answer(
        200 if received.accepted else 422,
        {"accepted": received.accepted, "rejected": received.rejected},
        pages.told(headers),
    )


def _take(event: Mapping[str, Any], headers: Headers) -> Received:
    query = event.get("rawQueryString", "").encode()
    expected = _reception().expect(event["rawPath"], headers, query)
    body = event.get("body") or ""
    content = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
    received, claimed = expected.take(content)
    try:
        if claimed is not None:
            _claim(claimed)
        _put(received)
    except (ClientError, BotoCoreError) as error:
        log.exception("not kept")
        raise RefusedError(503, "full", "nothing was kept", RETRY_SECONDS) from error
    return received


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


def _put(received: Received) -> None:
    stream = f"{os.environ['LARDER_COLLECT_STREAMS']}-{received.entity.replace('/', '-')}"
    left = [{"Data": data} for data in _records(received.lines)]
    for _ in range(TRIES):
        answer = _firehose().put_record_batch(DeliveryStreamName=stream, Records=left)
        if not answer["FailedPutCount"]:
            return
        left = [
            record
            for record, one in zip(left, answer["RequestResponses"], strict=True)
            if "ErrorCode" in one
        ]
    raise RefusedError(503, "full", "not all was kept: send it again", RETRY_SECONDS)


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
