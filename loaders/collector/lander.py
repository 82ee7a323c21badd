"""From the spool to the landing zone: each closed segment becomes a file for each of its entities.

The files' names come from the segment's, and the segment goes last: killed anywhere, it is done
again and gives the same files, which a load takes once.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from larder.errors import LarderError
from larder.settings import Settings
from loaders.collector.frames import Frames, decode
from loaders.collector.measures import Measures
from loaders.collector.segments import SUFFIX, Segment, adopt, find_segments, sync_folder

if TYPE_CHECKING:
    from loaders.zones import Zone

LOOK_SECONDS = 10.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0


class Lander:
    """Land the segments that are given to it, and those that killed collectors have left."""

    def __init__(
        self, settings: Settings, folder: Path, measures: Measures, log: logging.Logger
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._measures = measures
        self._log = log
        self._closed: queue.SimpleQueue[Segment | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lander")
        self._thread.start()

    def give(self, segment: Segment) -> None:
        """Take a closed segment with its lock."""
        self._closed.put(segment)

    def close(self) -> None:
        """Land what was given, if that can be done at once; the next collector does the rest."""
        self._stopping.set()
        self._closed.put(None)
        self._thread.join()

    def _run(self) -> None:
        looked = -LOOK_SECONDS
        while True:
            try:
                segment = self._closed.get(timeout=max(looked + LOOK_SECONDS - time.monotonic(), 0))
            except queue.Empty:
                self._land_left()
                looked = time.monotonic()
                continue
            if segment is None:
                return
            self._land(segment.path, segment.descriptor)

    def _land_left(self) -> None:
        for path in find_segments(self._folder):
            descriptor = adopt(path)
            if descriptor is not None:
                self._land(path, descriptor)
            if self._stopping.is_set() or not self._closed.empty():
                return  # what is new goes first; the rest at the next look

    def _land(self, path: Path, descriptor: int) -> None:
        """Land a locked segment; where that fails, try again until it works or we are to end."""
        from loaders.zones import open_zone  # takes long to import, and to be ready comes first

        pause = FIRST_PAUSE_SECONDS
        try:
            while True:
                try:
                    with open_zone(self._settings) as zone:
                        self._land_frames(zone, path)
                    return
                except (OSError, LarderError) as error:
                    self._measures.landing_failures.inc()
                    self._log.warning(
                        "not landed yet", extra={"segment": path.name, "why": str(error)}
                    )
                    if self._stopping.wait(pause):
                        return
                    pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        finally:
            os.close(descriptor)

    def _land_frames(self, zone: Zone, path: Path) -> None:
        frames = decode(path.read_bytes())
        with TemporaryDirectory(dir=self._folder, prefix="landing-") as temporary:
            for entity, content in _contents(frames).items():
                file = Path(temporary) / "lines"
                file.write_bytes(content)
                zone.put(_landing_name(entity, path), file)
                self._measures.landed_files.inc()
        if frames.is_damaged:
            # what can be read has landed; the rest is for a person to look at
            kept = path.with_suffix(".damaged")
            self._log.error(
                "damaged segment kept", extra={"segment": kept.name, "bytes": frames.lost_bytes}
            )
            path.rename(kept)
        else:
            path.unlink()
        sync_folder(self._folder)


def _contents(frames: Frames) -> dict[str, bytes]:
    parts: defaultdict[str, list[bytes]] = defaultdict(list)
    for frame in frames.whole:
        parts[frame.entity].append(frame.lines)
    return {entity: b"".join(lines) for entity, lines in parts.items()}


def _landing_name(entity: str, segment: Path) -> str:
    name = segment.name.removesuffix(SUFFIX)
    return f"{entity}/process_hour={name[:13]}/{name}.ndjson"
