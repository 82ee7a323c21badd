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

    __slots__ = ("_body", "_head")

    def __init__(self, head: bytes, body: bytes = b"") -> None:
        self._head = head
        self._body = body

    def sent(self, *, is_last: bool = False, is_head: bool = False) -> bytes:
        """Give all that is sent: the last one of a connection says so, one to HEAD has no body."""
        return b"".join(
            (self._head, _CLOSE if is_last else b"", b"\r\n", b"" if is_head else self._body)
        )


CONTINUE = Answer(b"HTTP/1.1 100 Continue\r\n")


def respond(status: int, body: bytes, content_type: bytes, lines: Lines | None = None) -> Answer:
    """Make an answer of any kind."""
    head = [b"HTTP/1.1 %d %b" % (status, HTTPStatus(status).phrase.encode())]
    head.append(b"content-type: " + content_type)
    head.append(b"content-length: %d" % len(body))
    head += [b"%b: %b" % line for line in lines or []]
    return Answer(b"\r\n".join([*head, b""]), body)


def answer(status: int, content: dict[str, object], lines: Lines | None = None) -> Answer:
    """Make an answer of JSON."""
    return respond(status, _encode(content), JSON, lines)


@lru_cache(maxsize=1024)
def counted(accepted: int, rejected: int) -> Answer:
    """Say how many records were kept, when they are durable."""
    return answer(200 if accepted else 422, {"accepted": accepted, "rejected": rejected})
