"""Record one command: how long its steps took, what it did, how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING

from larder.errors import LarderError, WarehouseBusyError
from larder.metrics.catalogue import OUTCOMES, Labels, Samples
from larder.metrics.state import TOLD, entities, tell_bus
from larder.metrics.textfile import changing
from larder.progress import Progress
from larder.settings import Settings

if TYPE_CHECKING:
    from larder.pipeline import RunReport
    from loaders.load import EntityLoad

StartStep = Callable[[str], Progress]
# The part of an entity's load, the gauge of the last load, the counter of all loads.
COUNTED: tuple[tuple[Callable[[EntityLoad], int], str, str], ...] = (
    (lambda load: load.files, "larder_load_files", "larder_loaded_files_total"),
    (lambda load: load.records, "larder_load_records", "larder_loaded_records_total"),
    (lambda load: load.rejected, "larder_load_rejected_records", "larder_rejected_records_total"),
    (
        lambda load: load.duplicates,
        "larder_load_duplicate_records",
        "larder_duplicate_records_total",
    ),
)


class Recording:
    """Take the times of a command's steps, and write what there is to tell when it ends.

    Whatever goes wrong here is one warning, and never the command's failure.
    """

    def __init__(
        self,
        settings: Settings,
        command: str,
        report: RunReport,
        now: Callable[[], datetime],
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._command = command
        self._report = report
        self._now = now
        self._warn = warn
        self._clock = clock
        self._starts: list[tuple[str, float]] = []
        self._is_load_counted = False

    def timed(self, start_step: StartStep) -> StartStep:
        """Return `start_step` with a look at the clock."""

        def start(step: str) -> Progress:
            self._starts.append((step, self._clock()))
            # before the long steps: if this run is killed in one, its load is counted all the same
            if self._report.load and not self._is_load_counted:
                # where that cannot be written, the end tries again, and says so
                with suppress(Exception):
                    with changing(self._settings) as samples:
                        self._count_load(samples)
                    self._is_load_counted = True
            return start_step(step)

        return start

    def end(self, error: BaseException | None) -> None:
        """Write how the command ended."""
        ended = self._clock()
        outcome = self._outcome(error)

        try:
            with changing(self._settings) as samples:
                self._tell_run(samples, outcome, error, ended)
                if outcome != "busy":
                    self._tell_state(samples, outcome)
        except Exception as problem:
            self._warn(f"the metrics were not written: {problem}")

    def _outcome(self, error: BaseException | None) -> str:
        if error is not None:
            # no step has begun before the lock of the run is held
            is_busy = isinstance(error, WarehouseBusyError) and not self._starts
            return "busy" if is_busy else "failed"
        return "held" if self._report.audit and self._report.audit.is_held else "succeeded"

    def _tell_run(
        self, samples: Samples, outcome: str, error: BaseException | None, ended: float
    ) -> None:
        command = self._command
        runs = samples.setdefault("larder_runs_total", {})
        for one in OUTCOMES:
            runs.setdefault((command, one), 0.0)
        runs[command, outcome] += 1
        succeeded = samples.setdefault("larder_run_last_success_timestamp_seconds", {})
        succeeded.setdefault((command,), 0.0)
        if outcome == "busy":
            return
        moment = self._now().timestamp()
        exit_code = error.exit_code if isinstance(error, LarderError) else outcome != "succeeded"
        samples.setdefault("larder_run_last_timestamp_seconds", {})[(command,)] = moment
        samples.setdefault("larder_run_exit_code", {})[(command,)] = float(exit_code)
        if outcome != "failed":
            succeeded[(command,)] = moment
        steps = samples.setdefault("larder_run_step_duration_seconds", {})
        for labels in [labels for labels in steps if labels[0] == command]:
            del steps[labels]
        ends = [start for _, start in self._starts[1:]] + [ended]
        for (step, start), end in zip(self._starts, ends, strict=False):
            steps[command, step.replace(" ", "_")] = end - start
        started = self._starts[0][1] if self._starts else ended
        samples.setdefault("larder_run_duration_seconds", {})[(command,)] = ended - started

    def _tell_state(self, samples: Samples, outcome: str) -> None:
        if self._report.load and not self._is_load_counted:
            self._count_load(samples)
        failures = []
        for name, tell in TOLD.items():
            if name == "published tables" and outcome == "failed" and self._is_remote:
                continue  # it may be Snowflake that failed, and its answer would take minutes
            try:
                tell(self._settings, samples, self._report)
            except Exception as problem:
                failures.append(f"{name} ({problem})")
        if failures:
            self._warn(f"metrics of the last run stay for {'; '.join(failures)}")

    @property
    def _is_remote(self) -> bool:
        return self._settings.target == "prod"

    def _count_load(self, samples: Samples) -> None:
        load = self._report.load
        assert load is not None
        by_labels: dict[Labels, EntityLoad] = {
            tuple(path.split("/")): entity for path, entity in load.entities.items()
        }
        for part, last, total in COUNTED:
            gauges = samples[last] = dict.fromkeys(entities(), 0.0)
            counters = samples.setdefault(total, {})
            for labels in entities():
                entity = by_labels.get(labels)
                gauges[labels] = float(part(entity)) if entity else 0.0
                counters[labels] = counters.get(labels, 0.0) + gauges[labels]


def record_bus(settings: Settings, warn: Callable[[str], None]) -> None:
    """Write how the event bus stands, for a command that stays and so records no end."""
    try:
        with changing(settings) as samples:
            tell_bus(settings, samples)
    except Exception as problem:
        warn(f"the metrics of the event bus were not written: {problem}")


@contextmanager
def record(
    settings: Settings,
    command: str,
    report: RunReport,
    now: Callable[[], datetime],
    warn: Callable[[str], None],
) -> Iterator[Callable[[StartStep], StartStep]]:
    """Record a command; gives what makes a `start_step` take the time of each step.

    `report` is what the command fills in. Enter it before the lock of the run, so that a run that
    finds another one is counted; a killed command writes nothing, and the file stays as it was.
    """
    recording = Recording(settings, command, report, now, warn)
    try:
        yield recording.timed
    except BaseException as error:
        recording.end(error)
        raise
    recording.end(None)
