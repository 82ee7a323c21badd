"""What all tests share: dbt in one warm process, and one sample network, built and published."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dbt_client import WITHOUT_TESTS, Dbt
from filelock import FileLock
from warehouse_homes import NOW, following, settings_of

from larder.serving.publish import publish
from larder.settings import Settings
from loaders.load import load
from loaders.sample.network import SampleOptions, write_sample_network

# The folders with whole builds: what is left for the end is small, so no worker waits long.
HEAVY_FOLDERS = ("production", "larder", "project", "privacy", "serving")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the heavy folders first."""
    order = {folder: number for number, folder in enumerate(HEAVY_FOLDERS)}
    items.sort(key=lambda item: order.get(item.path.parent.name, len(order)))


@pytest.fixture(scope="session", autouse=True)
def no_settings_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hide the user's settings from every test and every process that one starts.

    Whoever has set LARDER_LANDING must not find files of ours in their landing zone. `.env` is read
    from the working folder, so we leave the checkout's.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("LARDER_")]:
            patch.delenv(name)
        patch.chdir(tmp_path_factory.mktemp("no_settings"))
        yield


@pytest.fixture(scope="session")
def of_all_workers(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder for what is made once and read by all workers."""
    own: Path = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent


@pytest.fixture(scope="session")
def dbt(of_all_workers: Path) -> Iterator[Dbt]:
    """dbt over this project: `dbt.run(home, "build")`."""
    runner = Dbt(of_all_workers / "dbt")
    yield runner
    runner.close()


@pytest.fixture(scope="session")
def compiled_live(of_all_workers: Path) -> Path:
    """The models of schema `live` as this version has them, for which dbt takes ½ minute.

    Made by `larder load --follow`, before anybody asks.
    """
    settings: Settings = settings_of(of_all_workers / "live" / "warehouse")
    settings.landing_folder.mkdir(parents=True, exist_ok=True)
    prepared, until = settings.live_folder / "models.json", time.monotonic() + 900
    with FileLock(of_all_workers / "live" / "lock"):
        if not prepared.exists():
            with following(settings) as loader:
                while not prepared.exists():
                    assert loader.poll() is None, loader.communicate()
                    assert time.monotonic() < until, "the loader does not prepare schema live"
                    time.sleep(0.1)
    return settings.live_folder


@pytest.fixture(scope="session")
def built_home(dbt: Dbt, of_all_workers: Path) -> Settings:
    """The settings of a warehouse with seven days of five locations, built and published.

    Shared by all tests: read from it, never write to it. dbt's own tests run where a user runs
    them, in larder/test_main_job.py, so that one that fails does not fail everything.
    """
    settings: Settings = settings_of(of_all_workers / "built" / "warehouse")
    settings.home.parent.mkdir(exist_ok=True)
    with FileLock(of_all_workers / "built" / "lock"):
        if not settings.published_database.exists():
            options = SampleOptions(days=7, locations=5)
            write_sample_network(settings.landing_folder, settings.truth_folder, options)
            load(settings, lambda: NOW)
            result = dbt.run(settings.home, "build", *WITHOUT_TESTS)
            assert result.success, (result.message, result.problems)
            publish(settings, NOW)
    return settings
