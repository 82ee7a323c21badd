"""An emulated Snowflake for the tests of production, and what a user sets to reach it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from larder.deploy.applying import deploy, make_plan
from larder.settings import Settings
from larder.snowflake import LANDING, PEOPLE, fetch, open_account, open_snowflake

TIME_LIMIT_SECONDS = 900
# … and for an account to be there, and to be gone, either of which takes a few seconds.
START_SECONDS, STOP_SECONDS = 120, 30
EMULATOR = Path(__file__).with_name("emulated_snowflake.py")


@dataclass(frozen=True)
class Account:
    """Say how to reach the emulated account, and what it only pretended to do."""

    variables: dict[str, str]
    folder: Path

    def settings(self, home: Path, key_file: Path) -> Settings:
        """Return the settings of a home that works on it."""
        values = {name.removeprefix("LARDER_").lower(): v for name, v in self.variables.items()}
        return Settings.model_validate({"home": home, "key_file": key_file} | values)

    def pretended(self) -> list[str]:
        """Return the statements that the emulator does not know, in their order."""
        lines = (self.folder / "pretended.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def forget_records(self, settings: Settings) -> None:
        """Leave no record and nobody in the vault."""
        with open_snowflake(settings, "loader") as connection:
            for table in ("records", "manifest", "verdicts"):
                fetch(connection, f"delete from {LANDING}.{table}")
            for table in ("tokens", "tombstones", "fingerprint"):
                fetch(connection, f"delete from {PEOPLE}.{table}")

    @contextmanager
    def fault(self, match: str, **refusal: object) -> Iterator[None]:
        """Let statements that match (or `login`) fail: with `code` and `message`, or no answer.

        With `after=True` they are executed first.
        """
        file = self.folder / "faults.json"
        file.write_text(json.dumps([{"match": match} | refusal]), encoding="utf-8")
        try:
            yield
        finally:
            file.unlink()


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An emulated account that tests share; each clears what it looks at."""
    with emulated_account(tmp_path_factory.mktemp("account")) as found:
        yield found


@pytest.fixture
def new_account(tmp_path: Path) -> Iterator[Account]:
    """An emulated account in which nothing has happened yet."""
    folder = tmp_path / "account"
    folder.mkdir()
    with emulated_account(folder) as found:
        yield found


@contextmanager
def emulated_account(folder: Path) -> Iterator[Account]:
    """Start an emulated account, and set it up by `larder deploy`."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (folder / "key.p8").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (folder / "pretended.jsonl").touch()
    with (folder / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, EMULATOR, folder],
            env=os.environ | {"PYTHONPATH": str(EMULATOR.parents[3])},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    with process:
        try:
            # fixtures of a session come before the time limit of their first test
            with limited(START_SECONDS, "starting an account"):
                found = set_up(process, folder)
            yield found
        finally:
            stop(process)


def set_up(process: subprocess.Popen[str], folder: Path) -> Account:
    """Wait until the emulator answers, and deploy to it."""
    assert process.stdout is not None
    port = process.stdout.readline().strip()
    assert port, (folder / "log").read_text(encoding="utf-8")[-2000:]
    variables = {
        "LARDER_TARGET": "prod",
        "LARDER_SNOWFLAKE_ACCOUNT": "emulated",
        "LARDER_SNOWFLAKE_USER": "larder",
        "LARDER_SNOWFLAKE_PRIVATE_KEY_PATH": str(folder / "key.p8"),
        "LARDER_SNOWFLAKE_HOST": "127.0.0.1",
        "LARDER_SNOWFLAKE_PORT": port,
        "LARDER_SNOWFLAKE_PROTOCOL": "http",
    }
    found = Account(variables, folder)
    settings = found.settings(folder / "home", folder / "home.key")
    with open_account(settings) as connection:
        deploy(make_plan(settings), connection)
    return found


def stop(process: subprocess.Popen[str]) -> None:
    """End the emulator, also one that hangs."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


@contextmanager
def limited(seconds: int, what: str) -> Iterator[None]:
    """Stop what hangs: the connector asks a server that fails again for minutes."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"{what} took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    left = signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        signal.alarm(left)  # the limit around this one goes on


@pytest.fixture(autouse=True)
def time_limit(request: pytest.FixtureRequest) -> Iterator[None]:
    """Stop a test that hangs."""
    with limited(TIME_LIMIT_SECONDS, request.node.name):
        yield
