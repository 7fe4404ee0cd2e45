"""What the sandbox side reports while it works: the seam between the executor and the run directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from patchbay_runner.model.links import LinkReport
from patchbay_runner.model.steps import Stream

# History keeps the newest values only; `count` says how many there were.
HISTORY_LIMIT = 10_000


class CaptureValue(msgspec.Struct, frozen=True, omit_defaults=True):
    """A capture's latest value, its newest values in order, and how many were recorded. Cut when count is larger."""

    value: str
    history: tuple[str, ...]
    count: int

    @property
    def is_cut(self) -> bool:
        return self.count > len(self.history)


class StepResult(msgspec.Struct, frozen=True, kw_only=True):
    """Normalised results of a step, as text of numbers: seconds, bytes, milliseconds. None was not captured."""

    id: str
    duration: str | None = None
    up_bytes: str | None = None
    down_bytes: str | None = None
    latency_ms: str | None = None


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a sim failed. The step is counted from 0.

    `phase` is one of lab, step, timeout, overloaded, interrupted, host, worker, internal. `may_be_lateness` says
    whether frames that were late could be the reason.
    """

    phase: str
    message: str
    step: int | None = None
    action: str = ""
    id: str = ""
    device: str = ""
    origin: str = ""
    output: tuple[str, ...] = ()
    traceback: str = ""
    may_be_lateness: bool = False


class Recorder(Protocol):
    """Where the executor and the lab report. Methods do not block on a slow reader for long and never raise for one."""

    def emit(self, kind: str, /, **fields: Any) -> None:
        """Adds an event with the next opid and the current time. Fields are what JSON can hold."""

    def open_log(self, node: str, step: str, stream: Stream) -> int:
        """A descriptor (O_APPEND, close-on-exec) of `nodes/<node>/<step>.<stream>.log`; the caller closes it."""

    def open_node_log(self, node: str, stream: Stream) -> int:
        """A descriptor of `nodes/<node>/<stream>.log`, the node's output in order; the caller closes it."""

    def log_path(self, node: str, step: str, stream: Stream) -> Path:
        """Where `open_log` writes, absolute."""

    def write_file(self, relative: str, content: bytes, mode: int = 0o644) -> Path:
        """Writes a file below the sim's directory, atomically; returns its absolute path."""

    def captures(self, values: dict[str, CaptureValue]) -> None:
        """Reports captures that changed since the last call."""

    def network(self, state: dict[str, Any]) -> None:
        """Reports the network as it is now, in what JSON can hold."""

    def links(self, report: LinkReport, interval_s: float) -> None:
        """Reports what has become of the packets of impaired links so far; they were last counted `interval_s` ago."""

    def results(self, results: Sequence[StepResult]) -> None:
        """Reports all normalised results so far."""

    def finished(self, failure: Failure | None) -> None:
        """The sim is over; None is success. Nothing is reported after it."""
