"""The collector as a Lambda: events as API Gateway documents them, real HTTP to AWS' services."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from buckets import make_bucket, s3_endpoint
from collecting import KEY, SECRET, menu_event, signed, trip_event
from kept_events import keys_in_dead_letters, keys_in_raw

from larder.settings import PROJECT_ROOT
from loaders.collector import gateway
from loaders.collector.gateway import MOST_RECORD_BYTES, handler

REQUEST = Path(__file__).with_name("http_api_request.json")
STREAMS = PROJECT_ROOT / "deploy" / "aws" / "collector" / "streams.tf"
BUCKET = "landing"
PAGE_KEY, SITE = "the-key-of-the-menu-page", "https://bistro.example"
ENTITIES = ("menu/menu_events", "trips/trip_events", "catalog/items")


@pytest.fixture(scope="module")
def services() -> Iterator[Any]:
    """Serve Firehose, DynamoDB and S3, with a delivery stream for each of some entities."""
    with s3_endpoint(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("LARDER_API_KEYS", f"{KEY}:*, {PAGE_KEY}:menu")
        patch.setenv("LARDER_MENU_ORIGINS", SITE)
        patch.setenv("LARDER_RADAR_SECRET", SECRET)
        patch.setenv("LARDER_COLLECT_STREAMS", "larder")
        patch.setenv("LARDER_COLLECT_SIGNING_IDS", "signing-ids")
        s3 = make_bucket(BUCKET)
        firehose = boto3.client("firehose")
        for entity in ENTITIES:
            firehose.create_delivery_stream(
                DeliveryStreamName=f"larder-{entity.replace('/', '-')}",
                ExtendedS3DestinationConfiguration={
                    "RoleARN": "arn:aws:iam::123456789012:role/firehose",
                    "BucketARN": f"arn:aws:s3:::{BUCKET}",
                    "Prefix": f"landing/{entity}/",
                },
            )
        boto3.client("dynamodb").create_table(
            TableName="signing-ids",
            KeySchema=[{"AttributeName": "signing_id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "signing_id", "AttributeType": "B"}],
            BillingMode="PAY_PER_REQUEST",
        )
        for made in (gateway._reception, gateway._firehose, gateway._dynamodb):
            made.cache_clear()
        yield s3
        for made in (gateway._reception, gateway._firehose, gateway._dynamodb):
            made.cache_clear()


class Invocation:
    """What Lambda tells of an invocation that began now; by default as deploy/aws has it."""

    def __init__(self, seconds: float = 25.0) -> None:
        self.ends_at = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(1000 * (self.ends_at - time.monotonic()))


def event(
    path: str, body: object, headers: dict[str, str] | None = None, method: str = "POST"
) -> dict[str, Any]:
    """Return a request as an HTTP API hands it over, in payload format 2.0.

    http_api_request.json has every field that the developer guide of API Gateway lists for it
    ("Create AWS Lambda proxy integrations for HTTP APIs"), with our route; none of it was recorded.
    """
    request: dict[str, Any] = json.loads(REQUEST.read_text(encoding="utf-8"))
    content = body if isinstance(body, str) else json.dumps(body)
    chosen = {"authorization": f"Bearer {KEY}"} if headers is None else headers
    request["headers"] |= {"content-length": str(len(content.encode()))}
    request["headers"] |= {name.lower(): value for name, value in chosen.items()}
    request["requestContext"]["http"] |= {"method": method, "path": path}
    return request | {"rawPath": path, "rawQueryString": "", "body": content}


def answer(request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    answered = handler(request, Invocation())
    return answered["statusCode"], json.loads(answered["body"])


def delivered(s3: Any, entity: str) -> list[bytes]:
    """Return the objects that Firehose has delivered of an entity."""
    found = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"landing/{entity}/").get("Contents", [])
    return [s3.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read() for one in found]


def landed(s3: Any, entity: str) -> list[bytes]:
    """Return the lines that Firehose has delivered of an entity."""
    return [line for body in delivered(s3, entity) for line in body.splitlines()]


def test_what_is_accepted_was_taken_by_firehose(services: Any) -> None:
    assert answer(event("/v1/menu/events", menu_event(1))) == (200, {"accepted": 1, "rejected": 0})
    assert json.loads(landed(services, "menu/menu_events")[-1]) == menu_event(1)
    several = {"events": [trip_event(1)["event"], trip_event(2)["event"]], "user": {"_id": "d"}}
    status, counts = answer(event("/v1/trips/webhook", several))
    assert (status, counts) == (200, {"accepted": 2, "rejected": 0})
    assert len(landed(services, "trips/trip_events")) == 2


def test_what_firehose_delivers_is_loaded(
    services: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the names and with the compression of streams.tf, of which moto does neither."""
    broken = menu_event(101, occurred_at="never")
    lines = "\n".join(json.dumps(one) for one in (menu_event(100), broken, menu_event(102)))
    request = event("/v1/menu/events", lines)
    request["headers"]["content-type"] = "application/x-ndjson"
    assert answer(request) == (200, {"accepted": 3, "rejected": 0})
    webhook = event("/v1/trips/webhook", trip_event(100), signed("loaded"))
    assert answer(webhook)[0] == 200

    prefix = "landing/{entity}/process_hour=2024-05-31T06/"
    terms = STREAMS.read_text(encoding="utf-8")
    assert "landing/${each.value}/process_hour=!{timestamp:yyyy-MM-dd'T'HH}/" in terms
    assert ('file_extension      = ".ndjson.gz"' in terms, '"GZIP"' in terms) == (True, True)
    make_bucket("delivered")
    for entity in ("menu/menu_events", "trips/trip_events"):
        for number, body in enumerate(delivered(services, entity)):
            key = f"{prefix.format(entity=entity)}{number}.ndjson.gz"
            services.put_object(Bucket="delivered", Key=key, Body=gzip.compress(body))
    monkeypatch.setenv("LARDER_LANDING", "s3://delivered/landing")
    home = tmp_path / "home"
    found = keys_in_raw(home)
    assert (found["menu-100"], found["menu-101"], found["menu-102"]) == (1, 0, 1)
    assert keys_in_dead_letters(home)["menu-101"] == 1
    assert keys_in_raw(home, "trips/trip_events")["trip-event-100"] == 1


