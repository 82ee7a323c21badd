from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote

import duckdb
import pyarrow.parquet as pq
import pytest
from audit_batches import (
    NOW,
    STOCK,
    Record,
    clock,
    event,
    good,
    item,
    land,
    land_catalogue,
    settings_for,
    thresholds,
    write,
)

from larder.errors import AuditError, UsageError
from larder.settings import Settings
from loaders.audit import AuditSummary, audit, expectations, list_held, release, verdicts
from loaders.audit.expectations import Examiner
from loaders.audit.rules import THRESHOLDS_SEED
from loaders.entities import read_entities


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings: Settings = settings_for(tmp_path)
    return settings


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, AuditSummary]]:
    settings = settings_for(tmp_path_factory.mktemp("audited"))
    land_catalogue(settings)
    land(settings, f"{STOCK}/all", [event(number) for number in range(200)])
    yield settings, audit(settings, clock)


def test_good_records_are_accepted(audited: tuple[Settings, AuditSummary]) -> None:
    settings, summary = audited
    assert (summary.held, summary.failures, summary.warnings) == ((), (), ())
    assert summary.records == {"catalog/items": 1, "catalog/locations": 1, STOCK: 200}
    assert len(summary.accepted) == 3
    assert summary.pages is not None
    pages = {page: page.read_text("utf-8") for page in summary.pages.parent.rglob("*.html")}
    (link,) = re.findall(r'href="(validations/fridge_stock_events/[^"]*)"', pages[summary.pages])
    assert "100% not null" in pages[summary.pages.parent / unquote(link)]
    # nothing is fetched from elsewhere when a page is opened
    assert [page for page, text in pages.items() if "://" in text or "<script" in text] == []
    assert {
        (row["segment"], row["verdict"], row["decided_at"])
        for path in (settings.audit_folder / "verdicts").glob("*.parquet")
        for row in pq.read_table(path).to_pylist()
    } == {(segment, "accepted", NOW.replace(tzinfo=None)) for segment in summary.accepted}


def test_nothing_new_imports_nothing(audited: tuple[Settings, AuditSummary]) -> None:
    settings, _ = audited
    program = f"""
import sys
from datetime import UTC, datetime
from pathlib import Path
from larder.settings import Settings
from loaders.audit import audit, list_held
settings = Settings(home=Path({str(settings.home)!r}), landing=None, as_of=None)
summary = audit(settings, lambda: datetime.now(UTC))
assert summary.skipped == "nothing new since the last audit", summary
assert not summary.is_held and not list_held(settings) and summary.pages
print(sorted(sys.modules.keys() & {{"great_expectations", "pandas"}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_an_empty_home_has_nothing_to_audit(settings: Settings) -> None:
    assert audit(settings, clock).skipped == "nothing has been loaded yet"
    assert not settings.audit_folder.exists()


def daily() -> list[Record]:
    """Ten days of ten events, one of four, and the day that has only begun."""
    counts = [10] * 10 + [4, 1]
    return [
        event(day * 100 + number, occurred_at=(NOW - timedelta(days=len(counts) - day)).isoformat())
        for day, count in enumerate(counts)
        for number in range(count)
    ]


KINDS: dict[str, tuple[str, Callable[[], list[Record]], str]] = {
    "completeness": (
        "basket_id,not_null,,0.5,0",
        good,
        "100 % of the records have no basket_id (at most 50 % may)",
    ),
    "completeness of a person": (
        "customer_id,not_null,,0.95,0",
        lambda: [event(number, customer_id="c" if number else None) for number in range(10)],
        "10 % of the records have no customer_id (at most 5 % may)",
    ),
    "range above": (
        "quantity,at_most,5,0.95,0",
        lambda: [*good(), event(11, quantity=7), event(12, quantity=5)],
        "8.33 % of the records have a quantity over 5 (at most 5 % may)",
    ),
    "range below": (
        "quantity,at_least,1,1,0",
        lambda: [*good()[1:], event(11, quantity=0)],
        "10 % of the records have a quantity under 1 (none may)",
    ),
    "rejected": (
        ",rejected_share,,0.1,0",
        lambda: [*good()[2:], event(11, kind="stolen"), event(12, quantity=-1)],
        "20 % of the records were rejected (at most 10 % may be)",
    ),
    "unreadable": (
        "expires_on,unreadable_share,,0.05,0",
        lambda: [*good()[1:], event(11, expires_on="soon")],
        "10 % of the records have an expires_on that could not be read (at most 5 % may)",
    ),
    "unknown": (
        "item_id,unknown_share,,0.05,0",
        lambda: [*good()[1:], event(11, item_id="cake")],
        "10 % of the records name an item_id that the catalogue does not have (at most 5 % may)",
    ),
    "duplicates": (
        ",duplicate_share,,0.1,0",
        lambda: [*good()[:5], *good()[:5]],
        "50 % of the records came more than once (at most 10 % may)",
    ),
    "freshness": (
        "occurred_at,fresh_within_hours,,3,0",
        lambda: [event(1, occurred_at="2026-06-09T22:00:00Z")],
        "the newest occurred_at is 14 hours old (at most 3 hours)",
    ),
    "volume": (
        "occurred_at,volume_at_least,,0.5,0",
        lambda: daily()[100:],
        "a day has 40 % of the usual records (at least 50 %)",
    ),
}


@pytest.fixture
def without_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the time of pages that nobody looks at."""
    monkeypatch.setattr(Examiner, "write_pages", lambda _: None)


