"""Run dbt: in a process of its own, so that its connection to the build is closed when it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from larder.errors import BuildError
from larder.progress import Progress
from larder.settings import PROJECT_ROOT, Settings
from larder.warehouse import open_build, require_build

# What the build is made of, besides the accepted segments.
PROJECT_PARTS = (
    "dbt_project.yml",
    "models",
    "macros",
    "seeds",
    "snapshots",
    "python_models",
    "tests/dbt",
    "larder/learning",
    "docs",
)
# Says which state of the build has passed all tests.
MARK = "tested"
KEPT_LINES = 40
FINISHED = ("LogModelResult", "LogTestResult", "LogSeedResult", "LogSnapshotResult")


@dataclass(frozen=True)
class Failure:
    """Name a model or test that failed, and say what dbt said of it."""

    name: str
    status: str
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
    *,
    only_audited: bool = False,
    full_refresh: bool = False,
    progress: Progress | None = None,
) -> BuildResult:
    """Build and test every model over the accepted segments.

    `only_audited` leaves out what no audit has looked at yet; else it is taken as accepted. What
    was built so and is held since is taken out again, which takes a full refresh; so does what
    `settings.refresh_file` asks for.

    Raises:
        BuildError: a model or an error-severity test failed; names each.
    """
    mark = settings.home / MARK
    mark.unlink(missing_ok=True)
    full_refresh = full_refresh or settings.refresh_file.exists() or _holds_what_is_held(settings)
    arguments = ["build", *(["--full-refresh"] if full_refresh else [])]
    run_dbt(settings, arguments, progress, LARDER_UNAUDITED="wait" if only_audited else "accept")
    if full_refresh:
        settings.refresh_file.unlink(missing_ok=True)
    results = json.loads(
        (target_folder(settings, "build") / "run_results.json").read_text(encoding="utf-8")
    )
    if settings.build_database.exists():
        mark.write_text(_stamp(settings), encoding="utf-8")
    return BuildResult(
        nodes=len(results["results"]),
        seconds=results["elapsed_time"],
        warnings=tuple(_failures(results, ("warn",))),
    )


def _holds_what_is_held(settings: Settings) -> bool:
    from loaders.audit import list_held  # 0.6 s, which no other command shall pay

    held = [segment.segment for segment in list_held(settings)]
    if not held or not settings.build_database.exists():
        return False
    with open_build(settings) as connection:
        listed = "select * from information_schema.tables where table_schema = 'raw' and table_name"
        if not connection.execute(f"{listed} = 'segments'").fetchall():
            return False
        found = connection.execute(
            "select count(*) from raw.segments where segment in (select unnest(?))", [held]
        ).fetchall()
    return bool(found[0][0])


def require_tested_build(settings: Settings) -> None:
    """Make sure that the build is as `build` left it when every test had passed.

    Raises:
        BuildError: it failed, was killed, or somebody has written into it since.
    """
    require_build(settings)
    mark = settings.home / MARK
    if not mark.exists() or mark.read_text(encoding="utf-8") != _stamp(settings):
        raise BuildError(
            f"{settings.build_database} has not passed its tests as it is now: the last build "
            "failed or was killed, or something else has written into it. Run `larder build` and "
            "publish again; readers keep what is published."
        )


def docs_page(settings: Settings) -> Path:
    """Return where the documentation is, or would be."""
    return settings.home / "docs" / "index.html"


def has_docs(settings: Settings) -> bool:
    """Tell whether the documentation is there and not older than the project."""
    page = docs_page(settings)
    return page.exists() and all(
        file.stat().st_mtime <= page.stat().st_mtime for file in _project_files()
    )


def write_docs(settings: Settings) -> Path:
    """Write the dbt docs site as one static file and return it.

    Raises:
        BuildError: dbt could not make it.
    """
    run_dbt(settings, ["docs", "generate", "--static"], None)
    page = docs_page(settings)
    page.parent.mkdir(parents=True, exist_ok=True)
    made = target_folder(settings, "docs") / "static_index.html"
    made.replace(page)
    return page


def run_dbt(
    settings: Settings, arguments: list[str], progress: Progress | None, **environment: str
) -> None:
    """Run a dbt command over the project.

    Raises:
        BuildError: dbt reported a failure; its last words are in the message.
    """
    target = target_folder(settings, arguments[0])
    target.mkdir(parents=True, exist_ok=True)
    (target / "run_results.json").unlink(missing_ok=True)
    command = [
        *(sys.executable, "-m", "dbt.cli.main", *arguments),
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
        }
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
        for line in process.stdout:
            _follow(line, last_lines, progress)
    if process.returncode != 0:
        raise BuildError(_explain(target, last_lines, settings))


def fingerprint(settings: Settings, segments: Iterator[Path]) -> str:
    """Return what a build depends on as one hash: segments, verdicts, project, as-of moment."""
    digest = sha256()
    for segment in sorted(segments):
        # An erasure rewrites a segment under its name.
        status = segment.stat()
        digest.update(f"{segment.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    for verdict in sorted((settings.audit_folder / "verdicts").glob("*.parquet")):
        digest.update(f"{verdict.name}\n".encode())
    for file in _project_files():
        digest.update(f"{file.relative_to(PROJECT_ROOT)}\n".encode())
        digest.update(file.read_bytes())
    digest.update(f"{settings.as_of}\n{settings.target}".encode())
    return digest.hexdigest()


def _project_files() -> Iterator[Path]:
    for part in PROJECT_PARTS:
        path = PROJECT_ROOT / part
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.suffix in (".sql", ".yml", ".csv", ".py", ".md"):
                yield file


def _stamp(settings: Settings) -> str:
    status = settings.build_database.stat()
    return f"{status.st_size} {status.st_mtime_ns}"


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
    return "\n".join(
        [
            "dbt reported a failure; nothing was published, readers keep the last good generation.",
            *shown,
            f"Details are in {settings.logs_folder / 'dbt' / 'dbt.log'}.",
        ]
    )


def _failures(results: dict[str, object], statuses: tuple[str, ...]) -> Iterator[Failure]:
    for result in results["results"]:  # type: ignore[attr-defined]
        if result["status"] in statuses:
            message = str(result["message"] or "").strip().splitlines()
            yield Failure(
                name=result["unique_id"].split(".")[2],
                status=result["status"],
                message=" ".join(message[:2]),
            )
