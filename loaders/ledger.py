"""Which segments there are, and which landing files they were made from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow.parquet as pq

from loaders.asides import make_aside, remove_aside
from loaders.landing import LandingFile

METADATA_KEY = b"larder"
PARTS_KEY = b"larder_parts"
COMPACTED_PREFIX = "compacted-"


@dataclass(frozen=True)
class Origin:
    """Say which landing file a segment was made from."""

    source_file: str
    sha256: str
    size: int
    modified_ns: int
    etag: str = ""


def find_segments(raw: Path, entity_path: str = "*/*") -> Iterator[Path]:
    """Find the committed segments of an entity, or of all."""
    return raw.glob(f"{entity_path}/process_hour=*/*.parquet")


def read_origins(segment: Path) -> list[Origin]:
    """Return which landing files a segment was made from."""
    metadata = pq.read_metadata(segment).metadata or {}
    return [Origin(**origin) for origin in json.loads(metadata.get(METADATA_KEY, b"[]"))]


def read_parts(segment: Path) -> list[str]:
    """Return the segments, relative to raw, that a compacted one takes the place of."""
    metadata = pq.read_metadata(segment).metadata or {}
    parts: list[str] = json.loads(metadata.get(PARTS_KEY, b"[]"))
    return parts


def holds_only(segment: Path, known: AbstractSet[str]) -> bool:
    """Tell whether a compaction made the segment of such alone as are known.

    Raises:
        FileNotFoundError: another compaction has taken it since it was listed.
    """
    parts = read_parts(segment) if segment.name.startswith(COMPACTED_PREFIX) else []
    return bool(parts) and known >= set(parts)


class Ledger:
    """Know which landing files have become segments.

    The truth is in the segments themselves (Parquet metadata); a cache of it beside them saves
    opening thousands of files and may be deleted at any time.
    """

    def __init__(self, raw: Path) -> None:
        self._raw = raw
        self._cache = raw / "_ledger.json"
        self._known: dict[str, tuple[str, list[Origin]]] = {}
        self._by_path: dict[str, list[Origin]] = {}

    def read(self) -> Ledger:
        """Read what is known; call again to see what other loaders have done."""
        cached = self._known or self._read_cache()
        known = {}
        for path in find_segments(self._raw):
            # An erasure replaces a segment under its name.
            with suppress(FileNotFoundError):
                status = path.stat()
                name, stamp = path.relative_to(self._raw).as_posix(), f"{status.st_mtime_ns}"
                entry = cached.get(name)
                if entry is None or entry[0] != stamp:
                    entry = (stamp, read_origins(path))
                known[name] = entry
        self._known, self._by_path = known, {}
        for _, origins in known.values():
            for origin in origins:
                self._by_path.setdefault(origin.source_file, []).append(origin)
        return self

    def write_cache(self) -> None:
        """Keep what is known for the next time."""
        content = {
            name: [stamp, [asdict(origin) for origin in origins]]
            for name, (stamp, origins) in self._known.items()
        }
        folder = make_aside(self._raw)
        try:
            (folder / "ledger").write_text(json.dumps(content), encoding="utf-8")
            (folder / "ledger").replace(self._cache)
        finally:
            remove_aside(folder)

    def origins(self, source_file: str) -> list[Origin]:
        """Return the contents that have been seen under that path."""
        return self._by_path.get(source_file, [])

    def knows(self, file: LandingFile) -> bool:
        """Tell whether the file has been loaded, by its path, size and time of change.

        An object in S3 says by its ETag what it holds, so its time of change does not count.
        """
        if file.etag:
            return any(
                (origin.size, origin.etag) == (file.size, file.etag)
                for origin in self.origins(file.relative)
            )
        return any(
            (origin.size, origin.modified_ns) == (file.size, file.modified_ns)
            for origin in self.origins(file.relative)
        )

    def remember(self, touched: Origin) -> None:
        """Keep that a file, whose content is known, has another time of change by now."""
        for _, origins in self._known.values():
            for origin in origins:
                if (origin.source_file, origin.sha256) == (touched.source_file, touched.sha256):
                    origins.append(touched)
                    self._by_path[touched.source_file].append(touched)
                    return

    def _read_cache(self) -> dict[str, tuple[str, list[Origin]]]:
        try:
            content = json.loads(self._cache.read_text(encoding="utf-8"))
            return {
                name: (stamp, [Origin(**origin) for origin in origins])
                for name, (stamp, origins) in content.items()
            }
        except (OSError, ValueError, TypeError, AttributeError):
            return {}
