"""The zip that Python models import, where dbt finds its name, and the tag on what they cost."""

from __future__ import annotations

import json
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jinja2
import pytest
from snowflake_account import Account

import larder.learning
from larder.deploy.applying import deploy, make_plan
from larder.deploy.archive import NAME, learning_import, make_archive, remove_statements
from larder.settings import PROJECT_ROOT, Settings


def test_the_same_sources_make_the_same_bytes_and_others_another_name(tmp_path: Path) -> None:
    copy = tmp_path / "project"
    shutil.copytree(
        PROJECT_ROOT / "larder", copy / "larder", ignore=shutil.ignore_patterns("__pycache__")
    )
    first, second = make_archive(), make_archive(copy)
    assert first == second
    assert NAME.fullmatch(first.name)
    changed = copy / "larder" / "learning" / "frames.py"
    changed.write_text(f"{changed.read_text(encoding='utf-8')}# changed\n", encoding="utf-8")
    assert make_archive(copy).name != first.name


def test_every_module_is_imported_from_the_zip_alone(tmp_path: Path) -> None:
    archive = make_archive()
    path = tmp_path / archive.name
    path.write_bytes(archive.content)
    modules = [
        f"larder.learning.{module.name}"
        for module in pkgutil.iter_modules(larder.learning.__path__)
    ]
    assert "larder.learning.frames" in modules
    code = (
        "import importlib, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "for name in sys.argv[2:]:\n"
        "    file = importlib.import_module(name).__file__\n"
        "    assert file.startswith(sys.argv[1]), (name, file)\n"
    )
    outcome = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", code, str(path), *modules],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr


def test_it_is_staged_under_the_name_that_dbt_is_given(deployable: Settings) -> None:
    account = Account()
    deployment = deploy(make_plan(deployable), account)
    assert list(account.staged) == [deployment.archive]
    assert deployment.archive == make_archive().name
    staged = deployable.home / "deploy" / deployment.archive
    assert staged.read_bytes() == make_archive().content
    there = Settings(home=deployable.home, target="prod")
    assert learning_import(there) == f"@LARDER_ANALYTICS.DEPLOYMENT.CODE/{deployment.archive}"
    assert learning_import(deployable) == ""


def test_old_zips_go_except_the_newest(deployable: Settings) -> None:
    old = {
        f"learning-{day:012x}.zip": f"Mon, {day} Jun 2026 00:00:00 GMT" for day in (1, 8, 15, 22)
    }
    account = Account(staged=dict(old))
    deployment = deploy(make_plan(deployable), account)
    assert deployment.removed == [f"learning-{1:012x}.zip", f"learning-{8:012x}.zip"]
    assert account.staged.keys() == {*old, deployment.archive} - set(deployment.removed)
    assert not remove_statements([("code/somebody's.txt", 1, "x", "")], deployment.archive)


@pytest.mark.parametrize("import_path", ["", "@LARDER_ANALYTICS.DEPLOYMENT.CODE/learning-0.zip"])
def test_dbt_hands_a_list_of_imports_to_the_python_models(import_path: str) -> None:
    """In the way of dbt: it takes a rendered list for a list."""
    text = (PROJECT_ROOT / "dbt_project.yml").read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if "+imports" in line]
    template = line.split(":", 1)[1].strip().strip('"')

    def env_var(name: str, default: str | None = None) -> str:
        assert name == "LARDER_LEARNING_IMPORT"
        return import_path if import_path or default is None else default

    from jinja2.nativetypes import NativeEnvironment

    rendered: Any = NativeEnvironment().from_string(template).render(env_var=env_var)
    assert rendered == ([import_path] if import_path else [])


def test_each_model_is_tagged_with_its_name_and_nothing_after_it() -> None:
    ran: list[str] = []
    context: dict[str, Any] = {
        "tojson": json.dumps,
        "run_query": ran.append,
        "invocation_id": "b2f0",
        "model": {"name": "fct_sales", "resource_type": "model"},
    }
    environment = jinja2.Environment(extensions=["jinja2.ext.do"], autoescape=False)  # noqa: S701
    for name, call in (
        ("snowflake__set_query_tag", "()"),
        ("snowflake__unset_query_tag", "(none)"),
    ):
        text = (PROJECT_ROOT / "macros" / f"{name}.sql").read_text(encoding="utf-8")
        environment.from_string(f"{text}{{{{ {name}{call} }}}}").render(context)
    tagged, taken_off = ran
    begin, tag, end = tagged.split("'")
    assert (begin, end) == ("alter session set query_tag = ", "")
    assert json.loads(tag) == {
        "app": "larder",
        "model": "fct_sales",
        "kind": "model",
        "invocation_id": "b2f0",
    }
    assert taken_off == "alter session unset query_tag"
