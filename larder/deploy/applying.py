"""Apply the set-up of Snowflake, statement by statement; a second time changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from snowflake.connector.errors import Error

from larder.deploy import masking
from larder.deploy.archive import (
    Archive,
    list_statement,
    make_archive,
    put_statement,
    remove_statements,
)
from larder.deploy.flags import Column, flagged_columns
from larder.deploy.masking import Connection
from larder.deploy.statements import (
    SECOND_REGION,
    Skipped,
    Statement,
    read_statements,
)
from larder.deploy.variables import variables
from larder.errors import DeployError
from larder.progress import Progress
from larder.settings import Settings

# What is applied before the masking is checked; what comes after it lets people in.
CHECKED_AFTER = "50_masking.sql"
AS_OWNER = Statement("use role sysadmin", "code of the Python models", 0)
AS_ADMINISTRATOR = Statement("use role accountadmin", masking.CHECK, 0)
WITH_WAREHOUSE = Statement("use warehouse larder_transforming", masking.CHECK, 0)

# error number of Snowflake → what to do
REMEDIES = {
    2: "The account's edition lacks this: masking and tags need Enterprise",
    1003: "The statement is none that this account knows; mend the file",
    2003: "It is not there, or the user may not see it: deploy with a user that has ACCOUNTADMIN",
    2043: "It is not there, or the user may not see it: deploy with a user that has ACCOUNTADMIN",
    3001: "Deploy with a user that has ACCOUNTADMIN",
}
AGAIN = "Then run larder deploy again: what was applied stays, and applying it again is harmless."


@dataclass(frozen=True)
class Plan:
    """Hold what a deployment does, in order; made without a connection."""

    before_check: tuple[Statement, ...]
    flagged: tuple[Column, ...]
    after_check: tuple[Statement, ...]
    archive: Archive | None
    archive_file: Path
    skipped: tuple[Skipped, ...]

    def statements(self) -> Iterable[Statement]:
        """Yield all statements; of tags and checks those for everything that may be there."""
        yield from self.before_check
        kinds = {column: masking.expected_kind(column) for column in self.flagged}
        if kinds:
            yield from (AS_ADMINISTRATOR, WITH_WAREHOUSE)
            for database in sorted({column.database for column in kinds}):
                yield masking.columns_statement(database)
            yield from (masking.tag_statement(column, kind) for column, kind in kinds.items())
            for relation, kind in sorted({(col.relation, kind) for col, kind in kinds.items()}):
                yield masking.policies_statement(relation, kind)
        yield from self.after_check
        if self.archive:
            yield from (AS_OWNER, put_statement(self.archive_file), list_statement())


@dataclass
class Deployment:
    """Say what a deployment did."""

    statements: int = 0
    masked_columns: int = 0
    archive: str = ""
    removed: list[str] = field(default_factory=list)
    skipped: tuple[Skipped, ...] = ()


def make_plan(settings: Settings, *, second_region: bool = False) -> Plan:
    """Return what a deployment would do.

    Raises:
        DeployError: a file or a public key cannot be used, or a setting is missing.
    """
    values = variables(settings)
    if second_region:
        statements, skipped = read_statements(values, SECOND_REGION)
        if skipped:
            missing = ", ".join(name for file in skipped for name in file.missing)
            raise DeployError(f"The second region needs {missing}. Set it and deploy again.")
        return Plan(tuple(statements), (), (), None, Path(), ())
    statements, skipped = read_statements(values)
    cut = 1 + max(
        number
        for number, statement in enumerate(statements)
        if Path(statement.file).name <= CHECKED_AFTER
    )
    archive = make_archive()
    return Plan(
        before_check=tuple(statements[:cut]),
        flagged=tuple(flagged_columns()),
        after_check=tuple(statements[cut:]),
        archive=archive,
        archive_file=settings.home / "deploy" / archive.name,
        skipped=tuple(skipped),
    )


def deploy(
    plan: Plan,
    connection: Connection,
    *,
    progress: Progress | None = None,
) -> Deployment:
    """Apply a plan: set up, tag, check that all personal data is masked, let people in, stage.

    Raises:
        DeployError: Snowflake refused a statement, which is named with its place; or a column that
            is flagged as personal has no masking policy.
    """
    done = Deployment(skipped=plan.skipped)
    guarded = _Guarded(connection)
    total = len(list(plan.statements()))

    def apply(statements: Iterable[Statement]) -> None:
        for statement in statements:
            guarded.run(statement)
            done.statements += 1
            if progress:
                progress(statement.place, min(done.statements, total), total)

    apply(plan.before_check)
    if plan.flagged:
        apply([AS_ADMINISTRATOR, WITH_WAREHOUSE])
        there = masking.existing(guarded, plan.flagged)
        apply(masking.tag_statement(column, kind) for column, kind in there.items())
        done.masked_columns = masking.check(guarded, plan.flagged)
    apply(plan.after_check)
    if plan.archive:
        plan.archive_file.parent.mkdir(parents=True, exist_ok=True)
        plan.archive_file.write_bytes(plan.archive.content)
        apply([AS_OWNER, put_statement(plan.archive_file)])
        listed = guarded.run(list_statement())
        outdated = remove_statements(listed, plan.archive.name)
        apply(outdated)
        done.archive = plan.archive.name
        done.removed = [statement.sql.rpartition("/")[2] for statement in outdated]
    return done


class _Guarded:
    """Turn what Snowflake refuses into one sentence that says where, why and what to do."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def run(self, statement: Statement) -> list[tuple[object, ...]]:
        try:
            return self._connection.execute(statement.sql)
        except Error as error:
            raise DeployError(_explain(statement, error)) from error

    def execute(self, sql: str) -> list[tuple[object, ...]]:
        return self.run(Statement(sql, masking.CHECK, 0))


def _explain(statement: Statement, error: Error) -> str:
    reason = " ".join(str(error.raw_msg or error.msg or error).split()).rstrip(".")
    # what the connector puts before it, such as `003001 (42501): 01b2…: `
    reason = re.sub(r"^\d{6} \(\w{5}\): (?:[0-9a-f-]{36}: )?", "", reason)
    remedy = REMEDIES.get(error.errno or -1, "Mend what it says")
    return f"{statement.place}: Snowflake refused `{statement.title}`: {reason}. {remedy}. {AGAIN}"
