"""Waits until cables carry frames: a moment after both ends are up, when the kernel's work queue came to them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator

from patchbay_runner.errors import LabError
from patchbay_runner.kernel import netlink
from patchbay_runner.kernel.netlink import NetlinkSocket
from patchbay_runner.lab.blueprint import InterfaceBlueprint

# The queue works at once or within a second, and a processor has to be free.
_PATIENCE_S = 10.0
_PAUSE_S = 0.0005

End = tuple[str, int]


def ends_of(interface: InterfaceBlueprint) -> tuple[End, End]:
    """Node and interface index of both ends of an interface's cable."""
    assert interface.cable is not None
    return (interface.port.node, interface.index), (interface.cable.owner, interface.cable.port_index)


async def carriers_up(ends: Iterable[End], namespace: Callable[[str], int]) -> None:
    """As `await_carriers`, but the loop goes on."""
    for _ in _waits(ends, namespace):
        await asyncio.sleep(_PAUSE_S)


def await_carriers(ends: Iterable[End], namespace: Callable[[str], int]) -> None:
    """Returns when frames pass all `ends`; `namespace` gives a node's. Raises LabError when they do not in time."""
    for _ in _waits(ends, namespace):
        time.sleep(_PAUSE_S)


def _waits(ends: Iterable[End], namespace: Callable[[str], int]) -> Iterator[None]:
    deadline_s = time.monotonic() + _PATIENCE_S
    for node, index in ends:
        with NetlinkSocket.inside(namespace(node), node) as sock:
            while not (link := netlink.get_link(sock, index)).carries:
                if time.monotonic() > deadline_s:
                    raise LabError(f"{link.name} is up and carries nothing", node)
                yield
