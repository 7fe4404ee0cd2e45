"""What the terminal shows while sims run: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from patchbay_runner.cli.text import counted, elapsed, printable
from patchbay_runner.cli.wording import action_text, failure_place, step_text, verdict_text
from patchbay_runner.model.recording import Failure
from patchbay_runner.results.documents import Status
from patchbay_runner.results.messages import Event
from patchbay_runner.results.sim import SimRecord
from patchbay_runner.results.sim_state import SimState

# Without a terminal, a step that takes longer says so this often.
_STILL_RUNNING_S = 30.0
_LONGEST_REASON = 200
# The overview, and the line that the cursor is in.
_LINES_BELOW = 2
_FRAMES, _ASCII_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "|/-\\"


class View(Protocol):
    """Is told what happens, in order."""

    def started(self, sim: SimRecord) -> None:
        """A sim begins."""

    def happened(self, sim: SimRecord, events: Sequence[Event]) -> None:
        """Events of a running sim."""

    def paused(self, sim: SimRecord, failure: Failure, how: Sequence[str]) -> None:
        """A sim has failed and waits for people; `how` tells them what to do."""

    def ended(self, sim: SimRecord) -> None:
        """A sim is over; its verdict is known."""

    def stopping(self) -> None:
        """The user asked to stop."""

    def note(self, text: str) -> None:
        """Something that people should know of the run."""

    def tick(self) -> None:
        """Some time has passed."""

    def close(self) -> None:
        """Nothing more comes; leaves the terminal as it should be."""


def open_view(console: Console, sims: Sequence[SimRecord], *, is_verbose: bool, can_redraw: bool) -> View:
    """The view that fits the console."""
    lines = Lines(console, sims, is_verbose=is_verbose)
    return LiveView(lines) if can_redraw else PlainView(lines)


class Lines:
    """The lines that stay on the screen."""

    def __init__(self, console: Console, sims: Sequence[SimRecord], *, is_verbose: bool) -> None:
        self.console = console
        self.sims = sims
        self._is_verbose = is_verbose
        self._numbers = {id(sim): number for number, sim in enumerate(sims, 1)}

    def print_started(self, sim: SimRecord) -> None:
        self._print(sim, Text.assemble("started ", (f"({sim.state.plan.source})", "dim")))

    def print_events(self, sim: SimRecord, events: Sequence[Event]) -> None:
        """What fails in `on_failure`, which no verdict tells; with --verbose steps and captures."""
        for event in events:
            if event.kind == "step_failed" and event.fields.get("on_failure"):
                reason = printable(str(event.fields.get("message"))).partition("\n")[0][:_LONGEST_REASON]
                self._print(sim, Text(f"{step_text(event.fields, 0)} failed: {reason}", "dim"))
            elif not self._is_verbose:
                continue
            elif event.kind == "step_started":
                self._print(sim, Text(step_text(event.fields, len(sim.state.plan.steps))))
            elif event.kind == "capture_recorded":
                self._print(sim, Text(printable(f"{event.fields.get('key')} = {event.fields.get('value')}"), "dim"))

    def print_still_running(self, sim: SimRecord, step: dict[str, Any], since_s: float) -> None:
        text = step_text(step, len(sim.state.plan.steps))
        self._print(sim, Text(f"still in {text}, for {elapsed(since_s)}", "dim"))

    def print_ended(self, sim: SimRecord) -> None:
        state = sim.state
        verdict = Text.assemble(verdict_text(state.status))
        if state.failure is None:
            verdict.append(f", {counted(state.steps_done, 'step')} in {elapsed(state.elapsed_s)}")
        else:
            place = failure_place(state.failure, len(state.plan.steps))
            verdict.append(f" after {elapsed(state.elapsed_s)} {place}")
        if state.status in (Status.ERROR, Status.OVERLOADED) and state.failure:
            verdict.append(f": {printable(state.failure.message).partition(chr(10))[0][:_LONGEST_REASON]}")
        self._print(sim, verdict)
        if state.packets_missed:
            missed = counted(sum(state.packets_missed.values()), "packet")
            self._print(
                sim, Text(f"{missed} came too fast to be captured, at {', '.join(state.packets_missed)}", "yellow")
            )

    def print_note(self, text: str) -> None:
        self.console.print(Text(printable(text), "dim"), soft_wrap=True)

    def print_paused(self, sim: SimRecord, failure: Failure, how: Sequence[str]) -> None:
        reason = printable(failure.message).partition("\n")[0][:_LONGEST_REASON]
        place = failure_place(failure, len(sim.state.plan.steps))
        self._print(sim, Text.assemble(verdict_text(Status.ERROR), f" {place}: {reason}; its network stays up"))
        for line in how:
            self.console.print(Text(f"  {printable(line)}"), soft_wrap=True)

    def print_stopping(self) -> None:
        self.console.print("stopping; once more ends it at once", style="yellow")

    def _print(self, sim: SimRecord, text: Text) -> None:
        width = len(str(len(self.sims)))
        number = Text(f"[{self._numbers[id(sim)]:>{width}}/{len(self.sims)}] ", "dim")
        line = Text.assemble(number, (sim.state.plan.title, "bold"), ": ", text)
        self.console.print(line, soft_wrap=True)


class PlainView:
    """For pipes and CI: nothing is ever overwritten."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._said_s: dict[int, float] = {}

    def started(self, sim: SimRecord) -> None:
        """Prints the sim's name and file."""
        self._lines.print_started(sim)

    def happened(self, sim: SimRecord, events: Sequence[Event]) -> None:
        """Prints what --verbose asks for."""
        self._lines.print_events(sim, events)
        if any(event.kind == "step_started" for event in events):
            self._said_s[id(sim)] = sim.state.elapsed_s

    def paused(self, sim: SimRecord, failure: Failure, how: Sequence[str]) -> None:
        """Prints what to do."""
        self._lines.print_paused(sim, failure, how)

    def ended(self, sim: SimRecord) -> None:
        """Prints the verdict."""
        self._lines.print_ended(sim)

    def stopping(self) -> None:
        """Says that it was heard."""
        self._lines.print_stopping()

    def note(self, text: str) -> None:
        """Prints it."""
        self._lines.print_note(text)

    def tick(self) -> None:
        """Tells about a step that takes long."""
        for sim in self._lines.sims:
            state = sim.state
            if state.status is not Status.RUNNING or state.step is None:
                continue
            now, said = state.elapsed_s, self._said_s.get(id(sim), 0.0)
            if now - said >= _STILL_RUNNING_S:
                self._said_s[id(sim)] = now
                self._lines.print_still_running(sim, state.step, now - state.step_started_s)

    def close(self) -> None:
        """Leaves everything as it is."""


