"""A restart after a crash: what is left in the spool lands meanwhile, and holds up nobody."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path

from collecting import KEY, RunningCollector, menu_event

from loaders.collector.frames import encode
from loaders.collector.segments import SUFFIX, find_segments
from loaders.collector.spool import SEGMENT_BYTES
from loaders.landing import find_files

LEFT_SEGMENTS = 16
SMALL_SEGMENTS = 4_000


def leave_spool(home: Path) -> None:
    """Write what killed collectors have left: half a gigabyte, and very many small segments."""
    line = json.dumps(menu_event(1, section="x" * 600)).encode()
    frame = encode("menu/menu_events", 1, b"\n".join([line] * 100) + b"\n")
    content = frame * (SEGMENT_BYTES // len(frame))
    (home / "spool").mkdir(parents=True)
    for number in range(LEFT_SEGMENTS + SMALL_SEGMENTS):
        name = f"2024-06-01T{number:06d}.000000-{number:012x}{SUFFIX}"
        (home / "spool" / name).write_bytes(content if number < LEFT_SEGMENTS else frame)


def seconds_to_ready(home: Path, number: int) -> float:
    """Start a collector, send it an event, and kill it; return how long it took to be ready."""
    collector = RunningCollector(home, {"LARDER_API_KEYS": f"{KEY}:*"})
    started = time.monotonic()
    collector.start()
    taken = time.monotonic() - started
    answer = collector.post("/v1/menu/events", menu_event(number))
    assert answer == (200, {"accepted": 1, "rejected": 0})
    collector.kill(signal.SIGKILL)
    return taken


def test_it_is_ready_as_soon_whatever_is_left_in_the_spool(tmp_path: Path) -> None:
    leave_spool(tmp_path / "full")
    # in turns, so that a busy moment of the computer meets both; the least is the one without it
    taken = {"empty": 99.0, "full": 99.0}
    for number in range(3):
        for name in taken:
            taken[name] = min(taken[name], seconds_to_ready(tmp_path / name, number))
    left = list(find_segments(tmp_path / "full" / "spool"))
    assert len(left) > SMALL_SEGMENTS  # it was ready before they had landed …
    assert taken["full"] < taken["empty"] + 0.5, taken
    # … and what was acknowledged is in the spool or in the landing zone
    files = [file.path for file in find_files(tmp_path / "full" / "landing")]
    content = b"".join(path.read_bytes() for path in [*files, *left[-5:]])
    assert all(f'"menu-{number}"'.encode() in content for number in range(3))
    shutil.rmtree(tmp_path / "full")
