from __future__ import annotations

import hashlib
import hmac
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from larder.errors import KeyMismatchError
from larder.keys import fingerprint, make_key, person_hash, read_key


def test_a_key_is_made_once_and_read_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "config" / "key"
    key = make_key(path)
    assert len(key) == 32
    assert make_key(path) == read_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["key"]  # noqa: PTH208 - hidden leftovers count


def test_who_makes_it_at_the_same_time_gets_the_same_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(make_key, [tmp_path / "key"] * 32))
    assert len(keys) == 1


@pytest.mark.parametrize("content", ["", "zz", "00" * 31, "00" * 33])
def test_what_is_no_key_is_refused_and_kept(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    with pytest.raises(KeyMismatchError, match="backup"):
        make_key(path)
    assert path.read_text() == content


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyMismatchError, match="LARDER_KEY_FILE"):
        make_key(tmp_path / "file" / "key")


def test_a_person_is_known_by_their_hmac() -> None:
    key = bytes(range(32))
    expected = hmac.new(key, b"C1", hashlib.sha256).digest()
    assert person_hash(key, "C1") == person_hash(key, " C1\n") == expected
    assert person_hash(bytes(32), "C1") != expected
    assert fingerprint(key) != fingerprint(bytes(32))
    assert fingerprint(key) not in key.hex()
