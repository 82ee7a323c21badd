"""The HTTP surface of the collector, as a bare ASGI application (contract section 2)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import msgspec

from larder.errors import LarderError
from loaders.collector.bodies import MAX_BODY_BYTES, Received
from loaders.collector.measures import Measures
from loaders.collector.openapi import openapi
from loaders.collector.pages import Lines
from loaders.collector.reception import CLAIMED, TOO_LARGE, Headers, Reception, RefusedError
from loaders.collector.spool import ClaimedError, Spool, SpoolFullError

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

BODY_SECONDS = 30.0
RETRY_SECONDS = 1


class Collector:
    """Answer requests; `spool` is there between start and end of the server."""

    def __init__(
        self,
        reception: Reception,
        measures: Measures,
        opened_spool: Callable[[], AbstractContextManager[Spool]],
    ) -> None:
        self._reception = reception
        self._measures = measures
        self._opened_spool = opened_spool
        self.spool: Spool | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or the server's start and end."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        with ExitStack() as stack:
            try:
                self.spool = stack.enter_context(self._opened_spool())
            except (LarderError, OSError) as error:
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self.spool = None
            await asyncio.to_thread(stack.close)
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        told = self._reception.pages.told(headers)
        try:
            if scope["method"] == "POST":
                received = await self._take(scope, headers, receive)
                if not received.accepted:
                    self._measures.refused.labels("nothing usable").inc()
                await _answer(
                    send,
                    200 if received.accepted else 422,
                    {"accepted": received.accepted, "rejected": received.rejected},
                    told,
                )
            elif scope["method"] == "GET":
                await self._tell(scope["path"], send)
            elif scope["method"] == "OPTIONS":
                asked = self._reception.pages.asked_before(headers)
                await _respond(send, 204 if asked else 403, b"", _TEXT, asked)
            else:
                raise RefusedError(405, "method", "POST events, or GET /healthz, /readyz, /metrics")
        except RefusedError as refusal:
            self._measures.refused.labels(refusal.reason).inc()
            await _answer(send, refusal.status, {"error": refusal.why}, told + refusal.told)

    async def _take(self, scope: Scope, headers: Headers, receive: Receive) -> Received:
        if self.spool is None:
            raise RefusedError(503, "ending", "the collector is ending", RETRY_SECONDS)
        expected = self._reception.expect(scope["path"], headers, scope["query_string"])
        received, claimed = expected.take(await _body(receive))
        try:
            await self.spool.append(received.entity, received.lines, claimed)
        except SpoolFullError as error:
            raise RefusedError(503, "full", f"nothing was kept: {error}", RETRY_SECONDS) from None
        except ClaimedError:
            raise RefusedError(401, "signing id", CLAIMED) from None
        self._measures.accepted.labels(received.entity).inc(received.accepted)
        if received.rejected:
            self._measures.rejected.labels(received.entity).inc(received.rejected)
        return received

    async def _tell(self, path: str, send: Send) -> None:
        if path == "/healthz":
            await _answer(send, 200, {"status": "alive"})
        elif path == "/readyz":
            is_ready = self.spool is not None and self.spool.has_room()
            await _answer(
                send, 200 if is_ready else 503, {"status": "ready" if is_ready else "full"}
            )
        elif path == "/openapi.json":
            await _respond(send, 200, openapi(), _JSON)
        elif path == "/metrics":
            await _respond(send, 200, self._measures.text(), _TEXT)
        elif file := self._reception.pages.file(path):
            await _respond(send, 200, *file, [(b"cache-control", b"public, max-age=3600")])
        else:
            raise RefusedError(404, "path", "GET /healthz, /readyz, /metrics or /openapi.json")


async def _body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body
    parts, size = [body], len(body)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while message.get("more_body"):
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RefusedError(400, "cut off", "the body was cut off")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > MAX_BODY_BYTES:
                    raise RefusedError(413, "size", TOO_LARGE)
    except TimeoutError:
        raise RefusedError(
            408, "slow", f"the body took more than {BODY_SECONDS:g} seconds"
        ) from None
    return b"".join(parts)


_JSON = b"application/json"
_TEXT = b"text/plain; version=0.0.4"
_encode = msgspec.json.Encoder().encode


async def _answer(
    send: Send, status: int, content: dict[str, object], extra: Lines | None = None
) -> None:
    await _respond(send, status, _encode(content), _JSON, extra)


async def _respond(
    send: Send, status: int, body: bytes, content_type: bytes, extra: Lines | None = None
) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    await send(
        {"type": "http.response.start", "status": status, "headers": headers + (extra or [])}
    )
    await send({"type": "http.response.body", "body": body})
