"""Steps that change the network."""

from __future__ import annotations

from patchbay_runner.errors import StepError
from patchbay_runner.executor.interpolation import Resolver
from patchbay_runner.executor.session import Session
from patchbay_runner.model.steps import LinkDown, LinkUp, SetDefaultRoute, SetLinkCondition


async def link_down(session: Session, step: LinkDown, resolver: Resolver) -> None:
    """Takes an interface down."""
    session.network.link_down(await resolver.text(step.device), step.interface)


async def link_up(session: Session, step: LinkUp, resolver: Resolver) -> None:
    """Brings an interface up."""
    session.network.link_up(await resolver.text(step.device), step.interface)


async def set_default_route(session: Session, step: SetDefaultRoute, resolver: Resolver) -> None:
    """Moves the default route; the address variables follow it."""
    session.network.set_default_route(await resolver.text(step.device), step.to)


async def set_link_condition(session: Session, step: SetLinkCondition, resolver: Resolver) -> None:
    """The loader reports such a step before anything runs; a plan from elsewhere ends here."""
    raise StepError(f"set-link-condition on {step.device} {step.interface}: link conditions are not built yet")
