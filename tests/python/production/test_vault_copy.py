"""The copy of the vault in Snowflake: complete before any record, one token for each person."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import Account

from larder import snowflake
from larder.errors import KeyMismatchError, LarderError, WarehouseError
from larder.keys import person_hash, read_key
from larder.settings import Settings
from larder.snowflake import LANDING, PEOPLE, fetch, open_snowflake
from loaders import staging, vault_copy
from loaders import upload as uploading
from loaders.copied import Copied
from loaders.load import load
from loaders.upload import upload
from loaders.vault import open_vault

Homes = Callable[[str], Settings]


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def homes(account: Account, tmp_path: Path) -> Homes:
    """Homes with one key, on an account that has nobody yet."""

    def home(name: str) -> Settings:
        found: Settings = account.settings(tmp_path / name, tmp_path / "key")
        return found

    account.forget_records(home("first"))
    return home


@pytest.fixture
def settings(homes: Homes) -> Settings:
    return homes("first")


def land(settings: Settings, name: str, *customers: str) -> None:
    """Let consents of customers land, and load them."""
    folder = settings.landing_folder / "accounts" / "consents"
    folder.mkdir(parents=True, exist_ok=True)
    consent = {"purpose": "targeting", "is_granted": True, "updated_at": "2024-01-01"}
    lines = [json.dumps(consent | {"customer_id": one}) for one in customers]
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    load(settings, now)


def ask(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    with open_snowflake(settings, "loader") as connection:
        return fetch(connection, query)


def copy_of(settings: Settings) -> dict[str, str]:
    """Return the copy: person to token, each once."""
    rows = ask(settings, f"select person_hash, token from {PEOPLE}.tokens")
    assert len(dict(rows)) == len(rows)
    return dict(rows)


def tokens_of(settings: Settings, *customers: str) -> dict[str, str]:
    """Return what the vault here has of these customers, as the copy would have it."""
    key = read_key(settings.key_file)
    with open_vault(settings) as vault:
        found = {one: vault.known_tokens(one, ["commerce"]) for one in customers}
    return {person_hash(key, one).hex(): token for one, (token,) in found.items()}


def records(settings: Settings) -> Counter[str]:
    """Return how many records there are with each token."""
    rows = ask(settings, f"select commerce_token from {LANDING}.records")
    return Counter(token for (token,) in rows)


def is_marked(settings: Settings) -> list[int]:
    with sqlite3.connect(settings.vault_folder / "vault.sqlite") as connection:
        rows = connection.execute("select is_copied from tokens").fetchall()
    return [marked for (marked,) in rows]


def erase_here(settings: Settings, customer: str) -> None:
    """Erase somebody from the vault alone, as the end of an erasure does."""
    with open_vault(settings) as vault:
        vault.bury("commerce", [customer])
        vault.forget("commerce", [customer])


def test_tokens_are_copied_once_and_new_ones_follow(settings: Settings) -> None:
    land(settings, "a.ndjson", "C-1", "C-2")
    assert upload(settings, now).tokens == 2
    assert copy_of(settings) == tokens_of(settings, "C-1", "C-2")
    assert is_marked(settings) == [1, 1]
    assert upload(settings, now) == uploading.UploadSummary()
    land(settings, "b.ndjson", "C-2", "C-3")
    assert upload(settings, now).tokens == 1
    assert copy_of(settings) == tokens_of(settings, "C-1", "C-2", "C-3")
    assert set(records(settings)) == set(copy_of(settings).values())


def test_batches_are_small(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault_copy, "TOKENS_AT_ONCE", 2)
    people = [f"C-{number}" for number in range(5)]
    land(settings, "a.ndjson", *people)
    assert upload(settings, now).tokens == 5
    assert copy_of(settings) == tokens_of(settings, *people)


def test_a_vault_of_an_earlier_version_is_copied_whole(settings: Settings) -> None:
    land(settings, "a.ndjson", "C-1", "C-2")
    erase_here(settings, "C-2")
    with sqlite3.connect(settings.vault_folder / "vault.sqlite") as connection:
        for table in ("tokens", "tombstones"):
            connection.execute(f"alter table {table} drop column is_copied")
    assert upload(settings, now).tokens == 1
    assert copy_of(settings) == tokens_of(settings, "C-1")
    assert len(ask(settings, f"select * from {PEOPLE}.tombstones")) == 1


STEPS = {
    "clear": r"^remove @larder_vault",
    "read the key": r"^select fingerprint",
    "leave the key": r"^insert into larder_vault\.people\.fingerprint",
    "read tombstones": r"^select domain, person_hash from",
    "count": r"^select count\(\*\) from \(select",
    "temporary table": r"^create temporary table larder_vault",
    "put": r"^put \S+ @larder_vault",
    "copy": r"^copy into larder_vault",
    "begin": r"^begin",
    "turn": r"^update larder_vault",
    "add": r"^insert into larder_vault\.people\.tokens",
    "read back": r"^select count\(\*\), sum",
    "commit": r"^commit",
    "records": r"^copy into larder_raw\.landing\.records",
}


@pytest.mark.parametrize("step", STEPS)
def test_a_refused_step_leaves_no_record_without_its_token(
    settings: Settings, account: Account, step: str
) -> None:
    land(settings, "a.ndjson", "C-1", "C-2")
    with (
        account.fault(STEPS[step], code=3001, message="Insufficient privileges"),
        pytest.raises(WarehouseError, match="larder deploy"),
    ):
        upload(settings, now)
    # those steps come after the vault
    assert len(copy_of(settings)) == (2 if step == "records" else 0)
    assert not records(settings)
    upload(settings, now)
    assert copy_of(settings) == tokens_of(settings, "C-1", "C-2")
    assert records(settings) == Counter(copy_of(settings).values())
    assert is_marked(settings) == [1, 1]


def test_a_lost_network_is_one_line_and_the_next_upload_goes_on(
    settings: Settings, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snowflake, "NETWORK_SECONDS", 2)
    land(settings, "a.ndjson", "C-1")
    with (
        account.fault("^insert into larder_vault.people.tokens"),
        pytest.raises(WarehouseError, match="network") as caught,
    ):
        upload(settings, now)
    assert "\n" not in str(caught.value)
    assert not records(settings)
    assert upload(settings, now).tokens == 1


@pytest.mark.parametrize(
    ("step", "is_first"),
    [
        ("leave the key", True),
        *(
            (step, is_first)
            for step in ("commit", "copy", "add", "records")
            for is_first in (True, False)
        ),
    ],
)
def test_a_lost_answer_doubles_nobody(
    settings: Settings,
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    is_first: bool,
) -> None:
    monkeypatch.setattr(snowflake, "NETWORK_SECONDS", 2)
    before = [] if is_first else ["C-1"]
    if before:
        land(settings, "a.ndjson", *before)
        upload(settings, now)
    land(settings, "b.ndjson", "C-2", "C-3")
    with account.fault(STEPS[step], after=True), pytest.raises(WarehouseError, match="network"):
        upload(settings, now)
    # the first commit of all is that of the key, else that of the tokens
    is_there = step == "records" or (step == "commit" and not is_first)
    arrived = [*before, "C-2", "C-3"] if is_there else before
    assert copy_of(settings) == tokens_of(settings, *arrived)
    assert len(records(settings)) == len(before)
    upload(settings, now)
    assert copy_of(settings) == tokens_of(settings, *before, "C-2", "C-3")
    assert records(settings) == Counter(copy_of(settings).values())
    assert set(is_marked(settings)) == {1}
    assert len(ask(settings, f"select fingerprint from {PEOPLE}.fingerprint")) == 1


@pytest.mark.parametrize("place", ["Copied.mark", "temporary_table", "Copied.compare"])
def test_a_kill_between_is_made_good(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    land(settings, "a.ndjson", "C-1")
    upload(settings, now)
    land(settings, "b.ndjson", "C-2")
    if place == "Copied.compare":  # which only differing counts ask for
        ask(settings, f"delete from {PEOPLE}.tokens")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(f"loaders.vault_copy.{place}", die)
        upload(settings, now)
    assert len(records(settings)) == 1
    upload(settings, now)
    assert copy_of(settings) == tokens_of(settings, "C-1", "C-2")
    assert len(records(settings)) == 2
    assert is_marked(settings) == [1, 1]


def test_a_vault_that_goes_back_in_time_is_no_new_one(settings: Settings, tmp_path: Path) -> None:
    land(settings, "a.ndjson", "C-1")
    before = settings.vault_folder.rename(tmp_path / "before")
    shutil.copytree(before, settings.vault_folder)
    upload(settings, now)
    shutil.rmtree(settings.vault_folder)
    before.rename(settings.vault_folder)
    assert upload(settings, now).tokens == 0
    assert is_marked(settings) == [1]


def test_an_emptied_copy_is_filled_again(settings: Settings) -> None:
    land(settings, "a.ndjson", "C-1", "C-2")
    upload(settings, now)
    ask(settings, f"delete from {PEOPLE}.tokens")
    assert upload(settings, now).tokens == 2
    assert copy_of(settings) == tokens_of(settings, "C-1", "C-2")


def test_a_segment_that_is_loaded_meanwhile_waits_for_its_token(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(settings, "a.ndjson", "C-1")

    def copy_and_load(*arguments: Any) -> int:
        sent = vault_copy.bring_up_to_date(*arguments)
        land(settings, "b.ndjson", "C-2")
        return sent

    with monkeypatch.context() as patch:
        patch.setattr(uploading, "bring_up_to_date", copy_and_load)
        upload(settings, now)
    assert set(records(settings)) == set(copy_of(settings).values())
    upload(settings, now)
    assert len(records(settings)) == len(copy_of(settings)) == 2


def test_another_key_is_refused_before_anything(settings: Settings, tmp_path: Path) -> None:
    land(settings, "a.ndjson", "C-1")
    upload(settings, now)
    before = copy_of(settings)
    other = settings.model_copy(
        update={"home": tmp_path / "other", "key_file": tmp_path / "other.key"}
    )
    with pytest.raises(KeyMismatchError, match=r"other\.key is missing"):
        land(other, "b.ndjson", "C-2")
    assert not other.key_file.exists()
    other.key_file.write_text("0f" * 32)
    with pytest.raises(KeyMismatchError, match="LARDER_KEY_FILE"):
        load(other, now)
    assert not (other.vault_folder / "vault.sqlite").exists()
    # a vault that was made without the account
    load(other.model_copy(update={"target": "dev"}), now)
    with pytest.raises(KeyMismatchError, match="LARDER_KEY_FILE") as caught:
        upload(other, now)
    assert "\n" not in str(caught.value)
    assert copy_of(settings) == before
    assert len(records(settings)) == 1


def test_an_empty_home_gets_the_vault_back(homes: Homes, account: Account) -> None:
    first, second = homes("first"), homes("second")
    land(first, "a.ndjson", "C-1", "C-2")
    upload(first, now)
    before = copy_of(first)
    first.home.rename(first.home.with_name("lost"))
    with (
        account.fault(r"^select domain, person_hash, token", code=3001, message="no"),
        pytest.raises(WarehouseError),
    ):
        land(second, "a.ndjson", "C-1", "C-3")
    assert not (second.vault_folder / "vault.sqlite").exists()
    load(second, now)
    assert tokens_of(second, "C-1", "C-2") == before
    assert upload(second, now).tokens == 1
    assert copy_of(second) == tokens_of(second, "C-1", "C-2", "C-3")
    left = {file.name for file in second.vault_folder.iterdir()}
    assert left == {"arriving.lock", "vault.sqlite"}


def test_a_kill_while_the_vault_comes_back_leaves_none(
    homes: Homes, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = homes("first"), homes("second")
    land(first, "a.ndjson", "C-1")
    upload(first, now)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Copied, "take_over_tombstones", die)
        open_vault(second)
    assert not (second.vault_folder / "vault.sqlite").exists()
    assert tokens_of(second, "C-1") == copy_of(first)


def test_a_new_host_that_loads_the_same_files_doubles_nothing(homes: Homes) -> None:
    first, second = homes("first"), homes("second")
    land(first, "a.ndjson", "C-1", "C-2")
    upload(first, now)
    before = records(first)
    shutil.copytree(first.landing_folder, second.landing_folder)
    load(second, lambda: datetime(2031, 1, 1, tzinfo=UTC))
    assert upload(second, now).segments == 1
    assert records(second) == before
    assert len(ask(second, f"select segment from {LANDING}.manifest")) == 1


def test_erased_people_stay_erased_on_a_new_host(homes: Homes) -> None:
    first, second = homes("first"), homes("second")
    land(first, "a.ndjson", "C-1", "C-2")
    upload(first, now)
    erase_here(first, "C-2")
    upload(first, now)
    assert copy_of(first) == tokens_of(first, "C-1")
    land(second, "b.ndjson", "C-1", "C-2")
    with open_vault(second) as vault:
        assert vault.known_tokens("C-2") == []
        assert vault.tokens("commerce", ["C-2"]) == [None]
    assert upload(second, now).tokens == 0
    assert tokens_of(second, "C-1") == copy_of(second)
    taken = f"select payload from {LANDING}.records where source_file like '%b.ndjson'"
    assert [json.loads(one)["customer_id"] for (one,) in ask(second, taken) if one] == ["C-1"]


def test_an_erasure_that_has_not_ended_keeps_its_token_in_the_copy(homes: Homes) -> None:
    first, second = homes("first"), homes("second")
    land(first, "a.ndjson", "C-1", "C-2")
    upload(first, now)
    token = tokens_of(first, "C-2")
    with open_vault(first) as vault:
        vault.bury("commerce", ["C-2"])
        vault.write_plan("C-2", '{"secret": "C-2"}')
    # a run between is refused, and neither plan nor id leaves the home
    with pytest.raises(WarehouseError, match="larder erase"):
        upload(first, now)
    assert copy_of(first) == tokens_of(first, "C-1") | token
    # the host is lost: the next one knows what has to go on
    with open_vault(second) as vault:
        assert vault.known_tokens("C-2") == [*token.values()]
        assert vault.tokens("commerce", ["C-2"]) == [None]
        assert vault.plans() == 0
        vault.forget("commerce", ["C-2"])
    land(second, "b.ndjson", "C-1")
    upload(second, now)
    assert copy_of(second) == tokens_of(second, "C-1")


def test_people_whom_another_home_erased_keep_this_one_from_uploading(homes: Homes) -> None:
    first, second = homes("first"), homes("second")
    land(first, "a.ndjson", "C-1")
    upload(first, now)
    land(second, "b.ndjson", "C-1", "C-2")
    upload(second, now)
    erase_here(first, "C-1")
    upload(first, now)
    land(second, "c.ndjson", "C-3")
    before = records(second)
    with pytest.raises(WarehouseError, match="larder erase") as caught:
        upload(second, now)
    assert "\n" not in str(caught.value)
    assert str(second.home) in str(caught.value)
    assert records(second) == before
    erase_here(second, "C-1")
    upload(second, now)
    assert copy_of(second) == tokens_of(second, "C-2", "C-3")
    upload(first, now)
    assert tokens_of(first, "C-2", "C-3") == copy_of(first)


def test_two_homes_with_different_people_have_each_others(homes: Homes) -> None:
    first, second = homes("first"), homes("second")
    land(first, "a.ndjson", "C-1")
    land(second, "b.ndjson", "C-2")
    upload(first, now)
    assert upload(second, now).tokens == 1
    assert upload(first, now).tokens == 0
    everybody = tokens_of(first, "C-1", "C-2")
    assert copy_of(first) == everybody == tokens_of(second, "C-1", "C-2")


@pytest.mark.parametrize("moment", ["before", "between"])
def test_two_homes_that_met_somebody_at_once(
    homes: Homes, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    first, second = homes("first"), homes("second")
    land(first, "a.ndjson", "C-1", "C-2")
    land(second, "b.ndjson", "C-2", "C-3")
    if moment == "before":
        upload(first, now)
        with pytest.raises(WarehouseError, match="1 people have another token") as caught:
            upload(second, now)
    else:  # the first one comes after the second has counted
        original = staging.temporary_table

        def upload_first(*arguments: Any) -> Any:
            monkeypatch.setattr("loaders.vault_copy.temporary_table", original)
            upload(first, now)
            return original(*arguments)

        monkeypatch.setattr("loaders.vault_copy.temporary_table", upload_first)
        with pytest.raises(WarehouseError, match="1 people have another token") as caught:
            upload(second, now)
    assert "\n" not in str(caught.value)
    assert str(second.vault_folder) in str(caught.value)
    # nothing of the second is there, and the first is not touched
    assert copy_of(first) == tokens_of(first, "C-1", "C-2")
    assert set(records(first)) == set(copy_of(first).values())
    assert upload(first, now).tokens == 0
    # what the message says mends it
    shutil.rmtree(second.raw_folder)
    shutil.rmtree(second.vault_folder)
    load(second, now)
    assert upload(second, now).tokens == 1
    assert copy_of(second) == tokens_of(second, "C-1", "C-2", "C-3")
    assert records(second).total() == 4
    assert set(records(second)) == set(copy_of(second).values())


def test_somebody_erased_elsewhere_in_this_moment_gets_no_token(
    homes: Homes, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = homes("first"), homes("second")
    land(first, "a.ndjson", "C-1")
    land(second, "b.ndjson", "C-2")
    original = staging.temporary_table

    def erase_first(*arguments: Any) -> Any:
        monkeypatch.setattr("loaders.vault_copy.temporary_table", original)
        erase_here(first, "C-2")
        upload(first, now)
        return original(*arguments)

    monkeypatch.setattr("loaders.vault_copy.temporary_table", erase_first)
    with pytest.raises(WarehouseError, match="in this moment"):
        upload(second, now)
    assert copy_of(first) == tokens_of(first, "C-1")
    with pytest.raises(WarehouseError, match="larder erase"):
        upload(second, now)


def test_two_tokens_that_snowflake_let_in_are_found(settings: Settings) -> None:
    land(settings, "a.ndjson", "C-1")
    upload(settings, now)
    other = "select domain, person_hash, 'other'"
    ask(settings, f"insert into {PEOPLE}.tokens {other} from {PEOPLE}.tokens")
    before = records(settings)
    land(settings, "b.ndjson", "C-2")
    with pytest.raises(WarehouseError, match="another token"):
        upload(settings, now)
    assert records(settings) == before


def test_a_home_whose_turn_it_is_keeps_the_other_out(homes: Homes) -> None:
    first, second = homes("first"), homes("second")
    land(first, "a.ndjson", "C-1")
    upload(first, now)
    land(second, "b.ndjson", "C-2")
    with open_snowflake(first, "loader") as connection:
        fetch(connection, "begin")
        fetch(connection, f"update {PEOPLE}.fingerprint set turns = turns + 1")
        # Snowflake lets it wait; the emulator refuses at once
        with pytest.raises(LarderError):
            upload(second, now)
        fetch(connection, "rollback")
    assert copy_of(first) == tokens_of(first, "C-1")
    assert upload(second, now).tokens == 1
