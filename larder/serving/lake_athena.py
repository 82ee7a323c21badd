"""How Athena, Trino, Spark and Hive are told of a generation of the lake, in their SQL."""

from __future__ import annotations

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

    Its tables carry its name, and a view of the plain name is pointed to each: a query that runs
    meanwhile stays whole. Each partition says where its file lies, as an earlier generation may
    have written it.
    """
    suffix = re.sub(r"\W", "_", generation).lower()
    base = url if "://" in url else f"file://{url}"
    yield "create database if not exists larder_lake"
    for table in tables:
        name = f"larder_lake.`{table.name}__{suffix}`"
        columns = ",\n".join(_column_ddl(table, column) for column in table.columns)
        partitioned = f"partitioned by (`{table.partition}` string)\n" if table.partition else ""
        place = (
            f"{base}/{prefix}/{table.name}/" if table.partition else _folder(base, table.files[0])
        )
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
            f'select * from larder_lake."{table.name}__{suffix}"'
        )


def _folder(base: str, file: LakeFile) -> str:
    return f"{base}/{file.name.rpartition('/')[0]}/"


def _column_ddl(table: LakeTable, column: LakeColumn) -> str:
    comment = re.sub(r"[\\\s]+", " ", table.comments.get(column.name, ""))[:LONGEST_COMMENT]
    told = " comment '{}'".format(comment.replace("'", "\\'")) if comment else ""
    return f"    `{column.name}` {column.type}{told}"
