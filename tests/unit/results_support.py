"""A run directory with made-up sims, fed as a sandbox would."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from patchbay_runner.model.plan import Plan
from patchbay_runner.model.recording import Failure
from patchbay_runner.model.steps import Wait
from patchbay_runner.results.recorder import SandboxRecorder
from patchbay_runner.results.sim import SimRecord

PIPE_BYTES = 1 << 20


def plan(name: str = "relay", **fields: Any) -> Plan:
    """A plan of two steps."""
    return Plan(name=name, source=f"sims/{name}.toml", steps=(Wait(duration_s=1), Wait(duration_s=2)), **fields)


def step_failure(**fields: Any) -> Failure:
    """The second step, a `run fetcher` on `client`, failed."""
    place = {"step": 1, "action": "run", "id": "fetcher", "device": "client", "origin": "sims/relay.toml:7"}
    return Failure(**{"phase": "step", "message": "fetcher exited with code 3", **place, **fields})


@contextmanager
def recorder_of(sim: SimRecord) -> Iterator[SandboxRecorder]:
    """A recorder whose messages reach `sim` when the block ends."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    try:
        yield SandboxRecorder(sim.directory, writer)
    finally:
        os.close(writer)
    with os.fdopen(reader, "rb") as messages:
        sim.feed(messages.read())


def read_json(path: Path) -> Any:
    """A document."""
    return json.loads(path.read_bytes())


def read_events(path: Path) -> list[dict[str, Any]]:
    """The events of a sim."""
    return [json.loads(line) for line in (path / "events.jsonl").read_bytes().splitlines()]
