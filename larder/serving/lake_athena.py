"""How Athena, Trino, Spark and Hive are told of a generation of the lake, in their SQL."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Final

from larder.serving.lake_tables import LakeColumn, LakeFile, LakeTable

# Glue takes no longer comment.
LONGEST_COMMENT: Final = 255
# Athena takes a statement of 256 KB; one of a partition is some hundred bytes.
PARTITIONS_AT_ONCE: Final = 500


def athena_ddl(
    url: str, prefix: str, generation: str, tables: tuple[LakeTable, ...]
) -> Iterator[str]:
    """Yield the statements that let Athena read a generation; `url` is where the lake lies.

    Its tables carry its name and a digest of where their files lie, and a view of the plain name is
    pointed to each: a query that runs meanwhile stays whole. Each partition says where its file
    lies, as an earlier generation may have written it.
    """
    base = url if "://" in url else f"file://{url}"
    names = {table.name: _name(table, base, prefix, generation) for table in tables}
    yield "create database if not exists larder_lake"
    for table in tables:
        name = f"larder_lake.`{names[table.name]}`"
        columns = ",\n".join(_column_ddl(table, column) for column in table.columns)
        partitioned = f"partitioned by (`{table.partition}` string)\n" if table.partition else ""
        place = _place(table, base, prefix)
        yield (
            f"create external table if not exists {name} (\n{columns}\n)\n{partitioned}"
            f"stored as parquet\nlocation '{place}'\n"
            "tblproperties (\n    'parquet.compression' = 'ZSTD'\n)"
        )
        files = [file for file in table.files if file.partition is not None]
        for first in range(0, len(files), PARTITIONS_AT_ONCE):
            partitions = "\n".join(
                f"partition (`{table.partition}` = '{file.partition}') "
                f"location '{_folder(base, file)}'"
                for file in files[first : first + PARTITIONS_AT_ONCE]
            )
            yield f"alter table {name} add if not exists\n{partitions}"
    for table in tables:
        yield (
            f'create or replace view larder_lake."{table.name}" as\n'
            f'select * from larder_lake."{names[table.name]}"'
        )


def _name(table: LakeTable, base: str, prefix: str, generation: str) -> str:
    """Name a table so that one which exists already has its files where this one has them.

    An erasure writes files of a generation anew, elsewhere, and `if not exists` changes no place.
    """
    places = [_place(table, base, prefix), *(_folder(base, file) for file in table.files)]
    digest = hashlib.sha256("\n".join(places).encode()).hexdigest()
    suffix = re.sub(r"\W", "_", generation).lower()
    return f"{table.name}__{suffix}_{digest[:8]}"


def _place(table: LakeTable, base: str, prefix: str) -> str:
    return f"{base}/{prefix}/{table.name}/" if table.partition else _folder(base, table.files[0])


def _folder(base: str, file: LakeFile) -> str:
    return f"{base}/{file.name.rpartition('/')[0]}/"


def _column_ddl(table: LakeTable, column: LakeColumn) -> str:
    comment = re.sub(r"[\\\s]+", " ", table.comments.get(column.name, ""))[:LONGEST_COMMENT]
    told = " comment '{}'".format(comment.replace("'", "\\'")) if comment else ""
    return f"    `{column.name}` {column.type}{told}"
