"""HTTP/1.1 with one client: requests are told apart, judged, and answered in their order.

The server (uvicorn) keeps sockets, TLS, signals and the end; this is its protocol. No task and no
future are made for a request: what is parsed goes straight to the collector, which calls back with
the answer, and each answer leaves in one write. An ASGI application costs several times as much.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from functools import lru_cache
from typing import Any, cast
from urllib.parse import unquote

import httptools
import uvicorn
from uvicorn.server import ServerState

from loaders.collector.answers import CONTINUE, Answer
from loaders.collector.app import STATE, Collector, Request
from loaders.collector.arrivals import Arrivals
from loaders.collector.bodies import MAX_BODY_BYTES
from loaders.collector.reception import TOO_LARGE, Expected, RefusedError

# of one request: line and headers; all of it as it comes, with what frames the chunks of its body
MAX_HEAD_BYTES = 32 * 1024
MAX_WIRE_BYTES = 4 * MAX_BODY_BYTES
# How many requests of a connection may wait: then no more is read of it. What was read with them
# already may be more, but not any number, as even refusals take time.
MAX_WAITING = 64
MAX_AT_ONCE = 1024
REQUEST_SECONDS = 30.0
# longer than the proxies before us keep theirs, or they would send into a closed connection
KEEP_ALIVE_SECONDS = 75.0
# Closed at once with something unread, the kernel resets, and the client never sees the answer.
LINGER_SECONDS = 5.0
LOOK_SECONDS = 1.0
# where connections find what has come, in the state that the server hands to them
ARRIVALS = "arrivals"

log = logging.getLogger("larder.collector")


class _Exchange:
    """A request that waits for its answer, and for those before it."""

    __slots__ = ("_connection", "answer", "is_head", "is_kept", "told")

    def __init__(
        self, connection: Connection, told: bytes, *, is_head: bool, is_kept: bool
    ) -> None:
        self._connection = connection
        # headers that its answer has besides
        self.told = told
        self.is_head = is_head
        self.is_kept = is_kept
        self.answer: Answer | None = None

    def done(self, answer: Answer) -> None:
        """Take the answer, and send it when it is its turn."""
        self.answer = answer
        self._connection.flush()


class Connection(asyncio.Protocol):
    """Speak with one client, as the server's protocol class."""

    def __init__(
        self,
        config: uvicorn.Config,  # noqa: ARG002
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._collector: Collector = app_state[STATE]
        self._connections: set[Any] = server_state.connections
        self._loop = _loop or asyncio.get_running_loop()
        self._arrivals: Arrivals = app_state.setdefault(ARRIVALS, Arrivals(self._loop))
        self._parser = httptools.HttpRequestParser(self)
        self._exchanges: deque[_Exchange] = deque()
        # nothing that comes is a request any more: one was the last, or could not be understood
        self._is_last = False
        self._lingers = False
        self._is_draining = False
        self._is_half_closed = False
        self._is_paused = False
        self._stalled_since: float | None = None
        # when what it does now began: to receive a request, to idle, to linger
        self._since = self._loop.time()
        self._is_receiving = False
        self._forget()

    def _forget(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._head_bytes = self._wire_bytes = self._body_bytes = 0
        self._is_in_head = True
        self._parts: list[bytes] = []
        self._method = b""
        self._told = b""
        self._is_kept = True
        self._expected: Expected | Answer | RefusedError | None = None

    # what the server calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)
        self._look_at = self._loop.call_later(LOOK_SECONDS, self._look)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        """Forget what waits for its answer: it becomes durable all the same."""
        self._arrivals.understand()
        self._connections.discard(self)
        self._look_at.cancel()
        self._is_last = True
        self._exchanges.clear()

    def data_received(self, data: bytes) -> None:
        """Let what has come be understood, when the rest that comes now has come, too."""
        self._arrivals.add(self, data)

    def understand(self, data: bytes) -> None:
        """Understand what has come, and answer what can be answered at once."""
        if self._is_last:
            return
        self._wire_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, _EndedError):
                self._fail(error)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._end_with(RefusedError(400, "no HTTP", "this is not HTTP/1.1"))
        else:
            if self._is_receiving:
                self._check_size()
        if len(self._exchanges) >= MAX_WAITING:
            self._pause()
        if self._is_paused or (self._exchanges and self._exchanges[0].answer):
            self.flush()

    def eof_received(self) -> bool:
        """Say whether to stay open for answers; TLS knows no connection that is closed by half."""
        self._arrivals.understand()
        self._is_half_closed = self._is_last = True
        return bool(self._exchanges) and self._transport.get_extra_info("ssl_object") is None

    def pause_writing(self) -> None:
        """Read no more from who does not read its answers."""
        self._stalled_since = self._loop.time()
        self._pause()

    def resume_writing(self) -> None:
        """Go on."""
        self._stalled_since = None
        self.flush()

    def shutdown(self) -> None:
        """Take no new request, and answer those that are there."""
        self._arrivals.understand()
        self._is_draining = True
        if not self._exchanges and (self._is_last or not self._is_receiving):
            self._transport.close()

    # what the parser calls

    def on_message_begin(self) -> None:
        """Begin a request."""
        if len(self._exchanges) >= MAX_AT_ONCE:
            self._end_with(_TOO_MANY)
        if self._is_last:
            raise _EndedError
        self._forget()
        self._is_receiving = True
        self._since = self._loop.time()

    def on_url(self, url: bytes) -> None:
        """Take a part of the address."""
        self._url += url
        self._head_bytes += len(url)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._end_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; those after a body are of no use."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._end_head()
        if self._is_in_head:
            self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Judge the request before its body, so that nobody sends one in vain."""
        self._is_in_head = False
        parser = self._parser
        self._method = parser.get_method()
        version = parser.get_http_version()
        self._is_kept = version == "1.1" and parser.should_keep_alive()
        waits = version == "1.1" and self._headers.get(b"expect", b"").lower() == b"100-continue"
        try:
            self._expected = self._expect(version)
        except RefusedError as refusal:
            if waits or refusal.status in (400, 413, 505):
                self._end_with(refusal)
            self._expected = refusal
        else:
            if waits:
                self._add(is_kept=True).answer = CONTINUE

    def _expect(self, version: str) -> Expected | Answer:
        if version not in ("1.0", "1.1"):
            raise RefusedError(505, "no HTTP", "HTTP/1.1 is spoken here")
        if self._parser.should_upgrade():
            raise RefusedError(400, "no HTTP", "HTTP/1.1 is spoken here, without Upgrade")
        path, query = _split(self._url)
        request = Request(self._method, path, query, self._headers)
        if b"origin" in self._headers:
            self._told = self._collector.told(request)
        return self._collector.expect(request)

    def on_body(self, part: bytes) -> None:
        """Keep a part of a body that somebody will read."""
        if self._is_last or not isinstance(self._expected, Expected):
            return
        self._parts.append(part)
        self._body_bytes += len(part)
        if self._body_bytes > MAX_BODY_BYTES:
            self._end_with(RefusedError(413, "size", TOO_LARGE))

    def on_message_complete(self) -> None:
        """Answer the request, or let it wait for its answer."""
        self._is_receiving = False
        if self._is_last:
            return
        exchange = self._add(is_kept=self._is_kept)
        expected = self._expected
        try:
            if isinstance(expected, Expected):
                body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
                self._collector.take(expected, body, exchange.done)
            elif isinstance(expected, Answer):
                exchange.answer = expected
            elif expected is not None:
                raise expected
        except RefusedError as refusal:
            exchange.answer = self._collector.refuse(refusal)
        except Exception as error:
            self._exchanges.pop()
            self._fail(error)
        if not self._is_kept:
            self._is_last = True

    # what it does

    def _add(self, *, is_kept: bool) -> _Exchange:
        is_head = self._method == b"HEAD"
        exchange = _Exchange(self, self._told, is_head=is_head, is_kept=is_kept)
        self._exchanges.append(exchange)
        return exchange

    def _end_head(self) -> None:
        self._end_with(_HEAD_TOO_LARGE)
        raise _EndedError

    def _check_size(self) -> None:
        """Refuse what grows without an end that the parser would tell of."""
        if self._is_in_head and self._wire_bytes > MAX_HEAD_BYTES:
            self._end_with(_HEAD_TOO_LARGE)
        elif self._wire_bytes > MAX_WIRE_BYTES:
            self._end_with(RefusedError(413, "size", TOO_LARGE))

    def _end_with(self, refusal: RefusedError) -> None:
        """Refuse what is being received; nothing after it can be understood."""
        if not self._is_last:
            self._is_last = self._lingers = True
            self._add(is_kept=False).answer = self._collector.refuse(refusal)

    def _fail(self, error: Exception) -> None:
        """Say that the fault is ours; what is wrong goes to the log."""
        log.error("failed", exc_info=error)
        self._end_with(RefusedError(500, "failed", "the collector has failed; its log says why"))

    def give_up(self, error: Exception) -> None:
        """Hang up after a fault of ours that leaves nothing to answer with."""
        log.error("failed", exc_info=error)
        self._abort()

    def flush(self) -> None:
        """Send the answers whose turn it is."""
        exchanges = self._exchanges
        while exchanges and (answer := exchanges[0].answer) and self._stalled_since is None:
            exchange = exchanges.popleft()
            is_last = not exchange.is_kept or (
                not exchanges
                and (self._is_half_closed or (self._is_draining and not self._is_receiving))
            )
            self._transport.write(
                answer.sent(exchange.told, is_last=is_last, is_head=exchange.is_head)
            )
            if is_last:
                self._hang_up()
                return
            if not exchanges and not self._is_receiving:
                self._since = self._loop.time()
        if self._is_paused:
            self._resume()

    def _abort(self) -> None:
        self._is_last = True
        self._transport.abort()

    def _hang_up(self) -> None:
        self._is_last = True
        self._exchanges.clear()
        self._since = self._loop.time()
        if self._lingers and not self._is_half_closed and self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _pause(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        may_read = self._stalled_since is None and len(self._exchanges) < MAX_WAITING
        if self._is_paused and may_read and not self._transport.is_closing():
            self._is_paused = False
            self._transport.resume_reading()

    def _look(self) -> None:
        """End what takes too long."""
        self._arrivals.understand()  # what has come has not taken too long
        now = self._loop.time()
        lasts = now - self._since
        if self._stalled_since is not None and now - self._stalled_since > REQUEST_SECONDS:
            self._abort()
        elif self._is_last and not self._exchanges:
            if lasts > LINGER_SECONDS:
                self._abort()
        elif self._is_receiving and not self._is_last:
            if lasts > REQUEST_SECONDS:
                self._end_with(_TOO_SLOW)
                self.flush()
        elif not self._exchanges and lasts > KEEP_ALIVE_SECONDS:
            self._transport.close()
        self._look_at = self._loop.call_later(LOOK_SECONDS, self._look)


class _EndedError(Exception):
    """The parser is told that nothing more is understood."""


_HEAD_TOO_LARGE = RefusedError(
    431, "size", f"line and headers have more than {MAX_HEAD_BYTES:,} bytes"
)
_TOO_MANY = RefusedError(429, "rate", "more requests at once than can be answered", 1)
_TOO_SLOW = RefusedError(408, "slow", f"the request took more than {REQUEST_SECONDS:g} seconds")


@lru_cache(maxsize=256)
def _split(url: bytes) -> tuple[str, bytes]:
    """Return path and query of an address."""
    try:
        parsed = httptools.parse_url(url)
    except httptools.HttpParserInvalidURLError:
        raise RefusedError(400, "no HTTP", "the address cannot be read") from None
    return unquote((parsed.path or b"").decode("latin-1")), parsed.query or b""
