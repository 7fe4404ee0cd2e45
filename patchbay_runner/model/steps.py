"""The steps of a plan: flat, typed, every name resolved. Durations are seconds."""

from __future__ import annotations

from signal import SIGTERM
from typing import Literal

import msgspec

from patchbay_runner.model.assertions import Assertion
from patchbay_runner.model.firewall import Firewall
from patchbay_runner.model.links import Direction, LinkCondition
from patchbay_runner.model.nat import Nat
from patchbay_runner.model.topology import REBOOT_S, NatV6, Origin

Stream = Literal["stdout", "stderr"]
Protocol = Literal["tcp", "udp"]
ParserName = Literal["text", "ndjson", "json"]
DurationUnit = Literal["s", "ms", "us"]
ExpectedExit = int | Literal["any"]
Scalar = str | bool | int | float

# How long a step waits for a capture, and wait-for for a process, when it does not say itself.
DEFAULT_TIMEOUT_S = 300.0
# How long a program that is stopped has to end before it is killed.
STOP_GRACE_S = 5.0


class Capture(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What to take from a program's output. `match` maps dotted keys to the values that they must have."""

    name: str
    pipe: Stream = "stdout"
    regex: str | None = None
    match: dict[str, Scalar] = {}
    pick: str | None = None


class ResultKeys(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Capture keys ("step.capture") of the normalised results; None is not reported.

    `duration_unit` None is the documents' rule: an integer is microseconds, a decimal is seconds.
    """

    duration: str | None = None
    up_bytes: str | None = None
    down_bytes: str | None = None
    latency_ms: str | None = None
    duration_unit: DurationUnit | None = None


class StepBase(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="action"):
    """What every step has. `id` is "" where a step has none; `requires` holds capture keys."""

    id: str = ""
    requires: tuple[str, ...] = ()
    timeout_s: float | None = None
    origin: Origin = Origin()


class ProcessStep(StepBase, frozen=True, kw_only=True, omit_defaults=True):
    """What `run` and `spawn` share. `device` may be a router or "ix". `cwd` is relative to the project root."""

    device: str
    cmd: tuple[str, ...]
    env: dict[str, str] = {}
    cwd: str | None = None
    parser: ParserName = "text"
    captures: tuple[Capture, ...] = ()
    results: ResultKeys | None = None
    expect_exit: ExpectedExit | None = None


class Run(ProcessStep, frozen=True, kw_only=True, omit_defaults=True, tag="run"):
    """Runs a program to its end. Adjacent steps with the same `parallel`, unless it is "", run at the same time."""

    parallel: str = ""


class Readiness(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When a spawned program is ready: at a value of a capture of its own, a socket on a port, or a file; one of them.

    `file` is relative to the program's working directory.
    """

    capture: str | None = None
    port: int | None = None
    protocol: Protocol = "tcp"
    file: str | None = None


class Spawn(ProcessStep, frozen=True, kw_only=True, omit_defaults=True, tag="spawn"):
    """Starts a program in the background, waits until it is ready, then pauses for `ready_after_s`."""

    ready_after_s: float = 0.0
    ready_when: Readiness | None = None


class WaitFor(StepBase, frozen=True, kw_only=True, omit_defaults=True, tag="wait-for"):
    """Waits for the spawned process of step `id` to end."""

    expect_exit: ExpectedExit | None = None


class WaitForCapture(StepBase, frozen=True, kw_only=True, omit_defaults=True, tag="wait-for-capture"):
    """Waits until `capture` has been recorded `count` times."""

    capture: str
    count: int = 1


class Signal(StepBase, frozen=True, kw_only=True, omit_defaults=True, tag="signal"):
    """Sends a signal to the spawned program of step `id`, with `group` to its process group."""

    signal: int
    group: bool = False


class Stop(StepBase, frozen=True, kw_only=True, omit_defaults=True, tag="stop"):
    """Ends the spawned program of step `id`: a signal to its process group, SIGKILL to what is left after `grace_s`."""

    signal: int = int(SIGTERM)
    grace_s: float = STOP_GRACE_S
    expect_exit: ExpectedExit | None = None


class Restart(StepBase, frozen=True, kw_only=True, omit_defaults=True, tag="restart"):
    """Stops the spawned program of step `id` and starts it again."""

    signal: int = int(SIGTERM)
    grace_s: float = STOP_GRACE_S


class Wait(StepBase, frozen=True, kw_only=True, omit_defaults=True, tag="wait"):
    """Sleeps."""

    duration_s: float


class Assert(StepBase, frozen=True, kw_only=True, omit_defaults=True, tag="assert"):
    """Fails unless every check holds.

    With `within_s` ("eventually") they need not hold before that time is over; with `for_s` they must hold all the
    while.
    """

    checks: tuple[Assertion, ...]
    within_s: float | None = None
    for_s: float = 0.0


class GenCerts(StepBase, frozen=True, kw_only=True, omit_defaults=True, tag="gen-certs"):
    """Makes a self-signed certificate. `san` None is the device's addresses alone."""

    device: str | None = None
    cn: str = "patchbay"
    san: tuple[str, ...] = ()


class GenFile(StepBase, frozen=True, kw_only=True, omit_defaults=True, tag="gen-file"):
    """Writes an interpolated text to a file."""

    content: str


class LinkDown(StepBase, frozen=True, kw_only=True, omit_defaults=True, tag="link-down"):
    """Takes an interface down."""

    device: str
    interface: str


class LinkUp(StepBase, frozen=True, kw_only=True, omit_defaults=True, tag="link-up"):
    """Brings an interface up, with its addresses and routes."""

    device: str
    interface: str


class SetDefaultRoute(StepBase, frozen=True, kw_only=True, omit_defaults=True, tag="set-default-route"):
    """Moves the default route of both families to interface `to`."""

    device: str
    to: str


class SetLinkCondition(StepBase, frozen=True, kw_only=True, omit_defaults=True, tag="set-link-condition"):
    """Impairs a link; `condition` None clears it."""

    device: str
    interface: str
    condition: LinkCondition | None = None
    direction: Direction = "up"


class SetDownlink(StepBase, frozen=True, kw_only=True, omit_defaults=True, tag="set-downlink"):
    """Impairs what a router sends into its LAN; `condition` None clears it."""

    router: str
    condition: LinkCondition | None = None


class SetUplink(StepBase, frozen=True, kw_only=True, omit_defaults=True, tag="set-uplink"):
    """Impairs what a router sends to its uplink; `condition` None clears it."""

    router: str
    condition: LinkCondition | None = None


class Replug(StepBase, frozen=True, kw_only=True, omit_defaults=True, tag="replug"):
    """Moves an interface to the LAN of router `to`, with new addresses."""

    device: str
    interface: str
    to: str


class AddInterface(StepBase, frozen=True, kw_only=True, omit_defaults=True, tag="add-iface"):
    """Plugs a further interface into the LAN of router `gateway`; the default route stays."""

    device: str
    interface: str
    gateway: str


class RemoveInterface(StepBase, frozen=True, kw_only=True, omit_defaults=True, tag="remove-iface"):
    """Takes an interface away; the default route moves to the first that is left."""

    device: str
    interface: str


class RenewAddress(StepBase, frozen=True, kw_only=True, omit_defaults=True, tag="renew-ip"):
    """Gives an interface new addresses on its LAN; the routes stay."""

    device: str
    interface: str


class SetNat(StepBase, frozen=True, kw_only=True, omit_defaults=True, tag="set-nat"):
    """Changes a router's IPv4 NAT."""

    router: str
    nat: Nat


class SetNatV6(StepBase, frozen=True, kw_only=True, omit_defaults=True, tag="set-nat-v6"):
    """Changes how a router translates IPv6."""

    router: str
    nat_v6: NatV6


class RebootRouter(StepBase, frozen=True, kw_only=True, omit_defaults=True, tag="reboot-router"):
    """Takes a router away with its state, and brings it back after `down_for_s`."""

    router: str
    down_for_s: float = REBOOT_S


class FlushNat(StepBase, frozen=True, kw_only=True, omit_defaults=True, tag="flush-nat"):
    """Makes a router forget its mappings and flows."""

    router: str


class SetFirewall(StepBase, frozen=True, kw_only=True, omit_defaults=True, tag="set-firewall"):
    """Changes what a router lets through."""

    router: str
    firewall: Firewall


class BreakRegionLink(StepBase, frozen=True, kw_only=True, omit_defaults=True, tag="break-region-link"):
    """Parts two linked regions: nothing gets from one to the other."""

    regions: tuple[str, str]


class RestoreRegionLink(StepBase, frozen=True, kw_only=True, omit_defaults=True, tag="restore-region-link"):
    """Joins two regions that were parted."""

    regions: tuple[str, str]


class SetNames(StepBase, frozen=True, kw_only=True, omit_defaults=True, tag="set-dns"):
    """Changes what names stand for, for `device` alone or, where it is "", for everybody.

    `entries` maps a name to addresses, or to one other name; to nothing takes it away.
    """

    device: str = ""
    entries: dict[str, tuple[str, ...]]


Step = (
    Run
    | Spawn
    | WaitFor
    | WaitForCapture
    | Signal
    | Stop
    | Restart
    | Wait
    | Assert
    | GenCerts
    | GenFile
    | LinkDown
    | LinkUp
    | SetDefaultRoute
    | SetLinkCondition
    | SetDownlink
    | SetUplink
    | Replug
    | AddInterface
    | RemoveInterface
    | RenewAddress
    | SetNat
    | SetNatV6
    | RebootRouter
    | FlushNat
    | SetFirewall
    | BreakRegionLink
    | RestoreRegionLink
    | SetNames
)


def action_of(step: Step) -> str:
    """The step's action as the TOML file writes it."""
    tag = step.__struct_config__.tag
    assert isinstance(tag, str)
    return tag
