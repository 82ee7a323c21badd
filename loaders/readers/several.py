"""Give each event of a record that holds several a line of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from loaders.readers.lines import Lines, to_batch
from loaders.several import MARK, told_apart


def lines_told_apart(lines: Lines) -> Lines:
    """Give the same lines, with a line for each event of those that hold several."""

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            for batch in lines.reader:
                yield _told_apart(batch)
        except Exception as error:
            raise lines.error or error from None

    return Lines(batches())


def _told_apart(batch: pa.RecordBatch) -> pa.RecordBatch:
    is_held = pc.match_substring(batch["line"].cast(pa.string()), MARK)
    if not pc.any(is_held).as_py():
        return batch
    columns = (batch[name].to_pylist() for name in ("line_number", "line", "problem"))
    parts = [
        (number, part, problem)
        for number, line, problem in zip(*columns, strict=True)
        for part in (_texts(line) if line and not problem else [line])
    ]
    return to_batch(parts, is_cut_off=batch["is_cut_off"][0].as_py())


def _texts(line: str) -> list[str]:
    return [part.decode() for part in told_apart(line.encode())]
