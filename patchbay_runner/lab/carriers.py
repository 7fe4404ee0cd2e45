"""Waits until cables carry frames, both their ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator

from patchbay_runner.kernel.netlink import CARRIER_PAUSE_S, NetlinkSocket, carrier_pauses
from patchbay_runner.lab.blueprint import InterfaceBlueprint

End = tuple[str, int]


def ends_of(interface: InterfaceBlueprint) -> tuple[End, End]:
    """Node and interface index of both ends of an interface's cable."""
    assert interface.cable is not None
    return (interface.port.node, interface.index), (interface.cable.owner, interface.cable.port_index)


async def carriers_up(ends: Iterable[End], namespace: Callable[[str], int]) -> None:
    """As `await_carriers`, but the loop goes on."""
    for _ in _pauses(ends, namespace):
        await asyncio.sleep(CARRIER_PAUSE_S)


def await_carriers(ends: Iterable[End], namespace: Callable[[str], int]) -> None:
    """Returns when frames pass all `ends`; `namespace` gives a node's. Raises LabError when they do not in time."""
    for _ in _pauses(ends, namespace):
        time.sleep(CARRIER_PAUSE_S)


def _pauses(ends: Iterable[End], namespace: Callable[[str], int]) -> Iterator[None]:
    for node, index in ends:
        with NetlinkSocket.inside(namespace(node), node) as sock:
            yield from carrier_pauses(sock, index)
