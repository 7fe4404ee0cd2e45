"""What is known of one sim: grows by the sandbox's messages, and reads as the sim's documents. Touches no file."""

from __future__ import annotations

import time
from collections import deque
from datetime import UTC, datetime
from typing import Any

import msgspec

from patchbay_runner.model.links import LinkReport, compact_link
from patchbay_runner.model.plan import Plan
from patchbay_runner.model.recording import HISTORY_LIMIT, Failure, StepResult
from patchbay_runner.results import documents, messages
from patchbay_runner.results.documents import Status, document_time
from patchbay_runner.results.metrics import link_metrics

_PHASE_STATUS = {"interrupted": Status.INTERRUPTED, "overloaded": Status.OVERLOADED}


class SimState:
    """`step` holds the fields of the running step's event, of the one that began first; None between steps.

    `step_started_s` is when that step began, counted from the sim's start.
    """

    def __init__(self, plan: Plan, sim_dir: str) -> None:
        self.plan = plan
        self.sim_dir = sim_dir
        self.status = Status.PENDING
        self.failure: Failure | None = None
        self.is_finished = False
        # It ran and lost its worker; another is looked for.
        self.is_displaced = False
        # The steps of `on_failure` that failed: told beside the failure, never instead of it.
        self.notes: list[documents.SimError] = []
        self.is_paused = False
        # The steps that run, with when each began, by whether they are of `on_failure` and their number.
        self._running: dict[tuple[bool, int], tuple[dict[str, Any], float]] = {}
        self.steps_done = 0
        self.results: tuple[StepResult, ...] = ()
        self.logs: list[messages.LogOpened] = []
        self.runtime_s: float | None = None
        # The network as it was last heard of; what is still to be written of it.
        self.network: dict[str, Any] | None = None
        self.network_is_new = False
        self.metrics: list[documents.LinkMetrics] = []
        self._links = LinkReport()
        self._captures: dict[str, _Capture] = {}
        self._nat64: dict[str, dict[str, int]] = {}
        self._failure_state: documents.FailureState | None = None
        self._packet_files: list[documents.PacketCaptureFile] = []
        # Of the packet capture, by node.
        self.packets_missed: dict[str, int] = {}
        self._started_at: datetime | None = None
        self._ended_at: datetime | None = None
        self._started_s = 0.0

    @property
    def step(self) -> dict[str, Any] | None:
        return next((fields for fields, _ in self._running.values()), None)

    @property
    def step_started_s(self) -> float:
        return next((started_s for _, started_s in self._running.values()), 0.0)

    @property
    def steps_beside(self) -> int:
        """How many steps run at the same time as `step`."""
        return max(len(self._running) - 1, 0)

    @property
    def elapsed_s(self) -> float:
        """How long the sim runs or ran."""
        if self.runtime_s is not None:
            return self.runtime_s
        return time.monotonic() - self._started_s if self._started_at else 0.0

    def start(self) -> None:
        """The sim is running."""
        self._started_at, self._started_s = datetime.now(UTC), time.monotonic()
        self.status = Status.RUNNING

    def take(self, message: messages.AnyMessage) -> messages.Event | None:
        """Learns from a message; returns the event that it brings."""
        match message:
            case messages.Event():
                self._follow(message)
                return message
            case messages.Dropped():
                return messages.Event(messages.event_time(), "events_dropped", {"events": message.events})
            case messages.Captures():
                for key, growth in message.values.items():
                    self._captures.setdefault(key, _Capture()).grow(growth)
            case messages.Results():
                self.results = message.steps
            case messages.Network():
                self.network, self.network_is_new = message.state, True
            case messages.Links():
                added = link_metrics(self._links, message.report)
                self.metrics.append(
                    documents.LinkMetrics(timestamp=message.timestamp, interval_s=message.interval_s, links=added)
                )
                self._links = message.report
            case messages.LogOpened():
                self.logs.append(message)
            case messages.Finished():
                self.is_finished, self.failure = True, message.failure
        return None

    def end(self, failure: Failure | None) -> None:
        """The sim is over. `failure` counts when the sandbox gave no verdict of its own."""
        if not self.is_finished:
            self.failure = failure
        self.runtime_s = self.elapsed_s
        self._ended_at = datetime.now(UTC)
        if self.failure is None:
            self.status = Status.OK
        else:
            self.status = _PHASE_STATUS.get(self.failure.phase, Status.ERROR)

    def summary(self) -> documents.SimSummary:
        """The sim as the manifest lists it."""
        return documents.SimSummary(
            sim=self.plan.name,
            attempt=self.plan.attempt,
            sim_dir=self.sim_dir,
            source=self.plan.source,
            matrix=self.plan.matrix,
            status=self.status,
            runtime_ms=_ms(self.runtime_s),
            sim_json=f"{self.sim_dir}/sim.json",
            error=self.failure.message.partition("\n")[0] if self.failure else None,
        )

    def combined(self, run: str) -> documents.CombinedSim:
        """The sim as combined-results.json lists it."""
        return documents.CombinedSim(
            run=run,
            sim_dir=self.sim_dir,
            sim=self.plan.name,
            attempt=self.plan.attempt,
            status=self.status,
            matrix=self.plan.matrix,
            steps=self.results,
        )

    def results_document(self) -> documents.SimResults:
        """results.json"""
        captures = {key: capture.document() for key, capture in self._captures.items()}
        return documents.SimResults(sim=self.plan.name, status=self.status, steps=self.results, captures=captures)

    def sim_document(self) -> documents.Sim:
        """sim.json"""
        output = self.failure.output if self.failure else ()
        return documents.Sim(
            sim=self.plan.name,
            attempt=self.plan.attempt,
            sim_dir=self.sim_dir,
            status=self.status,
            matrix=self.plan.matrix,
            started_at=_time(self._started_at),
            ended_at=_time(self._ended_at),
            runtime_ms=_ms(self.runtime_s),
            steps_done=self.steps_done,
            setup=_setup(self.plan),
            logs=tuple(_log(opened) for opened in self.logs),
            links=_links(self._links),
            nat64=self._nat64,
            packet_captures=self._packet_captures(),
            failure_state=self._failure_state,
            error_line=output[-1] if output else None,
            error=_error(self.failure) if self.failure else None,
            on_failure_errors=tuple(self.notes),
        )

    def network_head(self, opid: int) -> documents.NetworkState:
        """What state.json says beside the network's own fields; `opid` is the last event's."""
        now = document_time(datetime.now(UTC))
        return documents.NetworkState(sim=self.plan.name, status=self.status, opid=opid, updated_at=now)

    def _follow(self, event: messages.Event) -> None:
        if event.kind == "step_started":
            self._running[_step_key(event)] = (event.fields, self.elapsed_s)
        elif event.kind == "step_finished":
            self._running.pop(_step_key(event), None)
            self.steps_done += not event.fields.get("on_failure", False)
        elif event.kind == "step_failed":
            self._running.pop(_step_key(event), None)
            if event.fields.get("on_failure"):
                self.notes.append(_error(msgspec.convert(event.fields, Failure)))
        elif event.kind in ("sim_paused", "sim_resumed"):
            self.is_paused = event.kind == "sim_paused"
        elif event.kind == "nat64_statistics":
            self._nat64[event.fields["router"]] = {
                name: count for name, count in event.fields.items() if name != "router"
            }
        elif event.kind == "packets_captured":
            self._packet_files.append(documents.PacketCaptureFile(**event.fields))
        elif event.kind == "failure_state_kept":
            self._failure_state = documents.FailureState(**event.fields)
        elif event.kind == "packets_missed":
            self.packets_missed[event.fields["node"]] = event.fields["packets"]

    def _packet_captures(self) -> documents.PacketCaptures | None:
        if not self._packet_files:
            return None
        return documents.PacketCaptures(files=tuple(self._packet_files), missed=self.packets_missed)


