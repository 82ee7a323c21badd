"""Run dbt: in a process of its own, so that its connection to the build is closed when it ends."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from larder import snowflake
from larder.build_state import (
    fingerprint,
    forget_tested,
    has_unit_tested,
    holds_any,
    is_drifting,
    mark_tested,
    mark_unit_tested,
    project_files,
    unit_test_fingerprint,
)
from larder.deploy.archive import learning_import, stage_archive
from larder.errors import BuildError
from larder.progress import Progress
from larder.settings import PROJECT_ROOT, Settings

KEPT_LINES = 40
WITHOUT_UNIT_TESTS = ("--exclude-resource-type", "unit_test")
FINISHED = ("LogModelResult", "LogTestResult", "LogSeedResult", "LogSnapshotResult")


@dataclass(frozen=True)
class Failure:
    """Name a model or test that failed, and say what dbt said of it."""

    name: str
    message: str


@dataclass(frozen=True)
class BuildResult:
    """Say what a build did."""

    nodes: int
    seconds: float
    warnings: tuple[Failure, ...]


def target_folder(settings: Settings, command: str) -> Path:
    """Return where dbt leaves its artefacts; each command has its own, so none spoils another's."""
    return settings.home / "dbt" / command


def build(
    settings: Settings,
    held: Collection[str] = (),
    *,
    only_audited: bool = False,
    full_refresh: bool = False,
    train: bool = False,
    progress: Progress | None = None,
) -> BuildResult:
    """Build and test every model over the accepted segments.

    Unit tests are left out where they have passed on this project and engine: what they test is
    made up, so that only a new version can let them fail.

    `only_audited` leaves out what no audit has looked at yet; else it is taken as accepted. `held`
    are the segments that the audits keep out now: what was built before and is held since is taken
    out again, which takes a full refresh; so does what `settings.refresh_file` asks for. `train`
    trains the models now, whenever they were trained last; else an alarm of the last build makes
    that due earlier.

    Raises:
        BuildError: a model or an error-severity test failed; names each.
        WarehouseError: Snowflake refuses.
    """
    made_from = fingerprint(settings)
    full_refresh = full_refresh or settings.refresh_file.exists() or holds_any(settings, held)
    unit_tests = unit_test_fingerprint(settings)
    arguments = [
        "build",
        *(["--full-refresh"] if full_refresh else []),
        *(WITHOUT_UNIT_TESTS if has_unit_tested(settings, unit_tests) else ()),
    ]
    forget_tested(settings)
    if settings.target == "prod":
        stage_archive(settings)
    try:
        run_dbt(
            settings,
            arguments,
            progress,
            LARDER_UNAUDITED="wait" if only_audited else "accept",
            LARDER_TRAIN="now" if train else "drift" if is_drifting(settings) else "",
        )
    except BuildError as error:
        raise BuildError(
            f"{error}\nNothing was published, readers keep the last good generation."
        ) from None
    if full_refresh:
        settings.refresh_file.unlink(missing_ok=True)
    mark_tested(settings, made_from)
    mark_unit_tested(settings, unit_tests)
    results = json.loads(
        (target_folder(settings, "build") / "run_results.json").read_text(encoding="utf-8")
    )
    return BuildResult(
        nodes=len(results["results"]),
        seconds=results["elapsed_time"],
        warnings=tuple(_failures(results, ("warn",))),
    )


def has_docs(settings: Settings) -> bool:
    """Tell whether the documentation is there and not older than the project."""
    page = settings.docs_page
    return page.exists() and all(
        file.stat().st_mtime <= page.stat().st_mtime for file in project_files()
    )


def write_docs(settings: Settings) -> Path:
    """Write the dbt docs site as one static file and return it.

    Raises:
        BuildError: dbt could not make it.
    """
    run_dbt(settings, ["docs", "generate", "--static"], None)
    page = settings.docs_page
    page.parent.mkdir(parents=True, exist_ok=True)
    made = target_folder(settings, "docs") / "static_index.html"
    made.replace(page)
    return page


def run_dbt(
    settings: Settings,
    arguments: list[str],
    progress: Progress | None,
    begun: Callable[[subprocess.Popen[str]], None] | None = None,
    **environment: str,
) -> None:
    """Run a dbt command over the project; `begun` gets its process, and may end it.

    Raises:
        BuildError: dbt reported a failure; its last words are in the message.
    """
    target = target_folder(settings, arguments[0])
    target.mkdir(parents=True, exist_ok=True)
    (target / "run_results.json").unlink(missing_ok=True)
    _take_newest_parse(target)
    command = [
        # not -m, which warns of itself in what the user reads after a failure
        *(sys.executable, "-c", "from dbt.cli.main import cli; cli()", *arguments),
        *("--project-dir", str(PROJECT_ROOT), "--profiles-dir", str(PROJECT_ROOT / "profiles")),
        *("--target", settings.target, "--target-path", str(target)),
        *("--log-path", str(settings.logs_folder / "dbt"), "--log-format", "json"),
    ]
    variables = (
        os.environ
        | environment
        | {
            "LARDER_HOME": str(settings.home),
            "LARDER_AS_OF": settings.as_of.isoformat() if settings.as_of else "",
            "LARDER_LEARNING_IMPORT": learning_import(settings),
        }
        | snowflake.environment(settings)
    )
    last_lines: deque[str] = deque(maxlen=KEPT_LINES)
    with subprocess.Popen(
        command,
        cwd=PROJECT_ROOT,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        if begun:
            begun(process)
        for line in process.stdout:
            _follow(line, last_lines, progress)
    if process.returncode != 0:
        raise BuildError(_explain(target, last_lines, settings))


def _take_newest_parse(target: Path) -> None:
    """Start from what the last command parsed, whichever it was; dbt parses what has changed."""
    parses = sorted(
        target.parent.glob("*/partial_parse.msgpack"), key=lambda file: file.stat().st_mtime
    )
    if parses and parses[-1].parent != target:
        shutil.copy2(parses[-1], target)


def _follow(line: str, last_lines: deque[str], progress: Progress | None) -> None:
    try:
        event = json.loads(line)
    except ValueError:
        last_lines.append(line.rstrip())
        return
    information = event.get("info", {})
    if information.get("level") in ("error", "warn"):
        last_lines.append(information.get("msg", ""))
    if progress and information.get("name") in FINISHED:
        data = event["data"]
        progress(
            data["node_info"]["node_name"], data["index"], data.get("total") or data["num_models"]
        )


def _explain(target: Path, last_lines: deque[str], settings: Settings) -> str:
    try:
        results = json.loads((target / "run_results.json").read_text(encoding="utf-8"))
        failures = list(_failures(results, ("error", "fail", "runtime error")))
    except (OSError, ValueError):
        failures = []
    shown = [f"  {failure.name}: {failure.message}" for failure in failures] or [
        f"  {line}" for line in last_lines
    ]
    remedies = snowflake.find_remedies("\n".join(shown)) if settings.target == "prod" else []
    return "\n".join(
        [
            "dbt reported a failure:",
            *shown,
            *(f"To mend it: {remedy}." for remedy in remedies),
            f"Details are in {settings.logs_folder / 'dbt' / 'dbt.log'}.",
        ]
    )


def _failures(results: dict[str, object], statuses: tuple[str, ...]) -> Iterator[Failure]:
    for result in results["results"]:  # type: ignore[attr-defined]
        if result["status"] in statuses:
            message = str(result["message"] or "").strip().splitlines()
            yield Failure(
                name=result["unique_id"].split(".")[2],
                message=" ".join(message[:2]),
            )
