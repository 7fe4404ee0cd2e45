"""`patchbay _worker-run`: one sim on a worker of a cluster, in a process of its own, which has no other thread.

Standard input brings a request, then a line for each time that somebody asks the sim to stop; its end is the end of the
worker. Standard output takes the message stream. Exit code 4 says that no sandbox can be made, with the reason on
standard error.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import traceback
from contextlib import ExitStack

import click
import msgspec

from patchbay_runner.cli.sandboxed import ENTRY_NAME, PROBE_NAME, SimJob, probe_netem, run_sim
from patchbay_runner.cli.sandboxes import probe_engine, start_sandbox
from patchbay_runner.cli.supervision import Interruption, Supervisor, make_pipe
from patchbay_runner.cluster.orders import Command, Request, Suitability
from patchbay_runner.errors import HostError
from patchbay_runner.kernel.sandbox import Zygote
from patchbay_runner.lab.environment import program_environment
from patchbay_runner.model.recording import Failure
from patchbay_runner.results import messages
from patchbay_runner.results.sim_state import SimState

_INPUT, _OUTPUT = 0, 1
_EXIT_DEFECT = 3
_REQUEST_BYTES, _STOPS_BYTES = 1 << 20, 4096


class Relay:
    """A record that passes everything on, and knows as much of the sim as its supervisor asks."""

    def __init__(self, job: SimJob) -> None:
        self.state = SimState(job.plan, "")
        self._decoder = msgspec.json.Decoder(messages.AnyMessage)
        self._torn = b""

    def feed(self, chunk: bytes) -> list[messages.Event]:
        """Waits when home is slow, and lets the sandbox wait with it."""
        _write(chunk)
        *lines, self._torn = (self._torn + chunk).split(b"\n")
        for line in lines:
            self.state.take(self._decoder.decode(line))
        return []

    def end(self, failure: Failure | None) -> None:
        """Gives the verdict that the sandbox did not."""
        if not self.state.is_finished:
            # What was torn off would swallow the verdict.
            _write((b"\n" if self._torn else b"") + msgspec.json.encode(messages.Finished(failure)) + b"\n")


@click.command(hidden=True)
def _worker_run() -> int:
    """Runs a sim for a worker."""
    try:
        _answer(*_read_request())
    except HostError as error:
        click.echo(msgspec.json.encode({"problem": error.problem, "remedy": error.remedy}), err=True)
        return error.exit_code
    except Exception:  # noqa: BLE001 - the boundary of this process: home is shown what nobody expected
        click.echo(traceback.format_exc(), err=True)
        return _EXIT_DEFECT
    return 0


def _answer(request: Request, stops: int) -> None:
    with Zygote.start({ENTRY_NAME: run_sim, PROBE_NAME: probe_netem}) as zygote:
        if not bytes(request.job):
            _write(msgspec.json.encode(_suitability(request.commands, zygote)))
        else:
            asyncio.run(_run(msgspec.json.decode(request.job, type=SimJob), zygote, stops))


def _read_request() -> tuple[Request, int]:
    """The request, and how often the sim was asked to stop by then."""
    received = b""
    while b"\n" not in received and (chunk := os.read(_INPUT, _REQUEST_BYTES)):
        received += chunk
    line, _, stops = received.partition(b"\n")
    return msgspec.json.decode(line, type=Request), stops.count(b"\n")


def _suitability(commands: tuple[Command, ...], zygote: Zygote) -> Suitability:
    has_netem = probe_engine(zygote)
    path = program_environment(os.environ)["PATH"]
    lacking = {each.name for each in commands if shutil.which(each.name, path=each.path or path) is None}
    problem = f"there is no program {', '.join(sorted(lacking))} on its PATH" if lacking else ""
    return Suitability(problem=problem, has_netem=has_netem)


async def _run(job: SimJob, zygote: Zygote, stops: int) -> None:
    interruption = Interruption(stops)
    asyncio.get_running_loop().add_reader(_INPUT, _read_stops, interruption)
    reader, writer = make_pipe()
    with ExitStack() as stack:
        stack.callback(os.close, reader)
        sandbox = start_sandbox(zygote, job, writer)
        supervisor = Supervisor(sandbox, reader, Relay(job), interruption, job.timeout_s)
        await supervisor.watch(lambda _events: None)


def _read_stops(interruption: Interruption) -> None:
    """A line is a request to stop. At the end of the input the worker is gone, and nobody waits for the sim."""
    stops = os.read(_INPUT, _STOPS_BYTES)
    if not stops:
        asyncio.get_running_loop().remove_reader(_INPUT)
    for _ in range(stops.count(b"\n") if stops else 2):
        interruption.request()


def _write(data: bytes) -> None:
    """Whole. A worker that is gone reads no more, and its end stops the sim."""
    try:
        while data:
            data = data[os.write(_OUTPUT, data) :]
    except BrokenPipeError:
        return
