"""What the sandbox side tells the parent: one JSON object a line, told apart by `type`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from patchbay_runner.model.links import LinkReport
from patchbay_runner.model.recording import Failure, StepResult
from patchbay_runner.model.steps import Stream


class Message(msgspec.Struct, frozen=True, tag_field="type"):
    """The root of all messages."""


class Event(Message, frozen=True, tag="event"):
    """Something happened. The parent numbers events in the order in which they arrive."""

    timestamp: str
    kind: str
    fields: dict[str, Any] = {}


class Dropped(Message, frozen=True, tag="dropped"):
    """So many events were left out because the parent read too slowly."""

    events: int


class CaptureGrowth(msgspec.Struct, frozen=True):
    """A capture's latest value, the values that history gained since the last message, and how many it had ever."""

    value: str
    added: tuple[str, ...]
    count: int


class Captures(Message, frozen=True, tag="captures"):
    """Captures that changed."""

    values: dict[str, CaptureGrowth]


class Results(Message, frozen=True, tag="results"):
    """All normalised results so far."""

    steps: tuple[StepResult, ...]


class Network(Message, frozen=True, tag="network"):
    """The network as it is now."""

    state: dict[str, Any]


class Links(Message, frozen=True, tag="links"):
    """What has become of the packets of impaired links so far. They were last counted `interval_s` ago."""

    timestamp: str
    interval_s: float
    report: LinkReport


class LogOpened(Message, frozen=True, tag="log"):
    """A log file began. `step` is "" for the node's own log; `path` is relative to the sim's directory."""

    node: str
    step: str
    stream: Stream
    path: str


class Finished(Message, frozen=True, tag="finished"):
    """The sim is over; nothing comes after it."""

    failure: Failure | None = None


AnyMessage = Event | Dropped | Captures | Results | Network | Links | LogOpened | Finished


def event_time() -> str:
    """The current time as events carry it: RFC 3339, UTC, microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
