"""Listening sockets, and how browsers find them. Kept apart from the server, which takes long to import."""

from __future__ import annotations

import errno
import socket
from typing import Any

from patchbay_runner.errors import HostError

_BACKLOG = 512


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 is any that is free. Raises HostError when it cannot be had."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return _listener(addresses[0])
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        elsewhere = f"--bind {join_address(host, 0)}, for any port that is free"
        remedy = elsewhere if getattr(error, "errno", None) == errno.EADDRINUSE else ""
        raise HostError(f"cannot listen on {join_address(host, port)}: {reason}", remedy) from error


def _listener(address: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, _, place = address
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def join_address(host: str, port: int) -> str:
    """As URLs have it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(listener: socket.socket) -> bool:
    """Whether only this machine can connect."""
    host = listener.getsockname()[0]
    return str(host).startswith("127.") or host == "::1"


def url_of(listener: socket.socket) -> str:
    """Where a browser on this machine finds it."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{join_address(host, port)}/"
