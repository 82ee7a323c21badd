from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from landing_zone import Home

from larder.errors import KeyMismatchError
from loaders.entities import DOMAINS
from loaders.vault import open_vault

ASK = """
import sys
from pathlib import Path
from larder.settings import Settings
from loaders.vault import open_vault
home, key = map(Path, sys.argv[1:])
with open_vault(Settings(home=home, key_file=key)) as vault:
    for start in range(0, 3000, 100):
        print(*vault.tokens("commerce", [f"C{n}" for n in range(start, start + 100)]))
"""


def test_a_person_has_one_random_token_a_domain(home: Home) -> None:
    with open_vault(home.settings) as vault:
        tokens = {domain: vault.tokens(domain, ["C1", "C2", "C1"]) for domain in DOMAINS}
    with open_vault(home.settings) as vault:
        assert {domain: vault.tokens(domain, ["C1", "C2", "C1"]) for domain in DOMAINS} == tokens
    every = {token for of_domain in tokens.values() for token in of_domain}
    assert len(every) == 2 * len(DOMAINS)
    assert all(token is not None and len(token) == 32 for token in every)
    assert tokens["commerce"][0] == tokens["commerce"][2]


def test_blanks_around_an_id_are_no_part_of_it(home: Home) -> None:
    with open_vault(home.settings) as vault:
        first, second = vault.tokens("commerce", ["C1", " C1 "])
    assert first == second


def test_many_persons_at_once(home: Home) -> None:
    people = [f"C{number}" for number in range(5000)]
    with open_vault(home.settings) as vault:
        tokens = vault.tokens("commerce", people)
    with open_vault(home.settings) as vault:
        assert vault.tokens("commerce", people) == tokens
    assert len(set(tokens)) == 5000


def test_processes_at_once_give_the_same_tokens(home: Home) -> None:
    command = [sys.executable, "-c", ASK, str(home.settings.home), str(home.settings.key_file)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = {process.communicate(timeout=60)[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(answers) == 1
    assert len(set(answers.pop().split())) == 3000


def test_nobody_else_may_look_into_it(home: Home) -> None:
    with open_vault(home.settings):
        pass
    folder = home.settings.vault_folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "vault.sqlite").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.settings.key_file.stat().st_mode) == 0o600


def test_it_says_nothing_without_the_key(home: Home) -> None:
    with open_vault(home.settings) as vault:
        vault.tokens("commerce", ["someone@example.org"])
    content = (home.settings.vault_folder / "vault.sqlite").read_bytes()
    assert b"someone" not in content
    assert home.settings.key_file.read_text().strip().encode() not in content


@pytest.mark.parametrize("key", ["00" * 32, "", "not a key", "00" * 16])
def test_a_wrong_key_stops_the_work_and_renames_nobody(home: Home, key: str) -> None:
    with open_vault(home.settings) as vault:
        tokens = vault.tokens("commerce", ["C1"])
    right = home.settings.key_file.read_text()
    home.settings.key_file.write_text(key)
    with pytest.raises(KeyMismatchError) as caught:
        open_vault(home.settings)
    assert right.strip() not in str(caught.value)
    home.settings.key_file.write_text(right)
    with open_vault(home.settings) as vault:
        assert vault.tokens("commerce", ["C1"]) == tokens


def test_a_lost_key_is_never_replaced(home: Home) -> None:
    with open_vault(home.settings):
        pass
    home.settings.key_file.unlink()
    with pytest.raises(KeyMismatchError, match="missing"):
        open_vault(home.settings)
    assert not home.settings.key_file.exists()


def test_a_tombstone_reaches_other_processes_and_counts_before_the_token(home: Home) -> None:
    with open_vault(home.settings) as one, open_vault(home.settings) as other:
        (token,) = one.tokens("commerce", ["C1"])
        assert other.tokens("commerce", ["C1"]) == [token]
        one.bury("commerce", ["C1"])
        assert other.tokens("commerce", ["C1", "C2"])[0] is None
        assert other.known_tokens("C1") == [token]
        one.forget("commerce", ["C1"])
        assert other.known_tokens("C1") == []
        assert other.tokens("commerce", ["C1"]) == [None]
        assert other.tokens("visitor", ["C1"]) != [None]


def test_a_forgotten_token_leaves_no_bytes(home: Home, tmp_path: Path) -> None:
    assert tmp_path.exists()
    with open_vault(home.settings) as vault:
        (token,) = vault.tokens("commerce", ["C1"])
        vault.write_plan("C1", "a plan with telling words")
        assert vault.read_plan("C1") == "a plan with telling words"
        vault.bury("commerce", ["C1"])
        vault.forget("commerce", ["C1"])
        vault.write_plan("C1", None)
        vault.scrub()
        log = (home.settings.vault_folder / "vault.sqlite-wal").read_bytes()
    assert log == b""
    content = (home.settings.vault_folder / "vault.sqlite").read_bytes()
    assert token is not None
    assert token.encode() not in content
    assert b"telling words" not in content
    with sqlite3.connect(home.settings.vault_folder / "vault.sqlite") as connection:
        assert connection.execute("select count(*) from tombstones").fetchone() == (1,)
    connection.close()
