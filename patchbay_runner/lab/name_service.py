"""The resolver of a running lab: it listens where programs look, and its answers and the nodes' files follow the lab.

A LAN's listener opens when the first program starts behind it, and zones are drawn when somebody asks: a lab of a
thousand nodes pays for what it uses.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from patchbay_runner.errors import KernelError
from patchbay_runner.kernel import mounts
from patchbay_runner.kernel.dns import Dns64, DnsListener, Resolver, Zone, open_sockets
from patchbay_runner.lab import names
from patchbay_runner.lab.blueprint import Blueprint
from patchbay_runner.lab.names import HostEntries, IsDown, Server
from patchbay_runner.model.names import NameRecord, changed_names
from patchbay_runner.model.topology import Topology


class Surroundings(msgspec.Struct, frozen=True):
    """What a lab is at a time, as far as names go. `is_down(node, interface)` may change while the record stays."""

    topology: Topology
    blueprint: Blueprint
    is_down: IsDown


class _Node(msgspec.Struct):
    """A node with programs: where its files are, and what they say."""

    directory: Path
    hostname: str
    written: tuple[str, str] = ("", "")


class NameService:
    """Serves the nodes that ask for it. `namespaces` are the lab's, by node; `emit` receives events.

    Answers need a running loop, the one on which `serve` is called first for a LAN. Without one, as in a synchronous
    test, the files are written and nobody listens.
    """

    def __init__(self, namespaces: Callable[[], Mapping[str, int]], emit: Callable[..., None]) -> None:
        self._namespaces = namespaces
        self._emit = emit
        self._resolver = Resolver(Zone(()))
        self._nodes: dict[str, _Node] = {}
        # None where a program of the owner's has the port.
        self._listeners: dict[Server, DnsListener | None] = {}

    def serve(self, node: str, directory: Path, hostname: str, around: Surroundings) -> None:
        """Writes a node's `hosts` and `resolv.conf`, from now on also after every change. Raises KernelError."""
        if not self._nodes:
            self._answer_from(around)
        self._nodes[node] = _Node(directory, hostname)
        self._refresh(node, _View(around))

    def follow(self, around: Surroundings) -> None:
        """Takes a change of the lab in. Raises KernelError."""
        if not self._nodes:
            return
        self._answer_from(around)
        view = _View(around)
        for server, listener in self._listeners.items():
            if listener is not None:
                listener.dns64 = view.dns64(server)
        for node in self._nodes:
            self._refresh(node, view)

    def forget(self, node: str) -> None:
        """The node is gone, and what listened there."""
        self._nodes.pop(node, None)
        for server in [server for server in self._listeners if server.owner == node]:
            listener = self._listeners.pop(server)
            if listener is not None:
                listener.stop()

    def _answer_from(self, around: Surroundings) -> None:
        self._resolver.change_later(lambda: names.draw_zones(around.blueprint, around.topology))

    def close(self) -> None:
        """Stops answering."""
        for listener in self._listeners.values():
            if listener is not None:
                listener.stop()
        self._listeners.clear()

    def _refresh(self, name: str, view: _View) -> None:
        node = self._nodes[name]
        servers = names.servers_of(view.around.blueprint, name, view.around.is_down)
        for server in servers:
            self._listen(server, view)
        # Where addresses are synthesised, those of IPv4 in a file would forestall it.
        is_synthesised = any(map(view.dns64, servers))
        entries = HostEntries() if is_synthesised else view.entries(name)
        hosts = names.hosts(view.around.blueprint.nodes[name], node.hostname, entries)
        text = hosts, names.resolv_conf(servers)
        if text != node.written:
            mounts.write_node_files(node.directory, *text)
            node.written = text

    def _listen(self, server: Server, view: _View) -> None:
        if server in self._listeners or not _is_on_loop():
            return
        try:
            sockets = open_sockets(self._namespaces()[server.owner], server.address, server.owner)
        except KernelError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            # A program of the sim is this LAN's name server, as it may well be.
            self._listeners[server] = None
            self._emit("name_server_replaced", router=server.owner, address=str(server.address))
            return
        listener = DnsListener(sockets, self._resolver, view.dns64(server), self._emit)
        listener.start()
        self._listeners[server] = listener


class _View:
    """What the nodes' files are drawn from, with what many of them share drawn once."""

    def __init__(self, around: Surroundings) -> None:
        self.around = around
        self._behind_nat64 = names.owners_behind_nat64(around.topology)
        self._own = {device.name: device.names for device in around.topology.devices if device.names}
        self._entries: dict[tuple[NameRecord, ...], HostEntries] = {}

    def dns64(self, server: Server) -> Dns64 | None:
        """How a server synthesises addresses, if it does."""
        return Dns64() if server.owner in self._behind_nat64 else None

    def entries(self, node: str) -> HostEntries:
        """Everybody's names, and those of the node itself in their place."""
        own = self._own.get(node, ())
        if own not in self._entries:
            self._entries[own] = names.host_entries(changed_names(self.around.topology.names, own))
        return self._entries[own]


def _is_on_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
