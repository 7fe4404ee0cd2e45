"""A plan: everything that one variant of a sim needs, resolved and checked. It round-trips through JSON."""

from __future__ import annotations

from typing import Literal

import msgspec

from patchbay_runner.model.capture import PacketCapture
from patchbay_runner.model.steps import Scalar, Step
from patchbay_runner.model.topology import Origin, Topology

# How long the steps of `on_failure` may take in all; after the sim's time is over, or when the user waits for its end.
ON_FAILURE_S = 30.0
ON_FAILURE_LATE_S = 8.0

BinaryMode = Literal["path", "fetch", "build", "target"]
SandboxUser = Literal["caller", "root"]


class Binary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the program behind `${binary.name}` comes from.

    `bin` of a download names the executable in an archive; `sha256` is that of the downloaded file, in hexadecimal.
    """

    name: str
    mode: BinaryMode
    path: str | None = None
    url: str | None = None
    sha256: str | None = None
    repo: str | None = None
    commit: str = "main"
    example: str | None = None
    bin: str | None = None
    features: tuple[str, ...] = ()
    all_features: bool = False
    origin: Origin = Origin()


class Prepare(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What to build from the project's workspace before anything runs."""

    mode: Literal["build"] = "build"
    examples: tuple[str, ...] = ()
    bins: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    all_features: bool = False
    origin: Origin = Origin()


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One sim variant.

    `on_failure` are steps for when one of `steps` fails, the time is over, or the user interrupts.
    `seed` decides the fate of every impaired link's packets; None leaves it to the engine. `exclusive` says whether it
    must run alone; None leaves it to what it asks for.
    `capture` is None where no packets are captured. `attempt` counts from 1 the runs of a sim that is repeated.
    """

    name: str
    source: str
    matrix: dict[str, Scalar] = {}
    user: SandboxUser = "caller"
    seed: int | None = None
    topology: Topology = Topology()
    topology_name: str | None = None
    binaries: tuple[Binary, ...] = ()
    prepare: tuple[Prepare, ...] = ()
    steps: tuple[Step, ...] = ()
    on_failure: tuple[Step, ...] = ()
    exclusive: bool | None = None
    capture: PacketCapture | None = None
    attempt: int | None = None

    @property
    def title(self) -> str:
        """What tells it from the others of a run, for people."""
        return self.name if self.attempt is None else f"{self.name} #{self.attempt}"


def encode_plan(plan: Plan) -> bytes:
    """JSON."""
    return msgspec.json.encode(plan)


def decode_plan(data: bytes) -> Plan:
    """Raises msgspec.ValidationError when `data` is not a plan."""
    return msgspec.json.decode(data, type=Plan)
