"""Read what is to be sent: the records of landing files of any entity and format, as lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from larder.errors import UsageError
from larder.warehouse import literal
from loaders.checks import typed
from loaders.entities import Entity, Field, read_entities
from loaders.landing import LandingFile, describe, is_taken
from loaders.limits import MAX_LINE_BYTES
from loaders.readers import (
    LINE_FORMATS,
    Lines,
    UnreadableFileError,
    careful_lines,
    decompressed,
    dynamodb_lines,
    is_dynamodb,
    line_feed_lines,
    lines_told_apart,
)
from loaders.sending.client import SendingError

# JSON allows line ends between its tokens only, so a record on one line means the same.
_ONE_LINE = str.maketrans("\r\n", "  ")


@dataclass
class LeftOut:
    """Count what no collector could take: lines that are no text, or too long."""

    lines: int = 0


def find_landing_files(paths: Sequence[Path], entity_path: str | None) -> list[LandingFile]:
    """Return the files to send, in the order given; those of a folder by their names.

    The entity is that of the folders `<source>/<entity>` above a file, else the one stated.

    Raises:
        UsageError: a file is not there, or it is not known what it holds.
    """
    if entity_path is not None and entity_path not in read_entities():
        raise UsageError(
            f"--entity {entity_path} is none of the contract: {', '.join(sorted(read_entities()))}."
        )
    found = []
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path} is not there. Give a landing file, or a folder of them.")
        inside = sorted(one for one in path.rglob("*") if one.is_file())
        taken = [one for one in inside if is_taken(one.relative_to(path).parts)]
        found += [_describe(one, entity_path) for one in (taken if path.is_dir() else [path])]
    if not found:
        raise UsageError(f"{paths[0]} holds no file to send.")
    return found


def _describe(path: Path, entity_path: str | None) -> LandingFile:
    status = path.stat()
    entity = entity_path or _entity_above(path)
    if entity is None:
        raise UsageError(
            f"It is not known what {path} holds: it does not lie below <source>/<entity>/. Say it "
            "with --entity, such as --entity menu/menu_events."
        )
    file = describe(path, f"{entity}/{path.name}", status.st_size, status.st_mtime_ns)
    if file.file_format is None:
        raise UsageError(
            f"{path} cannot be read: the name must end in .ndjson, .jsonl, .json, .csv (each also "
            ".gz, .zst) or .parquet."
        )
    return file


def _entity_above(path: Path) -> str | None:
    folders = path.resolve().parts[:-1]
    names = ["/".join(folders[at : at + 2]) for at in range(len(folders) - 1)]
    return next((name for name in reversed(names) if name in read_entities()), None)


def batches_of(file: LandingFile, left_out: LeftOut) -> Iterator[list[str]]:
    """Give a file's records as they are, one a line, many at a time.

    Raises:
        SendingError: the file cannot be read.
    """
    assert file.entity is not None
    with TemporaryDirectory(prefix="larder-replay-") as folder:
        try:
            lines = _lines(file, file.entity, Path(folder) / "plain")
            lines = lines_told_apart(lines) if file.entity.holds_several else lines
            for batch in lines.reader:
                problems = batch["problem"].to_pylist()
                yield list(_sendable(batch["line"].to_pylist(), problems, left_out))
        except UnreadableFileError as error:
            raise SendingError(
                f"{file.path} cannot be read: {error.detail}. Mend it, or leave it out."
            ) from None


def _sendable(
    lines: list[str | None], problems: list[str | None], left_out: LeftOut
) -> Iterator[str]:
    for line, problem in zip(lines, problems, strict=True):
        if line is None:
            continue  # a blank line
        if problem is not None or len(line.encode()) > MAX_LINE_BYTES:
            left_out.lines += 1
        else:
            yield line.translate(_ONE_LINE)


def _lines(file: LandingFile, entity: Entity, scratch: Path) -> Lines:
    assert file.file_format is not None
    if file.file_format in (*LINE_FORMATS, ".json") and is_dynamodb(file):
        return dynamodb_lines(file, entity)
    if file.file_format in LINE_FORMATS:
        return line_feed_lines(file)
    return careful_lines(decompressed(file, scratch), file.file_format)


def moment_field(entity: Entity) -> Field:
    """Return the field that says when a record is of: when it happened, or was changed."""
    names = {field.name for field in entity.fields}
    return entity.field("occurred_at" if "occurred_at" in names else "updated_at")


def moment_sql(entity: Entity) -> str:
    """Give the SQL of a record's moment from its text `line`; null where it has none."""
    field = moment_field(entity)
    paths = [source if source.startswith("$.") else f'$."{source}"' for source in field.sources]
    texts = ", ".join(f"json_extract_string(line, {literal(path)})" for path in paths)
    return f"case when json_valid(line) then {typed(field, f'coalesce({texts})')} end"
