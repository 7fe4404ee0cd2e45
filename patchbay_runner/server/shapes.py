"""What the API gives, field by field as docs/reference/http-api.md describes it."""

from __future__ import annotations

from typing import Any

import msgspec

from patchbay_runner.model.steps import Scalar
from patchbay_runner.results.documents import Environment, FailedStep, MergedRun, ShardOfRun

Json = dict[str, Any]


class SimCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many sims of a run there are, in all and by status."""

    total: int = 0
    ok: int = 0
    error: int = 0
    overloaded: int = 0
    interrupted: int = 0
    running: int = 0
    pending: int = 0


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run as the list shows it. `problem` says why it is unreadable."""

    name: str
    invocation: str
    label: str | None = None
    status: str
    problem: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    runtime_ms: int | None = None
    sims: SimCounts = SimCounts()
    project: str | None = None
    branch: str | None = None
    commit: str | None = None
    pr: int | None = None
    pr_url: str | None = None
    title: str | None = None
    created_at: str | None = None


class SimLine(msgspec.Struct, frozen=True, kw_only=True):
    """A sim as its run lists it. `name` is its directory."""

    name: str
    sim: str
    title: str
    attempt: int | None
    matrix: dict[str, Scalar]
    source: str
    status: str
    runtime_ms: int | None
    error: str | None
    phase: str | None = None
    failed_step: FailedStep | None = None


class RunHead(Run, frozen=True, kw_only=True):
    """A run by itself, without its sims."""

    environment: Environment | None = None
    shard: ShardOfRun | None = None
    merged: tuple[MergedRun, ...] = ()
    axes: dict[str, tuple[Scalar, ...]] = {}


class RunDetail(RunHead, frozen=True, kw_only=True):
    """A run with its sims."""

    simulations: tuple[SimLine, ...] = ()


class Facets(msgspec.Struct, frozen=True, kw_only=True):
    """The values that filters may have."""

    project: tuple[str, ...]
    branch: tuple[str, ...]
    status: tuple[str, ...]


class RunPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the list of runs."""

    runs: tuple[Run, ...]
    next: str | None
    total: int
    facets: Facets


class Invocation(msgspec.Struct, frozen=True, kw_only=True):
    """The runs that came together."""

    invocation: str
    runs: tuple[Run, ...]


class StepLine(msgspec.Struct, frozen=True, kw_only=True):
    """A step, as it was planned and how far it is."""

    index: int
    on_failure: bool
    action: str
    id: str | None
    device: str | None
    origin: str | None
    text: str | None
    cmd: tuple[str, ...] | None
    status: str = "pending"
    started_us: int | None = None
    duration_s: float | None = None
    message: str | None = None


class SimDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A sim by itself: its document as it stands, and its steps."""

    run: str
    name: str
    sim: Json | None
    steps: tuple[StepLine, ...]


class Lines(msgspec.Struct, frozen=True, kw_only=True):
    """Lines of a JSON lines file."""

    items: tuple[Json, ...]
    next: int | None
    is_end: bool


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """A log file of a sim."""

    path: str
    node: str | None
    step: str | None
    stream: str | None
    format: str
    size: int
    modified_us: int


class Logs(msgspec.Struct, frozen=True, kw_only=True):
    """The log files of a sim."""

    logs: tuple[Log, ...]


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Some lines of a log. `cut` has the indices of those that are not given whole."""

    size: int
    start: int
    end: int
    first_line: int | None
    total_lines: int | None
    offsets: tuple[int, ...]
    lines: tuple[str, ...]
    cut: tuple[int, ...]


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A line that was searched for. `spans` count UTF-16 units, as browsers do."""

    offset: int
    line: int | None
    text: str
    spans: tuple[tuple[int, int], ...]


class Matches(msgspec.Struct, frozen=True, kw_only=True):
    """What a search has found so far."""

    matches: tuple[Match, ...]
    next: int
    is_end: bool


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file below a run or sim."""

    path: str
    size: int
    modified_us: int
    type: str


class Files(msgspec.Struct, frozen=True, kw_only=True):
    """All files below a run or sim, or as many as are listed."""

    files: tuple[File, ...]
    is_cut: bool


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """This server."""

    version: str
    title: str
    is_accepting_pushes: bool


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """That it answers."""

    status: str = "ok"


class RunChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What has changed in the list of runs."""

    changed: tuple[Run, ...]
    removed: tuple[str, ...]
