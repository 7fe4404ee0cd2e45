"""A lab: the network that runs, inside a sandbox. Single-threaded; every method returns when the kernel has done it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any, Literal

import msgspec

from patchbay_runner.errors import KernelError, LabError
from patchbay_runner.kernel import mounts
from patchbay_runner.kernel.capture import Keeper
from patchbay_runner.kernel.files import FileVersion, file_version
from patchbay_runner.kernel.listening import listeners
from patchbay_runner.kernel.namespaces import entered, namespace_id, new_uts_namespace
from patchbay_runner.kernel.nftables import list_ruleset
from patchbay_runner.kernel.nodeprocesses import list_processes
from patchbay_runner.kernel.process import Home, NodeView, entered_view, start
from patchbay_runner.lab import replan
from patchbay_runner.lab.device_changes import DeviceChanges
from patchbay_runner.lab.name_service import NameService, Surroundings
from patchbay_runner.lab.names import check_names
from patchbay_runner.lab.node_changes import NodeChanges
from patchbay_runner.lab.region_changes import RegionChanges
from patchbay_runner.lab.replan import Network
from patchbay_runner.lab.router_changes import RouterChanges
from patchbay_runner.lab.state import address_variables, ix_state
from patchbay_runner.model.names import NameRecord, changed_names
from patchbay_runner.model.steps import Protocol
from patchbay_runner.model.topology import Topology

# The kernel takes 64 bytes; most programs that read a hostname expect a DNS label.
_HOSTNAME_LIMIT = 63
# Below the node's own directory, which lives in memory and goes with the sandbox.
_TEMPORARY = "tmp"


def _ignore_event(kind: str, /, **fields: Any) -> None:
    """Where events go when nobody listens."""


class LabOptions(msgspec.Struct, frozen=True):
    """How a lab meets its surroundings.

    `emit` receives its events, as `Recorder.emit` does. Programs of a node find `node_root`/<node> in
    PATCHBAY_NODE_DIR and get `open_files` (soft, hard) as RLIMIT_NOFILE; None is the agent's own. `seed` decides the
    fate of the n-th packet of every impaired link. With a `keeper` every node's packets are captured from `begin` on.
    """

    emit: Callable[..., None] = _ignore_event
    node_root: Path | None = None
    open_files: tuple[int, int] | None = None
    seed: int | None = None
    keeper: Keeper | None = None


class Lab(DeviceChanges, RouterChanges, RegionChanges, NodeChanges):
    """A running network, and the programs and sockets in it."""

    def __init__(self, topology: Topology, options: LabOptions = LabOptions()) -> None:  # noqa: B008 - frozen
        check_names(topology)
        super().__init__(topology, options.emit, options.seed, options.keeper)
        self._options = options
        self._views: dict[str, NodeView] = {}
        self._home = Home.here()
        self._variables_of: Network | None = None
        self._variables: dict[str, str] = {}
        self._names = NameService(lambda: self._namespaces, options.emit)

    @classmethod
    def build(cls, topology: Topology, options: LabOptions = LabOptions()) -> Lab:  # noqa: B008 - frozen
        """Builds the network in the current sandbox. Raises LabError or KernelError; nothing survives the sandbox."""
        lab = cls(topology, options)
        lab.build_network()
        lab._announce()
        return lab

    def close(self) -> None:
        """Gives up the namespaces; the kernel removes what is in them when their last process has ended."""
        self._names.close()
        for view in self._views.values():
            _close_view(view)
        self._views.clear()
        super().close()
        self._home.close()

    def state(self) -> dict[str, Any]:
        """Nodes with their addresses, as they are now."""
        return {
            "ix": ix_state(self.plan),
            "routers": {router.name: self.router_state(router.name) for router in self.topology.routers},
            "devices": {device.name: self.device_state(device.name) for device in self.topology.devices},
            **self.regions_state(),
        }

    def take_state(self) -> dict[str, Any] | None:
        """The state if something may have changed since the last call, else None."""
        if not self._has_changed:
            return None
        self._has_changed = False
        return self.state()

    def variables(self) -> Mapping[str, str]:
        """The `NETSIM_…` variables, names in capitals, as they stand now."""
        if self._variables_of is not self._network:
            self._variables_of = self._network
            self._variables = address_variables(self.topology, self.plan)
        return self._variables

    def set_names(self, records: Sequence[NameRecord], device: str | None = None) -> None:
        """Changes what names stand for, for everybody or for one device alone; an empty record takes a name away.

        Programs see it at once. Raises LabError for what DNS cannot carry, and for names that stand for each other.
        """
        try:
            network = replan.change_names(self._network, device, lambda names: changed_names(names, records))
        except ValueError as error:
            raise LabError(str(error)) from error
        check_names(network.topology)
        # No name is the kernel's business.
        self._network = network
        self._changed()
        self._emit("names_changed", device=device, names=[msgspec.to_builtins(record) for record in records])

    def addresses(self, node: str) -> list[IPv4Address | IPv6Address]:
        """The node's IPv4 and IPv6 addresses, those of a device's default interface first, link-local ones left out."""
        blueprint = self._blueprint.nodes[self._known(node)]
        interfaces = sorted(
            blueprint.interfaces, key=lambda interface: interface.port.interface != blueprint.default_interface
        )
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
                {**self.node_environment(node), **env},
                cwd=cwd,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                nofile=self._options.open_files,
                home=self._home,
            )

    def view(self, node: str) -> NodeView:
        """The namespaces of a node that programs are in; the lab keeps the descriptors."""
        return self._view(node)

    def views(self) -> dict[str, int]:
        """Nodes in which something was started, each with the inode of its programs' mount namespace."""
        return {node: namespace_id(view.mntns) for node, view in self._views.items() if view.mntns is not None}

    def socket(self, node: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket that lives in the node's network, usable from anywhere."""
        with entered(self._namespaces[self._known(node)]):
            try:
                return socket.socket(family, kind, protocol)
            except OSError as error:
                raise KernelError("socket", error.errno or 0, node) from error

    def open_node_file(self, node: str, name: str) -> int:
        """A descriptor of the `hosts` or `resolv.conf` that the node's programs find in /etc, as it is now."""
        self._view(node)
        return os.open(mounts.NODES_DIRECTORY / node / name, os.O_RDONLY | os.O_CLOEXEC)

    def node_table(self, node: str, name: Literal["nftables", "processes"]) -> str:
        """The rules of the node's firewall and NAT with what they have learned, or the programs in it, as text."""
        netns = self._namespaces[self._known(node)]
        return list_ruleset(netns, node) if name == "nftables" else list_processes(netns)

    def listeners(self, node: str, protocol: Protocol, port: int) -> frozenset[int]:
        """The inodes of the sockets that take what comes to a port of the node."""
        with entered(self._namespaces[self._known(node)]):
            return listeners(protocol, port)

    def file_version(self, node: str, path: str) -> FileVersion | None:
        """What tells a file that the node's programs see from its earlier versions; None when there is none."""
        with entered_view(self._view(node), self._home):
            return file_version(path)

    def _announce(self) -> None:
        state = self.state()
        settings = self.topology.lab
        self._emit("lab_created", ipv6_provisioning=settings.ipv6_provisioning.value, ipv6_dad=settings.ipv6_dad)
        self._emit("ix_created", **state["ix"])
        for name, fields in state["routers"].items():
            self._emit("router_added", name=name, **fields)
        for name, fields in state["regions"].items():
            self._emit("region_added", name=name, **fields)
        for fields in state["region_links"]:
            self._emit("region_link_added", **fields)
        for name, fields in state["devices"].items():
            self._emit("device_added", name=name, **fields)

    def _known(self, node: str) -> str:
        if node not in self._blueprint.nodes:
            raise LabError("there is no such node", node)
        return node

    def node_environment(self, node: str) -> dict[str, str]:
        """The variables that the node's programs find beside those that they are given."""
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
            self._names.serve(node, directory, hostname, self._surroundings())
            (directory / _TEMPORARY).mkdir(exist_ok=True)
            # As /tmp: servers that drop root's privileges write there too.
            (directory / _TEMPORARY).chmod(0o1777)
            mntns = mounts.new_node_mounts(self._namespaces[node], Path(directory))
            view = NodeView(self._namespaces[node], mntns, new_uts_namespace(hostname))
            self._views[node] = view
        return view

    def _surroundings(self) -> Surroundings:
        return Surroundings(self.topology, self._blueprint, lambda *link: link in self._down)

    def _gone(self, node: str) -> None:
        self._names.forget(node)
        view = self._views.pop(node, None)
        if view is not None:
            _close_view(view)

    def _changed(self) -> None:
        self._names.follow(self._surroundings())


def _close_view(view: NodeView) -> None:
    for fd in (view.mntns, view.utsns):
        if fd is not None:
            os.close(fd)
