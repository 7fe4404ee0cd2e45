"""Listening sockets, and how browsers find them. Kept apart from the server, which takes long to import."""

from __future__ import annotations

import errno
import socket
from typing import Any

from patchbay_runner.errors import HostError

_BACKLOG = 512
_REMEDIES = {
    errno.EADDRINUSE: "another port; port 0 is any that is free",
    errno.EACCES: "take a port above 1023, or give the service CAP_NET_BIND_SERVICE",
}


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 is any that is free. Raises HostError when it cannot be had."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return _listener(addresses[0])
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        problem = f"cannot listen on {join_address(host, port)}: {reason}"
        raise HostError(problem, _REMEDIES.get(getattr(error, "errno", 0), "")) from error


def _listener(address: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, _, place = address
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # [::] takes IPv4 as well
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
