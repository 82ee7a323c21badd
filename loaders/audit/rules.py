"""Read `seeds/audit_thresholds.csv`: what is expected of each entity, and how much it matters."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from larder.errors import AuditError
from larder.settings import PROJECT_ROOT
from loaders.entities import Entity

THRESHOLDS_SEED = PROJECT_ROOT / "seeds" / "audit_thresholds.csv"
EVERY_ENTITY = "*"
# Which entity knows the ids of a column.
REFERENCES = {"item_id": "catalog/items", "location_id": "catalog/locations"}

Expectation = Literal[
    "not_null",
    "at_least",
    "at_most",
    "rejected_share",
    "unreadable_share",
    "unknown_share",
    "duplicate_share",
    "fresh_within_hours",
    "volume_at_least",
    "volume_at_most",
]
Severity = Literal["critical", "warning"]

COLUMNS = (
    "entity",
    "column_name",
    "expectation",
    "bound",
    "threshold",
    "minimum_records",
    "severity",
    "why",
)
WITHOUT_COLUMN = ("rejected_share", "duplicate_share")
OPTIONAL_COLUMN = ("unreadable_share",)
BOUNDED = ("at_least", "at_most")
SHARES = (*BOUNDED, "not_null", "rejected_share", "unreadable_share", "unknown_share")
OF_AN_INSTANT = ("fresh_within_hours", "volume_at_least", "volume_at_most")


@dataclass(frozen=True)
class Rule:
    """Expect one thing of one entity; see the description of the seed for the units."""

    entity: str
    column: str
    expectation: Expectation
    bound: float | None
    threshold: float
    minimum_records: int
    severity: Severity
    why: str

    @property
    def allowed_share(self) -> float:
        """The greatest share of records that may break the rule, where it is one about records."""
        if self.expectation in (*BOUNDED, "not_null"):
            return round(1 - self.threshold, 9)
        return self.threshold

    @property
    def is_about_records(self) -> bool:
        """Whether each record by itself keeps or breaks the rule."""
        return self.expectation in SHARES

    @property
    def needs_frame(self) -> bool:
        """Whether it is asked of the records of the frame, not of a number about the batch."""
        return self.expectation in (*BOUNDED, "not_null")

    @property
    def expected(self) -> str:
        """The rule in words, for the page of a data owner."""
        most = f"at most {percent(self.allowed_share)} of the records"
        match self.expectation:
            case "not_null":
                return f"{most} are without {self.column}"
            case "at_least":
                return f"{most} have a {self.column} under {self.bound:g}"
            case "at_most":
                return f"{most} have a {self.column} over {self.bound:g}"
            case "rejected_share":
                return f"{most} are rejected"
            case "unreadable_share":
                return f"{most} have {self._optional} that cannot be read"
            case "unknown_share":
                return f"{most} name {_a(self.column)} that the catalogue does not have"
            case "duplicate_share":
                return f"{most} are delivered more than once"
            case "fresh_within_hours":
                return f"the newest {self.column} is at most {duration(self.threshold)} old"
            case "volume_at_least":
                return f"a day has at least {percent(self.threshold)} of the usual records"
            case "volume_at_most":
                return f"a day has at most {percent(self.threshold)} of the usual records"

    def found(self, measured: float) -> str:
        """Say what broke the rule: numbers about the batch, never a value of a record."""
        share = f"{percent(measured)} of the records"
        most = f"at most {percent(self.allowed_share)}" if self.allowed_share else "none"
        allowed = f"({most} may)"
        match self.expectation:
            case "not_null":
                return f"{share} have no {self.column} {allowed}"
            case "at_least":
                return f"{share} have a {self.column} under {self.bound:g} {allowed}"
            case "at_most":
                return f"{share} have a {self.column} over {self.bound:g} {allowed}"
            case "rejected_share":
                return f"{share} were rejected ({most} may be)"
            case "unreadable_share":
                return f"{share} have {self._optional} that could not be read {allowed}"
            case "unknown_share":
                return f"{share} name {_a(self.column)} that the catalogue does not have {allowed}"
            case "duplicate_share":
                return f"{share} came more than once {allowed}"
            case "fresh_within_hours":
                return (
                    f"the newest {self.column} is {duration(measured)} old "
                    f"(at most {duration(self.threshold)})"
                )
            case "volume_at_least":
                least = percent(self.threshold)
                return f"a day has {percent(measured)} of the usual records (at least {least})"
            case "volume_at_most":
                most = percent(self.threshold)
                return f"a day has {percent(measured)} of the usual records (at most {most})"

    @property
    def _optional(self) -> str:
        return _a(self.column) if self.column else "an optional field"


def percent(share: float) -> str:
    """Write a share as a percentage."""
    return f"{share * 100:,.3g} %" if share < 10 else f"{share * 100:,.0f} %"


def duration(hours: float) -> str:
    """Write a duration in hours, in days where they are many."""
    return f"{hours:,.0f} hours" if hours <= 96 else f"{hours / 24:,.0f} days"


def _a(word: str) -> str:
    return f"{'an' if word[0] in 'aeio' else 'a'} {word}"


def read_rules(path: Path, entities: Mapping[str, Entity]) -> dict[str, list[Rule]]:
    """Read the rules of every entity.

    A rule for `*` holds for every entity that has the column; one that names the entity, with the
    same column, expectation and severity, takes its place.

    Raises:
        AuditError: the seed is missing or a line cannot be used; names line and column.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise AuditError(f"{path} must have the columns {', '.join(COLUMNS)}, in order.")
            rules = [_read_rule(path, reader.line_num, row, entities) for row in reader]
    except OSError as error:
        raise AuditError(
            f"The thresholds of the audit, {path}, cannot be read ({error.strerror}). "
            "Restore the file from the project."
        ) from error
    found: dict[str, dict[tuple[str, ...], Rule]] = {entity: {} for entity in entities}
    for rule in sorted(rules, key=lambda rule: rule.entity != EVERY_ENTITY):
        key = (rule.column, rule.expectation, rule.severity)
        for name, entity in entities.items():
            if rule.entity == name or (rule.entity == EVERY_ENTITY and _is_about(rule, entity)):
                found[name][key] = rule
    return {entity: list(by_key.values()) for entity, by_key in found.items()}


