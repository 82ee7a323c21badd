"""Rewrite what the sample network has planted without a person."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from larder.settings import Settings
from loaders.asides import commit
from loaders.erasing.person import Person
from loaders.erasing.report import Erasure

PERSON_COLUMN = "customer_id"


def erase_from_truth(settings: Settings, person: Person, report: Erasure) -> None:
    """Take the person's rows out of each Parquet file of the planted truth.

    A damaged file stays: the proof names it among those that cannot be searched.
    """
    for file in sorted(settings.truth_folder.rglob("*.parquet")):
        # no Parquet by its name: one that a killed erasure leaves is not taken for the truth
        beside = file.with_name(f".{file.name}.erasing")
        try:
            is_changed = _write_without(file, person.ids.get("commerce", []), beside)
        except pa.ArrowException:
            is_changed = False
        if is_changed:
            shutil.copymode(file, beside)
            commit(beside, file)
            report.truth_files += 1
        beside.unlink(missing_ok=True)


def _write_without(file: Path, ids: list[str], target: Path) -> bool:
    """Write the rows of others to `target`; tell whether any were left out."""
    is_changed = False
    with pq.ParquetFile(file) as source:
        if PERSON_COLUMN not in source.schema_arrow.names:
            return False
        with pq.ParquetWriter(target, source.schema_arrow, compression="zstd") as sink:
            for batch in source.iter_batches():
                is_theirs = pc.is_in(batch.column(PERSON_COLUMN), pa.array(ids, pa.string()))
                kept = batch.filter(pc.invert(is_theirs))
                is_changed |= kept.num_rows < batch.num_rows
                sink.write_batch(kept)
    return is_changed
