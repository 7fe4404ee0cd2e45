"""The body of a request, piece by piece, with a limit on how long the next one may take."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

from patchbay_runner.server.pushed.refusal import Refusal

if TYPE_CHECKING:
    from starlette.types import Receive

_SILENCE_S = 60.0
# Handing a piece to a thread takes 0.1 ms: larger pieces need fewer of them.
_PIECE_BYTES = 1 << 19
_DRAINED_BYTES = 16_000_000
_DRAINED_S = 2.0


class Disconnected(Exception):
    """The client has gone."""


class Body:
    """Reads the pieces of a request, in order."""

    def __init__(self, receive: Receive, silence_s: float = _SILENCE_S) -> None:
        self._receive = receive
        self._silence_s = silence_s
        self._is_over = False

    async def next_piece(self) -> bytes:
        """The next piece; b"" at the end. Raises Disconnected, and Refusal when nothing comes for too long."""
        piece = bytearray()
        while not self._is_over and len(piece) < _PIECE_BYTES:
            try:
                async with asyncio.timeout(self._silence_s):
                    piece += await self._next_message()
            except TimeoutError as error:
                message = f"nothing came for {self._silence_s:.0f} seconds"
                raise Refusal(HTTPStatus.REQUEST_TIMEOUT, message) from error
        return bytes(piece)

    async def drain(self) -> None:
        """Takes in what is under way, so that a client that only listens afterwards hears the answer.

        Closing a connection with bytes unread resets it, and the answer may be lost by that (RFC 9112, section 9.6).
        """
        drained = 0
        try:
            async with asyncio.timeout(_DRAINED_S):
                while not self._is_over and drained < _DRAINED_BYTES:
                    drained += len(await self._next_message())
        except (TimeoutError, Disconnected):
            return

    async def _next_message(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._is_over = True
            raise Disconnected
        self._is_over = not message.get("more_body", False)
        return bytes(message.get("body", b""))
