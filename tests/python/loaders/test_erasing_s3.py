"""A person leaves the landing zone in S3: every object, and every version that S3 keeps."""

from __future__ import annotations

import gzip
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from erased_people import EMAIL, GONE, NAME, PHONE, STAYS, as_csv, customer, die_at, order
from faulty_s3 import Fault, S3Home
from landing_zone import event, line, now

from larder.errors import LandingError
from loaders.erasing import erase
from loaders.ledger import Ledger
from loaders.vault import open_vault

CUSTOMERS = "accounts/customers/a.csv"
STOCK = "fridge/stock_events/a.ndjson.gz"
ORDERS = "orders/order_lines/a.parquet"
OTHERS = "catalog/items/a.csv"
NEEDLES = [text.encode() for text in (GONE, NAME, EMAIL, PHONE)]


def put_everything(home: S3Home) -> None:
    theirs = customer(GONE, full_name=NAME, email=EMAIL, phone=PHONE)
    home.put(CUSTOMERS, as_csv([customer(STAYS), theirs]))
    home.put(
        STOCK, gzip.compress(line(event(1, customer_id=GONE)) + line(event(2, customer_id=STAYS)))
    )
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([order(1, GONE), order(2, STAYS)]), parquet)
    home.put(ORDERS, parquet.getvalue())
    home.put(OTHERS, b"item_id\nI1\n")


def keep_versions(home: S3Home) -> None:
    home.client.put_bucket_versioning(
        Bucket=home.bucket, VersioningConfiguration={"Status": "Enabled"}
    )


def everything(home: S3Home) -> bytes:
    """Return the bytes of every version, decompressed."""
    found = b""
    for one in home.client.list_object_versions(Bucket=home.bucket)["Versions"]:
        place = {"Bucket": home.bucket, "Key": one["Key"], "VersionId": one["VersionId"]}
        data = home.client.get_object(**place)["Body"].read()
        if one["Key"].endswith(".gz"):
            data = gzip.decompress(data)
        elif one["Key"].endswith(".parquet"):
            data = repr(pq.read_table(io.BytesIO(data)).to_pylist()).encode()
        found += data
    return found


@pytest.mark.parametrize("versioned", [False, True])
def test_nothing_of_a_person_is_left_in_the_bucket(s3_home: S3Home, versioned: bool) -> None:
    if versioned:
        keep_versions(s3_home)
    put_everything(s3_home)
    s3_home.put("catalog/items/old.csv", f"item_id\n{GONE}\n".encode())
    s3_home.client.delete_object(Bucket=s3_home.bucket, Key="in/catalog/items/old.csv")
    s3_home.load()
    before = s3_home.keys()
    etags = [
        s3_home.client.head_object(Bucket=s3_home.bucket, Key=f"in/{name}")["ETag"].strip('"')
        for name in (CUSTOMERS, STOCK, ORDERS)
    ]
    names = s3_home.names()
    report = erase(s3_home.settings, GONE, now)
    assert (report.traces, report.unsearchable) == ([], [])
    assert (report.landing_files, report.old_versions) == (3, 4 if versioned else 0)
    left = everything(s3_home)
    assert not [needle for needle in NEEDLES if needle in left]
    # the ETag of what held the person would tell who guesses it that the guess is right
    here = b"".join(p.read_bytes() for p in s3_home.settings.home.rglob("*") if p.is_file())
    assert not [etag for etag in etags if etag.encode() in here]
    assert left.count(STAYS.encode()) >= 3
    assert s3_home.names() == names
    assert s3_home.keys() == [key for key in before if key != GONE]
    downloads = len(s3_home.s3.downloads())
    again = s3_home.load()
    assert (again.files, again.unread, len(s3_home.s3.downloads())) == (0, [], downloads)
    assert s3_home.rejections() == [(2, "missing_field")]  # the item without a name


def test_what_describes_an_object_stays(s3_home: S3Home) -> None:
    place = {"Bucket": s3_home.bucket, "Key": f"in/{CUSTOMERS}"}
    s3_home.client.put_object(
        **place, Body=as_csv([customer(GONE)]), ContentType="text/csv", Metadata={"sender": "crm"}
    )
    s3_home.load()
    erase(s3_home.settings, GONE, now)
    head = s3_home.client.head_object(**place)
    assert (head["ContentType"], head["Metadata"]) == ("text/csv", {"sender": "crm"})


