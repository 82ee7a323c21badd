from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from hashlib import new
from pathlib import Path
from typing import Any

import pytest
from landing_zone import ARRIVED, Home, event, line

from larder.errors import LandingError
from loaders.dead_letters import dead_letters, redrive
from loaders.vault import open_vault

STOCK, PRICES = "fridge/stock_events", "trends/food_trends"


def trend(
    index: object, updated_at: str = "2024-01-01T00:00:00Z", **changes: Any
) -> dict[str, Any]:
    return {
        "region": "north",
        "topic": "soup",
        "item_tag": "hot",
        "week_start": "2024-01-01",
        "trend_index": index,
        "updated_at": updated_at,
    } | changes


def printed(home: Home, folder: Path) -> Path:
    """Write the dead letters as `larder dead-letters --format ndjson` prints them."""
    path = folder / "letters.ndjson"
    letters = dead_letters(home.settings)
    path.write_text("".join(f"{json.dumps(letter.to_dict())}\n" for letter in letters))
    return path


def test_a_dead_letter_says_where_why_and_what(home: Home) -> None:
    bad = line(event(2, quantity=-1))
    home.land(f"{STOCK}/a.ndjson", line(event(1)) + bad)
    home.land(f"{STOCK}/b.ndjson", b"")
    home.load()

    letter, file = dead_letters(home.settings)
    assert letter.to_dict() == {
        "source": "fridge",
        "entity": "stock_events",
        "source_file": f"{STOCK}/a.ndjson",
        "line_number": 2,
        "reason": "out_of_range",
        "detail": "quantity: must be at least 0",
        "original": bad.decode().strip(),
        "received_at": ARRIVED.replace(tzinfo=None).isoformat() + "Z",
    }
    assert (file.reason, file.original) == ("empty_file", "")


def test_they_can_be_chosen_and_counted(home: Home) -> None:
    home.land(f"{STOCK}/a.ndjson", b"x\ny\n" + line(event(1, quantity=-1)))
    home.land(f"{PRICES}/a.ndjson", b"x\n")
    home.land("who/knows/a.ndjson", b"x\n")
    home.load()
    letters = dead_letters(home.settings)
    assert Counter((letter.entity, letter.reason) for letter in letters) == {
        ("stock_events", "broken_json"): 2,
        ("stock_events", "out_of_range"): 1,
        ("food_trends", "broken_json"): 1,
        ("files", "unknown_entity"): 1,
    }
    chosen = dead_letters(home.settings, STOCK, "broken_json")
    assert [letter.original for letter in chosen] == ["x", "y"]


def test_of_conflicting_events_the_smallest_hash_stays_whatever_the_order(home: Home) -> None:
    copies = [event(1, quantity=n) for n in (1, 2, 3)]
    home.land(f"{STOCK}/a.ndjson", line(copies[0]) + line(copies[1]) + line(event(2)))
    home.land(f"{STOCK}/b.ndjson", line(copies[2]) + line(copies[1]) + line(copies[0]))
    home.load()

    (winner,) = home.query(
        "select payload from records where natural_key = 'e1' order by content_hash limit 1"
    )
    lost = list(dead_letters(home.settings))
    assert {letter.reason for letter in lost} == {"conflict"}
    assert {letter.original for letter in lost} == {
        json.dumps(copy) for copy in copies if json.dumps(copy) != winner[0]
    }
    assert len(lost) == 2


def test_versions_of_a_thing_only_conflict_at_the_same_moment(home: Home) -> None:
    versions = [
        trend(1),
        trend(1.0),
        trend(2, "2024-01-02T00:00:00Z"),
        trend(3, "2024-01-02T02:00:00+02:00"),
        trend(4, week_start="2024-01-08"),
    ]
    home.land(f"{PRICES}/a.ndjson", b"".join(map(line, versions)))
    home.load()
    (letter,) = dead_letters(home.settings)
    assert (letter.reason, letter.line_number in (3, 4)) == ("conflict", True)
    assert "updated_at" in letter.detail


def test_mended_records_come_in_again_and_only_once(home: Home, tmp_path: Path) -> None:
    home.land(f"{STOCK}/a.ndjson", line(event(1, quantity=-1)) + b'{"event_id": "e2\n')
    home.land(f"{PRICES}/a.ndjson", line(trend("much")))
    home.load()
    path = printed(home, tmp_path)
    letters = [json.loads(text) for text in path.read_text().splitlines()]
    letters[0]["original"] = json.dumps(event(1, quantity=1))
    letters[1]["corrected"] = event(2)
    letters[2]["original"] = trend(7)
    path.write_text("\n\n".join(map(json.dumps, letters)))

    first = redrive(home.settings, path)
    assert list(dead_letters(home.settings)) == []
    assert len(list(dead_letters(home.settings, with_redriven=True))) == 3
    again = redrive(home.settings, path)
    assert (first.files, first.records, first.known) == (2, 3, 0)
    assert (again.files, again.records, again.known) == (0, 0, 3)
    assert home.load().files == 2
    assert redrive(home.settings, path).known == 3
    assert home.load().files == 0
    assert home.keys() == ["e1", "e2", "north|soup|hot|2024-01-01"]
    assert list(dead_letters(home.settings)) == []


