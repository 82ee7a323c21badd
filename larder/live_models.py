"""The SQL that types and anonymises events, as dbt compiles it: kept, so that a query needs no dbt.

An anonymised model with the tag `live` says in `meta.live` what schema `live` calls it, and which
of its columns may be seen. It is compiled as a first build would, in a home of its own, so that no
build waits for that, nor it for one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from larder.build import run_dbt, target_folder
from larder.build_state import project_fingerprint
from larder.errors import BuildError, LarderError, SettingsError
from larder.lock import hold
from larder.settings import Settings

LONGEST_END = 5.0  # seconds until a compilation that is ended is left alone
Say = Callable[[str], None]
Begun = Callable[[subprocess.Popen[str]], None]


@dataclass(frozen=True)
class Source:
    """Name an entity that lands, and the table of raw that it is read from."""

    entity: str
    schema: str
    name: str


@dataclass(frozen=True)
class Model:
    """Hold a compiled model and the names of those that it reads, in raw or before it.

    `table` names it in schema `live`, with these `columns`; null where it is only read by others.
    """

    schema: str
    name: str
    sql: str
    reads: tuple[str, ...]
    table: str | None
    columns: tuple[str, ...]


@dataclass(frozen=True)
class LiveModels:
    """Hold what the tables of schema `live` are made of; no model is read before it is made."""

    sources: tuple[Source, ...]
    models: tuple[Model, ...]


def live_models(
    settings: Settings, say: Say = lambda _: None, begun: Begun | None = None
) -> LiveModels:
    """Return the models as this version has them; they are compiled once for each version.

    `say` is told before that, for it takes dbt half a minute, and `begun` gets dbt's process.
    Whoever asks meanwhile waits for it.

    Raises:
        BuildError: dbt could not compile them.
        SettingsError: they cannot be kept in the home folder.
        WarehouseBusyError: somebody else has been compiling them for too long.
    """
    file = settings.live_folder / "models.json"
    version = project_fingerprint()
    kept = _read(file, version)
    if kept is None:
        say("Schema live is prepared for this version, once; that takes about half a minute.")
        try:
            settings.live_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = hold(file.with_suffix(".lock"), "schema live", settings.lock_wait_seconds)
            with lock:
                kept = _read(file, version) or _compiled(settings, begun)
                aside = file.with_name(f".{file.name}.tmp")
                aside.write_text(json.dumps(asdict(kept) | {"version": version}), encoding="utf-8")
                aside.replace(file)
        except OSError as error:
            raise SettingsError(
                f"LARDER_HOME: {settings.live_folder} cannot be written ({error.strerror}), where "
                "schema live is prepared. Ask as the user who loads, or make room."
            ) from None
    return kept


class Preparation:
    """Compile the models beside something else, and end with it."""

    def __init__(self, settings: Settings, say: Say, at_bug: Callable[[], None]) -> None:
        self._settings = settings
        self._say = say
        self._at_bug = at_bug
        self._dbt: subprocess.Popen[str] | None = None
        self._is_ended = False
        self._bug: Exception | None = None
        # a daemon, as it may be waiting for somebody else who compiles
        self._thread = threading.Thread(target=self._prepare, name="live", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """End it, finished or not, and raise what was our own bug."""
        self._is_ended = True
        if self._dbt:
            self._dbt.terminate()
        self._thread.join(LONGEST_END)
        if self._bug:
            raise self._bug

    def _prepare(self) -> None:
        try:
            live_models(self._settings, self._say, self._begun)
        except LarderError as error:  # whoever asks hears it again
            if not self._is_ended:
                self._say(f"schema live is not ready: {error}")
        except Exception as bug:
            self._bug = bug
            self._at_bug()

    def _begun(self, dbt: subprocess.Popen[str]) -> None:
        self._dbt = dbt
        if self._is_ended:
            dbt.terminate()


def _read(file: Path, version: str) -> LiveModels | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["version"] != version:
            return None
        return LiveModels(
            tuple(Source(**source) for source in content["sources"]),
            tuple(
                Model(**(model | {name: tuple(model[name]) for name in ("reads", "columns")}))
                for model in content["models"]
            ),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _compiled(settings: Settings, begun: Begun | None) -> LiveModels:
    """Let dbt compile the models over an empty warehouse."""
    for left in settings.live_folder.glob("compiling-*"):  # by one that was killed
        shutil.rmtree(left, ignore_errors=True)
    home = Path(tempfile.mkdtemp(prefix="compiling-", dir=settings.live_folder))
    apart = settings.model_copy(update={"home": home, "target": "dev"})
    try:
        run_dbt(apart, ["compile", "--full-refresh", "--select", "+tag:live"], None, begun)
        manifest = (target_folder(apart, "compile") / "manifest.json").read_text(encoding="utf-8")
    except BuildError as error:
        raise BuildError(f"schema live cannot be made. {error}") from None
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return _live_models(json.loads(manifest))


def _live_models(manifest: dict[str, Any]) -> LiveModels:
    nodes: dict[str, Any] = {**manifest["nodes"], **manifest["sources"]}
    wanted: dict[str, Any] = {}
    for key, node in manifest["nodes"].items():
        if "live" in node.get("tags", ()):
            wanted |= {parent: nodes[parent] for parent in _with_parents(key, nodes)}
    return LiveModels(
        tuple(
            Source(f"{node['source_name']}/{node['name']}", node["schema"], node["identifier"])
            for node in wanted.values()
            if node["resource_type"] == "source"
        ),
        tuple(_model(node, nodes) for node in wanted.values() if node["resource_type"] == "model"),
    )


def _with_parents(key: str, nodes: dict[str, Any]) -> Iterator[str]:
    """Give a node after all that it depends on."""
    for parent in _parents(nodes[key]):
        yield from _with_parents(parent, nodes)
    yield key


def _parents(node: dict[str, Any]) -> list[str]:
    return [key for key in node.get("depends_on", {}).get("nodes", ()) if key.count(".") > 1]


def _model(node: dict[str, Any], nodes: dict[str, Any]) -> Model:
    seen = node["config"]["meta"].get("live", {})
    reads = (nodes[key] for key in _parents(node))
    return Model(
        schema=node["schema"],
        name=node["name"],
        sql=node["compiled_code"],
        reads=tuple(one.get("identifier", one["name"]) for one in reads),
        table=seen.get("table"),
        columns=tuple(seen.get("columns", ())),
    )
