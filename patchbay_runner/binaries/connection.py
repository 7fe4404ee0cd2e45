"""The connection of a download, so that another thread can cut it: a silent server holds nobody who wants to stop."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any


class Connection:
    """Follows the connection that a request makes; each redirection may make another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._is_cut = False

    def trace(self, event: str, fields: Mapping[str, Any]) -> None:
        """Is told by httpcore, the transport of httpx, what it does (its "trace" extension)."""
        if event != "connection.connect_tcp.complete":
            return
        with self._lock:
            self._forget()
            # TLS takes the descriptor away from this socket object; a copy of it reaches the same connection.
            self._socket = fields["return_value"].get_extra_info("socket").dup()
            if self._is_cut:
                self._shut_down()

    def cut(self) -> None:
        """Whoever waits for the server finds that it has gone; so does a request that has yet to connect."""
        with self._lock:
            self._is_cut = True
            self._shut_down()

    def close(self) -> None:
        """Lets go of the connection, which is httpcore's to close."""
        with self._lock:
            self._forget()

    def _shut_down(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # the server has gone already
                self._socket.shutdown(socket.SHUT_RDWR)

    def _forget(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
