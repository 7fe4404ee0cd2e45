"""The certificate of the server: kept on disk, renewed in time, taken up by connections from then on."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from patchbay_runner.results.files import make_directories, write_atomically

# Certificates of Let's Encrypt hold for 90 days (or 6) and are renewed when a third of that is left, as it advises.
_RENEWED_AFTER = 2 / 3
_LOOKS_EVERY_S = 3600.0
# Let's Encrypt takes five failures an hour (https://letsencrypt.org/docs/rate-limits/).
_FIRST_PAUSE_S = 60.0
_LONGEST_PAUSE_S = 6 * 3600.0
_SECRET = 0o600

_log = logging.getLogger("patchbay.tls")


class Keeper:
    """Keeps a certificate in `path`, private key included, and in `context`."""

    def __init__(self, path: Path, issue: Callable[[], bytes], failure: type[Exception]) -> None:
        """`issue` makes a new one, blocking, as PEM text with the key in front; it raises `failure` when it cannot."""
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.ready = asyncio.Event()
        self._path = path
        self._issue = issue
        self._failure = failure

    async def keep(self) -> None:
        """Never returns. `ready` is set once there is a certificate."""
        self._take_up()
        pause_s = _FIRST_PAUSE_S
        while True:
            if not self._is_due():
                await asyncio.sleep(_LOOKS_EVERY_S)
                continue
            try:
                content = await asyncio.to_thread(self._issue)
            except self._failure as error:
                _log.error("no certificate: %s; trying again in %.0f minutes", error, pause_s / 60)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 4, _LONGEST_PAUSE_S)
                continue
            pause_s = _FIRST_PAUSE_S
            save(self._path, content)
            self._take_up()

    def _take_up(self) -> None:
        """Connections that are open keep the certificate that they began with."""
        if not self._path.exists():
            return
        try:
            self.context.load_cert_chain(self._path)
        except ssl.SSLError as error:
            _log.error("%s is no certificate: %s", self._path, error)
            self._path.unlink()
            return
        _log.info("certificate until %s", _certificate(self._path).not_valid_after_utc.isoformat())
        self.ready.set()

    def _is_due(self) -> bool:
        return not self._path.exists() or datetime.now(UTC) >= renewal_time(_certificate(self._path))


def renewal_time(certificate: x509.Certificate) -> datetime:
    """When a certificate is to be replaced."""
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return begins + timedelta(seconds=(ends - begins).total_seconds() * _RENEWED_AFTER)


def save(path: Path, content: bytes) -> None:
    """Key and chain in one file, so that a crash cannot part them; nobody else can read it."""
    make_directories(path.parent)
    write_atomically(path, content, mode=_SECRET)


def _certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(path.read_bytes())[0]