def _is_about(rule: Rule, entity: Entity) -> bool:
    is_the_catalogue = (
        rule.expectation == "unknown_share" and REFERENCES[rule.column] == entity.path
    )
    return not is_the_catalogue and _refusal(rule.expectation, rule.column, entity) is None


def _refusal(expectation: str, column: str, entity: Entity) -> str | None:
    """Say why the expectation cannot be asked of that column of the entity; null when it can."""
    if not column:
        return None
    if column not in (field.name for field in entity.fields):
        return "must be a field of the entity in loaders/entities.yml"
    field = entity.field(column)
    is_personal = field.personal or field.person is not None
    if is_personal and expectation not in ("not_null", "unreadable_share"):
        return f"is personal: only not_null may be asked of it, not {expectation}"
    if expectation in BOUNDED and field.type not in ("number", "integer"):
        return f"must be a number for {expectation}"
    if expectation in OF_AN_INSTANT and field.type != "timestamp":
        return f"must be an instant for {expectation}"
    return None


def _read_rule(
    path: Path, line_number: int, row: dict[str, str], entities: Mapping[str, Entity]
) -> Rule:
    def refuse(column: str, what: str) -> AuditError:
        return AuditError(f"{path}, line {line_number}: {column} {what}. Correct it and run again.")

    expectation, severity, column = row["expectation"], row["severity"], row["column_name"]
    if expectation not in get_args(Expectation):
        raise refuse("expectation", f"must be one of {', '.join(get_args(Expectation))}")
    if severity not in get_args(Severity):
        raise refuse("severity", f"must be one of {', '.join(get_args(Severity))}")
    if not row["why"]:
        raise refuse("why", "must say why the threshold is what it is")
    if row["entity"] != EVERY_ENTITY and row["entity"] not in entities:
        raise refuse("entity", "must be * or an entity of loaders/entities.yml")
    try:
        bound = float(row["bound"]) if row["bound"] else None
        threshold = float(row["threshold"])
        minimum_records = int(row["minimum_records"] or 0)
    except ValueError:
        raise refuse("bound, threshold or minimum_records", "is not a number") from None
    if (bound is not None) != (expectation in BOUNDED):
        raise refuse("bound", f"goes with {' and '.join(BOUNDED)}, and only with them")
    if (expectation in (*SHARES, "duplicate_share")) and not 0 <= threshold <= 1:
        raise refuse("threshold", "is a share, so it must be from 0 to 1")
    if column and expectation in WITHOUT_COLUMN:
        raise refuse("column_name", f"must be empty for {expectation}")
    if not column and expectation not in (*WITHOUT_COLUMN, *OPTIONAL_COLUMN):
        raise refuse("column_name", f"must be given for {expectation}")
    if expectation == "unknown_share" and column not in REFERENCES:
        raise refuse("column_name", f"must be one of {', '.join(REFERENCES)} for unknown_share")
    if row["entity"] != EVERY_ENTITY:
        refusal = _refusal(expectation, column, entities[row["entity"]])
        if refusal:
            raise refuse("column_name", refusal)
    return Rule(
        entity=row["entity"],
        column=column,
        expectation=expectation,  # type: ignore[arg-type]
        bound=bound,
        threshold=threshold,
        minimum_records=minimum_records,
        severity=severity,  # type: ignore[arg-type]
        why=row["why"],
    )
