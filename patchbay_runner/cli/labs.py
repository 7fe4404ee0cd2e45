"""What the commands share that find networks which are up."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from patchbay_runner.lab.client import LabClient
from patchbay_runner.lab.regions import region_router
from patchbay_runner.lab.registry import (
    Kind,
    LabRecord,
    connect,
    directory_of_labs,
    is_directory_of,
    running_labs,
)
from patchbay_runner.loader.diagnostics import did_you_mean, one_of
from patchbay_runner.model.plan import Plan
from patchbay_runner.results.files import calling_user

inspect_option = click.option(
    "--inspect",
    "wanted",
    metavar="ID",
    help="Which network, when several are up: how `patchbay ps` calls it, or a beginning of that.",
)


def own_directory() -> Path:
    """Where our labs are listed."""
    return directory_of_labs(os.environ, os.geteuid())


def record_of(plan: Plan, kind: Kind) -> LabRecord:
    """What others are told of a lab that is about to be built."""
    return LabRecord(
        kind=kind,
        name=plan.title,
        source=plan.source,
        nodes=tuple(nodes_of(plan)),
        pid=os.getpid(),
        since=time.time(),
    )


def nodes_of(plan: Plan) -> Iterable[str]:
    """Everything of a network that programs can run in: devices first, then what is between them."""
    topology = plan.topology
    yield from (device.name for device in topology.devices)
    yield from (router.name for router in topology.routers)
    yield from (region_router(region.name) for region in topology.regions)
    yield "ix"


def find_lab(node: str, wanted: str | None) -> LabRecord:
    """The lab that is meant. Raises click.ClickException with what to do, HostError."""
    labs = running_labs(own_directory())
    try:
        lab = choose(labs, node, wanted)
    except LookupError as error:
        raise click.ClickException(f"{error}{_hint_of_others(labs)}") from error
    return lab


def find_waiting_lab(wanted: str | None, otherwise: str) -> LabRecord:
    """The lab that is meant, of those that wait for people unless it is named. Raises click.ClickException with what to
    do: `otherwise`, where there is none."""
    labs = running_labs(own_directory())
    candidates = labs if wanted is not None else [lab for lab in labs if lab.is_waiting]
    if not candidates:
        raise click.UsageError(
            f"there is no lab here: {otherwise}; `patchbay inspect` holds one{_hint_of_others(labs)}"
        )
    try:
        return choose(candidates, "", wanted)
    except LookupError as error:
        raise click.UsageError(str(error)) from error


def refuse_unknown(lab: LabRecord, node: str, client: LabClient) -> None:
    """Raises click.ClickException for a node that there is not, with the names of those that there are."""
    if node in lab.nodes:
        return
    state = client.state()
    nodes = [*state["devices"], *state["routers"], *(region["router"] for region in state["regions"].values()), "ix"]
    if node not in nodes:
        hint = did_you_mean(node, nodes) or f"; there is {one_of(nodes)}"
        raise click.ClickException(f"{lab.id} has no node {node}{hint}")


def connect_to(lab: LabRecord, timeout_s: float | None = None) -> socket.socket | None:
    """A connection to a lab's agent; None when the lab has just ended."""
    connection = connect(own_directory(), lab.id)
    if connection is not None:
        connection.settimeout(timeout_s)
    return connection


def choose(labs: Sequence[LabRecord], node: str, wanted: str | None) -> LabRecord:
    """The lab that is meant: the one whose identifier begins with `wanted`, else the one that there is for people.

    Among several for people, or among running sims when there is none, the one with that node. Raises LookupError with
    what to do.
    """
    if wanted is not None:
        return _named(labs, wanted)
    candidates = [lab for lab in labs if lab.is_waiting] or list(labs)
    if len(candidates) > 1:
        candidates = [lab for lab in candidates if node in lab.nodes] or candidates
    if not candidates:
        raise LookupError("no network of yours is up; `patchbay inspect` builds one")
    if len(candidates) > 1:
        raise LookupError(f"several networks are up, choose one with --inspect: {_listed(candidates)}")
    return candidates[0]


def _named(labs: Sequence[LabRecord], wanted: str) -> LabRecord:
    exact = [lab for lab in labs if lab.id == wanted]
    matches = exact or [lab for lab in labs if lab.id.startswith(wanted)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise LookupError(f"several networks are called {wanted}…: {_listed(matches)}")
    there = f"there is {_listed(labs)}" if labs else "none is up; `patchbay inspect` builds one"
    raise LookupError(f"no network of yours is called {wanted}; {there}")


def _listed(labs: Sequence[LabRecord]) -> str:
    return ", ".join(lab.id for lab in labs)


def option_for(lab: LabRecord) -> str:
    """What tells `run-in` which network is meant, where that has to be told."""
    others = [other for other in running_labs(own_directory()) if other.id != lab.id and other.is_waiting]
    return f" --inspect {lab.id}" if others else ""


def _hint_of_others(labs: Sequence[LabRecord]) -> str:
    """The labs of different users are easily taken for each other, with sudo and su."""
    if labs:
        return ""
    if calling_user(os.environ, os.geteuid()):
        return " (with sudo, these are root's networks; those that were started without it are entered without it)"
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and not is_directory_of(Path(runtime), os.geteuid()):
        return f" ({runtime} belongs to another user, whose networks only they can enter)"
    return ""
