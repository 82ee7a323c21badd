"""Run the collector: one process, one event loop, until it is told to end."""

from __future__ import annotations

import gc
import logging
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from larder.errors import SettingsError
from larder.settings import Settings
from larder.stopping import stopping_on_signals
from loaders.collector.app import Collector
from loaders.collector.connection import Connection
from loaders.collector.disk import Disk
from loaders.collector.lander import Lander
from loaders.collector.logs import collector_log
from loaders.collector.measures import Measures
from loaders.collector.pages import Pages, is_loopback, read_origins
from loaders.collector.reception import Reception
from loaders.collector.segments import find_segments, oldest_begun
from loaders.collector.senders import Senders
from loaders.collector.signatures import SigningIds
from loaders.collector.spool import RESERVE_BYTES, Spool

DRAIN_SECONDS = 20


@dataclass(frozen=True)
class Listening:
    """Say where to listen, with TLS if there is a certificate, and how much one sender may send."""

    host: str = "127.0.0.1"
    port: int = 8470
    certificate: Path | None = None
    private_key: Path | None = None
    # events a second; 0: any
    rate: float = 0.0
    # whether there is a menu to try
    is_demonstration: bool = False


def collect(settings: Settings, listening: Listening, say: Callable[[str], None]) -> None:
    """Take events until SIGTERM or SIGINT; then finish what is there, and return.

    Raises:
        SettingsError: it would be open to everybody, or cannot listen there.
    """
    _require_usable_certificate(listening)
    secret = settings.radar_secret.get_secret_value().encode() if settings.radar_secret else None
    keys = settings.api_keys.get_secret_value() if settings.api_keys else ""
    senders = Senders(keys, listening.rate)
    is_open = not senders.are_known and secret is None
    if is_open:
        _require_loopback(listening.host)
        say(
            "Neither LARDER_API_KEYS nor LARDER_RADAR_SECRET is set: only this machine is "
            "listened to, and whoever is on it may send everything."
        )
    log = collector_log(settings.logs_folder)
    measures = Measures()
    origins = read_origins(settings.menu_origins)
    pages = Pages(origins, listening.is_demonstration, are_local=is_open)
    collector = Collector(
        Reception(senders, secret, pages), measures, lambda: opened_spool(settings, measures, log)
    )
    server = uvicorn.Server(
        uvicorn.Config(
            collector,
            ssl_certfile=listening.certificate,
            ssl_keyfile=listening.private_key,
            loop="uvloop",
            http=Connection,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
    )
    with _bound(listening) as bound:
        host, port = bound.getsockname()[:2]
        log.info("listening", extra={"host": host, "port": port})
        if listening.is_demonstration:
            scheme = "https" if listening.certificate else "http"
            say(f"A menu to try: {scheme}://{host}:{port}/menu")
        # the server hands its signals on when it has ended, and exits where it could not start
        gc.freeze()  # what was imported stays: nobody should wait while it is looked through again
        with stopping_on_signals(), suppress(SystemExit):
            server.run(sockets=[bound])
        log.info("ended")
    if not server.started:
        raise SettingsError(
            f"The spool in {settings.spool_folder} cannot be opened; the line above says why."
        )


def _bound(listening: Listening) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
        return socket.create_server((listening.host, listening.port), family=family)
    except OSError as error:
        # Python adds the address to what the machine says; a name that is unknown has no such words
        number = error.errno or 0
        why = os.strerror(number) if number > 0 else error.strerror
        raise SettingsError(
            f"The collector cannot listen on {listening.host}:{listening.port} ({why}). "
            "If another one is there, choose another --port."
        ) from None


@contextmanager
def opened_spool(
    settings: Settings, measures: Measures, log: logging.Logger, disk: Disk | None = None
) -> Iterator[Spool]:
    """Give the spool, and see that what is in it lands."""
    folder, disk = settings.spool_folder, disk or Disk()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if settings.landing_bucket is None:  # so that a load may follow it before anything came
        settings.landing_folder.mkdir(parents=True, exist_ok=True)
    hold = settings.collector_hold_seconds
    with (
        closing(SigningIds(folder / "signing_ids.sqlite")) as signing_ids,
        closing(Lander(settings, folder, measures, log)) as lander,
        closing(Spool(folder, signing_ids, lander, hold, measures, disk, log)) as spool,
    ):
        for name, read in {
            "queued_bytes": lambda: spool.queued_bytes,
            "disk_free_bytes": lambda: disk.free_bytes(folder),
            "disk_reserve_bytes": lambda: RESERVE_BYTES,
            "spool_segments": lambda: sum(1 for _ in find_segments(folder)),
            "oldest_segment_timestamp_seconds": lambda: oldest_begun(folder),
        }.items():
            measures.gauge(f"larder_collector_{name}", read)
        yield spool


def _require_usable_certificate(listening: Listening) -> None:
    certificate, key = listening.certificate, listening.private_key
    if certificate is None and key is None:
        return
    why = "there is a key and no certificate"
    try:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            # a password would be asked for on a terminal that nobody sits at
            context.load_cert_chain(certificate, key, password=lambda: "")
            return
    except OSError as error:  # OpenSSL's errors are such, too
        why = error.strerror or str(error)
    raise SettingsError(
        f"--certificate {certificate or '(none)'} with --private-key {key or '(none)'} cannot be "
        f"used ({why}). Name the chain and the key that belongs to it, both as PEM, the key "
        "without a password."
    )


def _require_loopback(host: str) -> None:
    if not is_loopback(host):
        raise SettingsError(
            f"Without LARDER_API_KEYS or LARDER_RADAR_SECRET everybody who reaches {host} could "
            "send events. Set one of them, or listen on 127.0.0.1."
        )
