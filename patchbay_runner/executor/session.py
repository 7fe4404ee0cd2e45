"""What the steps of one sim share while they run."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchbay_runner.executor.captures import CaptureStore
from patchbay_runner.executor.emptylogs import EmptyLogs
from patchbay_runner.executor.interpolation import Resolver
from patchbay_runner.executor.network import Network
from patchbay_runner.executor.nodelogs import NodeLogs
from patchbay_runner.executor.output import DirectOutput
from patchbay_runner.executor.process import Channel, Process
from patchbay_runner.executor.reporting import CaptureReporter, NetworkReporter
from patchbay_runner.executor.results import step_result
from patchbay_runner.model.plan import Plan
from patchbay_runner.model.recording import Recorder, StepResult
from patchbay_runner.model.steps import DEFAULT_TIMEOUT_S, ProcessStep, Step, Stream
from patchbay_runner.parsers import LINE_LIMIT, Values

# How often the output of long-lived programs reaches the node's log, and captures reach the recorder.
_TICK_S = 0.5


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run a plan. `binaries` holds resolved paths; `timeout_s` None lets the sim take as long as it takes.

    `grace_s` is how long programs have between SIGTERM and SIGKILL when the sim ends. `pause` is awaited when the sim
    has failed, with its network and programs as they are. With `keeps_failure_state` a sim that fails leaves what its
    nodes' kernels knew.
    """

    project_root: Path
    environment: Mapping[str, str]
    binaries: Mapping[str, str]
    timeout_s: float | None = None
    grace_s: float = 1.0
    pause: Callable[[], Awaitable[object]] | None = None
    keeps_failure_state: bool = False


class Session:
    """One sim in progress. It observes its processes."""

    def __init__(self, plan: Plan, network: Network, recorder: Recorder, options: RunOptions) -> None:
        self.plan = plan
        self.network = network
        self.recorder = recorder
        self.options = options
        self.captures = CaptureStore()
        self.node_logs = NodeLogs(recorder)
        self.empty_logs = EmptyLogs()
        self.reporter = CaptureReporter(self.captures, recorder)
        self.network_reporter = NetworkReporter(network, recorder)
        self.processes: dict[str, Process] = {}
        # When the time of the sim is over, on the loop's clock.
        self.deadline_s = math.inf
        if options.timeout_s is not None:
            self.deadline_s = asyncio.get_running_loop().time() + options.timeout_s
        # The step that runs, counted from 0.
        self.position = 0
        # What a callback of the loop raised; it ends the sim.
        self.defect: BaseException | None = None
        self._results: dict[str, StepResult] = {}
        self._variables: Mapping[str, str] | None = None
        self._environment: dict[str, str] = {}
        self._timer: asyncio.TimerHandle | None = None

    def resolver(self, step: Step) -> Resolver:
        """What the texts of `step` mean from now on."""
        timeout_s = DEFAULT_TIMEOUT_S if step.timeout_s is None else step.timeout_s
        return Resolver(self.network.variables(), self.options.binaries, self.captures, timeout_s)

    def environment(self) -> Mapping[str, str]:
        """The environment of every program, with the network's variables as they are now."""
        variables = self.network.variables()
        if variables is not self._variables:
            self._variables = variables
            self._environment = {**self.options.environment, **variables}
        return self._environment

    def add(self, process: Process) -> None:
        """Takes a started process in."""
        self.processes[process.step.id] = process
        self.captures.add_producer(process.step.id, process)

    def record(self, step_id: str, values: Mapping[str, str]) -> None:
        """Records captures that a step makes itself."""
        for name, value in values.items():
            self.captures.record(f"{step_id}.{name}", (value,))

    def collect_results(self, step: ProcessStep) -> None:
        """Reports the step's normalised results. Raises StepError when a value is not a number."""
        if step.results is None:
            return
        result = step_result(step.id, step.results, self.captures)
        if result is not None and result != self._results.get(step.id):
            self._results[step.id] = result
            self.recorder.results(tuple(self._results.values()))

    # What processes tell: see process.Observer.

    def captured(self, process: Process, values: Values) -> None:
        for name, found in values.items():
            self.captures.record(f"{process.step.id}.{name}", found)

    def ended(self, process: Process) -> None:
        step = process.step
        elapsed = f"{process.elapsed_s:.6f}"
        self.record(step.id, {"exit_code": str(process.exit_code), "elapsed_s": elapsed})
        self.captures.settle(step.id)
        for stream, channel in process.channels.items():
            self._note_output(process, stream, channel)
        self.recorder.emit(
            "process_exited", id=step.id, device=process.device, exit_code=process.exit_code, elapsed_s=float(elapsed)
        )

    def output_ended(self, process: Process) -> None:
        self.captures.settle(process.step.id)

    def start_ticking(self) -> None:
        """Begins the regular work beside the steps, at once with the network as it is."""
        self.network_reporter.report()
        self._schedule_tick()

    def _schedule_tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_TICK_S, self._tick)

    def stop_ticking(self) -> None:
        """Ends it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Reads what is left of all outputs and reports the last captures. Raises StepError when the disk is full."""
        for process in self.processes.values():
            process.close()
        self.reporter.report(is_last=True)

    def _tick(self) -> None:
        self._schedule_tick()
        for process in self.processes.values():
            # An ended program may have left a child that goes on writing.
            if process.group_is_alive():
                process.poll_output()
        self.reporter.report()
        self.network_reporter.report()

    def _note_output(self, process: Process, stream: Stream, channel: Channel) -> None:
        step, output = process.step, channel.output
        if isinstance(output, DirectOutput):
            if output.is_empty:
                self.empty_logs.offer(process.device, stream, channel.path)
        elif output.cut_lines:
            fields: dict[str, Any] = {"id": step.id, "device": process.device, "stream": stream}
            self.recorder.emit("lines_cut", **fields, lines=output.cut_lines, limit_bytes=LINE_LIMIT)
