"""When a spawned program is ready: what is looked at before its start, and then until it has changed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Hashable, Mapping

from patchbay_runner.errors import StepTimeout
from patchbay_runner.executor.interpolation import Resolver
from patchbay_runner.executor.process import Process
from patchbay_runner.executor.session import Session
from patchbay_runner.model.steps import Readiness, Spawn

_FIRST_POLL_S = 0.01
_LONGEST_POLL_S = 0.1
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")

# What there is now of what is waited for.
Probe = Callable[[], frozenset[Hashable]]


class Watched:
    """What a step's program is waited for by. Made before the program starts: only what is new counts."""

    def __init__(self, session: Session, step: Spawn, resolver: Resolver, missing: str, probe: Probe) -> None:
        self._session = session
        self._step = step
        self._resolver = resolver
        self._missing = missing
        self._probe = probe
        self._before = probe()

    async def reached(self, process: Process) -> None:
        """Returns when the program is ready. Raises StepError when it ends before, StepTimeout, CaptureMissing."""
        wish = self._step.ready_when
        if wish is not None and wish.capture is not None:
            await self._resolver.capture(f"{self._step.id}.{wish.capture}", len(self._before) + 1)
        else:
            await self._poll(process)
        after_s = round(process.age_s(), 6)
        self._session.recorder.emit("process_ready", id=self._step.id, device=process.device, after_s=after_s)

    async def _poll(self, process: Process) -> None:
        loop = asyncio.get_running_loop()
        pause_s = _FIRST_POLL_S
        while True:
            has_ended = process.finished.is_set()
            # A program that forks away ends well, and what it made is there.
            if (not has_ended or process.exit_code == 0) and self._probe() - self._before:
                return
            if has_ended:
                raise process.ended(f" before it was ready: {self._missing}")
            left_s = self._resolver.deadline_s - loop.time()
            if left_s <= 0:
                message = f"{self._step.id} was not ready within {self._resolver.timeout_s:g} s: {self._missing}"
                raise StepTimeout(message, process.last_lines())
            await _ended_within(process, min(pause_s, left_s))
            pause_s = min(pause_s * 1.5, _LONGEST_POLL_S)


async def watched(session: Session, step: Spawn, resolver: Resolver) -> Watched | None:
    """What to wait for once the step's program is started; None when it says nothing of that."""
    wish = step.ready_when
    if wish is None:
        return None
    missing, probe = await _probe(session, step, wish, resolver)
    return Watched(session, step, resolver, missing, probe)


async def _probe(session: Session, step: Spawn, wish: Readiness, resolver: Resolver) -> tuple[str, Probe]:
    network = session.network
    device = await resolver.text(step.device)
    if wish.port is not None:
        port = wish.port
        what = f"nothing new listens on {wish.protocol.upper()} port {port} of {device}"
        return what, lambda: network.listeners(device, wish.protocol, port)
    if wish.file is not None:
        environment = {**network.node_environment(device), **await resolver.mapping(step.env)}
        base = session.options.project_root / (step.cwd or "")
        path = str(base / _expanded(await resolver.text(wish.file), environment))
        return f"there is no new file {path}", lambda: _version(network.file_version(device, path))
    key = f"{step.id}.{wish.capture}"
    return "", lambda: frozenset(range(session.captures.count(key)))


def _version(found: Hashable | None) -> frozenset[Hashable]:
    return frozenset() if found is None else frozenset((found,))


def _expanded(path: str, environment: Mapping[str, str]) -> str:
    """The path with the program's own variables, such as $TMPDIR, which only the node knows."""
    return _VARIABLE.sub(lambda found: environment.get(found[1] or found[2], found[0]), path)


async def _ended_within(process: Process, patience_s: float) -> None:
    try:
        async with asyncio.timeout(patience_s) as limit:
            await process.finished.wait()
    except TimeoutError:
        if not limit.expired():
            raise