@pytest.mark.parametrize(
    ("fault", "right"),
    [
        (Fault("PUT", "_larder_erase_probe", 403, "AccessDenied"), "s3:PutObject"),
        (Fault("DELETE", "_larder_erase_probe", 403, "AccessDenied"), "s3:DeleteObjectVersion"),
        (Fault("GET", "versions", 403, "AccessDenied"), "s3:ListBucketVersions"),
        (Fault("GET", "object-lock", 403, "AccessDenied"), "s3:GetBucketObjectLockConfiguration"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_missing_right_is_said_before_anything_is_changed(
    s3_home: S3Home, fault: Fault, right: str
) -> None:
    put_everything(s3_home)
    s3_home.load()
    etag = s3_home.client.head_object(Bucket=s3_home.bucket, Key=f"in/{CUSTOMERS}")["ETag"]
    s3_home.s3.faults.append(fault)
    with pytest.raises(LandingError, match=f"{right} .*nothing was changed"):
        erase(s3_home.settings, GONE, now)
    s3_home.s3.faults.clear()
    head = s3_home.client.head_object(Bucket=s3_home.bucket, Key=f"in/{CUSTOMERS}")
    assert head["ETag"] == etag
    with open_vault(s3_home.settings) as vault:
        assert vault.tokens("commerce", [GONE]) != [None]


def test_a_bucket_that_must_keep_its_versions_is_refused(s3_home: S3Home) -> None:
    s3_home.client.delete_bucket(Bucket=s3_home.bucket)
    s3_home.client.create_bucket(
        Bucket=s3_home.bucket,
        CreateBucketConfiguration={"LocationConstraint": "eu-central-1"},
        ObjectLockEnabledForBucket=True,
    )
    put_everything(s3_home)
    with pytest.raises(LandingError, match="Object Lock"):
        erase(s3_home.settings, GONE, now)


@pytest.mark.parametrize(
    ("place", "moment"),
    [
        ("loaders.erasing.segments.commit", 2),
        ("loaders.s3.zone.replace_object", 1),
        ("loaders.s3.versions._delete", 2),
    ],
)
def test_an_erasure_that_was_killed_can_be_run_again(
    s3_home: S3Home, monkeypatch: pytest.MonkeyPatch, place: str, moment: int
) -> None:
    keep_versions(s3_home)
    put_everything(s3_home)
    s3_home.load()
    with monkeypatch.context() as patch:
        die_at(patch, (place,), moment)
        with pytest.raises(KeyboardInterrupt):
            erase(s3_home.settings, GONE, now)
    assert s3_home.load().files == 0
    report = erase(s3_home.settings, GONE, now)
    assert (report.traces, report.unsearchable) == ([], [])
    left = everything(s3_home)
    assert not [needle for needle in NEEDLES if needle in left]
    assert s3_home.load().files == 0
    for name in (CUSTOMERS, STOCK, ORDERS):
        assert len(Ledger(s3_home.settings.raw_folder).read().origins(name)) >= 1


def test_an_object_that_is_replaced_or_not_read_meanwhile_stops_it_and_it_goes_on(
    s3_home: S3Home,
) -> None:
    put_everything(s3_home)
    s3_home.load()
    s3_home.s3.faults.append(Fault("GET", f"{CUSTOMERS}?", 403, "AccessDenied"))
    with pytest.raises(LandingError, match=r"cannot be erased for certain.*larder erase"):
        erase(s3_home.settings, GONE, now)
    s3_home.s3.faults.clear()
    s3_home.s3.faults.append(Fault("PUT", CUSTOMERS, 412, "PreconditionFailed"))
    with pytest.raises(LandingError, match="was changed while a person was erased"):
        erase(s3_home.settings, GONE, now)
    s3_home.s3.faults.clear()
    s3_home.s3.faults.append(Fault("PUT", CUSTOMERS, 403, "AccessDenied"))
    with pytest.raises(LandingError, match=r"s3:PutObject on it\. Run `larder erase` again"):
        erase(s3_home.settings, GONE, now)
    s3_home.s3.faults.clear()
    report = erase(s3_home.settings, GONE, now)
    assert (report.traces, s3_home.load().files) == ([], 0)
    assert GONE.encode() not in everything(s3_home)


def test_a_file_that_cannot_be_loaded_first_stops_it(s3_home: S3Home) -> None:
    put_everything(s3_home)
    s3_home.s3.faults.append(Fault("GET", f"{CUSTOMERS}?", 403, "AccessDenied"))
    with pytest.raises(LandingError, match="cannot be erased for certain"):
        erase(s3_home.settings, GONE, now)
    with open_vault(s3_home.settings) as vault:
        assert vault.tokens("commerce", [GONE]) != [None]