class LiveView:
    """For a terminal: finished sims stay, running ones are redrawn below them."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._ticks = 0
        # Refreshed by `tick`: rich's own refreshing would start a thread.
        self._live = Live(console=lines.console, auto_refresh=False, transient=True)
        self._live.start()

    def started(self, sim: SimRecord) -> None:
        """Shows the sim."""
        self._draw()

    def happened(self, sim: SimRecord, events: Sequence[Event]) -> None:
        """Prints what --verbose asks for; the running step is drawn by the next tick."""
        self._lines.print_events(sim, events)

    def paused(self, sim: SimRecord, failure: Failure, how: Sequence[str]) -> None:
        """Prints what to do."""
        self._lines.print_paused(sim, failure, how)

    def ended(self, sim: SimRecord) -> None:
        """Prints the verdict."""
        self._lines.print_ended(sim)
        self._draw()

    def stopping(self) -> None:
        """Says that it was heard."""
        self._lines.print_stopping()

    def note(self, text: str) -> None:
        """Prints it above what is drawn."""
        self._lines.print_note(text)

    def tick(self) -> None:
        """Redraws what runs."""
        self._ticks += 1
        self._draw()

    def close(self) -> None:
        """Takes the live part away."""
        self._live.stop()

    def _draw(self) -> None:
        self._live.update(self._render(), refresh=True)

    def _render(self) -> Group:
        frames = _FRAMES if self._lines.console.encoding.startswith("utf") else _ASCII_FRAMES
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column()
        table.add_column(justify="right", no_wrap=True)
        table.add_column()
        table.add_column(justify="right", no_wrap=True)
        running = [sim.state for sim in self._lines.sims if sim.state.status is Status.RUNNING]
        for state in running[: max(1, self._lines.console.height - _LINES_BELOW)]:
            table.add_row(Text(frames[self._ticks % len(frames)], "cyan"), *_running_cells(state))
        return Group(table, Text(_overview([sim.state for sim in self._lines.sims], len(running)), "dim"))


def _running_cells(state: SimState) -> list[Text]:
    total = len(state.plan.steps)
    at = f"{min(state.steps_done + 1, total)}/{total}"
    step = _doing(state)
    step += f" and {state.steps_beside} more" if state.steps_beside else ""
    # Cut by the text: a column that may not wrap takes its share of a narrow screen from the others.
    name, step_cell = (Text(*cell, no_wrap=True, overflow="ellipsis") for cell in ((state.plan.title, "bold"), (step,)))
    return [name, Text(at), step_cell, Text(elapsed(state.elapsed_s), "dim")]


def _doing(state: SimState) -> str:
    if state.is_displaced:
        return "waiting for a worker"
    if state.is_paused:
        return "paused"
    if state.step:
        return action_text(state.step)
    return "" if state.steps_done else "building the network"


def _overview(states: Sequence[SimState], running: int) -> str:
    done = [state for state in states if state.status not in (Status.PENDING, Status.RUNNING)]
    failed = sum(state.status is Status.ERROR for state in done)
    text = f"{len(done)} of {counted(len(states), 'sim')} done"
    text += f", {running} running" if running > 1 else ""
    return text + (f", {failed} failed" if failed else "")
