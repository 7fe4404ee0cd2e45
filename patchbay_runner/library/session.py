"""One lab's sandbox, and everything in this process that ends with it."""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from patchbay_runner.errors import LabError
from patchbay_runner.lab.client import LabClient
from patchbay_runner.library import logs
from patchbay_runner.library.entered import has_entered
from patchbay_runner.library.insiders import Insider
from patchbay_runner.library.keeper import lab_sandbox
from patchbay_runner.library.recorded import RecordJob
from patchbay_runner.library.workers import Worker, WorkerLogs
from patchbay_runner.model.logfilter import LogFilter
from patchbay_runner.model.topology import Topology
from patchbay_runner.results.lab_record import Outcome, conclude
from patchbay_runner.results.node_logs import NodeLogs, stem_of

# How long the agent has to write the record's last words.
_PATIENCE_S = 5.0


class Closable(Protocol):
    """Something that is to end with the lab."""

    def close(self) -> None: ...


_C = TypeVar("_C", bound=Closable)


class Session:
    """A sandbox with a network, shared by the handles of its nodes. Safe to use from several threads."""

    def __init__(self, topology: Topology, seed: int | None, record: RecordJob | None) -> None:
        self._record = record
        # Before anything is made: it may be malformed.
        self._directives = "" if record is None else logs.directives(os.environ)
        self._logs: NodeLogs | None = None
        self._sink: logs.Sink | None = None
        self._lock = threading.Lock()
        self._workers: dict[str, Worker | Insider] = {}
        self.runs_in_process = has_entered()
        self._closables: list[Closable] = []
        self._is_closed = False
        self._sandbox = lab_sandbox(b"" if record is None else msgspec.json.encode(record))
        self.client = LabClient(self._sandbox.control)
        try:
            self.client.build(topology, seed)
        except BaseException:
            self.close()
            raise
        if record is not None:  # whose directory has been cleared by now
            self._logs = NodeLogs(Path(record.directory), record.owner)
            self._sink = logs.Sink(self._logs, LogFilter.parse(self._directives))
            logs.begin(self._sink)

    def node_state(self, kind: str, name: str) -> dict[str, Any]:
        """What the lab's state says of one of its "routers" or "devices". Raises LabError when it is not there."""
        found: dict[str, Any] | None = self.client.state()[kind].get(name)
        if found is None:
            raise LabError(f"there is no such {kind.removesuffix('s')}", name)
        return found

    def closed_with_it(self, closable: _C) -> _C:
        """Ends it with the lab at the latest."""
        self._closables.append(closable)
        return closable

    def code_of(self, kind: str, node: str) -> AbstractContextManager[None]:
        """What this thread or task logs in the block belongs to a node."""
        return logs.code_of(self._sink, stem_of(kind, node))

    def worker(self, kind: str, node: str) -> Worker | Insider:
        """What runs code in the node, from the first call on; another when that has ended."""
        with self._lock:
            worker = self._workers.get(node)
            if worker is not None and worker.has_ended:
                worker.close()
                worker = None
            if worker is None:
                worker = self._workers[node] = self._new_worker(kind, node)
            return worker

    def close(self, outcome: Outcome = "stopped") -> None:
        """Ends everything; returns when nothing of it runs any more. `outcome` is what the record says of it."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        for closable in reversed(self._closables):
            closable.close()
        for worker in self._workers.values():
            worker.close()
        if self._sink is not None and self._logs is not None:
            logs.end(self._sink)
            self._logs.close()
        self.client.close()
        if self._record is not None:
            with suppress(TimeoutError):
                self._sandbox.wait(_PATIENCE_S)
        self._sandbox.close()
        if self._record is not None:
            conclude(Path(self._record.directory), outcome, self._record.owner)

    def _new_worker(self, kind: str, node: str) -> Worker | Insider:
        if self.runs_in_process:
            return Insider(self.client, node, lambda: self.code_of(kind, node))
        return Worker(self.client, node, self._worker_logs(kind, node))

    def _worker_logs(self, kind: str, node: str) -> WorkerLogs | None:
        if self._logs is None:
            return None
        return WorkerLogs(self._directives, self._logs.open(stem_of(kind, node)))
