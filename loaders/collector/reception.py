"""What is decided about a request, however it came: by uvicorn or by API Gateway and Lambda."""

from __future__ import annotations

import math
from collections.abc import Mapping
from urllib.parse import parse_qs

import msgspec

from loaders.collector.answers import Lines
from loaders.collector.bodies import MAX_BODY_BYTES, BodyError, Received, read_body
from loaders.collector.pages import SOURCE, Pages
from loaders.collector.senders import Sender, Senders
from loaders.collector.signatures import Claim, Signatures, claim
from loaders.entities import Entity, read_entities

WEBHOOK_PATH = "/v1/trips/webhook"
ALIASES = {"/v1/menu/events": "menu/menu_events", WEBHOOK_PATH: "trips/trip_events"}
TOO_LARGE = f"the body has more than {MAX_BODY_BYTES:,} bytes"
NO_PAGES = Pages()
CLAIMED = "the signing id has come before, with another body"

Headers = Mapping[bytes, bytes]
"""Header names in small letters → their values."""


class RefusedError(Exception):
    """Nothing of the request is kept; the sender is told why."""

    def __init__(
        self, status: int, reason: str, why: str, retry_after: float | None = None
    ) -> None:
        super().__init__(why)
        self.status = status
        self.reason = reason
        self.why = why
        self.retry_after = retry_after

    @property
    def told(self) -> Lines:
        """The headers that say what may be sent, and when to come again."""
        if self.status == 405:
            return [(b"allow", b"GET, POST")]
        if self.retry_after is None:
            return []
        return [(b"retry-after", b"%d" % max(math.ceil(self.retry_after), 1))]


class Expected(msgspec.Struct, frozen=True, gc=False):
    """Know whose body is to come, of which entity, before it is read."""

    entity: Entity
    sender: Sender
    # the signing id that the body will claim, where the sender is known by a signature
    signing_id: bytes | None
    content_type: str

    def take(self, body: bytes) -> tuple[Received, Claim | None]:
        """Tell what the body holds, and what it claims.

        Raises:
            RefusedError: nothing of it may be kept.
        """
        try:
            received = read_body(self.entity, body, self.content_type)
        except BodyError as error:
            raise RefusedError(error.status, "body", error.why) from None
        if wait := self.sender.wait_seconds(len(received.lines)):
            raise RefusedError(429, "rate", "more than the rate of this sender", wait)
        return received, None if self.signing_id is None else claim(self.signing_id, body)


class Reception:
    """Know who may send what, and where."""

    def __init__(
        self, senders: Senders, radar_secret: bytes | None, pages: Pages = NO_PAGES
    ) -> None:
        self.pages = pages
        self._senders = senders
        self._signatures = Signatures(radar_secret) if radar_secret else None
        entities = read_entities()
        self._entities: dict[str, Entity] = {
            **{f"/v1/{path}": entity for path, entity in entities.items()},
            **{path: entities[name] for path, name in ALIASES.items()},
        }

    def expect(self, path: str, headers: Headers, query: bytes = b"") -> Expected:
        """Say what comes, judged by all but the body.

        Raises:
            RefusedError: nobody reads that path, the sender may not send it, or it is too large.
        """
        entity = self._entities.get(path)
        if entity is None:
            raise RefusedError(404, "path", "POST to /v1/<source>/<entity> of the contract")
        if not self.pages.may_send(entity.source, headers):
            raise RefusedError(403, "origin", "pages of this site may not send this")
        is_webhook = path == WEBHOOK_PATH
        sender, signing_id = self._sender(entity, headers, query, is_webhook=is_webhook)
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > MAX_BODY_BYTES:
            raise RefusedError(413, "size", TOO_LARGE)
        content_type = headers.get(b"content-type", b"").decode("latin-1")
        return Expected(entity, sender, signing_id, content_type)

    def _sender(
        self, entity: Entity, headers: Headers, query: bytes, *, is_webhook: bool
    ) -> tuple[Sender, bytes | None]:
        authorization = headers.get(b"authorization")
        if query and authorization is None and entity.source == SOURCE and self._senders.are_known:
            return self._sender_of_page(query), None
        if authorization is not None and self._senders.are_known:
            sender = self._senders.find(authorization)
            if sender is not None and sender.may_send(entity.source):
                return sender, None
            raise RefusedError(401, "key", "the key is unknown, or may not send this")
        if is_webhook and self._signatures is not None:
            signing_id = headers.get(b"x-radar-signing-id", b"")
            signature = headers.get(b"x-radar-signature", b"")
            if signing_id and self._signatures.are_right(signing_id, signature):
                return self._senders.anybody, signing_id
            raise RefusedError(401, "signature", "X-Radar-Signature is not that of the signing id")
        if self._senders.are_known or self._signatures is not None:
            raise RefusedError(401, "key", "send Authorization: Bearer <key>")
        return self._senders.anybody, None

    def _sender_of_page(self, query: bytes) -> Sender:
        """Find the holder of the key in an address, which all who see the page can read."""
        # as text: bytes that are no ASCII once they are unescaped could not be made bytes again
        key = parse_qs(query.decode("latin-1")).get("key", [""])[0]
        sender = self._senders.find(b"Bearer " + key.encode())
        if sender is None or sender.scopes != {SOURCE}:
            raise RefusedError(401, "key", "the key of a page must be known, and for menu alone")
        return sender