@pytest.mark.usefixtures("without_pages")
@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_critical_rule_holds_the_batch(
    settings: Settings, tmp_path: Path, kind: str
) -> None:
    rule, records, text = KINDS[kind]
    seed = thresholds(tmp_path, f"{STOCK},{rule},critical,It matters.")
    if kind == "unknown":
        land(settings, "catalog/items/all", [item()])
    if kind == "volume":
        land(settings, f"{STOCK}/earlier", daily()[:100])
        assert not audit(settings, clock, thresholds=seed).is_held

    land(settings, f"{STOCK}/new", records())
    summary = audit(settings, clock, thresholds=seed)

    assert [segment.reason for segment in summary.held] == [text]
    assert summary.failures == (
        f"{STOCK}: {text}. It matters. Kept out of the build: 1 of 1 files.",
    )
    assert not any(segment.startswith(STOCK) for segment in summary.accepted)
    assert summary.warnings == ()
    assert list_held(settings) == list(summary.held)


@pytest.mark.usefixtures("without_pages")
def test_broken_warnings_travel_in_the_summary(settings: Settings, tmp_path: Path) -> None:
    chosen = ["completeness", "range above", "rejected", "unknown", "duplicates", "freshness"]
    lines = [f"{STOCK},{KINDS[kind][0]},warning,It matters." for kind in chosen]
    land_catalogue(settings)
    bad = event(2, quantity=9, item_id="cake", occurred_at="2026-06-09T22:00:00Z")
    land(settings, f"{STOCK}/new", [bad, bad, event(3, kind="stolen")])

    summary = audit(settings, clock, thresholds=thresholds(tmp_path, *lines))

    assert summary.held == ()
    assert len(summary.accepted) == 3
    assert sorted(summary.warnings) == sorted(
        f"{STOCK}: {text}. It matters."
        for text in (
            "100 % of the records have no basket_id (at most 50 % may)",
            "100 % of the records have a quantity over 5 (at most 5 % may)",
            "33.3 % of the records were rejected (at most 10 % may be)",
            "100 % of the records name an item_id that the catalogue does not have "
            "(at most 5 % may)",
            "50 % of the records came more than once (at most 10 % may)",
            "the newest occurred_at is 14 hours old (at most 3 hours)",
        )
    )
    again = audit(settings, clock, thresholds=thresholds(tmp_path, *lines))
    assert again.skipped
    assert again.warnings == summary.warnings


@pytest.mark.usefixtures("without_pages")
def test_only_the_guilty_files_are_held_until_the_catalogue_knows_them(
    settings: Settings, tmp_path: Path
) -> None:
    seed = thresholds(tmp_path, f"{STOCK},item_id,unknown_share,,0.05,0,critical,It matters.")
    land_catalogue(settings)
    land(settings, f"{STOCK}/good", good())
    land(settings, f"{STOCK}/bad", [event(20, item_id="cake")])
    first = audit(settings, clock, thresholds=seed)
    assert len(first.held) == 1
    assert sum(segment.startswith(STOCK) for segment in first.accepted) == 1
    assert "Kept out of the build: 1 of 2 files." in first.failures[0]

    # nothing has changed: no second look, but it is still said to be held
    again = audit(settings, clock, thresholds=seed)
    assert (again.held, again.records) == (first.held, {})
    assert again.skipped == "nothing new since the last audit, and nothing mends what is held"

    # many good records do not hide it
    land(settings, f"{STOCK}/many", [event(number) for number in range(100, 200)])
    diluted = audit(settings, clock, thresholds=seed)
    assert diluted.held == first.held
    assert diluted.records == {STOCK: 101}

    land(settings, "catalog/items/more", [item("cake")])
    mended = audit(settings, clock, thresholds=seed)
    assert mended.held == ()
    assert first.held[0].segment in mended.accepted


