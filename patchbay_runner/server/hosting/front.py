"""What answers on the plain HTTP port of a server with TLS: ACME's challenges, and the way to HTTPS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse, Response

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

_CHALLENGES = "/.well-known/acme-challenge/"


class Front:
    """Knows the answers to challenges by their tokens."""

    def __init__(self, domain: str, https_port: int, answers: Mapping[str, str]) -> None:
        self._domain = domain
        self._https_port = https_port
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        assert scope["type"] == "http"
        await self._response(scope)(scope, receive, send)

    def closing(self) -> None:
        """Nothing here goes on."""

    def _response(self, scope: Scope) -> Response:
        if scope["path"].startswith(_CHALLENGES):
            answer = self._answers.get(scope["path"].removeprefix(_CHALLENGES))
            return PlainTextResponse(answer) if answer else PlainTextResponse("no such challenge", 404)
        query = f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
        path = scope["raw_path"].decode("latin-1")
        return RedirectResponse(f"https://{self._domain}{self._port(scope)}{path}{query}", 308)

    def _port(self, scope: Scope) -> str:
        """Whoever names no port has come to port 80, which is forwarded here as 443 will be to the HTTPS listener."""
        named = Headers(scope=scope).get("host", "").rpartition("]")[2].partition(":")[2]
        return f":{self._https_port}" if named not in ("", "80") and self._https_port != 443 else ""
