"""Run dbt in tests: every command in a process of its own, without paying for the import."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from larder.settings import PROJECT_ROOT

WITHOUT_TESTS = ("--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
# What remembers earlier builds, and all that it reads; the rest is made anew each time anyway.
REMEMBER = "+config.materialized:incremental"
SCORES = "path:python_models"


@dataclass(frozen=True)
class DbtResult:
    """Say what a dbt command did: `results` is name of node → (status, message)."""

    success: bool
    message: str
    results: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def problems(self) -> dict[str, tuple[str, str]]:
        """The nodes that neither passed nor succeeded."""
        return {
            name: result
            for name, result in self.results.items()
            if result[0] not in ("success", "pass", "skipped", "no-op")
        }


class Dbt:
    """Run dbt commands; `folder` takes dbt's output and the parses, which all workers share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def parse(self, target: str = "dev") -> Path:
        """Parse the project once, every warning an error, and return the folder of the artefacts.

        Raises:
            RuntimeError: dbt refuses the project; its words are in the message.
        """
        folder = self._folder / "parsed" / target
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):
            if not (folder / "manifest.json").exists():
                arguments = ("parse", "--warn-error", "--no-partial-parse")
                parsed = self._ask(folder, arguments, target, folder)
                if not parsed.success:
                    raise RuntimeError(f"{target}: {parsed.message} {parsed.problems}")
        return folder

    def run(
        self,
        home: Path,
        *arguments: str,
        target: str = "dev",
        target_path: Path | None = None,
        macros: Mapping[str, str] | None = None,
        **environment: str,
    ) -> DbtResult:
        """Run one command with `LARDER_HOME` = home over the parsed project and wait for its end.

        Artefacts go to `target_path` (default `home/dbt/<command>`), logs to `home/logs/dbt`.
        `macros`: what takes the place of macros, by their unique ids. `environment`: further
        variables, such as LARDER_AS_OF.
        """
        target_path = target_path or home / "dbt" / arguments[0]
        target_path.mkdir(parents=True, exist_ok=True)
        return self._ask(
            home,
            arguments,
            target,
            target_path,
            manifest=str(self.parse(target) / "partial_parse.msgpack"),
            macros=dict(macros or {}),
            environment=environment,
        )

    def _ask(
        self,
        home: Path,
        arguments: tuple[str, ...],
        target: str,
        target_path: Path,
        *,
        manifest: str | None = None,
        macros: dict[str, str] | None = None,
        environment: dict[str, str] | None = None,
    ) -> DbtResult:
        request = {
            "arguments": [
                *arguments,
                *("--project-dir", str(PROJECT_ROOT)),
                *("--profiles-dir", str(PROJECT_ROOT / "profiles")),
                *("--target", target, "--target-path", str(target_path)),
                *("--log-path", str(home / "logs" / "dbt")),
            ],
            "environment": {"LARDER_HOME": str(home), **(environment or {})},
            "manifest": manifest,
            "macros": macros or {},
        }
        process = self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        lines = []
        while (line := process.stdout.readline()) not in ("done\n", ""):
            lines.append(line)
        if not lines:
            return DbtResult(success=False, message=f"dbt died; see {self._folder}/stdout.log")
        reply = json.loads(lines[-1])
        return DbtResult(
            success=reply["success"],
            message=reply["message"],
            results={name: (status, text) for name, (status, text) in reply["results"].items()},
        )

    def _start(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    str(Path(__file__).with_name("dbt_server.py")),
                    str(self._folder / "stdout.log"),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=self._folder,  # dbt reads `.env` from here and above, too
            )
        return self._process

    def close(self) -> None:
        """End the process, if it was ever started."""
        if self._process is not None:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            self._process.wait(timeout=60)
            self._process.stdout.close()
            self._process = None
