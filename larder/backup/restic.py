"""Drive restic, which keeps the backup: encrypted, incremental, every file named by its hash.

Only here does Larder know how restic is called and what it says (0.14, Debian's, and later).
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from larder.errors import (
    BackupBusyError,
    BackupDamagedError,
    BackupError,
    BackupIncompleteError,
    BackupPasswordError,
    SettingsError,
    WarehouseError,
)
from larder.keys import make_secret
from larder.serving.places import open_place
from larder.settings import Settings

# All homes and machines are one to restic, so that a restored home goes on where the lost one was.
HOST = "larder"
KEPT_LINES = 20

# What restic says, tried on 0.14 with each kind of damage (test_backup_damage.py).
_PASSWORD = re.compile(r"wrong password or no key found")
_LOST = re.compile(
    r"does not exist|no such file or directory|not found in repository|specified key does not exist"
)
_DAMAGED = re.compile(
    r"ciphertext verification failed|invalid data returned|is damaged|ID does not match|"
    r"Unmarshal|invalid character|hash mismatch|size mismatch|Invalid data"
)
_NO_REPOSITORY = re.compile(r"unable to open config file|repository does not exist")
_LOCKED = re.compile(r"repository is already locked|unable to create lock")


@dataclass(frozen=True)
class Snapshot:
    """Describe one snapshot of the backup."""

    id: str
    made_at: datetime
    tags: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        """What people call it."""
        return self.id[:8]

    def tag(self, name: str) -> str | None:
        """Return the value of a tag `name=value`."""
        values = [tag.partition("=")[2] for tag in self.tags if tag.startswith(f"{name}=")]
        return values[0] if values else None


class Restic:
    """The backup's repository."""

    def __init__(self, settings: Settings) -> None:
        if settings.backup is None:
            raise SettingsError(
                "LARDER_BACKUP is not set, so there is no second place. Let it name a folder on "
                "another disk, or a bucket in another region: s3:https://host/bucket/prefix."
            )
        self.place = settings.backup
        self._password_file = settings.backup_password_file
        for name, path in (
            ("LARDER_BACKUP", Path(self.place)),
            ("LARDER_BACKUP_PASSWORD_FILE", self._password_file),
        ):
            if path.is_relative_to(settings.home):
                raise SettingsError(
                    f"{name}: {path} is inside LARDER_HOME, and would be lost with it. Let it name "
                    "another place."
                )

    def is_there(self) -> bool:
        """Tell whether there is a backup at the place.

        Raises:
            BackupError: the place cannot be reached, or a part of what is there is missing.
        """
        if not self._names("config"):
            if self._names("keys/") or self._names("snapshots/"):
                raise self._lost(f"the file config is not in {self.place}")
            return False
        if not self._password_file.exists():
            raise BackupPasswordError(
                f"The password file {self._password_file} of the backup is missing. Bring it back "
                "from where it is kept, or point LARDER_BACKUP_PASSWORD_FILE at it."
            )
        return True

    def make(self) -> None:
        """Make the repository, and the password file unless there is one."""
        try:
            make_secret(self._password_file)
        except OSError as error:
            raise BackupPasswordError(
                f"The password file {self._password_file} cannot be made ({error.strerror}). Point "
                "LARDER_BACKUP_PASSWORD_FILE at a place that you may write."
            ) from None
        self._run("init")

    def backup(
        self, folder: Path, targets: Sequence[str], tags: Sequence[str], *options: str
    ) -> tuple[str, dict[str, Any]]:
        """Make a snapshot of targets below the folder, and return its id and restic's summary."""
        told = self._run(
            *("backup", "--json", "--host", HOST, "--ignore-ctime", *options),
            *(part for tag in tags for part in ("--tag", tag)),
            *targets,
            folder=folder,
        )
        messages = [json.loads(line) for line in told.splitlines()]
        summary = next(one for one in messages if one["message_type"] == "summary")
        return str(summary["snapshot_id"]), summary

    def snapshots(self) -> list[Snapshot]:
        """Return the snapshots of all kinds, oldest first.

        Raises:
            BackupDamagedError: one cannot be read, which restic only mumbles about.
        """
        for name, content in self._names("snapshots/").items():
            if sha256(content).hexdigest() != name:
                raise self._damaged(f"snapshot {name[:8]}")
        told = self._run("snapshots", "--json", "--host", HOST)
        return [
            Snapshot(
                one["id"],
                # restic has nanoseconds, and the fraction is as long as it happens to be
                datetime.fromisoformat(re.sub(r"\.\d+", "", one["time"])),
                tuple(one.get("tags") or ()),
            )
            for one in sorted(json.loads(told) or [], key=lambda one: str(one["time"]))
        ]

    def read(self, snapshot: str, name: str) -> bytes:
        """Return the content of one file of a snapshot."""
        return self._run("dump", snapshot, name).encode()

    def restore(self, snapshot: str, target: Path) -> None:
        """Restore a snapshot below the target, and compare every file with its hash."""
        self._run("restore", snapshot, "--target", str(target), "--verify")

    def check(self, share: str | None) -> None:
        """Check that everything is there, and read that share of the data (`5%`), or all (null)."""
        self._run("check", f"--read-data-subset={share}" if share else "--read-data")

    def forget(self, *arguments: str) -> int:
        """Forget snapshots by id or policy; return how many went."""
        told = self._run("forget", "--json", *arguments)
        groups = json.loads(told) if told.startswith("[{") else []
        return sum(len(group["remove"] or ()) for group in groups)

    def prune(self, *options: str) -> None:
        """Remove what no snapshot needs any more."""
        self._run("prune", *options)

    def _run(self, *arguments: str, folder: Path | None = None) -> str:
        """Run restic and return what it prints; the locks of killed processes are removed."""
        try:
            return self._run_once(*arguments, folder=folder)
        except BackupBusyError:
            self._run_once("unlock")  # only those of processes that are gone, or half an hour old
            return self._run_once(*arguments, folder=folder)

    def _run_once(self, *arguments: str, folder: Path | None = None) -> str:
        """Run restic, which asks for what is lost for a quarter of an hour: it is stopped."""
        command = ["restic", "--repo", self.place, "--password-file", str(self._password_file)]
        if not self.place.startswith("s3:"):
            command.append("--no-cache")
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RESTIC_REPOSITORY", "RESTIC_PASSWORD"))
        }
        first_lines: list[str] = []
        last_lines: deque[str] = deque(maxlen=KEPT_LINES)
        with tempfile.TemporaryFile("w+", encoding="utf-8") as told:
            try:
                process = subprocess.Popen(
                    [*command, *arguments],
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=told,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            except FileNotFoundError:
                raise BackupError(
                    "restic is not installed, which keeps the backup. Install the package restic "
                    "(Debian, Ubuntu: apt-get install restic) and run again."
                ) from None
            with process:
                assert process.stderr is not None
                for line in process.stderr:
                    kept = first_lines if len(first_lines) < KEPT_LINES else last_lines
                    kept.append(line.strip())
                    if "retrying" in line and _LOST.search(line):
                        process.send_signal(signal.SIGINT)
            told.seek(0)
            output = told.read()
        if process.returncode != 0:
            lines = [*first_lines, *last_lines, *output.splitlines()[-KEPT_LINES:]]
            raise self._explain(arguments[0], lines)
        return output

    def _explain(self, command: str, lines: Sequence[str]) -> BackupError:
        said = next((line for line in lines if _LOST.search(line)), None)
        text = "\n".join(lines)
        if _LOCKED.search(text):
            return BackupBusyError(
                f"The backup at {self.place} is in use by another larder or restic. Wait until it "
                "has ended and run again."
            )
        if _PASSWORD.search(text) or "Unmarshal" in text:
            return self._explain_key()
        if _DAMAGED.search(text):
            said = next(line for line in lines if _DAMAGED.search(line))
            return self._damaged(said)
        if _NO_REPOSITORY.search(text) and not said:
            reason = next(line for line in lines if _NO_REPOSITORY.search(line))
            return BackupError(
                f"The backup at {self.place} cannot be reached ({reason}). Correct LARDER_BACKUP, "
                "the network or the AWS_… variables and run again."
            )
        if said:
            return self._lost(said)
        reason = " ".join(line for line in lines if "Fatal" in line) or " ".join(lines[-2:])
        return BackupError(
            f"restic {command} failed at {self.place}: {reason or 'it was stopped'}. Mend that and "
            "run again; what was backed up before is as it was."
        )

    def _explain_key(self) -> BackupError:
        """Tell a wrong password from a key file of the repository that is gone or damaged."""
        keys = self._names("keys/")
        if not keys:
            return self._lost(f"there is no file in keys/ of {self.place}")
        if any(sha256(content).hexdigest() != name for name, content in keys.items()):
            return self._damaged("a file in keys/ has another content than its name says")
        return BackupPasswordError(
            f"The password in {self._password_file} does not open the backup at {self.place}. "
            "Point LARDER_BACKUP_PASSWORD_FILE at the one that it was made with; nothing was "
            "changed."
        )

    def _lost(self, what: str) -> BackupIncompleteError:
        return BackupIncompleteError(
            f"A part of the backup at {self.place} is missing: {_short(what)}. Bring the file back "
            "from a copy of that place (an earlier version of the bucket), or restore another "
            "snapshot with --snapshot."
        )

    def _damaged(self, what: str) -> BackupDamagedError:
        return BackupDamagedError(
            f"The backup at {self.place} is damaged, a file is not what was written: "
            f"{_short(what)}. Bring it back from a copy of that place, or restore another snapshot "
            "with --snapshot; where the home is still there, `larder backup` into an empty place."
        )

    def _names(self, prefix: str) -> dict[str, bytes]:
        """Return the small files of the repository whose names begin so, by their last part."""
        url, endpoint = self.place, None
        if url.startswith("s3:"):
            scheme, host, rest = re.fullmatch(r"s3:(https?://)?([^/]+)/(.*)", url).groups()  # type: ignore[union-attr]
            url, endpoint = f"s3://{rest}", f"{scheme or 'https://'}{host}"
        try:
            with open_place(url, "LARDER_BACKUP", endpoint) as place:
                return {
                    name.rpartition("/")[2]: place.read(name) or b"" for name in place.names(prefix)
                }
        except WarehouseError as error:
            if "NoSuchBucket" in str(error):
                return {}  # restic makes it
            raise BackupError(str(error)) from None


def _short(what: str) -> str:
    return re.sub(r"\b([0-9a-f]{8})[0-9a-f]{56}\b", r"\1…", what.strip().rstrip("."))
