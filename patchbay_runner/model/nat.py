"""NAT behaviours in the terms of RFC 4787 (UDP), RFC 5382 (TCP) and RFC 6888 (carrier-grade NAT)."""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

import msgspec


class Mapping(Enum):
    """How an inner address and port is given its outer one (RFC 4787, section 4.1)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ENDPOINT_DEPENDENT = "endpoint-dependent"


class Filtering(Enum):
    """Which outside endpoints may send to a mapping (RFC 4787, section 5)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"


class PortAllocation(Enum):
    """Which outer port a new mapping gets (RFC 4787, section 4.2). A port is never given twice at a time.

    `PRESERVING`: the inner one while it is free, else another. `SEQUENTIAL`: the one after the last that was given.
    """

    PRESERVING = "preserving"
    RANDOM = "random"
    SEQUENTIAL = "sequential"


# More than a NAT is given to run out of; each port is an element of several nftables sets.
MOST_PORTS = 4096


class NatTimeouts(msgspec.Struct, frozen=True):
    """Seconds without a packet after which a mapping is forgotten. `udp_stream` applies once both sides have spoken."""

    udp_s: int = 30
    udp_stream_s: int = 120
    tcp_established_s: int = 432_000


class NatConfig(msgspec.Struct, frozen=True):
    """The behaviour of an IPv4 NAT. `hairpin`: members reach each other at their outer endpoints (RFC 4787, REQ-9).

    `allocation` None is what the mapping suggests: preserving for an endpoint-independent one, else random.
    `port_range` are the first and the last of the outer ports; None is all.
    """

    mapping: Mapping = Mapping.ENDPOINT_INDEPENDENT
    filtering: Filtering = Filtering.ADDRESS_AND_PORT_DEPENDENT
    hairpin: bool = False
    timeouts: NatTimeouts = NatTimeouts()
    allocation: PortAllocation | None = None
    port_range: tuple[int, int] | None = None

    @property
    def port_allocation(self) -> PortAllocation:
        if self.allocation is not None:
            return self.allocation
        independent = self.mapping is Mapping.ENDPOINT_INDEPENDENT
        return PortAllocation.PRESERVING if independent else PortAllocation.RANDOM

    @property
    def table(self) -> dict[str, Any]:
        """The table of a sim that means this; timeouts are seconds."""
        ports = {
            "port_allocation": self.allocation and self.allocation.value,
            "port_range": self.port_range and list(self.port_range),
        }
        return {key: value for key, value in ports.items() if value is not None} | {
            "mapping": self.mapping.value,
            "filtering": self.filtering.value,
            "hairpin": self.hairpin,
            "udp_timeout": self.timeouts.udp_s,
            "udp_stream_timeout": self.timeouts.udp_stream_s,
            "tcp_established_timeout": self.timeouts.tcp_established_s,
        }


NatMode = Literal["none", "home", "corporate", "cgnat", "cloud-nat", "full-cone", "custom"]

NAT_MODES: dict[str, NatConfig | None] = {
    "none": None,
    "home": NatConfig(timeouts=NatTimeouts(30, 300, 7200)),
    "corporate": NatConfig(Mapping.ENDPOINT_DEPENDENT, timeouts=NatTimeouts(30, 120, 3600)),
    "cloud-nat": NatConfig(Mapping.ENDPOINT_DEPENDENT, timeouts=NatTimeouts(30, 350, 3600)),
    "cgnat": NatConfig(filtering=Filtering.ENDPOINT_INDEPENDENT),
    "full-cone": NatConfig(filtering=Filtering.ENDPOINT_INDEPENDENT, hairpin=True, timeouts=NatTimeouts(30, 300, 7200)),
}


class Nat(msgspec.Struct, frozen=True):
    """A router's IPv4 NAT: the mode's name as written, and what it means (None: no translation)."""

    mode: NatMode = "none"
    config: NatConfig | None = None


def nat_mode(name: str) -> Nat:
    """The NAT of a named mode. Raises KeyError for an unknown name."""
    return Nat(name, NAT_MODES[name])  # type: ignore[arg-type]  # the key lookup is the check
