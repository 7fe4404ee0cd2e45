"""Sockets inside a lab with which tests look at a NAT from both sides."""

from __future__ import annotations

import select
import socket
import time
from types import TracebackType
from typing import Literal, Self

from tests.netns.support.nat_world import NatWorld

Endpoint = tuple[str, int]
Outcome = Literal["open", "refused", "silent"]

# Long enough for a packet on a busy machine; nothing waits this long when all is well.
ARRIVAL_S = 3.0

# How long something that must not arrive is waited for. What arrives takes well below a millisecond.
SILENCE_S = 0.08


class Udp:
    """A UDP socket of a device, bound to a port of its own."""

    def __init__(self, world: NatWorld, device: str, port: int | None = None) -> None:
        self.address: Endpoint = (world.address(device), world.port() if port is None else port)
        self.socket = world.lab.socket(device, "inet", "dgram")
        self.socket.bind(self.address)
        self.socket.settimeout(ARRIVAL_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.socket.close()

    def send(self, to: Endpoint, data: bytes = b"probe") -> None:
        self.socket.sendto(data, to)

    def receive(self) -> tuple[bytes, Endpoint]:
        """The next datagram and where it comes from. Raises TimeoutError."""
        data, source = self.socket.recvfrom(65536)
        return data, source

    def drain(self, wait_s: float = SILENCE_S) -> list[tuple[bytes, Endpoint]]:
        """Everything that has arrived, until nothing does for `wait_s`."""
        found = []
        while select.select([self.socket], [], [], wait_s)[0]:
            found.append(self.receive())
        return found


def seen_by(server: Udp, client: Udp) -> Endpoint:
    """The client's outer endpoint, as `server` sees it (what STUN calls the reflexive address)."""
    token = f"{client.address} {time.monotonic_ns()}".encode()
    client.send(server.address, token)
    data, source = server.receive()
    assert data == token
    return source


class Tcp:
    """TCP sockets of one device that share one local port, as hole punching needs them."""

    def __init__(self, world: NatWorld, device: str, port: int | None = None) -> None:
        self._world = world
        self._device = device
        self.address: Endpoint = (world.address(device), world.port() if port is None else port)
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for sock in self._sockets:
            sock.close()

    def _socket(self) -> socket.socket:
        sock = self._world.lab.socket(self._device, "inet", "stream")
        self._sockets.append(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(self.address)
        return sock

    def listen(self) -> socket.socket:
        sock = self._socket()
        sock.listen()
        sock.settimeout(ARRIVAL_S)
        return sock

    def connect(self, to: Endpoint) -> socket.socket:
        """An open connection. Raises OSError."""
        sock = self._socket()
        sock.settimeout(ARRIVAL_S)
        sock.connect(to)
        return sock

    def start(self, to: Endpoint) -> socket.socket:
        """A connection that is under way; see `outcome`."""
        sock = self._socket()
        sock.setblocking(False)
        sock.connect_ex(to)
        return sock


def outcome(connecting: socket.socket, wait_s: float = SILENCE_S) -> Outcome:
    """What has become of a connection that is under way."""
    if not select.select([], [connecting], [], wait_s)[1]:
        return "silent"
    return "refused" if connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) else "open"


def accepted_from(listener: socket.socket, client: Tcp, server: Endpoint) -> tuple[Endpoint, socket.socket]:
    """Connects, and says where the server sees the connection come from; its end of it is the caller's to close."""
    client.connect(server)
    end, source = listener.accept()
    return source, end
