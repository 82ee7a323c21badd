"""What a live sample needs: records to send, and in the landing zone what they refer to."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

from larder.progress import Progress
from loaders.landing import find_files
from loaders.sample.network import (
    GENERATOR_VERSION,
    MARKER_NAME,
    SampleOptions,
    is_written,
    write_json,
    write_sample_network,
)

REFERENCE: Final = ("catalog/items", "catalog/locations", "catalog/calendar", "trips/geofences")
"""Places, items, days and fences; events, orders and people of the past stay out."""


@contextmanager
def live_sample(
    landing: Path, options: SampleOptions, progress: Progress | None = None
) -> Iterator[Path]:
    """Give a folder with a sample network to send, for as long as it is read.

    It is the landing zone's own where one lies there. Else it is made aside, and when it has been
    read, only what its events refer to is written into the landing zone; a later `larder sample`
    completes it.

    Raises:
        SampleError: an option is out of range, or the landing zone holds anything else.
    """
    wanted = {"generator_version": GENERATOR_VERSION, "options": asdict(options)}
    options.check()
    if is_written(landing, wanted):
        yield landing
        return
    with tempfile.TemporaryDirectory(prefix="larder-live-") as folder:
        aside = Path(folder) / "landing"
        write_sample_network(aside, Path(folder) / "truth", options, progress)
        yield aside  # what nobody can send leaves nothing behind
        landing.mkdir(parents=True, exist_ok=True)
        write_json(landing / MARKER_NAME, wanted)
        for file in find_files(aside):
            if file.entity is not None and file.entity.path in REFERENCE:
                _copy(file.path, landing / file.relative)


def _copy(file: Path, target: Path) -> None:
    if target.exists():
        return  # the same options give the same bytes
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.tmp")
    shutil.copyfile(file, beside)
    beside.rename(target)