def test_a_binary_body_and_an_unusable_one(services: Any) -> None:
    request = event("/v1/menu/menu_events", "")
    request |= {
        "body": base64.b64encode(json.dumps(menu_event(2)).encode()).decode(),
        "isBase64Encoded": True,
    }
    assert answer(request)[0] == 200
    assert answer(event("/v1/catalog/items", {"item_id": "a"})) == (
        422,
        {"accepted": 0, "rejected": 1},
    )
    assert landed(services, "catalog/items") == [b'{"item_id": "a"}']


def test_a_signing_id_belongs_to_the_first_body(services: Any) -> None:
    for number, status in ((10, 200), (10, 200), (11, 401)):
        request = event("/v1/trips/webhook", trip_event(number), signed("bound"))
        assert answer(request)[0] == status
    assert not any(b"trip-event-11" in line for line in landed(services, "trips/trip_events"))


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(event("/v1/menu/events", menu_event(3), {}), 401, id="no key"),
        pytest.param(
            event("/v1/trips/webhook", trip_event(3), signed("a") | {"X-Radar-Signature": "b"}),
            401,
            id="wrong signature",
        ),
        pytest.param(event("/v1/menu/dishes", {}), 404, id="no entity"),
        pytest.param(event("/v1/menu/events", {}, method="PUT"), 405, id="no method"),
        pytest.param(event("/v1/menu/events", " "), 422, id="empty"),
        pytest.param(
            event("/v1/menu/events", menu_event(4, section="x" * MOST_RECORD_BYTES)),
            413,
            id="larger than a record of Firehose",
        ),
        pytest.param(event("/v1/orders/order_lines", {"order_id": "1"}), 503, id="no stream"),
    ],
)
def test_what_is_refused(services: Any, request_: dict[str, Any], status: int) -> None:
    assert services
    found, content = answer(request_)
    assert found == status
    assert content["error"]


