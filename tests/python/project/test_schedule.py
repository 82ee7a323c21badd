"""The schedule: units that systemd takes, no overlap, no secret, and what follows a failure."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from warehouse_homes import run_larder, settings_of

from larder.cli import FAILED
from larder.lock import run_lock
from larder.metrics.textfile import read_samples
from larder.settings import PROJECT_ROOT, Settings

FOLDER = PROJECT_ROOT / "deploy" / "schedule"
STAYING = {"larder-collector.service": "collect", "larder-follow.service": "load --follow"}
FILES = {
    **{
        name: FOLDER / name
        for name in ("larder.service", "larder.timer", "larder-failed@.service", "larder.cron")
    },
    **{name: PROJECT_ROOT / "deploy" / "collector" / name for name in STAYING},
}
ANALYZE = shutil.which("systemd-analyze")


class Unit(configparser.ConfigParser):
    """A unit file; of what it says more than once, such as Environment=, all is kept."""

    def __init__(self, name: str) -> None:
        super().__init__(interpolation=None, strict=False, delimiters=("=",), comment_prefixes="#")
        self.optionxform = str  # type: ignore[assignment, method-assign]
        text = FILES[name].read_text(encoding="utf-8")
        self.read_string(text)
        self.settings = dict(re.findall(r"^Environment=(\w+)=(.+)$", text, re.MULTILINE))
        # a later file decides where both name a setting
        self.files = re.findall(r"^EnvironmentFile=(.+)$", text, re.MULTILINE)


@pytest.mark.skipif(ANALYZE is None, reason="systemd is not installed")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """Verify them with a program where they expect one."""
    program = tmp_path / "opt" / ".venv" / "bin" / "larder"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    units = []
    for name in FILES.keys() - {"larder.cron"}:
        text = FILES[name].read_text(encoding="utf-8")
        units.append(tmp_path / name)
        units[-1].write_text(text.replace("/opt/larder", str(tmp_path / "opt")))
    assert ANALYZE is not None
    verified = subprocess.run([ANALYZE, "verify", *units], capture_output=True, text=True)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    calendar = Unit("larder.timer")["Timer"]["OnCalendar"]
    spelt = subprocess.run([ANALYZE, "calendar", calendar], capture_output=True, text=True)
    assert re.search(r"Normalized form: \*-\*-\* \*:00:00$", spelt.stdout, re.MULTILINE)


def test_the_timer_rings_every_hour_and_makes_up_for_what_was_missed() -> None:
    timer = Unit("larder.timer")
    assert timer["Timer"]["OnCalendar"] == "hourly"
    assert timer["Timer"]["RandomizedDelaySec"] == "5min"
    assert timer["Timer"]["Persistent"] == "true"
    # by its name it starts larder.service
    assert "Unit" not in timer["Timer"]
    assert timer["Install"]["WantedBy"] == "timers.target"


def test_a_run_is_started_once_ends_and_tells_of_its_failure() -> None:
    service = Unit("larder.service")
    # of this type it is "activating" for as long as it runs, and is not started again
    assert service["Service"]["Type"] == "oneshot"
    assert service["Service"]["TimeoutStartSec"] == "3h"
    assert service["Service"]["ExecStart"].endswith("/larder run")
    assert service["Unit"]["OnFailure"] == "larder-failed@%N.service"
    told = (FOLDER / "larder-failed@.service").read_text(encoding="utf-8")
    assert "/etc/larder/on-failure" in told
    assert "daemon.alert" in told


def test_a_run_may_write_its_home_and_little_else() -> None:
    service = Unit("larder.service")["Service"]
    assert service["User"] == "larder"
    assert service["ProtectSystem"] == "strict"
    assert service["StateDirectory"] == "larder larder-keys"
    assert service["CapabilityBoundingSet"] == ""
    for option in ("NoNewPrivileges", "PrivateDevices", "PrivateTmp", "ProtectHome"):
        assert service[option] == "true"
    assert service["CacheDirectory"] == "larder"
    # what a run makes is its own; only the metrics are for others, who must reach them
    assert (service["UMask"], service["StateDirectoryMode"]) == ("0077", "0711")


@pytest.mark.parametrize("name", STAYING)
def test_what_stays_is_kept_up_and_may_do_no_more_than_a_run(name: str) -> None:
    stays, run = Unit(name)["Service"], Unit("larder.service")["Service"]
    assert stays["ExecStart"].endswith(f"/larder {STAYING[name]}")
    assert stays["Restart"] == "always"
    assert stays["UMask"] == run["UMask"]
    # the build gives way to it: what arrives is to be seen within seconds beside it
    assert int(run["Nice"]) > int(stays.get("Nice", "0"))
    guards = [name for name in run if name.startswith(("Protect", "Restrict", "Private", "System"))]
    assert len(guards) > 12
    for option in [*guards, "CapabilityBoundingSet", "NoNewPrivileges", "User"]:
        assert stays[option] == run[option], option
    assert set(stays["StateDirectory"].split()) <= set(run["StateDirectory"].split())


def test_the_loader_that_stays_loads_as_a_run_does() -> None:
    follower, run = Unit("larder-follow.service"), Unit("larder.service")
    assert follower.files == run.files
    for name in ("LARDER_HOME", "LARDER_KEY_FILE"):
        assert follower.settings[name] == run.settings[name]


def test_the_collector_lands_where_the_loader_reads() -> None:
    collector, run = Unit("larder-collector.service"), Unit("larder.service")
    assert run.files == ["-/etc/larder/larder.env"]
    assert collector.files == [*run.files, "-/etc/larder/collector.env"]
    assert collector.settings["LARDER_HOME"] == run.settings["LARDER_HOME"]


def test_the_collector_is_back_at_once_and_is_not_given_up_soon() -> None:
    collector = Unit("larder-collector.service")
    assert collector["Service"]["RestartSec"] == "100ms"
    # a start that fails takes a second: it is tried for a minute at least before a person is told
    assert int(collector["Unit"]["StartLimitBurst"]) >= 60
    assert int(collector["Unit"]["StartLimitIntervalSec"]) >= 300


@pytest.mark.parametrize("name", FILES)
def test_no_secret_is_in_a_unit(name: str) -> None:
    text = FILES[name].read_text(encoding="utf-8")
    assert not re.search(r"password|passphrase|secret|token|BEGIN", text, re.IGNORECASE)
    named = set(re.findall(r"(LARDER_[A-Z_]+)=", text))
    assert named <= {f"LARDER_{field.upper()}" for field in Settings.model_fields}


def test_both_schedules_run_on_the_same_home() -> None:
    cron = (FOLDER / "larder.cron").read_text(encoding="utf-8")
    variables = dict(re.findall(r"^(\w+)=(.*)$", cron, re.MULTILINE))
    settings = Unit("larder.service").settings
    for name in ("LARDER_HOME", "LARDER_KEY_FILE"):
        assert variables[name] == settings[name]
    assert variables["LARDER_LOCK_WAIT_SECONDS"] == "0"
    (line,) = [one for one in cron.splitlines() if re.match(r"[\d*]", one)]
    minute, *others, user, command = line.split(maxsplit=6)
    assert minute.isdecimal()
    assert int(minute) in range(1, 60)  # not with everybody else at the full hour
    assert (others, user) == (["*"] * 4, "larder")
    assert "/larder run" in command
    assert "%" not in command  # cron takes it for the end of a line
    assert subprocess.run(["bash", "-n", "-c", command]).returncode == 0


def test_a_run_of_cron_that_finds_another_one_ends_at_once(tmp_path: Path) -> None:
    home = tmp_path / "warehouse"
    with run_lock(settings_of(home), "larder train"):
        ended = run_larder(home, "run", LARDER_LOCK_WAIT_SECONDS="0")
    assert ended.returncode == FAILED
    assert "is held by `larder train`" in ended.stderr
    found = read_samples(home / "metrics" / "larder.prom")
    assert found["larder_runs_total"]["run", "busy"] == 1
    # it neither failed nor ran, so that no alert rings for it and none is silenced by it
    assert "larder_run_last_timestamp_seconds" not in found
