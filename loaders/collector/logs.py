"""The collector's log: a line of JSON for each thing worth saying, never a body or a key.

On the console and in a rotating file, so that it can be read after the console is gone.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

FILE_BYTES = 10 * 1024 * 1024
KEPT_FILES = 5
# the server's words again, with colours
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"color_message"}


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "at": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "said_by": record.name,
            "what": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _USUAL}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def collector_log(folder: Path) -> logging.Logger:
    """Return the log, written to standard error and to `collector.log` in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    file = RotatingFileHandler(
        folder / "collector.log", maxBytes=FILE_BYTES, backupCount=KEPT_FILES, encoding="utf-8"
    )
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr), file]
    log = logging.getLogger("larder.collector")
    # the server's own words go the same way
    for one in (log, logging.getLogger("uvicorn.error")):
        one.handlers = handlers
        one.setLevel(logging.INFO)
        one.propagate = False
    for handler in handlers:
        handler.setFormatter(_JsonLines())
    return log
