"""What a deployment says, as lines of text: the dry run is SQL that can be read and run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from larder.deploy.applying import Deployment, Plan
from larder.deploy.masking import FLAGS
from larder.deploy.statements import Skipped


def plan_lines(plan: Plan) -> Iterator[str]:
    """Yield all statements in order, each below its place; then what is left out."""
    for statement in plan.statements():
        condition = ", where it exists" if statement.file == FLAGS else ""
        yield f"-- {statement.place}{condition}"
        yield f"{statement.sql};"
    if plan.archive:
        yield "-- and what is staged and not among the newest is removed"
    yield from (f"-- {line}" for line in _left_out(plan.skipped))


def report_lines(deployment: Deployment) -> Iterator[str]:
    """Yield what was done and what was left out."""
    yield f"{deployment.statements:,} statements applied."
    if deployment.archive:
        yield (
            f"{deployment.masked_columns:,} flagged columns are there, all of them masked. "
            f"Python models import {deployment.archive}."
        )
    yield from (f"Removed the old {name}." for name in deployment.removed)
    yield from _left_out(deployment.skipped)


def _left_out(skipped: Iterable[Skipped]) -> Iterator[str]:
    for file in skipped:
        yield f"Left out {file.file}: {', '.join(file.missing)} not set."
