"""The workflow of GitHub Actions: least rights, secrets never in a pull request, real commands."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from larder.cli import larder
from larder.settings import PROJECT_ROOT, Settings

FILE = PROJECT_ROOT / ".github" / "workflows" / "ci.yml"
Job = dict[str, Any]
# What a `run` may begin with, besides make, larder and dbt.
SHELL = ("echo", "install", "printf", "rm", "sudo")


@pytest.fixture(scope="module")
def workflow() -> dict[str, Any]:
    # YAML 1.1 takes the key `on` for true
    content: dict[Any, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return {"on" if key is True else str(key): value for key, value in content.items()}


@pytest.fixture(scope="module")
def jobs(workflow: dict[str, Any]) -> dict[str, Job]:
    found: dict[str, Job] = workflow["jobs"]
    return found


def commands(job: Job) -> list[str]:
    """Return every line that a job runs in a shell."""
    return [line for step in job["steps"] for line in step.get("run", "").splitlines() if line]


def variables(job: Job) -> dict[str, str]:
    """Return the variables of a job and its steps."""
    found: dict[str, str] = dict(job.get("env", {}))
    for step in job["steps"]:
        found |= step.get("env", {})
    return found


def test_it_runs_for_pushes_and_pull_requests_of_anybody(workflow: dict[str, Any]) -> None:
    # pull_request_target would run the code of a fork with our rights and secrets
    assert set(workflow["on"]) == {"push", "pull_request", "workflow_dispatch"}
    assert workflow["on"]["push"] == {"branches": ["main"]}


def test_it_may_read_and_nothing_else(workflow: dict[str, Any], jobs: dict[str, Job]) -> None:
    assert workflow["permissions"] == {"contents": "read"}
    for job in jobs.values():
        assert job.get("permissions", {}) == {}


def test_every_job_ends_and_none_is_run_twice(
    workflow: dict[str, Any], jobs: dict[str, Job]
) -> None:
    assert "github.ref" in workflow["concurrency"]["group"]
    assert "pull_request" in workflow["concurrency"]["cancel-in-progress"]
    assert jobs["snowflake"]["concurrency"] == {"group": "snowflake", "cancel-in-progress": False}
    for job in jobs.values():
        assert 0 < job["timeout-minutes"] <= 120
        assert re.fullmatch(r"ubuntu-\d\d\.\d\d", job["runs-on"])


def test_every_action_is_pinned_with_its_version() -> None:
    used = re.findall(r"uses: (.+)", FILE.read_text(encoding="utf-8"))
    assert used
    for action in used:
        assert re.fullmatch(r"actions/[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
    # one version of each
    assert len({action.split("@")[1] for action in used}) == 3


def test_no_checkout_leaves_its_token_behind(jobs: dict[str, Job]) -> None:
    for job in jobs.values():
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def test_the_tests_need_no_credential(jobs: dict[str, Job]) -> None:
    assert "secrets." not in str(jobs["test"])
    assert "vars." not in str(jobs["test"])
    assert not {"if", "environment", "needs"} & jobs["test"].keys()
    assert commands(jobs["test"])[-1] == "make test"
    (cache,) = [step for step in jobs["test"]["steps"] if "actions/cache@" in step.get("uses", "")]
    assert "hashFiles('requirements.lock')" in cache["with"]["key"]


def test_a_secret_never_meets_a_pull_request(jobs: dict[str, Job]) -> None:
    with_secrets = {name for name, job in jobs.items() if "secrets." in str(job["steps"])}
    assert with_secrets == {"has_secrets", "snowflake"}
    for name in with_secrets:
        assert jobs[name]["if"].startswith("github.event_name != 'pull_request'")
        assert jobs[name]["environment"] == "snowflake"
        # an `if:` cannot see secrets, and a shell line would show them
        assert "secrets." not in jobs[name]["if"].replace("needs.has_secrets.", "")
        assert "secrets." not in str(commands(jobs[name]))
        # a job's variables would hand them to every step, pip's among them
        assert "secrets." not in str(jobs[name].get("env"))


def test_snowflake_runs_only_where_its_secrets_are_set(jobs: dict[str, Job]) -> None:
    looked = jobs["has_secrets"]["steps"][0]["env"]["ARE_SET"]
    for name in ("ACCOUNT", "USER", "PRIVATE_KEY"):
        assert f"secrets.LARDER_SNOWFLAKE_{name} != ''" in looked
    # the account keeps the vault: a job with a key of its own would be refused
    assert "secrets.LARDER_KEY != ''" in looked
    lines = commands(jobs["snowflake"])
    assert any("LARDER_KEY_FILE=" in line for line in lines[: lines.index(".venv/bin/larder run")])
    assert not any("uses" in step for step in jobs["has_secrets"]["steps"])
    job = jobs["snowflake"]
    assert set(job["needs"]) == {"test", "has_secrets"}
    assert "needs.has_secrets.outputs.are_set == 'true'" in job["if"]
    assert variables(job)["LARDER_TARGET"] == "prod"


def test_the_keys_are_read_by_their_owner_alone(jobs: dict[str, Job]) -> None:
    lines = commands(jobs["snowflake"])
    for key in ("service.p8", "vault.key"):
        made = lines.index(f'install -m 0600 /dev/null "$RUNNER_TEMP/{key}"')
        assert lines[made + 1].endswith(f'> "$RUNNER_TEMP/{key}"')
    assert jobs["snowflake"]["steps"][-1] == {
        "name": "Remove the keys",
        "if": "always()",
        "run": 'rm -f "$RUNNER_TEMP/service.p8" "$RUNNER_TEMP/vault.key"',
    }


def test_every_variable_is_a_setting(jobs: dict[str, Job]) -> None:
    settings = {f"LARDER_{name.upper()}" for name in Settings.model_fields}
    named = set(re.findall(r"(LARDER_[A-Z_]+)=", "\n".join(commands(jobs["snowflake"]))))
    named |= {name for name in variables(jobs["snowflake"]) if name.startswith("LARDER_")}
    assert named <= settings
    needed = ("ACCOUNT", "USER", "PRIVATE_KEY_PATH")
    assert named >= {f"LARDER_SNOWFLAKE_{name}" for name in needed}


def test_every_command_exists(jobs: dict[str, Job]) -> None:
    targets = re.findall(r"^([a-z-]+):", (PROJECT_ROOT / "Makefile").read_text(), re.MULTILINE)
    found = set()
    for job in jobs.values():
        for line in commands(job):
            program, *arguments = line.split()
            if program == "make":
                assert arguments[0] in targets, line
            elif program == ".venv/bin/larder":
                command = larder.commands[arguments[0]]
                options = {name for option in command.params for name in option.opts}
                assert {one for one in arguments[1:] if one.startswith("--")} <= options, line
            elif program == ".venv/bin/dbt":
                assert arguments[:2] == ["--warn-error", "parse"], line
            else:
                assert program in SHELL, line
            found.add(program)
    assert {"make", ".venv/bin/larder", ".venv/bin/dbt"} <= found
