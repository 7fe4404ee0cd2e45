"""What the executor needs of a network: the seam that the lab implements and tests replace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Literal, Protocol

from patchbay_runner.model.firewall import Firewall
from patchbay_runner.model.links import Direction, LinkCondition, LinkReport
from patchbay_runner.model.names import NameRecord
from patchbay_runner.model.nat import Nat
from patchbay_runner.model.steps import Protocol as TransportProtocol
from patchbay_runner.model.topology import NatV6


class Network(Protocol):
    """A built network. `node` is a device, a router or "ix". All methods but those with `async` return at once."""

    def start(
        self, node: str, argv: Sequence[str], env: Mapping[str, str], *, cwd: str, stdout: int, stderr: int
    ) -> int:
        """Starts a program in a process group of its own, a child of this process, with /dev/null as its input.

        Returns its pid. Raises errors.CommandNotFound, another StepError, or LabError.
        """

    def node_environment(self, node: str) -> Mapping[str, str]:
        """The variables that `start` adds to a program's environment. Raises LabError for an unknown node."""

    def listeners(self, node: str, protocol: TransportProtocol, port: int) -> frozenset[int]:
        """The inodes of the sockets that take what comes to a port. Raises LabError."""

    def file_version(self, node: str, path: str) -> tuple[int, ...] | None:
        """What tells a file, as programs of the node see it, from its earlier versions; None without it."""

    @property
    def nodes(self) -> Sequence[str]:
        """All of them as they are now."""

    def node_table(self, node: str, name: Literal["nftables", "processes"]) -> str:
        """What the node's kernel knows, as text: "nftables" or "processes". Raises LabError."""

    def variables(self) -> Mapping[str, str]:
        """The address variables (`NETSIM_IP_…`) as they are now. The same object as long as nothing changed."""

    def addresses(self, device: str) -> Sequence[IPv4Address | IPv6Address]:
        """The addresses of all interfaces, IPv4 first. Raises LabError for an unknown device."""

    async def settled(self) -> None:
        """Waits until the nodes have taken in the latest changes. Called after every step. Raises LabError."""

    def link_down(self, device: str, interface: str) -> None:
        """Raises LabError."""

    def link_up(self, device: str, interface: str) -> None:
        """Raises LabError."""

    def set_default_route(self, device: str, interface: str) -> None:
        """Raises LabError."""

    def set_link_condition(
        self, device: str, interface: str, condition: LinkCondition | None, direction: Direction
    ) -> None:
        """None clears. Raises LabError."""

    def set_downlink(self, router: str, condition: LinkCondition | None) -> None:
        """None clears. Raises LabError."""

    def set_uplink(self, router: str, condition: LinkCondition | None) -> None:
        """None clears. Raises LabError."""

    def take_state(self) -> dict[str, Any] | None:
        """The nodes as they are now, in what JSON can hold; None when nothing changed since the last call."""

    def link_report(self) -> LinkReport:
        """What has become of the packets of impaired links. Raises LabError, EmulatorDied."""

    def verdict(self) -> str | None:
        """Why the network was not what was asked for, None if it was. Asked once, at the end. Raises LabError."""

    def replug(self, device: str, interface: str, router: str) -> None:
        """Raises LabError."""

    def add_interface(self, device: str, interface: str, router: str) -> None:
        """Raises LabError."""

    def remove_interface(self, device: str, interface: str) -> None:
        """Raises LabError."""

    def renew_address(self, device: str, interface: str) -> None:
        """Raises LabError."""

    def set_nat(self, router: str, nat: Nat) -> None:
        """Raises LabError."""

    def set_nat_v6(self, router: str, mode: NatV6) -> None:
        """Raises LabError."""

    async def reboot_router(self, router: str, down_for_s: float) -> None:
        """Returns when the router is back. Raises LabError."""

    def flush_nat(self, router: str) -> None:
        """Raises LabError."""

    def set_firewall(self, router: str, firewall: Firewall) -> None:
        """Raises LabError."""

    def break_region_link(self, a: str, b: str) -> None:
        """Raises LabError, also for a link that is broken already."""

    def restore_region_link(self, a: str, b: str) -> None:
        """Raises LabError, also for a link that is not broken."""

    def set_names(self, records: Sequence[NameRecord], device: str | None) -> None:
        """None is everybody; an empty record takes a name away. Raises LabError."""
