"""What runs inside the sandbox of a program's lab: its agent, and the record that it keeps where one is wanted."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import msgspec

from patchbay_runner.errors import LabError
from patchbay_runner.kernel.sandbox import SandboxContext
from patchbay_runner.lab.agent import Agent, serve_sandbox
from patchbay_runner.lab.environment import program_environment
from patchbay_runner.lab.lab import LabOptions
from patchbay_runner.model.capture import PacketCapture
from patchbay_runner.results.files import Owner
from patchbay_runner.results.lab_record import LabRecord
from patchbay_runner.results.packetfiles import PacketFiles

# How often the state is looked at; it is written when it has changed.
_STATE_INTERVAL_S = 0.25


class RecordJob(msgspec.Struct, frozen=True):
    """The record that is to be kept: where, what the lab is called, and what is captured of its packets."""

    directory: str
    label: str
    owner: Owner | None
    capture: PacketCapture | None = None


def serve_recorded(context: SandboxContext) -> int:
    """A sandbox's entry: serves a lab's commands until nobody asks any more. The payload is a RecordJob or nothing."""
    environment = program_environment(os.environ)
    if not context.payload:
        asyncio.run(serve_sandbox(Agent(environment, LabOptions(open_files=context.open_files)), context))
        return 0
    job = msgspec.json.decode(context.payload, type=RecordJob)
    record = LabRecord(Path(job.directory), job.label, job.owner)
    keeper = PacketFiles(Path(job.directory), job.capture, job.owner) if job.capture else None
    agent = Agent(environment, LabOptions(emit=record.emit, open_files=context.open_files, keeper=keeper))
    asyncio.run(_serve(agent, context, record))
    record.close()
    return 0


async def _serve(agent: Agent, context: SandboxContext, record: LabRecord) -> None:
    recording = asyncio.create_task(_keep(agent, record))
    try:
        await serve_sandbox(agent, context)
    finally:
        recording.cancel()
        with suppress(LabError):  # as below
            agent.lab.end_capture()
        _write_state(agent, record)


async def _keep(agent: Agent, record: LabRecord) -> None:
    while True:
        await asyncio.sleep(_STATE_INTERVAL_S)
        _write_state(agent, record)


def _write_state(agent: Agent, record: LabRecord) -> None:
    with suppress(LabError):  # there is no network yet, or none came of it
        state = agent.lab.take_state()
        if state is not None:
            record.state(state)
