"""Several servers, and what runs beside them, until a signal ends all."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from patchbay_runner.server.serving import Application, Server

_KEEP_ALIVE_S = 30

Endless = Callable[[], Coroutine[Any, Any, None]]


class Hosted:
    """An application on a listening socket, with TLS when there is a `context`. Connections wait until `ready`."""

    def __init__(
        self,
        app: Application,
        listener: socket.socket,
        *,
        context: ssl.SSLContext | None = None,
        ready: asyncio.Event | None = None,
        **settings: Any,
    ) -> None:
        """`settings` are uvicorn's."""
        self.server = _Server(app, log_config=None, log_level=None, timeout_keep_alive=_KEEP_ALIVE_S, **settings)
        self.server.config.load()
        self.server.config.ssl = context
        self._listener = listener
        self._ready = ready
        self._waiting: asyncio.Task[bool] | None = None

    async def run(self) -> None:
        """Answers until `stop`."""
        if self._ready:
            self._waiting = asyncio.create_task(self._ready.wait())
            await asyncio.wait({self._waiting})
        await self.server.serve(sockets=[self._listener])

    def stop(self) -> None:
        """Ends it, within a few seconds."""
        if self._waiting:
            self._waiting.cancel()
        self.server.should_exit = True


class _Server(Server):
    """Leaves signals to whoever runs several servers."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Does nothing."""
        yield


async def host(servers: Sequence[Hosted], beside: Sequence[Endless]) -> None:
    """Runs everything until SIGINT or SIGTERM, or until a part fails. `beside` never return."""
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _end, servers, over)
    answering = [asyncio.create_task(hosted.run()) for hosted in servers]
    helping = [asyncio.create_task(work()) for work in beside]
    ending = asyncio.create_task(over.wait())
    await asyncio.wait({ending, *answering, *helping}, return_when=asyncio.FIRST_COMPLETED)
    for hosted in servers:
        hosted.stop()
    for task in (ending, *helping):
        task.cancel()
    outcomes = await asyncio.gather(*answering, *helping, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome


def _end(servers: Sequence[Hosted], over: asyncio.Event) -> None:
    """The second signal waits for no request."""
    for hosted in servers if over.is_set() else ():
        hosted.server.force_exit = True
    over.set()
