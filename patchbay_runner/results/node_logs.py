"""The logs in a lab's record: `<kind>.<node>.tracing.jsonl` and `<kind>.<node>.events.jsonl`, and the lab's own."""

from __future__ import annotations

import logging
import os
import weakref
from pathlib import Path

from patchbay_runner.results.files import Owner, append, open_append
from patchbay_runner.results.log_lines import event_line, tracing_line
from patchbay_runner.results.names import file_name

# What belongs to no node.
LAB = "lab"
_TRACING, _EVENTS = SUFFIXES = (".tracing.jsonl", ".events.jsonl")


def stem_of(kind: str, node: str) -> str:
    """What the names of a node's logs begin with; `kind` is "device", "router" or "ix"."""
    return file_name(f"{kind}.{node}")


class Log:
    """A file that lines are appended to, each by one write: whoever shares it, a forked child too, tears none.

    It is closed with the last reference to it, so that a thread which still writes never meets another's descriptor.
    """

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self._path = path
        weakref.finalize(self, os.close, descriptor).atexit = False

    def append(self, line: bytes) -> None:
        """Raises HostError."""
        append(self._descriptor, line, self._path)

    def duplicate(self) -> int:
        """Another descriptor of it, which the caller closes."""
        return os.dup(self._descriptor)


class NodeLogs:
    """The logs of a record, each made when it is first written to. Any thread may write."""

    def __init__(self, directory: Path, owner: Owner | None = None) -> None:
        self._directory = directory
        self._owner = owner
        self._logs: dict[tuple[str, str], Log] = {}

    def add(self, stem: str, record: logging.LogRecord) -> None:
        """Adds a record, and the event that it may be. Raises HostError."""
        self._log(stem, _TRACING).append(tracing_line(record))
        event = event_line(record)
        if event is not None:
            self._log(stem, _EVENTS).append(event)

    def open(self, stem: str) -> tuple[int, int]:
        """Descriptors of both logs of a node, for another process; the caller closes them. Raises HostError."""
        return self._log(stem, _TRACING).duplicate(), self._log(stem, _EVENTS).duplicate()

    def close(self) -> None:
        """Removes the logs that nothing was written to."""
        logs, self._logs = self._logs, {}
        for stem, suffix in logs:
            path = self._directory / f"{stem}{suffix}"
            if path.exists() and path.stat().st_size == 0:
                path.unlink()

    def _log(self, stem: str, suffix: str) -> Log:
        log = self._logs.get((stem, suffix))
        if log is None:
            path = self._directory / f"{stem}{suffix}"
            # No lock, which a forked child might find taken: of two threads, one opens in vain.
            log = self._logs.setdefault((stem, suffix), Log(open_append(path, self._owner), path))
        return log


class OpenLogs:
    """The two logs of one node, given by descriptor, which it takes over."""

    def __init__(self, tracing: int, events: int) -> None:
        self._tracing = Log(tracing, Path(f"the node's{_TRACING}"))
        self._events = Log(events, Path(f"the node's{_EVENTS}"))

    def add(self, _stem: str, record: logging.LogRecord) -> None:
        """As `NodeLogs.add`. Raises HostError."""
        self._tracing.append(tracing_line(record))
        event = event_line(record)
        if event is not None:
            self._events.append(event)


def remove_logs(directory: Path) -> None:
    """Removes what an earlier record has left in its place."""
    for suffix in SUFFIXES:
        for path in directory.glob(f"*.*{suffix}"):
            path.unlink()
        (directory / f"{LAB}{suffix}").unlink(missing_ok=True)