@pytest.mark.usefixtures("without_pages")
def test_a_threshold_that_changes_mends_and_a_catalogue_that_is_held_knows_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    lines = (
        "catalog/items,price_usd,at_least,{},1,0,critical,It matters.",
        f"{STOCK},item_id,unknown_share,,0.05,0,critical,It matters.",
    )
    land_catalogue(settings)
    land(settings, f"{STOCK}/good", good())
    seed = thresholds(tmp_path, *(line.format(10) for line in lines))
    held = audit(settings, clock, thresholds=seed).held
    assert {segment.entity for segment in held} == {"catalog/items", STOCK}
    seed = thresholds(tmp_path, *(line.format(5) for line in lines))
    assert audit(settings, clock, thresholds=seed).held == ()


@pytest.mark.usefixtures("without_pages")
def test_few_records_are_not_judged(settings: Settings, tmp_path: Path) -> None:
    seed = thresholds(tmp_path, f"{STOCK},,rejected_share,,0.1,3,critical,It matters.")
    land(settings, f"{STOCK}/two", [event(1), event(2, kind="stolen")])
    assert audit(settings, clock, thresholds=seed).held == ()
    land(settings, f"{STOCK}/three", [event(3), event(4), event(5, kind="stolen")])
    assert len(audit(settings, clock, thresholds=seed).held) == 1


def test_dead_letters_alone_are_nothing_to_keep_out(settings: Settings, tmp_path: Path) -> None:
    seed = thresholds(tmp_path, f"{STOCK},,rejected_share,,0.1,0,critical,It matters.")
    land(settings, f"{STOCK}/bad", [event(1, kind="stolen")])
    land(settings, "some/thing/else", [event(1)])
    summary = audit(settings, clock, thresholds=seed)
    assert len(summary.accepted) == 2
    assert summary.warnings == (
        f"{STOCK}: none of the 1 records could be used; `larder dead-letters` says why.",
    )


@pytest.mark.usefixtures("without_pages")
def test_a_person_releases_with_a_reason(settings: Settings, tmp_path: Path) -> None:
    seed = thresholds(tmp_path, f"{STOCK},basket_id,not_null,,0.5,0,critical,It matters.")
    land(settings, f"{STOCK}/one", good())
    (held,) = audit(settings, clock, thresholds=seed).held
    assert (held.entity, held.batch) == (STOCK, "20260610T120000")
    assert held.held_since == NOW.replace(tzinfo=None)
    with pytest.raises(UsageError, match="needs a --reason"):
        release(settings, held.segment, " ", clock)
    with pytest.raises(AuditError, match=r"Held are the batches 20260610T120000 \(fridge/stock"):
        release(settings, "orders/*", "because", clock)

    assert release(settings, held.batch, "till 3 has no baskets", clock) == [held]

    assert list_held(settings) == []
    assert audit(settings, clock, thresholds=seed).skipped == "nothing new since the last audit"
    # as the build reads it, though the clock of this test stands still
    with duckdb.connect() as connection:
        rows = connection.execute(
            "select segment, max_by(verdict, decided_at), max_by(reason, decided_at) "
            "from read_parquet(?) group by segment",
            [f"{settings.audit_folder}/verdicts/*.parquet"],
        ).fetchall()
    assert rows == [(held.segment, "released", "till 3 has no baskets")]
    with pytest.raises(AuditError, match="Nothing is held"):
        release(settings, "*", "because", clock)


