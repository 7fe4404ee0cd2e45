"""`run`, `spawn` and `wait-for`: programs started, and waited for."""

from __future__ import annotations

import asyncio
import os

from patchbay_runner.errors import StepError, StepTimeout
from patchbay_runner.executor.interpolation import Resolver
from patchbay_runner.executor.output import DirectOutput, Output, PumpedOutput
from patchbay_runner.executor.process import Channel, Process, abandon
from patchbay_runner.executor.readiness import watched
from patchbay_runner.executor.session import Session
from patchbay_runner.model.steps import DEFAULT_TIMEOUT_S, ExpectedExit, ProcessStep, Run, Spawn, Stream, WaitFor
from patchbay_runner.parsers import stream_parser

_STREAMS: tuple[Stream, ...] = ("stdout", "stderr")


async def run(session: Session, step: Run, resolver: Resolver) -> None:
    """Starts the program and waits for its end."""
    process = await start(session, step, resolver)
    if step.timeout_s is None:
        await process.finished.wait()
    else:
        await _until_finished(process, resolver.deadline_s, step.timeout_s)
    conclude(session, process, step.expect_exit)


async def spawn(session: Session, step: Spawn, resolver: Resolver) -> None:
    """Starts the program, waits until it is ready and leaves it running."""
    readiness = await watched(session, step, resolver)
    process = await start(session, step, resolver)
    if readiness is not None:
        await readiness.reached(process)
    if step.ready_after_s:
        await asyncio.sleep(step.ready_after_s)


async def wait_for(session: Session, step: WaitFor, resolver: Resolver) -> None:
    """Waits for the end of a spawned program."""
    process = spawned(session, step.id)
    timeout_s = DEFAULT_TIMEOUT_S if step.timeout_s is None else step.timeout_s
    await _until_finished(process, resolver.deadline_s, timeout_s)
    conclude(session, process, step.expect_exit)


def spawned(session: Session, step_id: str) -> Process:
    """The program of a spawn step. Raises StepError when there is none."""
    process = session.processes.get(step_id)
    if process is None:
        raise StepError(f"no step {step_id!r} has been spawned")
    return process


def conclude(session: Session, process: Process, expected: ExpectedExit | None) -> None:
    """Judges how an ended program ended, by its own step where `expected` is None, and collects its results."""
    if expected is not None or not process.is_stopped:
        process.check_exit(process.step.expect_exit if expected is None else expected)
    session.collect_results(process.step)


async def _until_finished(process: Process, deadline_s: float, timeout_s: float) -> None:
    if process.finished.is_set():
        return
    try:
        async with asyncio.timeout_at(deadline_s) as limit:
            await process.finished.wait()
    except TimeoutError as error:
        if not limit.expired():
            raise
        message = f"{process.step.id} did not end within {timeout_s:g} s"
        raise StepTimeout(message, process.last_lines()) from error


async def start(session: Session, step: ProcessStep, resolver: Resolver) -> Process:
    """Starts the step's program; its logs are appended to when it was started before."""
    argv = await resolver.command(step.cmd)
    if not argv:
        raise StepError("the command is empty")
    environment = session.environment()
    if step.env:
        environment = {**environment, **await resolver.mapping(step.env)}
    device = await resolver.text(step.device)
    cwd = session.options.project_root
    channels = _open_channels(session, step, device)
    try:
        pid = session.network.start(
            device,
            argv,
            environment,
            cwd=str(cwd if step.cwd is None else cwd / step.cwd),
            stdout=channels["stdout"].output.child_end,
            stderr=channels["stderr"].output.child_end,
        )
    except BaseException:
        abandon(channels)
        raise
    process = Process(step, device=device, pid=pid, channels=channels, observer=session)
    session.add(process)
    session.recorder.emit("process_started", id=step.id, device=device, pid=pid, argv=argv)
    return process


def _open_channels(session: Session, step: ProcessStep, device: str) -> dict[Stream, Channel]:
    channels: dict[Stream, Channel] = {}
    try:
        for stream in _STREAMS:
            channels[stream] = _open_channel(session, step, device, stream)
    except ValueError as error:
        abandon(channels)
        raise StepError(f"{step.id}: {error}") from error
    return channels


def _open_channel(session: Session, step: ProcessStep, device: str, stream: Stream) -> Channel:
    parser = stream_parser(step.parser, step.captures, stream)
    path = session.recorder.log_path(device, step.id, stream)
    if step.id in session.processes:
        session.empty_logs.part(path)
    else:
        session.empty_logs.provide(device, stream, path)
    log = session.recorder.open_log(device, step.id, stream)
    start = os.fstat(log).st_size
    node_log = session.node_logs.source(device, stream)
    output: Output
    output = DirectOutput(log, path, start, node_log) if parser is None else PumpedOutput(log, node_log, parser)
    return Channel(output, path, start)