def test_a_copy_that_comes_later_does_not_bring_a_letter_back(home: Home, tmp_path: Path) -> None:
    copies = [event(1, quantity=n) for n in (1, 2)]
    home.land(f"{STOCK}/b.ndjson", b"".join(map(line, copies)))
    home.load()
    (lost,) = dead_letters(home.settings)
    path = printed(home, tmp_path)
    path.write_text(path.read_text().replace("e1", "e2"))
    redrive(home.settings, path)
    assert list(dead_letters(home.settings)) == []

    later = ARRIVED + timedelta(hours=1)
    home.land(f"{STOCK}/a.ndjson", f"{lost.original}\n".encode(), arrived=later)
    home.load()
    assert list(dead_letters(home.settings)) == []
    assert list(dead_letters(home.settings, with_redriven=True)) == [lost]


def test_what_was_mended_badly_is_a_dead_letter_of_its_own(home: Home, tmp_path: Path) -> None:
    home.land(f"{STOCK}/a.ndjson", line(event(1, quantity=-1)) + line(event(2, quantity=-1)))
    home.load()
    path = printed(home, tmp_path)
    path.write_text(path.read_text().splitlines()[0].replace("-1", "-2"))
    redrive(home.settings, path)
    home.load()

    not_driven_in, mended_badly = sorted(
        dead_letters(home.settings), key=lambda letter: letter.source_file
    )
    assert (not_driven_in.source_file, not_driven_in.line_number) == (f"{STOCK}/a.ndjson", 2)
    assert mended_badly.source_file.startswith(f"{STOCK}/redriven/")


def test_who_is_killed_between_the_two_steps_drives_in_again(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.land(f"{STOCK}/a.ndjson", line(event(1, quantity=-1)))
    home.load()
    path = printed(home, tmp_path)
    path.write_text(path.read_text().replace("-1", "1"))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("loaders.dead_letters._write_whole", die)
        with pytest.raises(KeyboardInterrupt):
            redrive(home.settings, path)
    assert len(list((home.settings.landing_folder / STOCK / "redriven").iterdir())) == 1
    assert len(list(dead_letters(home.settings))) == 1
    assert redrive(home.settings, path).known == 1
    assert list(dead_letters(home.settings)) == []


def test_no_name_confirms_a_guess_of_what_was_driven_in(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "letters.ndjson"
    path.write_bytes(line(GOOD_LETTER))
    redrive(home.settings, path)
    (driven,) = (home.settings.landing_folder / STOCK / "redriven").iterdir()
    content = driven.read_bytes()
    guesses = {new(algorithm, content).hexdigest() for algorithm in ("md5", "sha1", "sha256")}
    assert not any(guess.startswith(driven.stem[:8]) for guess in guesses)
    with open_vault(home.settings) as vault:
        assert driven.stem == vault.content_name(content)


GOOD_LETTER = {"source": "fridge", "entity": "stock_events", "original": event(1)}
WRONG_LINES = {
    "not JSON": (b"{", "line 2 is not a JSON object"),
    "not an object": (b"[1]", "line 2 is not a JSON object"),
    "unknown entity": (line(GOOD_LETTER | {"entity": "secret"}), "line 2: `source` and `entity`"),
    "no entity": (line({"original": "{}"}), "line 2: `source` and `entity`"),
    "not mended": (line(GOOD_LETTER | {"original": "{secret"}), "line 2: `original` is not"),
    "a whole file": (line(GOOD_LETTER | {"original": ""}), "line 2: `original` is not"),
    "deep": (b"[" * 100_000, "line 2 is not a JSON object"),
    "too long": (line(GOOD_LETTER | {"original": {"a": "x" * 1_048_576}}), "more than 1 MiB"),
}


@pytest.mark.parametrize(("wrong", "message"), WRONG_LINES.values(), ids=WRONG_LINES)
def test_a_wrong_line_is_named_and_nothing_is_driven_in(
    home: Home, tmp_path: Path, wrong: bytes, message: str
) -> None:
    path = tmp_path / "letters.ndjson"
    path.write_bytes(line(GOOD_LETTER) + wrong)
    with pytest.raises(LandingError, match=message) as caught:
        redrive(home.settings, path)
    assert "secret" not in str(caught.value)
    assert list(home.settings.landing_folder.rglob("*")) == []


def test_a_missing_file_is_named(home: Home, tmp_path: Path) -> None:
    with pytest.raises(LandingError, match=r"nowhere\.ndjson cannot be read"):
        redrive(home.settings, tmp_path / "nowhere.ndjson")
