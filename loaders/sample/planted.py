"""Write what is planted into the folder of the truth, which is never loaded."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq


class TruthFiles:
    """Write a Parquet file a table, part by part; each gets its name when all are whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, pq.ParquetWriter] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name, writer in self._writers.items():
            writer.close()
            if kind is None:
                self._aside(name).rename(self._folder / f"{name}.parquet")

    def append(self, name: str, table: pa.Table) -> None:
        """Append rows to `<name>.parquet`."""
        if name not in self._writers:
            self._writers[name] = pq.ParquetWriter(
                self._aside(name), table.schema, compression="zstd"
            )
        self._writers[name].write_table(table)

    def _aside(self, name: str) -> Path:
        return self._folder / f"{name}.parquet.tmp"