def test_what_firehose_did_not_take_is_sent_again(
    services: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert services
    taken: list[bytes] = []
    failures = [2, 1, 0]

    class Firehose:
        def put_record_batch(self, **asked: Any) -> dict[str, Any]:
            records = [record["Data"] for record in asked["Records"]]
            failed = failures.pop(0)
            taken.extend(records[failed:])
            responses = [{"ErrorCode": "ServiceUnavailable"}] * failed
            return {
                "FailedPutCount": failed,
                "RequestResponses": responses + [{"RecordId": "1"}] * (len(records) - failed),
            }

    monkeypatch.setattr(gateway, "_firehose", Firehose)
    line = json.dumps(menu_event(5, section="x" * 400_000))
    body = "\n".join([line, line, line[:-2] + 'y"}'])[: 1024 * 1024]
    request = event("/v1/menu/events", body)
    request["headers"]["content-type"] = "application/x-ndjson"
    assert answer(request)[0] == 200
    assert sorted(b"".join(taken).splitlines()) == sorted(body.encode().splitlines())

    failures[:] = [1, 1, 1]
    assert answer(event("/v1/menu/events", menu_event(6)))[0] == 503


def test_services_that_cannot_be_reached_are_told_to_the_sender(
    services: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert services

    def refuse(**_: object) -> None:
        raise ClientError({"Error": {"Code": "ServiceUnavailableException"}}, "PutRecordBatch")

    monkeypatch.setattr(gateway._firehose(), "put_record_batch", refuse)
    answered = handler(event("/v1/menu/events", menu_event(7)), Invocation())
    assert answered["statusCode"] == 503
    assert answered["headers"]["retry-after"] == "1"


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize("service", ["firehose", "dynamodb"])
def test_a_service_that_never_answers_is_given_up_before_the_function_is_killed(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = event("/v1/trips/webhook", trip_event(20), signed(f"dead {service}"))
    with socket.create_server(("127.0.0.1", 0)) as dead:  # takes connections, and says nothing
        endpoint = f"http://127.0.0.1:{dead.getsockname()[1]}"
        client = boto3.client(service, config=gateway.CLIENT, endpoint_url=endpoint)
        monkeypatch.setattr(gateway, f"_{service}", lambda: client)
        invocation = Invocation(seconds=9.0)
        answered = handler(request, invocation)
    assert invocation.get_remaining_time_in_millis() > 0
    assert answered["statusCode"] == 503
    assert answered["headers"]["retry-after"] == "1"


def test_a_lambda_needs_little_more_than_python() -> None:
    # what deploy/aws/README.md puts into its package, and what the runtime of AWS has
    heavy = ("duckdb", "pyarrow", "pandas", "pydantic", "click", "rich", "uvicorn", "snowflake")
    code = (
        "import sys\n"
        f"for name in {heavy!r}: sys.modules[name] = None\n"
        "import loaders.collector.gateway"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_it_is_never_open_to_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway._reception.cache_clear()
    for name in ("LARDER_API_KEYS", "LARDER_RADAR_SECRET"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(RuntimeError, match="open to everybody"):
        gateway._reception()


@pytest.mark.usefixtures("services")
def test_a_page_of_a_listed_site_sends_menu_events() -> None:
    request = event("/v1/menu/events", menu_event(1), {"origin": SITE})
    request["headers"]["content-type"] = "text/plain"
    assert answer(request)[0] == 401
    for query in ("key=%C3%A9", "key=%ff", "key=\u00e9", "key", "&&=;"):
        request["rawQueryString"] = query
        assert answer(request)[0] == 401, query
    request["rawQueryString"] = f"key={PAGE_KEY}"
    answered = handler(request, Invocation())
    assert answered["statusCode"] == 200
    assert answered["headers"]["access-control-allow-origin"] == SITE
    request["headers"]["origin"] = "https://evil.example"
    assert answer(request)[0] == 403
    asked = event("/v1/menu/events", "", {"origin": SITE}, "OPTIONS")
    assert handler(asked, Invocation())["headers"]["access-control-allow-methods"] == "POST"
