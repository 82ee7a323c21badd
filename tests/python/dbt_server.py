"""A process that has dbt imported, and forks for every command.

Importing dbt costs five seconds; a forked copy does not pay them, and whatever dbt leaves in its
process (connections, threads, log handlers) dies with the copy. The process itself never runs a
command: a fork of a process with threads may hang.

Reads one JSON object a line: `arguments`, `environment` (variables to set), `manifest` (a file of
dbt's partial parse to take the project from, or null) and `macros` (what takes the place of macros
of that project, by unique id). Answers with one: `success`, `message` and `results`, then the line
`done`.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from dbt.cli.main import dbtRunner
from dbt.contracts.graph.manifest import Manifest


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Run one command and return what it did; nodes by name, with status and message."""
    os.environ.update(request["environment"])
    manifest = None
    if request["manifest"]:
        manifest = Manifest.from_msgpack(Path(request["manifest"]).read_bytes())
        for name, code in request["macros"].items():
            manifest.macros[name].macro_sql = code
    outcome = dbtRunner(manifest=manifest).invoke(request["arguments"])
    results = getattr(outcome.result, "results", None) or []
    return {
        "success": outcome.success,
        "message": "".join(traceback.format_exception(outcome.exception))
        if outcome.exception
        else "",
        "results": {
            result.node.name: [str(result.status), str(result.message or "")]
            for result in results
            if getattr(result, "node", None) is not None
        },
    }


def serve(log_file: str) -> None:
    """Answer until the input ends."""
    # What dbt prints goes to a log; our answers have the real standard output to themselves.
    replies = os.fdopen(os.dup(1), "w")
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            try:
                replies.write(json.dumps(answer(request)) + "\n")
            except BaseException:
                replies.write(
                    json.dumps({"success": False, "message": traceback.format_exc(), "results": {}})
                    + "\n"
                )
            replies.flush()
            # A regular end of the process, so that DuckDB closes its file.
            sys.exit(0)
        os.waitpid(child, 0)
        replies.write("done\n")
        replies.flush()


if __name__ == "__main__":
    serve(sys.argv[1])
