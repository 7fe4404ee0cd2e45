"""An application on sockets, until somebody says stop."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import uvicorn
from sse_starlette.sse import AppStatus

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

# Requests that are still being answered at the end have so long.
_GRACE_S = 3
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Application(Protocol):
    """What is served."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""

    def closing(self) -> None:
        """The server ends: streams, which would not, are to."""


class Server(uvicorn.Server):
    """Uvicorn, which ends the streams of its application before it waits for the last replies.

    It ends by SIGINT, SIGTERM or SIGHUP, or when the other end of the pipe `until` is closed. `settings` are uvicorn's.
    """

    def __init__(self, app: Application, *, until: int | None = None, **settings: Any) -> None:
        AppStatus.enable_automatic_graceful_drain = False  # it would look every half a second whether we end
        self._app = app
        self._until = until
        defaults = {
            "http": "h11",
            "ws": "none",
            "lifespan": "on",
            "log_level": "error",
            "access_log": False,
            "server_header": False,
            "timeout_graceful_shutdown": _GRACE_S,
        }
        super().__init__(uvicorn.Config(app, **{**defaults, **settings}))

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Uvicorn's own would die of the signal after all is done: for us that is an ordinary end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {signum: signal.signal(signum, self.handle_exit) for signum in _SIGNALS if _is_heeded(signum)}
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to answer."""
        await super().startup(sockets)
        if self._until is not None:
            asyncio.get_running_loop().add_reader(self._until, self._end)

    def _end(self) -> None:
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends everything."""
        self._app.closing()
        await super().shutdown(sockets)


def _is_heeded(signum: signal.Signals) -> bool:
    """Under nohup SIGHUP is ignored, and is meant to be."""
    return signum != signal.SIGHUP or signal.getsignal(signum) != signal.SIG_IGN