def _step_key(event: messages.Event) -> tuple[bool, int]:
    return bool(event.fields.get("on_failure")), int(event.fields.get("step", 0))


class _Capture:
    """A capture as it grew so far."""

    def __init__(self) -> None:
        self.value = ""
        self.history: deque[str] = deque(maxlen=HISTORY_LIMIT)
        self.count = 0

    def grow(self, growth: messages.CaptureGrowth) -> None:
        self.value, self.count = growth.value, growth.count
        self.history.extend(growth.added)

    def document(self) -> documents.CaptureDocument:
        history = tuple(self.history)
        if self.count <= len(history):
            return documents.CaptureDocument(value=self.value, history=history)
        return documents.CaptureDocument(value=self.value, history=history, count=self.count, cut=True)


def _setup(plan: Plan) -> documents.Setup:
    return documents.Setup(
        sim_path=plan.source,
        topology_ref=plan.topology_name,
        topology_mode="external" if plan.topology_name else "inline",
        routers=len(plan.topology.routers),
        devices=len(plan.topology.devices),
        regions=len(plan.topology.regions),
        steps=len(plan.steps),
    )


def _links(report: LinkReport) -> documents.Links | None:
    if report.engine is None:
        return None
    return documents.Links(engine=report.engine, statistics=tuple(map(compact_link, report.statistics)))


def _error(failure: Failure) -> documents.SimError:
    step = None
    if failure.step is not None:
        step = documents.FailedStep(
            index=failure.step,
            action=failure.action,
            id=failure.id or None,
            device=failure.device or None,
            origin=failure.origin or None,
        )
    return documents.SimError(
        phase=failure.phase,
        message=failure.message,
        step=step,
        output=failure.output,
        traceback=failure.traceback or None,
    )


def _log(opened: messages.LogOpened) -> documents.Log:
    return documents.Log(node=opened.node, kind=opened.stream, path=opened.path, step=opened.step or None)


def _time(moment: datetime | None) -> str | None:
    return documents.document_time(moment) if moment else None


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
