"""What every request and every reply goes through: whose request it is, and what a browser may do with the reply."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response

from patchbay_runner.server.refusals import Refusal

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import Message, Receive, Scope, Send

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]/@?#\s]+)(?::(\d{1,5}))?", re.ASCII)

# Whether a request to that host name is meant for us.
HostCheck = Callable[[str], bool]


def only_loopback(host: str) -> bool:
    """A name that leads nowhere else: a page of another site that was made to resolve to us has its own name."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def any_host(_host: str) -> bool:
    """Every name: whoever binds to other addresses knows by which names it is called."""
    return True


def one_of(names: Collection[str]) -> HostCheck:
    """These names, whatever their case."""
    known = {name.lower().rstrip(".") for name in names}
    return lambda host: host.lower().rstrip(".") in known


class Guards:
    """ASGI middleware around everything.

    Requests of other origins are refused, but for following a link to a page. The path goes on as it was sent, so that
    a slash in a name can be told from one between names.
    """

    def __init__(self, app: Starlette, is_our_host: HostCheck) -> None:
        self.app = app
        self._is_our_host = is_our_host

    def closing(self) -> None:
        """The server ends: streams, which would not, are to."""
        hub = getattr(self.app.state, "hub", None)
        if hub is not None:
            hub.closing.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Checks, and passes on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        protected = _protecting(send)
        try:
            self._check(Headers(scope=scope))
        except Refusal as refusal:
            await refusal_reply(refusal)(scope, receive, protected)
            return
        raw = scope.get("raw_path") or scope["path"].encode()
        await self.app({**scope, "path": raw.decode("latin-1")}, receive, protected)

    def _check(self, headers: Headers) -> None:
        host = headers.get("host", "")
        match = _HOST.fullmatch(host)
        if match is None:
            raise Refusal(400, "the Host header is missing or malformed")
        if not self._is_our_host(match[1]):
            raise Refusal(421, f"this server does not answer for {match[1][:100]!r}")
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            raise Refusal(403, "a request by another origin")
        if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            raise Refusal(403, "a request by another site")


def refusal_reply(refusal: Refusal) -> Response:
    """The error as a reply."""
    headers = {"Cache-Control": "no-store", **refusal.headers}
    return Response(refusal.body, refusal.status, headers, "application/json")


def _protecting(send: Send) -> Send:
    async def protected(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return protected
