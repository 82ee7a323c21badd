"""Post records to a collector until each is acknowledged."""

from __future__ import annotations

import hmac
import json
import logging
import ssl
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import urllib3

from larder.errors import LarderError, UsageError
from loaders.collector.reception import WEBHOOK_PATH
from loaders.collector.senders import key_for
from loaders.entities import Entity

# A collector that is restarted, or makes room, is waited for about five minutes.
_TRIES: Final = 60
_LONGEST_WAIT_SECONDS: Final = 5.0
_FIRST_TRIES: Final = 3
_TIMEOUT: Final = urllib3.Timeout(connect=5.0, read=60.0)
_OK, _UNAUTHORISED, _NOTHING_USABLE = 200, 401, 422


class SendingError(LarderError):
    """The collector cannot be reached, or refuses what is sent."""


@dataclass(frozen=True)
class Answer:
    """Say how many of the records sent the collector took, and how many become dead letters."""

    accepted: int
    rejected: int


class Client:
    """Send to one collector, over one kept connection.

    A key is the first of `api_keys` (as in LARDER_API_KEYS) that may send the source. Trips are
    signed, as the delivery provider does it, where there is a secret.
    """

    def __init__(self, url: str, api_keys: str = "", secret: bytes | None = None) -> None:
        """Know where to send.

        Raises:
            UsageError: the address is none of HTTP.
        """
        self.url = url.rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise UsageError(
                f"--to {url} is no address of a collector: write http://host:port or https://host."
            )
        self._api_keys = api_keys
        self._secret = secret
        self._pool = urllib3.PoolManager(maxsize=1, timeout=_TIMEOUT)
        # what is tried again is no news; what fails in the end is an error of ours
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)

    def require_collector(self) -> None:
        """See at once whether anybody is there.

        Raises:
            SendingError: nobody answers, cannot be trusted, or points elsewhere.
        """
        try:
            self._request("GET", "/healthz", _FIRST_TRIES)
        except urllib3.exceptions.HTTPError:
            raise SendingError(
                f"No collector answers at {self.url}. Start one with `larder collect`, or give the "
                "address of yours with --to."
            ) from None

    def send(self, entity: Entity, lines: list[bytes]) -> Answer:
        """Send records, one a line, until they are acknowledged; sent twice counts once.

        Raises:
            SendingError: the collector refuses them, or has not answered for minutes.
        """
        is_signed = entity.source == "trips" and self._secret is not None
        is_webhook = is_signed and entity.name == "trip_events"
        path = WEBHOOK_PATH if is_webhook else f"/v1/{entity.path}"
        headers = {"Content-Type": "application/x-ndjson", **self._proof(entity, is_webhook)}
        try:
            response = self._request("POST", path, _TRIES, b"\n".join(lines), headers)
        except urllib3.exceptions.HTTPError as error:
            raise SendingError(
                f"The collector at {self.url} takes nothing any more ({type(error).__name__}). "
                "Look at its log, then send again: what it has taken counts once."
            ) from None
        return self._understood(response, entity, is_webhook)

    def _request(
        self,
        method: str,
        path: str,
        times: int,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        try:
            response = self._pool.request(
                method,
                f"{self.url}{path}",
                body=body,
                headers=headers,
                retries=_retries(times),
                redirect=False,  # what is sent to a page that moved is lost without a word
            )
        except urllib3.exceptions.MaxRetryError as error:
            if isinstance(error.reason, urllib3.exceptions.SSLError):
                raise SendingError(_told_of_tls(self.url, error.reason)) from None
            raise
        if 300 <= response.status < 400:
            raise SendingError(
                f"{self.url} is not the collector itself: it answers HTTP {response.status} and "
                f"points to {response.headers.get('Location', 'nowhere')}. Give the address that "
                "the collector has there with --to."
            )
        return response

    def _proof(self, entity: Entity, is_webhook: bool) -> dict[str, str]:
        if is_webhook and self._secret is not None:
            # one id for all tries of a body: the same again is an honest retry
            signing_id = uuid4().hex
            signature = hmac.digest(self._secret, signing_id.encode(), "sha1").hex()
            return {"X-Radar-Signing-Id": signing_id, "X-Radar-Signature": signature}
        key = key_for(self._api_keys, entity.source)
        return {"Authorization": f"Bearer {key}"} if key else {}

    def _understood(
        self, response: urllib3.BaseHTTPResponse, entity: Entity, is_signed: bool
    ) -> Answer:
        content = _json(response.data)
        if response.status in (_OK, _NOTHING_USABLE) and "accepted" in content:
            return Answer(int(content["accepted"]), int(content["rejected"]))
        if response.status == _UNAUTHORISED:
            remedy = (
                "They are signed with LARDER_RADAR_SECRET: set it to the secret that the collector "
                "has, or leave it out to send them with a key of LARDER_API_KEYS."
                if is_signed
                else f"Set LARDER_API_KEYS to a key of its whose scopes have {entity.source}."
            )
            raise SendingError(
                f"The collector at {self.url} does not let this sender send {entity.path}: "
                f"{content.get('error', 'it says 401')}. {remedy}"
            )
        why = content.get("error") or f"HTTP {response.status}"
        raise SendingError(
            f"The collector at {self.url} refuses {entity.path}: {why}. Is it a collector of this "
            "version (docs/collector.md)?"
        )


def _retries(times: int) -> urllib3.Retry:
    return urllib3.Retry(
        total=times,
        allowed_methods=None,  # a POST too: a record that comes twice counts once
        status_forcelist=(429, 502, 503, 504),
        backoff_factor=0.1,
        backoff_max=_LONGEST_WAIT_SECONDS,
    )


def _told_of_tls(url: str, error: urllib3.exceptions.SSLError) -> str:
    cause = error.args[0] if error.args else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            f"The certificate of {url} cannot be trusted ({cause.verify_message}). Name the file "
            "of its authority in SSL_CERT_FILE, or give the address that it was made for with --to."
        )
    reason = getattr(cause, "reason", None) or type(cause).__name__
    return (
        f"{url} does not speak TLS ({reason}). If it is a collector without a certificate, "
        "write http:// in --to."
    )


def _json(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
