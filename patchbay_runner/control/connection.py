"""One client's connection: its requests are begun in order, and answered when they are done."""

from __future__ import annotations

import asyncio
import os
import select
import socket
from contextlib import suppress
from typing import Any

from patchbay_runner.control import methods, wire
from patchbay_runner.control.handlers import HANDLERS, Client, WithDescriptors
from patchbay_runner.control.labs import Labs
from patchbay_runner.model.topology import Origin

# How often a client that sends nothing more is looked after, as long as it waits for replies.
_LOOK_INTERVAL_S = 0.05
_NODE_REMOVALS = {"remove_device": "device", "remove_router": "router"}


async def serve(connection: socket.socket, labs: Labs) -> None:
    """Answers a connection until it is closed, then ends its labs."""
    with connection:
        connection.setblocking(False)
        serving = _Serving(connection, Client(labs))
        try:
            async for line in wire.lines(connection):
                await serving.take(line)
            await serving.finish()
        finally:
            await serving.close()


class _Serving:
    def __init__(self, connection: socket.socket, client: Client) -> None:
        self._connection = connection
        self._client = client
        self._sending = asyncio.Lock()
        self._waiting: set[asyncio.Task[None]] = set()

    async def take(self, line: bytes | None) -> None:
        """Begins what a line asks for. What waits for a program goes on while later lines are taken."""
        if line is None:
            limit = f"a line is longer than {wire.LINE_LIMIT_BYTES >> 20} MiB"
            await self._send(wire.error_line(None, wire.bad_request(limit)))
            return
        number = wire.id_of(line)
        try:
            request = wire.read_request(line)
            method = methods.find(request.method)
            asked = method.read(request.params or {})
            if method.needs_lab:
                await self._client.lab()
        except Exception as error:  # noqa: BLE001 - it belongs to the client, whatever it is
            await self._send(wire.error_line(number, error))
            return
        answering = self._answer(number, method, asked, Origin(_place(number)))
        if not method.waits:
            await answering
            return
        task = asyncio.create_task(answering)
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)
        await asyncio.sleep(0)  # it begins before what the next line asks for

    async def finish(self) -> None:
        """Lets a client that sends no more have the replies that it waits for, unless it is gone."""
        poller = select.poll()
        poller.register(self._connection, 0)  # errors and the end of both directions are told unasked
        while self._waiting and not poller.poll(0):
            await asyncio.wait(self._waiting, timeout=_LOOK_INTERVAL_S)

    async def close(self) -> None:
        """Nobody is there any more."""
        for task in self._waiting:
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)
        await self._client.close()

    async def _answer(self, number: wire.Id, method: methods.Method, asked: Any, origin: Origin) -> None:
        fds: tuple[int, ...] = ()
        try:
            found = await self._carry_out(method, asked, origin)
            if isinstance(found, WithDescriptors):
                fds, found = found.fds, found.result
            line = wire.result_line(number, found)
        except Exception as error:  # noqa: BLE001 - it belongs to the client, whatever it is
            line = wire.error_line(number, error)
        try:
            await self._send(line, fds)
        finally:
            for fd in fds:
                os.close(fd)

    async def _carry_out(self, method: methods.Method, asked: Any, origin: Origin) -> Any:
        if method.on_network is None:
            return await HANDLERS[method.name](self._client, asked, origin)
        lab = await self._client.lab()
        found = await lab.ask(method.on_network, asked, origin)
        if method.name in _NODE_REMOVALS:
            lab.paths.forget(asked[_NODE_REMOVALS[method.name]])
        return found

    async def _send(self, line: bytes, fds: tuple[int, ...] = ()) -> None:
        async with self._sending:
            # A client may go without waiting: its next line, or that there is none, tells.
            with suppress(BrokenPipeError, ConnectionResetError):
                await wire.send(self._connection, line, fds)


def _place(number: wire.Id) -> str:
    """What messages call the place where something was asked."""
    return "request" if number is None else f"request {number}"
