"""Ask Great Expectations about a frame, and keep the pages (Data Docs) that a data owner reads.

Importing Great Expectations costs about ten seconds, so it happens only when there is something
to ask.
"""

from __future__ import annotations

import importlib
import os
import shutil
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from larder.settings import Settings
from loaders.audit.pages import (
    SITE,
    finish_pages,
    pages_folder,
    results_folder,
    root_folder,
)
from loaders.audit.rules import Rule, percent

if TYPE_CHECKING:
    import pandas as pd

KEPT_RUNS = 10
# No list of the values that broke a rule: pages and stores hold counts only.
WITHOUT_VALUES = {"result_format": "BASIC", "partial_unexpected_count": 0}


class Examiner:
    """Examine the frames of one audit."""

    def __init__(self, settings: Settings, now: datetime) -> None:
        self._gx = _import_great_expectations()
        self._settings = settings
        run_identifier = importlib.import_module("great_expectations.core.run_identifier")
        self._run = run_identifier.RunIdentifier(
            run_name=f"{now:%Y-%m-%d %H:%M:%S} UTC", run_time=now.replace(tzinfo=UTC)
        )
        self._keys: list[Any] = []
        self._suites: list[Any] = []
        _clear(settings)
        self._context = self._gx.get_context(
            mode="file", project_root_dir=str(settings.audit_folder)
        )
        self._context.variables.progress_bars = {"globally": False}
        site = dict(self._context.variables.data_docs_sites[SITE])
        self._context.update_data_docs_site(SITE, {**site, "show_how_to_buttons": False})
        self._source = self._context.data_sources.add_pandas("batch")

    def examine(
        self,
        name: str,
        frame: pd.DataFrame,
        rules: Mapping[int, Rule],
        measured: Mapping[int, float],
        note: str,
    ) -> dict[int, float]:
        """Return the numbers of the rules that the batch breaks, each with what was measured.

        `measured` are the rules that were measured over the whole batch: they are asked of a
        column of their own.

        Raises:
            RuntimeError: a rule could not be asked; that is our mistake, not the data's.
        """
        asked = {
            number: rule for number, rule in rules.items() if number in measured or rule.needs_frame
        }
        for number, value in measured.items():
            frame[_measure_column(rules[number])] = value
        suite = self._context.suites.add(
            self._gx.ExpectationSuite(
                name=name,
                expectations=[self._expectation(number, rule) for number, rule in asked.items()],
                notes=note,
            )
        )
        self._suites.append(suite)
        asset = self._source.add_dataframe_asset(name)
        checkpoint = self._context.checkpoints.add(
            self._gx.Checkpoint(
                name=name,
                validation_definitions=[
                    self._context.validation_definitions.add(
                        self._gx.ValidationDefinition(
                            name=name,
                            data=asset.add_batch_definition_whole_dataframe("batch"),
                            suite=suite,
                        )
                    )
                ],
                actions=[],
                result_format=WITHOUT_VALUES,
            )
        )
        result = checkpoint.run(batch_parameters={"dataframe": frame}, run_id=self._run)
        self._keys.extend(result.run_results)
        broken = {}
        for validation in result.run_results.values():
            for outcome in validation.results:
                number = int(outcome.expectation_config.meta["rule"])
                if outcome.exception_info.get("raised_exception"):
                    raise RuntimeError(f"{name}: {rules[number]} could not be asked")
                if not outcome.success:
                    broken[number] = float(
                        measured[number]
                        if number in measured
                        else outcome.result["unexpected_percent"] / 100
                    )
        return broken

    def write_pages(self) -> Path:
        """Write the pages of this audit and return the first page."""
        suite_identifier = importlib.import_module(
            "great_expectations.data_context.types.resource_identifiers"
        ).ExpectationSuiteIdentifier
        self._context.build_data_docs(
            resource_identifiers=[
                *self._keys,
                *(suite_identifier(name=suite.name) for suite in self._suites),
            ]
        )
        return finish_pages(self._settings)

    def _expectation(self, number: int, rule: Rule) -> Any:
        expectations = self._gx.expectations
        options: dict[str, Any] = {
            "severity": rule.severity,
            "description": f"{rule.severity}: {rule.expected}. {rule.why}",
            "meta": {"rule": str(number)},
        }
        match rule.expectation:
            case "not_null":
                return expectations.ExpectColumnValuesToNotBeNull(
                    column=rule.column, mostly=rule.threshold, **options
                )
            case "at_least":
                return expectations.ExpectColumnValuesToBeBetween(
                    column=rule.column, min_value=rule.bound, mostly=rule.threshold, **options
                )
            case "at_most":
                return expectations.ExpectColumnValuesToBeBetween(
                    column=rule.column, max_value=rule.bound, mostly=rule.threshold, **options
                )
            case "volume_at_least":
                return expectations.ExpectColumnMinToBeBetween(
                    column=_measure_column(rule), min_value=rule.threshold, **options
                )
            case _:
                return expectations.ExpectColumnMaxToBeBetween(
                    column=_measure_column(rule), max_value=rule.threshold, **options
                )


def _measure_column(rule: Rule) -> str:
    """Name the column of a number that was measured over the whole batch; never a field's name."""
    match rule.expectation:
        case "fresh_within_hours":
            return f"hours since the newest {rule.column}"
        case "volume_at_least" | "volume_at_most":
            return "records a day against the usual"
        case "rejected_share":
            return "share of rejected records"
        case "duplicate_share":
            return "share of records delivered again"
        case "unreadable_share":
            return f"share of records with an unreadable {rule.column or 'optional field'}"
        case "unknown_share":
            return f"share of records with an unknown {rule.column}"
        case _:
            raise ValueError(rule.expectation)


def sample_note(rows: int, records: int) -> str:
    """Say what was looked at."""
    if rows >= records:
        return f"{records:,} records, all of them."
    return (
        f"{records:,} records; single columns were looked at in a fixed choice of {rows:,} "
        f"({percent(rows / records)}), shares, age and volume in all of them."
    )


def _import_great_expectations() -> Any:
    # read at import; a warehouse calls nobody
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with warnings.catch_warnings():
        # it imports sre_constants, deprecated in Python 3.11
        warnings.simplefilter("ignore", DeprecationWarning)
        gx = importlib.import_module("great_expectations")
        importlib.import_module("great_expectations.expectations")
    return gx


def _clear(settings: Settings) -> None:
    """Keep the pages and results of the last runs; definitions are made anew from the seeds.

    That is also what mends whatever a killed audit left.
    """
    root = root_folder(settings)
    (root / "uncommitted" / "config_variables.yml").unlink(missing_ok=True)
    for entry in root.glob("*"):
        if entry.is_file():
            entry.unlink()
        elif entry.name != "uncommitted":
            shutil.rmtree(entry)
    results, pages = results_folder(settings), pages_folder(settings)
    stores = [results, pages / "validations"]
    runs = sorted({run.name for store in stores for run in store.glob("*/*") if run.is_dir()})
    for run in runs[: max(len(runs) - KEPT_RUNS + 1, 0)]:
        for store in stores:
            for folder in store.glob(f"*/{run}"):
                shutil.rmtree(folder)
                if not any(folder.parent.iterdir()):
                    folder.parent.rmdir()
    # a page of rules stays as long as a result that links to it
    for page in pages.glob("expectations/*.html"):
        if not (results / page.stem).exists():
            page.unlink()
