"""Read the statements of `deploy/snowflake/`, in order, each with the place where it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from larder.errors import DeployError
from larder.settings import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "deploy" / "snowflake"
SECOND_REGION = FOLDER / "second_region"
NEEDS = re.compile(r"-- needs: (?P<variables>.+)")


@dataclass(frozen=True)
class Statement:
    """Name one statement and where it stands: a file of the project, and the line it begins on."""

    sql: str
    file: str
    line: int

    @property
    def place(self) -> str:
        """Where it stands, as editors understand it."""
        return f"{self.file}:{self.line}" if self.line else self.file

    @property
    def title(self) -> str:
        """The statement in one short line."""
        line = " ".join(self.sql.split())
        return line if len(line) <= 80 else f"{line[:77]}..."


@dataclass(frozen=True)
class Skipped:
    """Name a file that is left out, and the settings that it waits for."""

    file: str
    missing: tuple[str, ...]


def setting_of(variable: str) -> str:
    """Return the setting that a variable comes from."""
    path = "_PATH" if variable.endswith("_public_key") else ""
    return f"LARDER_SNOWFLAKE_{variable.upper()}{path}"


def read_statements(
    values: Mapping[str, str], folder: Path = FOLDER
) -> tuple[list[Statement], list[Skipped]]:
    """Return the statements of all files in the order of their names, and the files left out.

    A file whose first line is `-- needs: a, b` is left out unless all those variables are set.

    Raises:
        DeployError: a file names an unknown variable or does not end its last statement.
    """
    statements: list[Statement] = []
    skipped = []
    for file in sorted(folder.glob("*.sql")):
        text = file.read_text(encoding="utf-8")
        name = (
            file.relative_to(PROJECT_ROOT).as_posix()
            if file.is_relative_to(PROJECT_ROOT)
            else file.name
        )
        needs = NEEDS.match(text)
        needed = re.split(r",\s*", needs["variables"].strip()) if needs else []
        if missing := [variable for variable in needed if variable not in values]:
            skipped.append(Skipped(name, tuple(setting_of(variable) for variable in missing)))
        else:
            statements += _split(_render(text, name, values), name)
    return statements, skipped


def _render(text: str, name: str, values: Mapping[str, str]) -> str:
    # of no page, so nothing to escape: values have been checked against their form
    environment = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701
    try:
        return environment.from_string(text).render(values)
    except Exception as error:
        raise DeployError(f"{name} cannot be filled in: {error}. Mend the file.") from error


def _split(text: str, name: str) -> Iterator[Statement]:
    """Cut at each semicolon that ends a line; whole lines of comment go."""
    lines: list[str] = []
    start = 0
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("--") or not (lines or line.strip()):
            continue
        start = start if lines else number
        lines.append(line.rstrip())
        if lines[-1].endswith(";"):
            yield Statement("\n".join(lines).removesuffix(";"), name, start)
            lines = []
    if lines:
        raise DeployError(f"{name}:{start}: the statement does not end. Put a semicolon after it.")
