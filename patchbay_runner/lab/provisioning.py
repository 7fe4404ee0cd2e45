"""How devices come by their IPv6 configuration: what their kernels are told, and what their routers advertise. Pure."""

from __future__ import annotations

from patchbay_runner.kernel.ndp import PrefixInformation, RouterAdvertisement
from patchbay_runner.kernel.router_advertisements import AdvertiserConfig, dad_sysctls, slaac_sysctls
from patchbay_runner.lab.addressing import Lan
from patchbay_runner.lab.routing import DEFAULT_MTU, lan_mtu
from patchbay_runner.model.topology import Ipv6Provisioning, LabSettings, Router

Sysctl = tuple[str, str]


def device_sysctls(settings: LabSettings) -> tuple[Sysctl, ...]:
    """Settings of a device before its interfaces appear; also of one without IPv6, which may be plugged over to it."""
    if settings.ipv6_provisioning is Ipv6Provisioning.RA:
        # One default route, by the default interface, as in a lab whose routes are given.
        return (*slaac_sysctls(dad=settings.ipv6_dad), ("ipv6/conf/default/accept_ra_defrtr", "0"))
    return dad_sysctls(True) if settings.ipv6_dad else ()


def default_route_sysctl(interface: str, is_accepted: bool) -> Sysctl:
    """Whether an interface makes a default route of the advertisements that it hears."""
    return f"ipv6/conf/{interface}/accept_ra_defrtr", str(int(is_accepted))


def forming_sysctl(interface: str) -> Sysctl:
    """Has an interface that is up make its link-local address, solicit routers, and form addresses from answers."""
    return f"ipv6/conf/{interface}/addr_gen_mode", "0"


def advertiser(router: Router, lan: Lan) -> AdvertiserConfig | None:
    """What the router says on its LAN, None where the LAN's devices do not configure themselves."""
    if not lan.is_slaac or lan.v6 is None:
        return None
    mtu = lan_mtu(router)
    return AdvertiserConfig(
        interface=lan.gateway.interface,
        ifindex=lan.gateway.index,
        advertisement=RouterAdvertisement(
            lifetime_s=router.ra.lifetime_s,
            source_mac=lan.gateway.mac,
            mtu=mtu if mtu < DEFAULT_MTU else 0,
            prefixes=(PrefixInformation(lan.v6),),
        ),
        interval_s=router.ra.interval_s,
    )
