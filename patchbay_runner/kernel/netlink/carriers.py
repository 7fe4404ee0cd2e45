"""Waits until a link carries frames: a moment after both its ends are up, when the kernel's work queue came to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

from patchbay_runner.errors import LabError
from patchbay_runner.kernel.netlink.dumps import Link, dump_links, get_link
from patchbay_runner.kernel.netlink.socket import NetlinkSocket

CARRIER_PAUSE_S = 0.0005
# The queue works at once or within a second, and a processor has to be free.
_PATIENCE_S = 10.0


def await_carrier(sock: NetlinkSocket, *indices: int) -> None:
    """Returns when frames pass the links of `indices`. Raises LabError when they do not in time."""
    for _ in carrier_pauses(sock, *indices):
        time.sleep(CARRIER_PAUSE_S)


def await_turn(sock: NetlinkSocket, index: int) -> None:
    """Returns when frames pass the link and every link that was up before it: the kernel's queue keeps its order.

    Reads all links of the namespace: asked for one, the kernel settles that one ahead of the others (Linux 6.8).
    """
    for _ in _pauses(sock, lambda: next(link for link in dump_links(sock) if link.ifindex == index)):
        time.sleep(CARRIER_PAUSE_S)


def carrier_pauses(sock: NetlinkSocket, *indices: int) -> Iterator[None]:
    """As `await_carrier`, for who has other things to do meanwhile: yields whenever CARRIER_PAUSE_S should pass."""
    for index in indices:
        yield from _pauses(sock, partial(get_link, sock, index))


def _pauses(sock: NetlinkSocket, look: Callable[[], Link]) -> Iterator[None]:
    deadline_s = time.monotonic() + _PATIENCE_S
    while not (link := look()).carries:
        if time.monotonic() > deadline_s:
            raise LabError(f"{link.name} is up and carries nothing", sock.node)
        yield
