"""Files in the making: prepared aside, then made durable under their name by one rename."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from larder.warehouse import is_alive


def make_aside(raw: Path) -> Path:
    """Make a folder to prepare a file in; its name says which process uses it."""
    aside = raw / "_aside" / f"{os.getpid()}-{uuid.uuid4().hex}"
    aside.mkdir(parents=True)
    return aside


def remove_aside(aside: Path) -> None:
    """Remove such a folder."""
    for leftover in aside.iterdir():
        leftover.unlink()
    aside.rmdir()


def sweep_asides(raw: Path) -> None:
    """Remove what killed loaders of this machine left."""
    for leftover in (raw / "_aside").glob("*-*"):
        pid = leftover.name.partition("-")[0]
        if not pid.isdigit() or not is_alive(int(pid)):
            shutil.rmtree(leftover, ignore_errors=True)


def commit(aside: Path, final: Path) -> None:
    """Make a finished file durable under its name: sync, rename, sync the folder."""
    final.parent.mkdir(parents=True, exist_ok=True)
    for path, flags in ((aside, os.O_RDWR), (None, 0)):
        if path is None:
            aside.replace(final)
            path, flags = final.parent, os.O_RDONLY
        descriptor = os.open(path, flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
