from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from larder.errors import WarehouseBusyError
from larder.lock import POLL_SECONDS, LockHolder, current_holder, lock_path, run_lock
from larder.settings import Settings

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["__main__", "larder.lock"])
STARTED_AT = datetime(2019, 4, 30, 22, tzinfo=UTC)


def settings_for(home: Path, lock_wait_seconds: float) -> Settings:
    return Settings(home=home, landing=None, as_of=None, lock_wait_seconds=lock_wait_seconds)


def hold_until_told(home: Path, told: Connection) -> None:
    with run_lock(settings_for(home, 0), "run", now=lambda: STARTED_AT):
        told.send("held")
        told.recv()


def hold_with_children(home: Path, told: Connection) -> None:
    """Hold the lock with a forked child and a started program that outlive the holder."""
    with run_lock(settings_for(home, 0), "run"):
        forked = os.fork()
        if forked == 0:
            signal.pause()
        program = subprocess.Popen(
            [sys.executable, "-c", "import signal; signal.pause()"], close_fds=False
        )
        told.send((forked, program.pid))
        told.recv()


def start_holder(home: Path) -> tuple[multiprocessing.process.BaseProcess, Connection]:
    ours, theirs = PROCESSES.Pipe()
    holder = PROCESSES.Process(target=hold_until_told, args=(home, theirs))
    holder.start()
    assert ours.recv() == "held"
    return holder, ours


def test_a_second_run_says_who_holds_the_lock(tmp_path: Path) -> None:
    holder, told = start_holder(tmp_path)
    heard: list[tuple[LockHolder, float]] = []
    paused: list[float] = []
    settings = settings_for(tmp_path, 1.0)
    expected = LockHolder(holder.pid, "run", socket.gethostname(), STARTED_AT)

    with (
        pytest.raises(WarehouseBusyError) as raised,
        run_lock(settings, "build", lambda *said: heard.append(said), pause=paused.append),
    ):
        pytest.fail("two runs at once")

    assert heard == [(expected, 1.0)]
    assert 1.0 <= sum(paused) < 1.0 + 2 * POLL_SECONDS
    for part in (str(holder.pid), "`run`", socket.gethostname(), "2019-04-30T22:00:00", "1 s"):
        assert part in str(raised.value)
    assert current_holder(settings) == expected
    told.send("enough")
    holder.join()
    assert current_holder(settings) is None
    with run_lock(settings, "build"):
        pass


def test_the_lock_is_taken_over_when_its_holder_is_killed(tmp_path: Path) -> None:
    holder, _ = start_holder(tmp_path)
    settings = settings_for(tmp_path, 60)
    heard = []

    def kill(who: LockHolder, seconds: float) -> None:
        heard.append((who.pid, seconds))
        holder.kill()
        holder.join()

    with run_lock(settings, "build", kill):
        now_holding = current_holder(settings)
        assert now_holding is not None
        assert (now_holding.pid, now_holding.command) == (os.getpid(), "build")
    assert heard == [(holder.pid, 60)]


def test_children_do_not_keep_the_lock_of_a_killed_run(tmp_path: Path) -> None:
    ours, theirs = PROCESSES.Pipe()
    holder = PROCESSES.Process(target=hold_with_children, args=(tmp_path, theirs))
    holder.start()
    children: tuple[int, ...] = ours.recv()
    try:
        holder.kill()
        holder.join()
        with run_lock(settings_for(tmp_path, 0), "build"):
            for child in children:
                os.kill(child, 0)  # still alive
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)


def test_a_lock_is_released_by_an_error_and_can_be_taken_again(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "new" / "home", 0)
    with pytest.raises(ZeroDivisionError), run_lock(settings, "run"):
        raise ZeroDivisionError
    assert current_holder(settings) is None
    with run_lock(settings, "run"):
        pass


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}'])
def test_an_unreadable_holder_is_still_a_holder(tmp_path: Path, content: str) -> None:
    settings = settings_for(tmp_path, 0)
    with run_lock(settings, "run"):
        lock_path(settings).write_text(content, encoding="utf-8")
        assert current_holder(settings) == LockHolder()
        with (
            pytest.raises(WarehouseBusyError, match="only just started"),
            run_lock(settings, "build", pause=lambda _: None),
        ):
            pytest.fail("two runs at once")


def test_nobody_holds_a_lock_that_was_never_taken(tmp_path: Path) -> None:
    assert current_holder(settings_for(tmp_path, 0)) is None
