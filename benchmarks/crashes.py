"""Killed at random moments: does the next run still give the marts of an undisturbed one?

`larder run` is killed (kill -9, with all that it started) at random moments of a run that loads,
audits, builds, tests and publishes. The next run must complete, and its marts must equal those of
an undisturbed run row for row, columns that say when a run happened aside. The moments are drawn
with a fixed seed, spread evenly over the time of an undisturbed run.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.homes import copy_home, differences, make_home
from larder.settings import Settings
from loaders.sample.network import SampleOptions


def main(arguments: Sequence[str] | None = None) -> None:
    """Print each kill and how many of the next runs gave the same marts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args(arguments)
    same = 0
    with tempfile.TemporaryDirectory(prefix="larder-crashes-") as folder:
        start = make_start(Path(folder) / "start")
        undisturbed = copy_home(start, Path(folder) / "undisturbed")
        started = time.monotonic()
        run(undisturbed)
        duration = time.monotonic() - started
        print(f"an undisturbed run takes {duration:.0f} s")
        generator = random.Random(options.seed)
        for number in range(options.kills):
            moment = duration * (number + generator.random()) / options.kills
            killed = copy_home(start, Path(folder) / "killed")
            kill_after(killed, moment)
            run(killed)
            found = differences(undisturbed, killed)
            same += not found
            print(f"killed after {moment:5.1f} s: {'; '.join(found) or 'same marts'}", flush=True)
    print(f"{same} of {options.kills} runs after a kill gave the same marts")
    if same < options.kills:
        sys.exit(1)


def make_start(folder: Path) -> Settings:
    """Make a home that has run once and then got new files, with the tokens of all its people.

    Tokens are random, so both runs must start from the same vault to be comparable.
    """
    settings = make_home(folder, SampleOptions(days=7, locations=5))
    late = [
        file
        for file in settings.landing_folder.rglob("2019-04-[23]*")
        if file.name >= "2019-04-29" and file.is_file()
    ]
    aside = folder / "late"
    aside.mkdir()
    run(settings)
    vault = folder / "vault"
    shutil.copytree(vault, folder / "vault-kept")
    for part in ("raw", "audit", "build.duckdb", "generations", "larder.duckdb", "published.json"):
        path = folder / part
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for file in late:
        file.replace(aside / f"{file.parent.parent.name}~{file.parent.name}~{file.name}")
    run(settings)
    for file in aside.iterdir():
        source, entity, name = file.name.split("~")
        file.replace(settings.landing_folder / source / entity / name)
    return settings


def run(settings: Settings, nice: int = 0) -> None:
    """Run `larder run` to its end, with so much less priority."""
    finished = subprocess.run(
        ["nice", "-n", str(nice), *command()],
        cwd=settings.home,
        env=environment(settings),
        capture_output=True,
        text=True,
    )
    if finished.returncode != 0:
        sys.exit(f"larder run failed:\n{finished.stdout}\n{finished.stderr}")


def kill_after(settings: Settings, seconds: float) -> None:
    """Start `larder run` and kill it and all that it started after some seconds."""
    process = subprocess.Popen(
        command(),
        cwd=settings.home,
        env=environment(settings),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def command() -> list[str]:
    """Return the command that is killed."""
    return [str(Path(sys.executable).with_name("larder")), "run"]


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment of a run over that home, without the user's own settings.

    Their `.env` is left behind by running in the home.
    """
    others = {name: value for name, value in os.environ.items() if not name.startswith("LARDER_")}
    return others | {
        "LARDER_HOME": str(settings.home),
        "LARDER_KEY_FILE": str(settings.key_file),
    }


if __name__ == "__main__":
    main()
