"""Who is reading which run, so that retention takes none from under a reader's eyes."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from patchbay_runner.server.serving import Application

# A page that is open asks again within this time, or has a stream open.
_LINGERS_S = 60.0
_PATH = re.compile(r"/api/(?:runs|invocations)/([^/]+)")


class Readers:
    """Counts requests by the first component of the run that they are about. Only the event loop calls it."""

    def __init__(self) -> None:
        self._active: Counter[str] = Counter()
        self._last_s: dict[str, float] = {}

    def is_read(self, name: str) -> bool:
        """Whether a request for the run is being answered, or was within the last minute."""
        return self._active[name] > 0 or time.monotonic() - self._last_s.get(name, -_LINGERS_S) < _LINGERS_S

    def begin(self, name: str) -> None:
        """A request begins."""
        self._active[name] += 1

    def end(self, name: str) -> None:
        """A request has been answered. Runs that nobody reads any more are forgotten."""
        now = time.monotonic()
        self._active[name] -= 1
        if not self._active[name]:
            del self._active[name]
        self._last_s.pop(name, None)
        self._last_s[name] = now  # the last of the dictionary, which so goes from old to new
        while now - self._last_s[oldest := next(iter(self._last_s))] >= _LINGERS_S:
            del self._last_s[oldest]


class CountReaders:
    """The middleware that tells `readers`."""

    def __init__(self, app: Application, readers: Readers) -> None:
        self._app = app
        self._readers = readers
        self.closing = app.closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, counted."""
        name = run_of(scope) if scope["type"] == "http" else None
        if name is None:
            await self._app(scope, receive, send)
            return
        self._readers.begin(name)
        try:
            await self._app(scope, receive, send)
        finally:
            self._readers.end(name)


def run_of(scope: Scope) -> str | None:
    """The directory that a request is about: the first component of a run's name, or an invocation."""
    found = _PATH.match(scope["path"])
    if found:
        return found[1]
    run = parse_qs(scope["query_string"].decode("latin-1")).get("run")
    return run[0].partition("/")[0] if run and scope["path"] == "/api/stream" else None