def test_a_killed_audit_starts_again(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = thresholds(tmp_path, f"{STOCK},quantity,at_most,5,1,0,critical,It matters.")
    land(settings, f"{STOCK}/one", good())
    with monkeypatch.context() as patch:
        patch.setattr(Examiner, "write_pages", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            audit(settings, clock, thresholds=seed)
    assert not (settings.audit_folder / "verdicts").exists()
    assert len(audit(settings, clock, thresholds=seed).accepted) == 1


def test_only_the_last_runs_and_few_files_of_verdicts_are_kept(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expectations, "KEPT_RUNS", 2)
    monkeypatch.setattr(verdicts, "MOST_FILES", 2)
    seed = thresholds(
        tmp_path,
        f"{STOCK},occurred_at,volume_at_least,,0.5,0,warning,It matters.",
        f"{STOCK},quantity,at_most,5,1,0,critical,It matters.",
    )
    for run in range(4):
        land(settings, f"{STOCK}/{run}", [event(run * 10), event(run * 10 + 1)])
        at = NOW + timedelta(hours=run)
        summary = audit(settings, lambda at=at: at, thresholds=seed)  # type: ignore[misc]
        assert len(summary.accepted) == 1
    for store in ("validations", "data_docs/local_site/validations"):
        runs = list((settings.audit_folder / "gx" / "uncommitted" / store).glob("*/*"))
        assert len(runs) == 2
    files = list((settings.audit_folder / "verdicts").glob("*.parquet"))
    assert len(files) == 2
    assert sum(pq.read_metadata(path).num_rows for path in files) == 4
    volumes = (settings.audit_folder / "volumes").glob("*.parquet")
    assert sum(row["records"] for path in volumes for row in pq.read_table(path).to_pylist()) == 8
    assert audit(settings, clock, thresholds=seed).skipped == "nothing new since the last audit"


def test_no_person_and_no_file_name_is_in_what_an_audit_leaves(
    settings: Settings, tmp_path: Path
) -> None:
    canaries = [f"canary{number:02d}" for number in range(12)]
    person = dict(
        zip(
            ("customer_id", "full_name", "email", "phone", "postcode", "birth_date"),
            canaries,
            strict=False,
        )
    )
    customers: list[Record] = [
        {
            **person,
            "customer_id": f"{canaries[0]}-{number}",
            "birth_date": "1987-06-05" if number else canaries[5],
            "dietary_preferences": [canaries[6]],
            "registered_at": NOW.isoformat(),
            "updated_at": NOW.isoformat(),
        }
        for number in range(3)
    ]
    patient: Record = {
        "id": canaries[7],
        "meta": {"lastUpdated": NOW.isoformat()},
        "name": [{"family": canaries[8]}],
        "identifier": [{"value": canaries[9]}],
        "birthDate": "1987-06-05",
    }
    rating: Record = {
        "rating_id": "r1",
        "customer_id": canaries[0],
        "item_id": "soup",
        "rating": 9,
        "comment": canaries[10],
        "rated_at": NOW.isoformat(),
        "updated_at": NOW.isoformat(),
    }
    land_catalogue(settings)
    write(settings, f"accounts/customers/{canaries[11]}", customers)
    write(settings, f"clinic/patients/{canaries[11]}", [patient])
    write(settings, f"feedback/ratings/{canaries[11]}", [rating, rating | {"rating": 3}])
    land(settings, f"{STOCK}/{canaries[11]}", [event(1, customer_id=canaries[0])])
    personal = [
        f"{path},{field.name},not_null,,1,0,critical,It matters."
        for path, entity in read_entities().items()
        for field in entity.fields
        if field.personal or field.person
    ]
    seed = THRESHOLDS_SEED.read_text(encoding="utf-8").splitlines()[1:]
    for lines in ([*personal, *seed], seed):  # first with much held, then mended
        summary = audit(settings, clock, thresholds=thresholds(tmp_path, *lines))
        assert summary.is_held == (lines is not seed)
    assert summary.pages is not None
    index = summary.pages.read_text("utf-8")
    broken = "critical: at most 0 % of the records are without telecom. It matters. "
    assert f"<li>{broken}(measured: 100 %)</li>" in index
    assert "accounts_customers" in index

    found = {path: path.read_bytes() for path in settings.audit_folder.rglob("*") if path.is_file()}
    for path in settings.audit_folder.rglob("*.parquet"):
        found[path] = str(pq.read_table(path).to_pylist()).encode()
    assert len(found) > 10
    said = f"{summary} {list_held(settings)}".encode()
    for canary in ["canary", "1987-06-05"]:
        assert canary.encode() not in said
        assert [path for path, text in found.items() if canary.encode() in text] == []
