"""A lab's packet capture: what is captured of which node, and what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from patchbay_runner.kernel.capture import Capturer, Keeper, NodeTap
from patchbay_runner.lab.blueprint import PORT_INDICES, NodeBlueprint


class Capturing:
    """Captures nothing without a keeper. `emit` learns in the end what was captured. For one thread."""

    def __init__(self, keeper: Keeper | None, emit: Callable[..., None]) -> None:
        self._keeper = keeper
        self._emit = emit
        self._capturer: Capturer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, nodes: Iterable[NodeBlueprint], namespaces: Mapping[str, int]) -> None:
        """Captures from now on, inside the running loop, where the end of the process by itself is raised.

        Raises KernelError.
        """
        if self._keeper is None:
            return
        self._capturer = Capturer.start([_tap(node, namespaces) for node in nodes], self._keeper)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._capturer.fileno(), self._ended)

    def follow(self, nodes: Iterable[NodeBlueprint], namespaces: Mapping[str, int]) -> None:
        """Captures nodes that have come. Raises KernelError, CapturerDied, HostError."""
        if self._capturer is not None:
            for node in nodes:
                self._capturer.watch(_tap(node, namespaces))

    def leave(self, node: str) -> None:
        """Before a node goes: its last packets are written, and its namespace is let go of."""
        if self._capturer is not None:
            self._capturer.leave(node)

    def settle(self) -> None:
        """Before an interface goes: its last packets are written while its name is known."""
        if self._capturer is not None:
            self._capturer.settle()

    def finish(self) -> None:
        """Ends it and tells what was captured. Raises CapturerDied, or HostError when the files could not be kept."""
        if (capturer := self._forget()) is None:
            return
        try:
            report = capturer.finish()
        finally:
            capturer.close()
        for counts in report.interfaces:
            self._emit("packets_captured", **_fields(counts))
        for node, dropped in report.dropped.items():
            self._emit("packets_missed", node=node, packets=dropped)

    def close(self) -> None:
        """Ends it at once; the last moments are lost."""
        if (capturer := self._forget()) is not None:
            capturer.close()

    def _forget(self) -> Capturer | None:
        capturer, self._capturer = self._capturer, None
        if capturer is not None and self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(capturer.fileno())
        return capturer

    def _ended(self) -> None:
        capturer = self._forget()
        assert capturer is not None
        try:
            capturer.check()
        finally:
            capturer.close()


def _tap(node: NodeBlueprint, namespaces: Mapping[str, int]) -> NodeTap:
    ports = PORT_INDICES if node.bridges else range(0)
    return NodeTap(
        node.name, namespaces[node.name], ports, tuple(interface.port.interface for interface in node.interfaces)
    )


def _fields(counts: msgspec.Struct) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(counts)
    return found
