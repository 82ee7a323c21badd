"""Answers to HTTP requests as bytes, each made in one piece so that it leaves in one write."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus

import msgspec

Lines = list[tuple[bytes, bytes]]
"""Header names and their values."""

JSON = b"application/json"
TEXT = b"text/plain; version=0.0.4"
_CLOSE = b"connection: close\r\n"
_encode = msgspec.json.Encoder().encode


class Answer:
    """Hold status line and headers, still open for one more, and the body."""

    __slots__ = ("_body", "_head", "_whole")

    def __init__(self, head: bytes, body: bytes = b"") -> None:
        self._head = head
        self._body = body
        self._whole = head + b"\r\n" + body

    def sent(self, told: bytes = b"", *, is_last: bool = False, is_head: bool = False) -> bytes:
        """Give all that is sent, with more headers; the last one of a connection says so.

        One to HEAD has no body.
        """
        if not (told or is_last or is_head):
            return self._whole
        body = b"" if is_head else self._body
        return b"".join((self._head, told, _CLOSE if is_last else b"", b"\r\n", body))


CONTINUE = Answer(b"HTTP/1.1 100 Continue\r\n")


def lines(headers: Lines) -> bytes:
    """Write headers as they are sent."""
    return b"".join(b"%b: %b\r\n" % header for header in headers)


def respond(status: int, body: bytes, content_type: bytes, headers: Lines | None = None) -> Answer:
    """Make an answer of any kind."""
    first = b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode())
    always = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    return Answer(first + lines(always + (headers or [])), body)


def answer(status: int, content: dict[str, object], headers: Lines | None = None) -> Answer:
    """Make an answer of JSON."""
    return respond(status, _encode(content), JSON, headers)


@lru_cache(maxsize=1024)
def counted(accepted: int, rejected: int) -> Answer:
    """Say how many records were kept, when they are durable."""
    return answer(200 if accepted else 422, {"accepted": accepted, "rejected": rejected})
