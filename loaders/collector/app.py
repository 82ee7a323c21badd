"""What the collector does about each request (contract section 2); `connection.py` brings them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import msgspec

from larder.errors import LarderError
from loaders.collector.answers import JSON, TEXT, Answer, answer, counted, lines, respond
from loaders.collector.measures import Measures
from loaders.collector.openapi import openapi
from loaders.collector.reception import CLAIMED, Expected, Reception, RefusedError
from loaders.collector.spool import ClaimedError, Spool, SpoolFullError, Waiting

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

RETRY_SECONDS = 1
STATE = "collector"
"""Where connections find the collector in the state that the server hands to them."""


class Request(msgspec.Struct, gc=False):
    """Hold what came before a body; header names in small letters."""

    method: bytes
    path: str
    query: bytes
    headers: dict[bytes, bytes]


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

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Live as long as the server: of ASGI, only the start and the end (lifespan) are used."""
        await receive()
        with ExitStack() as stack:
            try:
                self.spool = stack.enter_context(self._opened_spool())
            except (LarderError, OSError) as error:
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            scope["state"][STATE] = self
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self.spool = None
            await asyncio.to_thread(stack.close)
        await send({"type": "lifespan.shutdown.complete"})

    def expect(self, request: Request) -> Expected | Answer:
        """Say whose body is to come, or answer a request whose body does not matter.

        Raises:
            RefusedError: the request is not taken, whatever its body.
        """
        if request.method == b"POST":
            return self._reception.expect(request.path, request.headers, request.query)
        if request.method == b"GET":
            return self._tell(request.path)
        if request.method == b"OPTIONS":
            asked = self._reception.pages.asked_before(request.headers)
            return respond(200 if asked else 403, b"", TEXT, asked)
        raise RefusedError(405, "method", "POST events, or GET /healthz, /readyz, /metrics")

    def take(self, expected: Expected, body: bytes, done: Callable[[Answer], None]) -> None:
        """Take a body; `done` is called with the answer when it is durable, or is not kept.

        Raises:
            RefusedError: nothing of it is kept.
        """
        if self.spool is None:
            raise RefusedError(503, "ending", "the collector is ending", RETRY_SECONDS)
        received, claimed = expected.take(body)

        def told(trouble: Exception | None) -> None:
            done(
                counted(received.accepted, received.rejected)
                if trouble is None
                else self.refuse(_refusal(trouble))
            )

        try:
            self.spool.put(Waiting(received, claimed, told))
        except SpoolFullError as error:
            raise _refusal(error) from None
        if not received.accepted:
            self._measures.refused.labels("nothing usable").inc()

    def refuse(self, refusal: RefusedError) -> Answer:
        """Count a refusal, and tell why."""
        self._measures.refused.labels(refusal.reason).inc()
        return answer(refusal.status, {"error": refusal.why}, refusal.told)

    def told(self, request: Request) -> bytes:
        """Return what each answer to a request has besides, for the page that has sent it."""
        return lines(self._reception.pages.told(request.headers))

    def _tell(self, path: str) -> Answer:
        if path == "/healthz":
            return answer(200, {"status": "alive"})
        if path == "/readyz":
            state = "ending" if self.spool is None else self.spool.state()
            return answer(200 if state == "ready" else 503, {"status": state})
        if path == "/openapi.json":
            return respond(200, openapi(), JSON)
        if path == "/metrics":
            return respond(200, self._measures.text(), TEXT)
        if file := self._reception.pages.file(path):
            return respond(200, *file, [(b"cache-control", b"public, max-age=3600")])
        raise RefusedError(404, "path", "GET /healthz, /readyz, /metrics or /openapi.json")


def _refusal(trouble: Exception) -> RefusedError:
    """Say to a sender what became of lines that the spool has not kept."""
    if isinstance(trouble, ClaimedError):
        return RefusedError(401, "signing id", CLAIMED)
    return RefusedError(503, "full", f"nothing was kept: {trouble}", RETRY_SECONDS)
