"""The blueprint: what each node's network namespace is to hold, as plain records. Pure.

Interface indices are part of it, so that one batch of kernel requests can refer to what the same batch creates.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from patchbay_runner.kernel.nat64 import Nat64Config
from patchbay_runner.kernel.router_advertisements import AdvertiserConfig
from patchbay_runner.lab.addressing import (
    BRIDGE_INDEX,
    AddressPlan,
    Port,
)
from patchbay_runner.lab.region_links import FIRST_LINK_INDEX
from patchbay_runner.lab.routing import (
    Route,
)

NodeKind = Literal["ix", "router", "device"]

# What carries the members of a node's LAN inside it, other interfaces of its own being below and above.
PORT_INDICES = range(16, FIRST_LINK_INDEX)


class Cable(msgspec.Struct, frozen=True):
    """The veth pair behind an interface: its other end is in node `owner`, as a port of a bridge.

    Without a bridge it is an interface there, with a hardware address that matters.
    """

    owner: str
    port_name: str
    port_index: int
    bridge_index: int | None
    port_mac: bytes = b""


class InterfaceBlueprint(msgspec.Struct, frozen=True):
    """A node's own interface; a bridge, and the end of a cable that another node makes, has no cable.

    `routes` leave by it. `neighbours` are the ports whose hardware addresses the node knows for good. `is_crowded`
    tells a LAN where knowing all others takes more than the host has room for. With `has_dad` it probes for duplicates
    of its IPv6 addresses; with `learns_default` its IPv6 default route is what its router advertises.
    """

    port: Port
    index: int
    mtu: int
    neighbours: tuple[Port, ...]
    routes: tuple[Route, ...]
    cable: Cable | None = None
    is_crowded: bool = False
    has_dad: bool = False
    learns_default: bool = False

    @property
    def configures_itself(self) -> bool:
        """Whether it says something before it has its IPv6 addresses, and so begins when its link carries frames."""
        return self.port.is_slaac or self.has_dad

    @property
    def is_region_link(self) -> bool:
        """Whether it leads to another region's router; one of the two makes the cable, the other has none."""
        return not self.is_lan and (self.cable is None or self.cable.bridge_index is None)

    @property
    def is_lan(self) -> bool:
        """Whether it is the bridge of the node's own LAN."""
        return self.index == BRIDGE_INDEX and self.cable is None


class Bridge(msgspec.Struct, frozen=True):
    """A bridge of a node. `uplink` is the index of the bridge that it extends; the first of a LAN has none."""

    name: str
    index: int
    mac: bytes
    mtu: int
    uplink: int | None = None


class NodeBlueprint(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a node's namespace is to hold. `rulesets` are nft files by the table that each makes.

    `first_sysctls` are set before its interfaces appear. `advertiser` is what a router tells its LAN, `nat64` what a
    translator that starts now has to know; one that runs keeps what it was told.
    """

    name: str
    kind: NodeKind
    v4: bool
    v6: bool
    bridges: tuple[Bridge, ...] = ()
    interfaces: tuple[InterfaceBlueprint, ...] = ()
    default_interface: str = ""
    first_sysctls: tuple[tuple[str, str], ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    rulesets: dict[str, str] = {}
    advertiser: AdvertiserConfig | None = None
    nat64: Nat64Config | None = None


class Blueprint(msgspec.Struct, frozen=True):
    """Nodes with every LAN's owner before the LAN's members."""

    plan: AddressPlan
    nodes: dict[str, NodeBlueprint]
