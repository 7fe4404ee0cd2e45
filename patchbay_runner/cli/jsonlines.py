"""`patchbay run --json`: what happens, for machines, one JSON object a line on standard output."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from patchbay_runner.cli.streams import ForgivingOutput
from patchbay_runner.errors import PatchbayError
from patchbay_runner.model.recording import Failure
from patchbay_runner.results.messages import Event
from patchbay_runner.results.run import RunDirectory
from patchbay_runner.results.sim import SimRecord

if TYPE_CHECKING:
    from patchbay_runner.cli.progress import View

SCHEMA = 1
_EXIT_DEFECT = 3
_EXIT_INTERRUPTED = 130


class JsonLines:
    """Writes the lines of a run. The last says how the block around it ended: set `exit_code` before that."""

    def __init__(self) -> None:
        self.exit_code: int | None = None
        self._run: RunDirectory | None = None
        self._stream = ForgivingOutput(sys.stdout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._run is None:
            return
        code = self.exit_code if error is None else _code_of(error)
        self.write("run_finished", run=self._run.path.name, exit_code=code)

    def begin(self, run: RunDirectory) -> None:
        """Says where the record is and which sims there are."""
        self._run = run
        simulations = [sim.state.summary() for sim in run.sims]
        self.write("run_started", schema=SCHEMA, run=run.path.name, directory=str(run.path), simulations=simulations)

    def view(self, seen: View) -> View:
        """A view that writes what it is told and passes it on to `seen`, which people look at."""
        return _JsonView(self, seen)

    def write(self, kind: str, **fields: Any) -> None:
        """One line, at once: whoever reads waits for it."""
        line = msgspec.json.encode({"type": kind, **fields}).decode()
        self._stream.write(f"{line}\n")
        self._stream.flush()


def _code_of(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return _EXIT_INTERRUPTED
    return error.exit_code if isinstance(error, PatchbayError) else _EXIT_DEFECT


class _JsonView:
    """Writes, and passes on."""

    def __init__(self, lines: JsonLines, seen: View) -> None:
        self._lines = lines
        self._seen = seen

    def started(self, sim: SimRecord) -> None:
        """`sim_started`"""
        self._lines.write("sim_started", sim=sim.state.plan.name, sim_dir=sim.directory.name)
        self._seen.started(sim)

    def happened(self, sim: SimRecord, events: Sequence[Event]) -> None:
        """An `event` for each, as in events.jsonl."""
        for event in events:
            head = {"timestamp": event.timestamp, "kind": event.kind}
            self._lines.write("event", sim_dir=sim.directory.name, event={**head, **event.fields, **head})
        self._seen.happened(sim, events)

    def paused(self, sim: SimRecord, failure: Failure, how: Sequence[str]) -> None:
        """The event has said it."""
        self._seen.paused(sim, failure, how)

    def ended(self, sim: SimRecord) -> None:
        """`sim_finished`, with what the manifest and sim.json say."""
        document = sim.state.sim_document()
        self._lines.write("sim_finished", simulation=sim.state.summary(), error=document.error)
        self._seen.ended(sim)

    def stopping(self) -> None:
        """The user asked to stop: each sim says so when it ends."""
        self._seen.stopping()

    def note(self, text: str) -> None:
        """For people only: what machines need of it is in the events."""
        self._seen.note(text)

    def tick(self) -> None:
        """Nothing happened."""
        self._seen.tick()

    def close(self) -> None:
        """Closes the other view."""
        self._seen.close()
