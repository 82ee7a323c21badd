"""Web pages that send menu events: of which sites they may be, and the files that make it easy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from ipaddress import ip_address

from loaders.collector.answers import Lines

SOURCE = "menu"
_DAY = 24 * 3600
_HOST = re.compile(rb"(?:\[([^\]]*)\]|([^:]*))(?::\d*)?")
_FILES = {
    "/menu.js": ("menu.js", b"text/javascript; charset=utf-8"),
    "/menu": ("menu.html", b"text/html; charset=utf-8"),
}


@dataclass(frozen=True)
class Pages:
    """Know the sites whose pages may send menu events; a browser names the site in `Origin`."""

    origins: frozenset[bytes] = frozenset()
    # whether there is a menu to try at /menu
    are_demonstrated: bool = False
    # Whether pages are only heard under a name of this machine: without keys, any site could let
    # its own name lead here (DNS rebinding), and its pages would count as ours.
    are_local: bool = False

    def may_send(self, source: str, headers: Mapping[bytes, bytes]) -> bool:
        """Tell whether a request comes from no page, from one of ours, or from one that may."""
        origin = headers.get(b"origin")
        if origin is None:
            return True
        host = headers.get(b"host")
        if self.are_local and not is_loopback(_name(host or b"")):
            return False
        if origin.partition(b"://")[2] == host:
            return True
        return source == SOURCE and origin in self.origins

    def told(self, headers: Mapping[bytes, bytes]) -> Lines:
        """Return the headers without which a browser hides an answer from a page."""
        origin = headers.get(b"origin")
        if origin is None or origin not in self.origins:
            return []
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", b"retry-after"),
            (b"vary", b"origin"),
        ]

    def asked_before(self, headers: Mapping[bytes, bytes]) -> Lines:
        """Return what else answers a browser's question whether a page may send; nothing: no."""
        return self.told(headers) and [
            (b"access-control-allow-methods", b"POST"),
            (b"access-control-allow-headers", b"authorization, content-type"),
            (b"access-control-max-age", b"%d" % _DAY),
        ]

    def file(self, path: str) -> tuple[bytes, bytes] | None:
        """Return content and type of the file at a path, if there is one."""
        if path == "/menu" and not self.are_demonstrated:
            return None
        return _file(path) if path in _FILES else None


def _name(host: bytes) -> str:
    """Return what a `Host` header has before its port."""
    match = _HOST.fullmatch(host)
    return (match[1] or match[2] or b"").decode("latin-1") if match else ""


def is_loopback(host: str) -> bool:
    """Tell whether a name or address can only be this machine's."""
    try:
        return host.lower() == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def read_origins(text: str) -> frozenset[bytes]:
    """Return the origins of a list such as `https://bistro.example, https://menus.example`."""
    return frozenset(one.rstrip("/").lower().encode() for one in re.split(r"[\s,]+", text) if one)


@cache
def _file(path: str) -> tuple[bytes, bytes]:
    name, content_type = _FILES[path]
    return (files("loaders.collector") / "static" / name).read_bytes(), content_type
