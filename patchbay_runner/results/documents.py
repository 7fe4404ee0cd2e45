"""The JSON documents of a run directory, field by field as `docs/reference/output.md` describes them.

`schema` counts the incompatible changes of a document. Times are UTC, durations milliseconds. A field that is added
without such a change has a default, so that documents of earlier versions can be read.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from typing import Any

import msgspec

from patchbay_runner.model.links import LinkStatistics
from patchbay_runner.model.recording import StepResult
from patchbay_runner.model.steps import Scalar

# Documents are read by people too.
_INDENT = 2


class Status(Enum):
    """Of a sim. A sim that is still pending when its run is over was never started.

    Of an overloaded one nothing can be said: its steps passed, or failed by what may come of it, on a network that was
    not what was asked for, because the host was too busy.
    """

    PENDING = "pending"
    RUNNING = "running"
    OK = "ok"
    ERROR = "error"
    OVERLOADED = "overloaded"
    INTERRUPTED = "interrupted"


class RunStatus(Enum):
    """Of a run. One that says `running` while nobody holds its lock was killed."""

    RUNNING = "running"
    DONE = "done"
    INTERRUPTED = "interrupted"


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about where a run took place. The variables of the environment are not among them: they hold secrets."""

    os: str
    arch: str
    family: str
    kernel: str
    python: str
    current_dir: str
    executable: str
    patchbay_version: str


class SimSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A sim in the manifest and in the progress. `attempt` counts from 1 where sims are repeated, `error` is a line."""

    sim: str
    attempt: int | None = None
    sim_dir: str
    source: str
    matrix: dict[str, Scalar]
    status: Status
    runtime_ms: int | None
    sim_json: str
    error: str | None

    @property
    def title(self) -> str:
        """What tells it from the others of its run."""
        return self.sim if self.attempt is None else f"{self.sim} #{self.attempt}"


class ShardOfRun(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of the sims a run took. `digest` names the way in which they were dealt."""

    index: int
    total: int
    digest: str


class MergedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that was merged into this one, as its own manifest described it."""

    run: str
    status: RunStatus
    started_at: str
    ended_at: str | None
    runtime_ms: int | None
    environment: Environment
    shard: ShardOfRun | None


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """manifest.json. `shard` is None for a run of all sims; `merged` has the runs that this one was put together of."""

    schema: int = 1
    run: str
    status: RunStatus
    started_at: str
    ended_at: str | None
    runtime_ms: int | None
    success: bool | None
    environment: Environment
    shard: ShardOfRun | None = None
    merged: tuple[MergedRun, ...] = ()
    simulations: tuple[SimSummary, ...]


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """progress.json. `current_sim` is the one that runs for the longest time."""

    schema: int = 1
    run: str
    status: RunStatus
    started_at: str
    updated_at: str
    total: int
    completed: int
    ok: int
    error: int
    current_sim: str | None
    simulations: tuple[SimSummary, ...]


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What a sim is made of. `topology_ref` is None for a topology in the sim's own file."""

    sim_path: str
    topology_ref: str | None
    topology_mode: str
    routers: int
    devices: int
    regions: int
    steps: int


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """A log file. `step` is None for the node's whole output; `path` is relative to the sim's directory."""

    node: str
    kind: str
    path: str
    step: str | None


class FailedStep(msgspec.Struct, frozen=True, kw_only=True):
    """The step that failed, counted from 0. `origin` is the file and line that it comes from."""

    index: int
    action: str
    id: str | None
    device: str | None
    origin: str | None


class SimError(msgspec.Struct, frozen=True, kw_only=True):
    """Why a sim failed, with the last lines of the output involved."""

    phase: str
    message: str
    step: FailedStep | None
    output: tuple[str, ...]
    traceback: str | None


class PlannedStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step as it is planned. `index` counts from 0, of `on_failure` anew; `cmd` is None where it runs no program."""

    index: int
    on_failure: bool
    action: str
    id: str | None
    device: str | None
    origin: str | None
    text: str
    cmd: tuple[str, ...] | None


class PlanDocument(msgspec.Struct, frozen=True, kw_only=True):
    """plan.json. The variables of steps are not in it: they hold secrets."""

    schema: int = 1
    sim: str
    steps: tuple[PlannedStep, ...]


class PacketCaptureFile(msgspec.Struct, frozen=True, kw_only=True):
    """The packet capture of an interface. `overwritten` packets are no longer in its files."""

    node: str
    iface: str
    path: str
    packets: int
    bytes: int
    overwritten: int


class PacketCaptures(msgspec.Struct, frozen=True, kw_only=True):
    """All packet captures of a sim. `missed` counts, by node, the packets that came faster than they were written."""

    files: tuple[PacketCaptureFile, ...]
    missed: dict[str, int]


class FailureState(msgspec.Struct, frozen=True, kw_only=True):
    """What was kept of the nodes when the sim failed: a directory, how many files, and what could not be had."""

    path: str
    files: int
    problems: tuple[str, ...]


class Links(msgspec.Struct, frozen=True, kw_only=True):
    """What impaired links did. `engine` is what served: "netem" or "emulator"."""

    engine: str
    statistics: tuple[LinkStatistics, ...]


class Sim(msgspec.Struct, frozen=True, kw_only=True):
    """sim.json. `links` is None when no link was impaired, `nat64` has the counters of every router that was one.

    `on_failure_errors` are steps of `on_failure` that failed, after what `error` says.
    """

    schema: int = 1
    sim: str
    attempt: int | None = None
    sim_dir: str
    status: Status
    matrix: dict[str, Scalar]
    started_at: str | None
    ended_at: str | None
    runtime_ms: int | None
    steps_done: int
    setup: Setup
    logs: tuple[Log, ...]
    links: Links | None
    nat64: dict[str, dict[str, int]]
    packet_captures: PacketCaptures | None = None
    failure_state: FailureState | None = None
    error_line: str | None
    error: SimError | None
    on_failure_errors: tuple[SimError, ...] = ()


class NetworkState(msgspec.Struct, frozen=True, kw_only=True):
    """state.json: the network as it was after the event `opid`, beside the fields that the network itself has."""

    schema: int = 1
    sim: str
    status: Status
    opid: int
    updated_at: str


class LinkMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """A line of metrics.jsonl: what was added to the links' counters in `interval_s`."""

    timestamp: str
    interval_s: float
    links: dict[str, dict[str, Any]]


class CaptureDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A capture. `count` and `cut` stand there when the history holds fewer values than were captured."""

    value: str
    history: tuple[str, ...]
    count: int | None = None
    cut: bool = False


class SimResults(msgspec.Struct, frozen=True, kw_only=True):
    """results.json"""

    schema: int = 1
    sim: str
    status: Status
    steps: tuple[StepResult, ...]
    captures: dict[str, CaptureDocument]


class CombinedSim(msgspec.Struct, frozen=True, kw_only=True):
    """The normalised results of one sim of a run."""

    run: str
    sim_dir: str
    sim: str
    attempt: int | None = None
    status: Status
    matrix: dict[str, Scalar]
    steps: tuple[StepResult, ...]


class CombinedResults(msgspec.Struct, frozen=True, kw_only=True):
    """combined-results.json"""

    schema: int = 1
    runs: tuple[CombinedSim, ...]


def encode(document: msgspec.Struct) -> bytes:
    """A document as its file holds it."""
    return msgspec.json.format(msgspec.json.encode(document), indent=_INDENT) + b"\n"


def encode_state(head: NetworkState, state: dict[str, Any]) -> bytes:
    """state.json as its file holds it."""
    return msgspec.json.format(msgspec.json.encode({**msgspec.to_builtins(head), **state}), indent=_INDENT) + b"\n"


def document_time(moment: datetime) -> str:
    """RFC 3339, UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
