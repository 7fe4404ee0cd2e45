"""A network as asked for: regions, routers, devices and their interfaces. Counted devices are already expanded."""

from __future__ import annotations

from enum import Enum

import msgspec

from patchbay_runner.model.firewall import Firewall
from patchbay_runner.model.links import LinkCondition
from patchbay_runner.model.names import NameRecord
from patchbay_runner.model.nat import Nat

# RFC 8200, section 5; the kernel takes IPv6 away from an interface with less.
LEAST_IPV6_MTU = 1280
# How long a router that is rebooted carries nothing, when it is not said.
REBOOT_S = 0.5


class IpSupport(Enum):
    """The address families a router carries."""

    DUAL_STACK = "dual-stack"
    V4_ONLY = "v4-only"
    V6_ONLY = "v6-only"

    @property
    def v4(self) -> bool:
        return self is not IpSupport.V6_ONLY

    @property
    def v6(self) -> bool:
        return self is not IpSupport.V4_ONLY


class Origin(msgspec.Struct, frozen=True):
    """Where something was written. `line` counts from 1; 0 is unknown."""

    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class NatV6(Enum):
    """What a router does to IPv6 addresses."""

    NONE = "none"
    NPTV6 = "nptv6"
    MASQUERADE = "masquerade"
    NAT64 = "nat64"

    @property
    def hides(self) -> bool:
        """Whether the addresses of the LAN are not those that others see."""
        return self in (NatV6.NPTV6, NatV6.MASQUERADE)


class Pool(Enum):
    """Where the prefixes of a LAN come from: addresses that the internet knows, or those of a site (RFC 1918, 4193)."""

    PUBLIC = "public"
    PRIVATE = "private"


class RouterAdvertisements(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 4861 advertisement settings of a router."""

    enabled: bool = True
    interval_s: int = 30
    lifetime_s: int = 1800


class Router(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A router. `upstream` None is its region's router, or the internet exchange; `mtu` None is the kernel's 1,500.

    One that `is_isolated` has no uplink: what its LAN sends further than that disappears, and its NAT and firewall have
    nothing to do.

    `pool` None is private where the router hides its LAN, else public; an IPv4 NAT makes both families private.
    `downlink` is what befalls packets that the router sends into its LAN, `uplink` those that it sends the other way.
    `block_icmp_frag_needed` makes it a black hole of path MTU discovery, in both families. `cidr` and `cidr_v6` are the
    LAN's own prefixes, as `ipaddress` reads them; None takes one from the pool.
    """

    name: str
    upstream: str | None = None
    is_isolated: bool = False
    region: str | None = None
    nat: Nat = Nat()
    nat_v6: NatV6 = NatV6.NONE
    ip_support: IpSupport = IpSupport.DUAL_STACK
    pool: Pool | None = None
    cidr: str | None = None
    cidr_v6: str | None = None
    mtu: int | None = None
    firewall: Firewall = Firewall()
    block_icmp_frag_needed: bool = False
    downlink: LinkCondition | None = None
    uplink: LinkCondition | None = None
    ra: RouterAdvertisements = RouterAdvertisements()
    origin: Origin = Origin()

    @property
    def lan_pool(self) -> Pool:
        return self.pool or (Pool.PUBLIC if self.nat.config is None else Pool.PRIVATE)

    @property
    def lan_pool_v6(self) -> Pool:
        return self.pool or (Pool.PRIVATE if self.nat_v6.hides else self.lan_pool)

    @property
    def is_nat64(self) -> bool:
        """Whether it translates to IPv4: without IPv6 it has nothing to translate, without an uplink nowhere to."""
        return self.nat_v6 is NatV6.NAT64 and self.ip_support.v6 and not self.is_isolated

    @property
    def uplink_support(self) -> IpSupport:
        """The families of its uplink: what NAT64 makes of IPv6 leaves as IPv4."""
        return IpSupport.DUAL_STACK if self.is_nat64 else self.ip_support


class Interface(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An interface of a device, plugged into the LAN of the router `gateway`."""

    name: str
    gateway: str
    impair: LinkCondition | None = None
    origin: Origin = Origin()


class Device(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A host. Interfaces stand in file order; the default route leaves by `default_via`, else by the first.

    `names` are those that it alone knows, or knows otherwise than everybody else.
    """

    name: str
    interfaces: tuple[Interface, ...]
    default_via: str | None = None
    mtu: int | None = None
    names: tuple[NameRecord, ...] = ()
    origin: Origin = Origin()

    @property
    def default_interface(self) -> str:
        return self.default_via or self.interfaces[0].name

    def has_interface(self, name: str) -> bool:
        return any(interface.name == name for interface in self.interfaces)


class Region(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A region; `towards` maps another region's name to what happens to packets on their way there."""

    name: str
    towards: dict[str, LinkCondition] = {}
    origin: Origin = Origin()


class RegionLink(msgspec.Struct, frozen=True):
    """Two linked regions, in the order in which they are declared, and the condition of each direction."""

    a: str
    b: str
    a_to_b: LinkCondition
    b_to_a: LinkCondition

    @property
    def pair(self) -> frozenset[str]:
        return frozenset((self.a, self.b))


class Ipv6Provisioning(Enum):
    """How devices come by their IPv6 addresses and default routes: given by the lab, or by Router Advertisements."""

    STATIC = "static"
    RA = "ra"


class LabSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What holds for all nodes. `ipv6_dad`: devices probe for duplicates before they use an address (RFC 4862, 5.4)."""

    ipv6_provisioning: Ipv6Provisioning = Ipv6Provisioning.STATIC
    ipv6_dad: bool = False


class Topology(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Routers and devices in file order. `names` are known to all nodes, beside the nodes' own.

    `region_links` are those between regions that were joined later than these were declared.
    """

    routers: tuple[Router, ...] = ()
    devices: tuple[Device, ...] = ()
    regions: tuple[Region, ...] = ()
    region_links: tuple[RegionLink, ...] = ()
    names: tuple[NameRecord, ...] = ()
    lab: LabSettings = LabSettings()

    def advertises(self, router: Router) -> bool:
        """Whether the router sends Router Advertisements, so that its devices configure themselves."""
        is_asked = self.lab.ipv6_provisioning is Ipv6Provisioning.RA
        return is_asked and router.ra.enabled and router.ip_support.v6
