"""A lab: the network that runs, inside a sandbox. Single-threaded; every method returns when the kernel has done it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import msgspec

from patchbay_runner.errors import LabError
from patchbay_runner.kernel import mounts, netlink
from patchbay_runner.kernel.namespaces import entered, new_uts_namespace
from patchbay_runner.kernel.netlink import NetlinkSocket
from patchbay_runner.kernel.process import Home, NodeView, start
from patchbay_runner.lab import requests
from patchbay_runner.lab.blueprint import InterfaceBlueprint, default_routes, draw_blueprint
from patchbay_runner.lab.build import NetworkBuilder
from patchbay_runner.lab.state import address_variables, device_state, ix_state, router_state
from patchbay_runner.model.topology import Device, Topology

_HOSTS = mounts.DEFAULT_HOSTS
# The kernel takes 64 bytes; most programs that read a hostname expect a DNS label.
_HOSTNAME_LIMIT = 63
# Below the node's own directory, which lives in memory and goes with the sandbox.
_TEMPORARY = "tmp"


def _ignore_event(kind: str, /, **fields: Any) -> None:
    """Where events go when nobody listens."""


class LabOptions(msgspec.Struct, frozen=True):
    """How a lab meets its surroundings.

    `emit` receives its events, as `Recorder.emit` does. Programs of a node find `node_root`/<node> in
    PATCHBAY_NODE_DIR and get `open_files` (soft, hard) as RLIMIT_NOFILE; None is the agent's own.
    """

    emit: Callable[..., None] = _ignore_event
    node_root: Path | None = None
    open_files: tuple[int, int] | None = None


class Lab:
    """A built network."""

    def __init__(self, topology: Topology, options: LabOptions = LabOptions()) -> None:  # noqa: B008 - frozen
        self._topology = topology
        self._options = options
        self._emit = options.emit
        self._blueprint = draw_blueprint(topology)
        self._devices = {device.name: device for device in topology.devices}
        self._default_via = {device.name: device.default_interface for device in topology.devices}
        self._down: set[tuple[str, str]] = set()
        self._namespaces: dict[str, int] = {}
        self._views: dict[str, NodeView] = {}
        self._home = Home.here()
        self._variables: dict[str, str] | None = None

    @classmethod
    def build(cls, topology: Topology, options: LabOptions = LabOptions()) -> Lab:  # noqa: B008 - frozen
        """Builds the network in the current sandbox. Raises LabError or KernelError; nothing survives the sandbox."""
        lab = cls(topology, options)
        builder = NetworkBuilder(lab._blueprint)
        try:
            builder.build()
        finally:
            lab._namespaces = builder.namespaces
        lab._announce()
        return lab

    def close(self) -> None:
        """Gives up the namespaces; the kernel removes what is in them when their last process has ended."""
        for fd in self._namespaces.values():
            os.close(fd)
        self._namespaces.clear()
        self._home.close()

    @property
    def nodes(self) -> list[str]:
        """ "ix", then routers, then devices."""
        return list(self._blueprint.nodes)

    def state(self) -> dict[str, Any]:
        """Nodes with their addresses and what has changed since they were built."""
        plan = self._blueprint.plan
        return {
            "ix": ix_state(plan),
            "routers": {router.name: router_state(router, plan) for router in self._topology.routers},
            "devices": {device.name: self._device_state(device) for device in self._topology.devices},
        }

    def variables(self) -> Mapping[str, str]:
        """The `NETSIM_…` variables, names in capitals, as they stand now."""
        if self._variables is None:
            self._variables = address_variables(self._topology, self._blueprint.plan, self._default_via)
        return self._variables

    def addresses(self, node: str) -> list[IPv4Address | IPv6Address]:
        """The node's IPv4 and IPv6 addresses, those of a device's default interface first, link-local ones left out."""
        blueprint = self._blueprint.nodes[self._known(node)]
        default = self._default_via.get(node, blueprint.default_interface)
        interfaces = sorted(blueprint.interfaces, key=lambda interface: interface.port.interface != default)
        found = ((interface.port.v4, interface.port.v6) for interface in interfaces)
        return [address.ip for pair in found for address in pair if address is not None]

    def start(
        self,
        node: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        cwd: str,
        stdin: int | None = None,
        stdout: int,
        stderr: int,
    ) -> int:
        """Starts a program in a node, in a process group of its own, and returns its pid.

        Standard input is /dev/null unless given; TMPDIR and PATCHBAY_NODE_DIR are the node's unless `env` has them.
        Raises CommandNotFound and StepError.
        """
        view = self._view(node)
        with ExitStack() as stack:
            if stdin is None:
                stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
                stack.callback(os.close, stdin)
            return start(
                view,
                argv,
                {**self._node_environment(node), **env},
                cwd=cwd,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                nofile=self._options.open_files,
                home=self._home,
            )

    def socket(self, node: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket that lives in the node's network, usable from anywhere."""
        with entered(self._namespaces[self._known(node)]):
            try:
                return socket.socket(family, kind, protocol)
            except OSError as error:
                raise LabError(f"cannot make a socket: {error}", node) from error

    def link_down(self, device: str, interface: str) -> None:
        """Takes an interface down: nothing is sent or received, and its routes are gone."""
        blueprint = self._interface(device, interface)
        self._change(device, [netlink.set_up(blueprint.index, up=False)])
        self._down.add((device, interface))
        self._emit("link_down", device=device, iface=interface)

    def link_up(self, device: str, interface: str) -> None:
        """Brings an interface up with the addresses, neighbours and routes that the kernel forgot meanwhile."""
        blueprint = self._interface(device, interface)
        routes = self._default_routes(blueprint) if self._default_via[device] == interface else ()
        self._change(device, list(requests.member_requests(msgspec.structs.replace(blueprint, routes=routes))))
        self._down.discard((device, interface))
        self._emit("link_up", device=device, iface=interface)

    def set_default_route(self, device: str, interface: str) -> None:
        """Moves the default routes of both families. Towards an interface that is down they appear when it is up."""
        blueprint = self._interface(device, interface)
        old = self._interface(device, self._default_via[device])
        gone = [route for route in self._default_routes(old) if (device, old.port.interface) not in self._down]
        new = self._default_routes(blueprint) if (device, interface) not in self._down else ()
        replaced = {type(route.destination) for route in new}
        batch = [netlink.replace_route(requests.netlink_route(route, blueprint.index)) for route in new]
        batch += [
            netlink.delete_route(requests.netlink_route(route, old.index))
            for route in gone
            if old is not blueprint and type(route.destination) not in replaced
        ]
        self._change(device, batch)
        self._default_via[device] = interface
        self._variables = None
        self._emit("default_route_changed", device=device, iface=interface)

    def _announce(self) -> None:
        state = self.state()
        self._emit("lab_created")
        self._emit("ix_created", **state["ix"])
        for name, fields in state["routers"].items():
            self._emit("router_added", name=name, **fields)
        for name, fields in state["devices"].items():
            self._emit("device_added", name=name, **fields)

    def _device_state(self, device: Device) -> dict[str, Any]:
        down = frozenset(interface for name, interface in self._down if name == device.name)
        return device_state(device, self._blueprint.plan, self._default_via[device.name], down)

    def _known(self, node: str) -> str:
        if node not in self._blueprint.nodes:
            raise LabError("there is no such node", node)
        return node

    def _interface(self, device: str, interface: str) -> InterfaceBlueprint:
        if device not in self._devices:
            raise LabError("there is no such device", device)
        for blueprint in self._blueprint.nodes[device].interfaces:
            if blueprint.port.interface == interface:
                return blueprint
        raise LabError(f"it has no interface {interface!r}", device)

    def _default_routes(self, interface: InterfaceBlueprint) -> tuple[Any, ...]:
        port = interface.port
        routes = default_routes(self._blueprint.plan.lans[port.lan].gateway)
        return tuple(
            route
            for route in routes
            if (port.v6 if isinstance(route.destination, IPv6Network) else port.v4) is not None
        )

    def _change(self, node: str, batch: list[bytes]) -> None:
        with entered(self._namespaces[node]):
            sock = NetlinkSocket(node)
        with sock:
            sock.batch(batch)

    def _node_environment(self, node: str) -> dict[str, str]:
        own = {"TMPDIR": str(mounts.DEVICE_DIRECTORY / _TEMPORARY)}
        if self._options.node_root is not None:
            own["PATCHBAY_NODE_DIR"] = str(self._options.node_root / node)
        return own

    def _view(self, node: str) -> NodeView:
        """What the node's programs see; its mounts and hostname are made when the first one starts."""
        view = self._views.get(self._known(node))
        if view is None:
            directory = mounts.NODES_DIRECTORY / node
            hostname = node[:_HOSTNAME_LIMIT]
            mounts.write_node_files(directory, f"{_HOSTS}127.0.1.1\t{hostname}\n")
            (directory / _TEMPORARY).mkdir(exist_ok=True)
            # As /tmp: servers that drop root's privileges write there too.
            (directory / _TEMPORARY).chmod(0o1777)
            mntns = mounts.new_node_mounts(self._namespaces[node], Path(directory))
            view = NodeView(self._namespaces[node], mntns, new_uts_namespace(hostname))
            self._views[node] = view
        return view
