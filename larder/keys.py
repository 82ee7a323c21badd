"""The key that turns a person's id into what the vault knows them by.

The key lives outside the warehouse, is made once, and is never printed. Its fingerprint is kept
in the vault, so that a wrong or lost key stops the work instead of renaming everybody.
"""

from __future__ import annotations

import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path

from larder.errors import KeyMismatchError

KEY_BYTES = 32


def make_key(path: Path) -> bytes:
    """Make a new random key file (mode 0600) unless there is one, and return the key there.

    Raises:
        KeyMismatchError: the file cannot be written or read.
    """
    if path.exists():
        return read_key(path)
    try:
        make_secret(path)
    except OSError as error:
        raise KeyMismatchError(
            f"The key file {path} cannot be made ({error.strerror}). "
            "Point LARDER_KEY_FILE at a place that you may write."
        ) from error
    return read_key(path)


def make_secret(path: Path) -> None:
    """Make a file (mode 0600) with a new secret of 64 hexadecimal digits, unless there is one.

    Raises:
        OSError: it cannot be written.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        # whole or not at all, and never over a secret that is there
        with suppress(FileExistsError):
            os.link(aside, path)
    finally:
        with suppress(OSError):
            aside.unlink()


def read_key(path: Path) -> bytes:
    """Read the key, 32 bytes.

    Raises:
        KeyMismatchError: the file is missing, unreadable or does not hold a key.
    """
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except FileNotFoundError:
        raise KeyMismatchError(
            f"The key file {path} is missing, but the vault was made with one. "
            "Restore it from its backup, or point LARDER_KEY_FILE at it."
        ) from None
    except (OSError, ValueError):
        raise KeyMismatchError(
            f"The key file {path} cannot be read as a key. Restore it from its backup."
        ) from None
    if len(key) != KEY_BYTES:
        raise KeyMismatchError(
            f"The key file {path} holds {len(key)} bytes instead of {KEY_BYTES}. "
            "Restore it from its backup."
        )
    return key


def person_hash(key: bytes, person_id: str) -> bytes:
    """Return HMAC-SHA-256(key, person id), 32 bytes: how the vault knows a person."""
    return hmac.digest(key, person_id.strip().encode(), "sha256")


def content_name(key: bytes, content: bytes) -> str:
    """Return 32 hexadecimal digits that name a content; without the key they confirm no guess."""
    return hmac.digest(key, b"larder content " + content, "sha256").hex()[:32]


def fingerprint(key: bytes) -> str:
    """Return 16 hexadecimal digits that tell one key from another and say nothing about it."""
    return hmac.digest(key, b"larder key fingerprint", "sha256").hex()[:16]
