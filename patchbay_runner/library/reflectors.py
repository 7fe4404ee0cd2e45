"""Servers that send back what comes, for tests of whether and how fast a path works (RFC 862)."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from patchbay_runner.library.sockets import Node, bound

_LONGEST_DATAGRAM = 65_535


class Reflector:
    """Runs in a thread of this process, with a socket of the node; `address` is where it is bound. Ends when closed.

    `Node.udp_reflector` and `Node.tcp_reflector` make them.

    Examples:
        >>> with server.udp_reflector(9000) as reflector:
        ...     reflector.address
        ('0.0.0.0', 9000)
    """

    def __init__(self, sock: socket.socket) -> None:
        self.address: tuple[str, int] = sock.getsockname()[:2]
        self._socket = sock
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._is_closed = False
        self._thread = threading.Thread(target=self._serve, name=f"reflector {self.address}", daemon=True)
        self._thread.start()

    @classmethod
    def udp(cls, node: Node, host: object, port: int) -> Self:
        """One for datagrams. Raises OSError.

        Examples:
            >>> from patchbay_runner import Reflector
            >>> Reflector.udp(server, "::", 9000).close()
        """
        return cls(bound(node, host, port, socket.SOCK_DGRAM))

    @classmethod
    def tcp(cls, node: Node, host: object, port: int) -> Self:
        """One for connections. Raises OSError.

        Examples:
            >>> from patchbay_runner import Reflector
            >>> Reflector.tcp(server, "0.0.0.0", 9000).close()
        """
        listener = bound(node, host, port, socket.SOCK_STREAM)
        listener.listen(128)
        return cls(listener)

    @property
    def port(self) -> int:
        """The port that it is bound to.

        Examples:
            >>> server.tcp_reflector(9000).port
            9000
        """
        return self.address[1]

    def close(self) -> None:
        """Ends it and its connections, and returns when its port is free.

        Examples:
            >>> reflector = server.tcp_reflector(9000)
            >>> reflector.close()
            >>> server.tcp_reflector(9000).close()
        """
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            connections = list(self._connections)
        for sock in (self._socket, *connections):
            _wake(sock)
        self._thread.join()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve(self) -> None:
        is_udp = self._socket.type == socket.SOCK_DGRAM
        while not self._is_closed:
            try:
                if is_udp:
                    data, sender = self._socket.recvfrom(_LONGEST_DATAGRAM)
                    if not self._is_closed:
                        self._socket.sendto(data, sender)
                else:
                    self._take(self._socket.accept()[0])
            except OSError:
                continue  # the sender is gone, or this is being closed, which the loop's condition sees

    def _take(self, connection: socket.socket) -> None:
        with self._lock:
            if self._is_closed:
                connection.close()
                return
            self._connections.add(connection)
        threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65_536):
                    connection.sendall(data)
            except OSError:
                pass  # the other end is gone, or this is being closed
        with self._lock:
            self._connections.discard(connection)


def _wake(sock: socket.socket) -> None:
    """Ends a call that waits for the socket, also for a datagram."""
    with suppress(OSError):  # a datagram socket without a peer is woken all the same, a connection may be gone
        sock.shutdown(socket.SHUT_RDWR)
