"""JSON whose numbers stay the text that they came as: no digit is rounded away."""

from __future__ import annotations

import json
from collections.abc import Callable
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any, NoReturn


class Number(str):
    """The text of a number."""

    __slots__ = ()


def _refuse(_: str) -> NoReturn:
    raise ValueError("no number of JSON")


def loads(text: str | bytes) -> Any:
    """Read JSON; its numbers are `Number`.

    Raises:
        ValueError: it is no JSON (NaN and Infinity are none).
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, parse_float=Number, parse_int=Number, parse_constant=_refuse)


def dumps(value: Any) -> str:
    """Write JSON on one line, numbers as they were; half a surrogate pair stays escaped."""
    text = _dumps(value, encode_basestring)
    try:
        text.encode()
    except UnicodeEncodeError:
        return _dumps(value, encode_basestring_ascii)
    return text


def _dumps(value: Any, quoted: Callable[[str], str]) -> str:
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, dict):
        pairs = (f"{quoted(name)}: {_dumps(one, quoted)}" for name, one in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{', '.join(_dumps(one, quoted) for one in value)}]"
    return {True: "true", False: "false", None: "null"}[value]
