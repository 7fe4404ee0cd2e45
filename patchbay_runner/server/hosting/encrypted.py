"""HTTPS with a certificate by ACME, and plain HTTP in front of it."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit

from patchbay_runner.results.files import make_directories
from patchbay_runner.server.hosting.acme import AcmeFailed, Issuer, Request
from patchbay_runner.server.hosting.certificate import Keeper
from patchbay_runner.server.hosting.front import Front
from patchbay_runner.server.hosting.serving import Hosted
from patchbay_runner.server.serving import Application


class Encrypted:
    """Two listeners: `http` answers challenges and leads to `https`, where `app` is once there is a certificate."""

    def __init__(
        self,
        app: Application,
        *,
        http: socket.socket,
        https: socket.socket,
        request: Request,
        directory: Path,
    ) -> None:
        """Account and certificates are kept below `directory`, apart for each certificate authority."""
        place = directory / (urlsplit(request.directory_url).hostname or "unknown")
        make_directories(place)
        place.chmod(0o700)
        issuer = Issuer(request, place)
        self._keeper = Keeper(place / f"{request.domain}.pem", issuer.issue, AcmeFailed)
        front = Front(request.domain, https.getsockname()[1], issuer.answers)
        self.servers = (
            Hosted(front, http, lifespan="off"),
            Hosted(app, https, context=self._keeper.context, ready=self._keeper.ready),
        )

    async def keep(self) -> None:
        """Sees to the certificate; never returns."""
        await self._keeper.keep()
