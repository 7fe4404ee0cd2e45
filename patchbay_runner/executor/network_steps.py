"""Steps that change the network. The address variables follow every one of them."""

from __future__ import annotations

from patchbay_runner.errors import StepError
from patchbay_runner.executor.interpolation import Resolver
from patchbay_runner.executor.session import Session
from patchbay_runner.model.names import record_of
from patchbay_runner.model.steps import (
    AddInterface,
    BreakRegionLink,
    FlushNat,
    LinkDown,
    LinkUp,
    RebootRouter,
    RemoveInterface,
    RenewAddress,
    Replug,
    RestoreRegionLink,
    SetDefaultRoute,
    SetDownlink,
    SetFirewall,
    SetLinkCondition,
    SetNames,
    SetNat,
    SetNatV6,
    SetUplink,
)


async def link_down(session: Session, step: LinkDown, resolver: Resolver) -> None:
    """Takes an interface down."""
    session.network.link_down(await resolver.text(step.device), step.interface)


async def link_up(session: Session, step: LinkUp, resolver: Resolver) -> None:
    """Brings an interface up."""
    session.network.link_up(await resolver.text(step.device), step.interface)


async def set_default_route(session: Session, step: SetDefaultRoute, resolver: Resolver) -> None:
    """Moves the default route."""
    session.network.set_default_route(await resolver.text(step.device), step.to)


async def set_link_condition(session: Session, step: SetLinkCondition, resolver: Resolver) -> None:
    """Impairs a link, or clears it."""
    device = await resolver.text(step.device)
    session.network.set_link_condition(device, step.interface, step.condition, step.direction)


async def set_downlink(session: Session, step: SetDownlink, resolver: Resolver) -> None:
    """Impairs what a router sends into its LAN, or clears it."""
    session.network.set_downlink(step.router, step.condition)


async def set_uplink(session: Session, step: SetUplink, resolver: Resolver) -> None:
    """Impairs what a router sends to its uplink, or clears it."""
    session.network.set_uplink(step.router, step.condition)


async def replug(session: Session, step: Replug, resolver: Resolver) -> None:
    """Moves an interface to another router."""
    session.network.replug(await resolver.text(step.device), step.interface, step.to)


async def add_interface(session: Session, step: AddInterface, resolver: Resolver) -> None:
    """Plugs a further interface in."""
    session.network.add_interface(await resolver.text(step.device), step.interface, step.gateway)


async def remove_interface(session: Session, step: RemoveInterface, resolver: Resolver) -> None:
    """Takes an interface away."""
    session.network.remove_interface(await resolver.text(step.device), step.interface)


async def renew_address(session: Session, step: RenewAddress, resolver: Resolver) -> None:
    """Gives an interface new addresses."""
    session.network.renew_address(await resolver.text(step.device), step.interface)


async def set_nat(session: Session, step: SetNat, resolver: Resolver) -> None:
    """Changes a router's NAT."""
    session.network.set_nat(step.router, step.nat)


async def set_nat_v6(session: Session, step: SetNatV6, resolver: Resolver) -> None:
    """Changes how a router translates IPv6."""
    session.network.set_nat_v6(step.router, step.nat_v6)


async def reboot_router(session: Session, step: RebootRouter, resolver: Resolver) -> None:
    """Takes a router away for a while."""
    await session.network.reboot_router(step.router, step.down_for_s)


async def flush_nat(session: Session, step: FlushNat, resolver: Resolver) -> None:
    """Makes a router forget its mappings and flows."""
    session.network.flush_nat(step.router)


async def set_firewall(session: Session, step: SetFirewall, resolver: Resolver) -> None:
    """Changes what a router lets through."""
    session.network.set_firewall(step.router, step.firewall)


async def break_region_link(session: Session, step: BreakRegionLink, resolver: Resolver) -> None:
    """Parts two regions."""
    session.network.break_region_link(*step.regions)


async def restore_region_link(session: Session, step: RestoreRegionLink, resolver: Resolver) -> None:
    """Joins two regions again."""
    session.network.restore_region_link(*step.regions)


async def set_names(session: Session, step: SetNames, resolver: Resolver) -> None:
    """Changes what names stand for. Raises StepError when a reference brought neither an address nor a name."""
    records = []
    for name, texts in step.entries.items():
        values = [await resolver.text(text) for text in texts]
        try:
            records.append(record_of(name, values))
        except ValueError as error:
            raise StepError(f"{name!r} cannot stand for {', '.join(map(repr, values))}: {error}") from error
    session.network.set_names(records, await resolver.text(step.device) or None)
