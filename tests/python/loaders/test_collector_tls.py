"""The collector with a certificate of its own: real HTTPS, and nothing without it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPSConnection
from ipaddress import ip_address
from pathlib import Path

import pytest
from collecting import COLLECT, KEY, Answer, RunningCollector, free_port, menu_event, running
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from loaders.entities import read_entities
from loaders.sending.client import Client, SendingError

MENU = "/v1/menu/events"


def make_certificate(folder: Path, name: str = "collector") -> tuple[Path, Path]:
    """Write a certificate for 127.0.0.1 that is signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    files = folder / f"{name}.pem", folder / f"{name}.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


class SecureCollector(RunningCollector):  # type: ignore[misc]
    """A collector that is spoken to over TLS, by somebody who trusts its certificate alone."""

    context: ssl.SSLContext
    _connection: HTTPConnection | None = None

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        if self._connection is None:
            self._connection = HTTPSConnection(
                "127.0.0.1", self.port, timeout=30, context=self.context
            )
        answer: Answer = super()._ask(method, path, body, headers)
        return answer


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureCollector]:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = make_certificate(folder)
    secure = SecureCollector(
        folder / "home",
        {"LARDER_API_KEYS": f"{KEY}:*"},
        ("--certificate", str(certificate), "--private-key", str(key)),
    )
    secure.context = ssl.create_default_context(cafile=str(certificate))
    secure.start()
    try:
        yield secure
    finally:
        secure.kill(signal.SIGTERM)


def test_events_are_taken_over_https(collector: SecureCollector) -> None:
    assert collector.post(MENU, menu_event(1)) == (200, {"accepted": 1, "rejected": 0})
    assert collector.post(MENU, menu_event(2), key="another-key-entirely")[0] == 401
    lines = [menu_event(number, section="x" * 900) for number in range(500)]
    accepted = {"accepted": 500, "rejected": 0}
    assert collector.post_lines(MENU, *lines) == (200, accepted)  # many TLS records, one body
    assert isinstance(collector._connection, HTTPSConnection)
    assert collector._connection.sock.version() in ("TLSv1.2", "TLSv1.3")


def test_who_does_not_trust_the_certificate_sends_nothing(collector: SecureCollector) -> None:
    stranger = HTTPSConnection(
        "127.0.0.1", collector.port, timeout=30, context=ssl.create_default_context()
    )
    with pytest.raises(ssl.SSLCertVerificationError):
        stranger.request("POST", MENU, b"{}")
    stranger.close()
    assert collector.get("/healthz")[0] == 200


def test_a_sender_is_told_what_is_wrong_with_the_certificate(
    collector: SecureCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"https://127.0.0.1:{collector.port}"
    with pytest.raises(SendingError, match=r"certificate of .* cannot be trusted \(self.signed"):
        Client(url).require_collector()
    monkeypatch.setenv("SSL_CERT_FILE", collector.options[1])  # as the line advises
    Client(url).require_collector()
    menu = read_entities()["menu/menu_events"]
    sent = Client(url, f"{KEY}:*").send(menu, [json.dumps(menu_event(3)).encode()])
    assert (sent.accepted, sent.rejected) == (1, 0)
    with pytest.raises(SendingError, match=r"certificate of .* cannot be trusted .*localhost"):
        Client(f"https://localhost:{collector.port}").require_collector()


def test_a_sender_is_told_that_a_collector_has_no_certificate(tmp_path: Path) -> None:
    with (
        running(tmp_path) as plain,
        pytest.raises(SendingError, match=r"does not speak TLS .* write http:// in --to"),
    ):
        Client(f"https://127.0.0.1:{plain.port}").require_collector()


def test_plain_http_is_not_answered(collector: SecureCollector) -> None:
    plain = HTTPConnection("127.0.0.1", collector.port, timeout=30)
    with pytest.raises((http.client.HTTPException, OSError)):
        plain.request("GET", "/healthz")
        plain.getresponse()
    plain.close()
    with socket.create_connection(("127.0.0.1", collector.port), timeout=30) as garbage:
        garbage.sendall(b"\x16\x03\x01" + b"\xff" * 200)
        garbage.settimeout(30)
        while garbage.recv(1000):
            pass
    assert collector.get("/readyz")[0] == 200


@pytest.mark.parametrize("wrong", ["the key of another", "no key", "no certificate", "no PEM"])
def test_a_certificate_that_cannot_be_used_is_told_in_a_line(tmp_path: Path, wrong: str) -> None:
    certificate, key = make_certificate(tmp_path)
    other = make_certificate(tmp_path, "other")[1]
    text = tmp_path / "text.pem"
    text.write_text("this is no certificate", encoding="utf-8")
    options = {
        "the key of another": ["--certificate", str(certificate), "--private-key", str(other)],
        "no key": ["--certificate", str(certificate)],
        "no certificate": ["--private-key", str(key)],
        "no PEM": ["--certificate", str(text), "--private-key", str(key)],
    }[wrong]
    finished = subprocess.run(
        [sys.executable, "-c", COLLECT, "collect", "--port", str(free_port()), *options],
        env={**os.environ, "LARDER_HOME": str(tmp_path / "home"), "LARDER_API_KEYS": f"{KEY}:*"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert finished.returncode == 2
    assert "Traceback" not in finished.stderr
    assert "--certificate" in finished.stderr
    assert "--private-key" in finished.stderr
