"""The landing zone in S3, over HTTP, with all that goes wrong between it and us."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from click.testing import CliRunner
from faulty_s3 import Fault, S3Home
from landing_zone import event, line

from larder.cli import DONE, FAILED, larder
from larder.errors import LandingError, LandingUnavailableError, SettingsError
from larder.settings import PROJECT_ROOT, Settings, read_settings
from loaders.dead_letters import dead_letters, redrive
from loaders.landing import describe
from loaders.ledger import Ledger
from loaders.s3 import zone as s3_zone
from loaders.zones import open_zone

STOCK = "fridge/stock_events"
A, B = f"{STOCK}/a.ndjson", f"{STOCK}/b.ndjson"


def put_two(home: S3Home) -> None:
    for number, name in enumerate((A, B), start=1):
        home.put(name, line(event(number)))


def test_objects_are_loaded_once_and_known_without_being_read_again(s3_home: S3Home) -> None:
    put_two(s3_home)
    assert s3_home.load().files == 2
    assert len(s3_home.s3.downloads()) == 2
    second = s3_home.load()
    assert (second.files, second.skipped, second.unread) == (0, 2, [])
    assert len(s3_home.s3.downloads()) == 2
    assert s3_home.keys() == ["e1", "e2"]
    assert list((s3_home.settings.raw_folder / "_aside").iterdir()) == []


def test_what_is_loaded_is_the_same_as_from_a_folder(s3_home: S3Home, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    contents = {
        f"{STOCK}/2024/05/a.ndjson": line(event(1, customer_id="C1")) * 2 + b"x\n",
        "catalog/items/b.csv": b"item_id,item_name\nI1,Soup\n",
        "catalog/items/c.json": b"[{}, 7]",
        "somewhere/else.ndjson": b"{}\n",
        "fridge/stock_events/d.txt": b"?",
        "fridge/stock_events/empty.ndjson": b"",
        f"{STOCK}/_not/yet.ndjson": b"",
        f"{STOCK}/.hidden.ndjson": b"",
        f"{STOCK}/e.ndjson.tmp": b"",
        f"{STOCK}/AWSDynamoDB/0169-2d87/manifest-summary.json": b"{}",
        f"{STOCK}/AWSDynamoDB/0169-2d87/data/f.ndjson": line(event(2)),
    }
    for name, content in contents.items():
        s3_home.put(name, content)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    s3_home.put(f"{STOCK}/a_folder_of_the_console/", b"")
    s3_home.load()
    columns = "select source_file, payload, natural_key, content_hash, rejection_reason, "
    wanted = f"{columns} line_number, commerce_token is null from records order by all"
    found = s3_home.query(wanted)
    other = S3Home.__new__(S3Home)
    other.settings = s3_home.settings.model_copy(
        update={"home": tmp_path / "other", "landing": folder}
    )
    other.load()
    assert found == other.query(wanted)
    assert len({row[0] for row in found}) == 7


def test_a_bucket_has_as_many_objects_as_it_likes(
    s3_home: S3Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        s3_home.put(f"{STOCK}/{number}.ndjson", line(event(number)))
    with open_zone(s3_home.settings) as zone:
        assert isinstance(zone, s3_zone.S3Zone)
        original = zone.client.get_paginator

        def small_pages(name: str) -> object:
            paginator = original(name)
            paginate = paginator.paginate
            paginator.paginate = lambda **asked: paginate(
                **asked | {"PaginationConfig": asked["PaginationConfig"] | {"PageSize": 2}}
            )
            return paginator

        monkeypatch.setattr(zone.client, "get_paginator", small_pages)
        assert len(list(zone.find())) == 7
    assert sum("continuation-token" in one for one in s3_home.s3.requests) == 3


def test_a_replaced_object_is_one_dead_letter_and_what_it_was_stays(s3_home: S3Home) -> None:
    s3_home.put(A, line(event(1)))
    s3_home.load()
    s3_home.put(A, line(event(2)))
    assert s3_home.load().files == 1
    assert s3_home.load().files == 0
    assert s3_home.keys() == ["e1"]
    assert s3_home.rejections() == [(1, "changed_file")]


def test_the_same_bytes_put_again_are_known_by_their_etag(s3_home: S3Home) -> None:
    s3_home.put(A, line(event(1)))
    s3_home.load()
    s3_home.put(A, line(event(1)))
    assert s3_home.load().skipped == 1
    assert len(s3_home.s3.downloads()) == 1


def test_the_same_bytes_under_another_etag_are_read_once_more_only(s3_home: S3Home) -> None:
    content = b"".join(line(event(n, reason="x" * 1000)) for n in range(6000))  # two parts
    s3_home.put(A, content)
    s3_home.load()
    client, place = s3_home.client, {"Bucket": s3_home.bucket, "Key": f"in/{A}"}
    upload = client.create_multipart_upload(**place)["UploadId"]
    parts = [
        client.upload_part(**place, UploadId=upload, PartNumber=number, Body=body)["ETag"]
        for number, body in enumerate((content[: 5 << 20], content[5 << 20 :]), start=1)
    ]
    client.complete_multipart_upload(
        **place,
        UploadId=upload,
        MultipartUpload={
            "Parts": [{"PartNumber": n, "ETag": tag} for n, tag in enumerate(parts, start=1)]
        },
    )
    for _ in range(2):
        assert (s3_home.load().skipped, len(s3_home.s3.downloads())) == (1, 2)
    assert len(s3_home.keys()) == 6000


def test_a_landing_zone_that_moves_to_s3_is_not_loaded_again(
    s3_home: S3Home, tmp_path: Path
) -> None:
    in_bucket = s3_home.settings
    s3_home.settings = in_bucket.model_copy(update={"landing": tmp_path / "landing"})
    (tmp_path / "landing").mkdir()
    s3_home.land(A, line(event(1)))
    s3_home.load()
    s3_home.put(A, line(event(1)))
    s3_home.settings = in_bucket
    assert [s3_home.load().files for _ in range(2)] == [0, 0]
    assert len(s3_home.s3.downloads()) == 1
    assert s3_home.keys() == ["e1"]


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault("GET", "a.ndjson", 503, "SlowDown"), "SlowDown"),
        (Fault("GET", "a.ndjson", 500, "InternalError"), "InternalError"),
        (Fault("GET", "a.ndjson", 403, "AccessDenied"), "s3:GetObject"),
        (Fault("GET", "a.ndjson", 400, "KMS.DisabledException"), "KMS.DisabledException"),
        (Fault("GET", "a.ndjson", 403, "InvalidObjectState"), "archived"),
        (Fault("GET", "a.ndjson", kept=0), "only a part"),
    ],
    ids=lambda value: (value.code or "partial") if isinstance(value, Fault) else "",
)
def test_an_object_that_cannot_be_read_waits_and_the_others_are_loaded(
    s3_home: S3Home, fault: Fault, why: str
) -> None:
    put_two(s3_home)
    s3_home.s3.faults.append(fault)
    summary = s3_home.load()
    (unread,) = summary.failures
    assert (unread.relative, summary.files, s3_home.keys()) == (A, 1, ["e2"])
    assert why in unread.why
    s3_home.s3.faults.clear()
    fault.times = 10**9
    assert (s3_home.load().files, s3_home.load().files) == (1, 0)
    assert s3_home.keys() == ["e1", "e2"]


def test_a_body_that_breaks_off_is_read_on_from_there(s3_home: S3Home) -> None:
    content = b"".join(line(event(n)) for n in range(20_000))
    s3_home.put(A, content)
    s3_home.s3.faults.append(Fault("GET", "a.ndjson", kept=1_500_000, times=1))
    s3_home.s3.faults.append(Fault("GET", "a.ndjson", kept=0, times=2))
    assert (s3_home.load().files, s3_home.keys()) == (1, sorted(f"e{n}" for n in range(20_000)))


def test_short_throttling_is_not_even_noticed(s3_home: S3Home) -> None:
    put_two(s3_home)
    s3_home.s3.faults.append(Fault("GET", "a.ndjson", 503, "SlowDown", times=1))
    s3_home.s3.faults.append(Fault("GET", "list-type", 503, "SlowDown", times=1))
    assert (s3_home.load().files, s3_home.load().files) == (2, 0)


def test_where_all_is_throttled_the_load_ends_and_the_next_goes_on(
    s3_home: S3Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_zone, "MOST_FAILURES", 2)
    for number in range(12):
        s3_home.put(f"{STOCK}/{number:02}.ndjson", line(event(number)))
    s3_home.s3.faults.append(Fault("GET", "ndjson", 503, "SlowDown"))
    with pytest.raises(LandingUnavailableError, match=r"too many requests \(SlowDown\).*the rest"):
        s3_home.load()
    s3_home.s3.faults.clear()
    assert s3_home.load().files == 12


def test_an_object_that_vanishes_after_the_listing_is_said_and_no_failure(
    s3_home: S3Home,
) -> None:
    put_two(s3_home)

    def vanish() -> None:
        s3_home.client.delete_object(Bucket=s3_home.bucket, Key=f"in/{A}")

    s3_home.s3.faults.append(Fault("GET", "a.ndjson", before=vanish, times=1))
    summary = s3_home.load()
    (unread,) = summary.unread
    assert (unread.relative, unread.is_failure, summary.files) == (A, False, 1)
    assert "taken away" in unread.why
    assert (s3_home.load().unread, s3_home.keys()) == ([], ["e2"])


@pytest.mark.parametrize("kept", [None, 1_200_000], ids=["before", "in the middle"])
def test_an_object_replaced_after_the_listing_is_loaded_whole_the_next_time(
    s3_home: S3Home, kept: int | None
) -> None:
    s3_home.put(A, b"".join(line(event(n)) for n in range(20_000)))
    s3_home.put(B, line(event(2)))

    def replace() -> None:
        s3_home.put(A, b"".join(line(event(n)) for n in range(100, 20_100)))

    if kept is not None:
        s3_home.s3.faults.append(Fault("GET", "a.ndjson", kept=kept, times=1))
    s3_home.s3.faults.append(Fault("GET", "a.ndjson", before=replace, times=1))
    summary = s3_home.load()
    (unread,) = summary.unread
    assert (unread.relative, unread.is_failure, s3_home.keys()) == (A, False, ["e2"])
    assert "another ETag" in unread.why
    assert s3_home.load().files == 1
    assert s3_home.keys() == sorted(["e2", *(f"e{n}" for n in range(100, 20_100))])


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (400, "ExpiredToken", r"credentials have expired \(ExpiredToken\).*aws sso login"),
        (403, "InvalidAccessKeyId", "not accepted.*AWS_ACCESS_KEY_ID"),
        (403, "SignatureDoesNotMatch", "not accepted.*AWS_SECRET_ACCESS_KEY"),
        (403, "RequestTimeTooSkewed", "clock"),
        (403, "AccessDenied", "s3:ListBucket"),
        (503, "SlowDown", "too many requests.*AWS_MAX_ATTEMPTS"),
        (500, "InternalError", "the service failed"),
        (418, "Teapot", "the service answered Teapot"),
    ],
)
def test_a_zone_that_cannot_be_listed_says_why_and_what_to_do(
    s3_home: S3Home, status: int, code: str, said: str
) -> None:
    put_two(s3_home)
    s3_home.s3.faults.append(Fault("GET", "list-type", status, code))
    with pytest.raises(LandingError, match=f"{s3_home.bucket}/in cannot be listed: .*{said}"):
        s3_home.load()


def test_credentials_that_expire_on_the_way_stop_the_load_and_lose_nothing(
    s3_home: S3Home,
) -> None:
    put_two(s3_home)
    s3_home.put("catalog/items/a.csv", b"item_id\nI1\n")
    s3_home.s3.faults.append(Fault("GET", "b.ndjson", 400, "ExpiredToken"))
    with pytest.raises(LandingError, match=r"expired \(ExpiredToken\).*what was loaded before st"):
        s3_home.load()
    s3_home.s3.faults.clear()
    s3_home.load()
    assert s3_home.load().skipped == 3
    assert s3_home.keys(STOCK) == ["e1", "e2"]


def test_without_the_bucket_or_credentials_or_endpoint_the_error_says_so(
    s3_home: S3Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = s3_home.settings
    s3_home.settings = here.model_copy(update={"landing": "s3://bucket-of-nobody/in"})
    with pytest.raises(LandingError, match=r"none of that name \(NoSuchBucket\).*LARDER_LANDING"):
        s3_home.load()
    s3_home.settings = here
    for name, value, said in [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9", "cannot be reached.*AWS_ENDPOINT_URL"),
        ("AWS_ENDPOINT_URL", "nonsense", "AWS_ENDPOINT_URL cannot be used"),
        ("AWS_PROFILE", "nobody", r"no usable credentials.*AWS_PROFILE"),
    ]:
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(LandingError, match=said):
                s3_home.load()
    with monkeypatch.context() as patch:
        patch.delenv("AWS_ACCESS_KEY_ID")
        patch.delenv("AWS_SECRET_ACCESS_KEY")
        with pytest.raises(LandingError, match=r"no usable credentials.*AWS_ACCESS_KEY_ID"):
            s3_home.load()


def test_a_full_disk_is_said(s3_home: S3Home, monkeypatch: pytest.MonkeyPatch) -> None:
    put_two(s3_home)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(s3_zone.S3Zone, "_read", fail)
    with pytest.raises(LandingError, match="no room below LARDER_HOME"):
        s3_home.load()


def test_memory_does_not_grow_with_an_object(s3_home: S3Home, tmp_path: Path) -> None:
    size, chunk = 128 << 20, bytes(1 << 16)
    body = (chunk for _ in range(size // len(chunk)))
    s3_home.s3.faults.append(Fault("GET", "a.ndjson", body=body, times=1))
    file = describe(s3_zone.NOWHERE, A, size, 0, '"x"')
    with open_zone(s3_home.settings) as zone:
        assert isinstance(zone, s3_zone.S3Zone)
        list(zone.find())  # whatever the SDK reads the first time
        tracemalloc.start()
        zone.download(file, tmp_path / "a")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (tmp_path / "a").stat().st_size == size
    assert peak < size / 8


def test_the_ledger_of_objects_keeps_their_etags(s3_home: S3Home) -> None:
    put_two(s3_home)
    s3_home.load()
    (origin,) = Ledger(s3_home.settings.raw_folder).read().origins(A)
    listed = s3_home.client.head_object(Bucket=s3_home.bucket, Key=f"in/{A}")
    assert (origin.etag, origin.size) == (listed["ETag"], listed["ContentLength"])
    assert origin.modified_ns == int(listed["LastModified"].timestamp()) * 10**9


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("s3://larder/in/", ("larder", "in/")),
        ("s3://larder", ("larder", "")),
        ("S3://larder/a/b", ("larder", "a/b/")),
        ("/somewhere", None),
        ("", None),
    ],
)
def test_the_landing_zone_is_a_folder_or_a_prefix(
    monkeypatch: pytest.MonkeyPatch, given: str, taken: tuple[str, str] | None
) -> None:
    monkeypatch.setenv("LARDER_LANDING", given)
    assert read_settings().landing_bucket == taken


@pytest.mark.parametrize("name", ["LARDER_LANDING=s3://", "LARDER_LANDING_QUEUE=larder"])
def test_a_landing_zone_that_is_neither_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(*name.split("=", 1))
    with pytest.raises(SettingsError, match=name.partition("=")[0]):
        read_settings()


def test_what_writes_into_a_folder_only_refuses_a_bucket(tmp_path: Path) -> None:
    settings = Settings(landing="s3://larder/in", home=tmp_path)
    told = CliRunner().invoke(larder, ["sample"], obj=settings)
    assert isinstance(told.exception, LandingError)
    assert "into a folder only" in str(told.exception)


def test_the_program_ends_with_a_sentence_and_no_traceback(s3_home: S3Home) -> None:
    s3_home.s3.faults.append(Fault("GET", "list-type", 400, "ExpiredToken"))
    settings = s3_home.settings
    variables = {
        "LARDER_HOME": str(settings.home),
        "LARDER_KEY_FILE": str(settings.key_file),
        "LARDER_LANDING": str(settings.landing),
        "PYTHONPATH": str(PROJECT_ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-c", "from larder.cli import main; main()", "load"],
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == FAILED
    assert "error: The landing zone s3://" in done.stderr
    assert "credentials have expired (ExpiredToken)" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_status_says_what_waits_in_the_bucket_or_why_it_is_not_known(s3_home: S3Home) -> None:
    put_two(s3_home)
    told = CliRunner().invoke(larder, ["status", "--json"], obj=s3_home.settings)
    state = json.loads(told.stdout)["landing"]
    assert (state["newest_file"] in (A, B), state["files_not_loaded"]) == (True, 2)
    assert state["bucket_bytes"] == 2 * len(line(event(1)))
    s3_home.s3.faults.append(Fault("GET", "list-type", 403, "AccessDenied"))
    told = CliRunner().invoke(larder, ["status"], obj=s3_home.settings)
    assert str(s3_home.settings.home) in told.stdout
    assert "s3:ListBucket" in str(told.exception)


@pytest.mark.parametrize(("fault", "code"), [("AccessDenied", FAILED), ("", DONE)])
def test_a_load_that_could_not_read_all_fails_and_says_which(
    s3_home: S3Home, fault: str, code: int
) -> None:
    put_two(s3_home)
    if fault:
        s3_home.s3.faults.append(Fault("GET", "a.ndjson", 403, fault))
    done = CliRunner().invoke(larder, ["load"], obj=s3_home.settings, standalone_mode=False)
    assert done.return_value == code
    assert ("not loaded: fridge/stock_events/a.ndjson: it may not" in done.output) == bool(fault)


def test_corrected_dead_letters_become_objects(s3_home: S3Home, tmp_path: Path) -> None:
    s3_home.put(A, line(event(1, quantity="many")))
    s3_home.load()
    (letter,) = dead_letters(s3_home.settings)
    mended = tmp_path / "mended.ndjson"
    mended.write_bytes(line(letter.to_dict() | {"corrected": event(1)}))
    driven = [redrive(s3_home.settings, mended) for _ in range(2)]
    assert [(one.files, one.known) for one in driven] == [(1, 0), (0, 1)]
    s3_home.load()
    assert s3_home.keys() == ["e1"]
    s3_home.s3.faults.append(Fault("PUT", "redriven", 403, "AccessDenied"))
    mended.write_bytes(line(letter.to_dict() | {"corrected": event(2)}))
    with pytest.raises(LandingError, match=r"cannot be written: .*s3:PutObject"):
        redrive(s3_home.settings, mended)
