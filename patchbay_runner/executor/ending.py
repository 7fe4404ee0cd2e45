"""Ending what still runs: terminate, then kill, whole process groups."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable
from contextlib import suppress

from patchbay_runner.executor.process import Process

# A killed process is gone at once unless the kernel holds it (a dead network file system, say); then it stays behind
# for the end of the sandbox.
_KILL_PATIENCE_S = 2.0
_FIRST_POLL_S = 0.001
_LONGEST_POLL_S = 0.02


async def end_processes(processes: Iterable[Process], grace_s: float) -> None:
    """Sends SIGTERM to every process group, and SIGKILL to those that are left after `grace_s`.

    A cancellation meanwhile ends the patience, not the work.
    """
    alive = _alive(processes)
    if not alive:
        return
    _terminate(alive, signal.SIGTERM)
    with suppress(asyncio.CancelledError):
        await _wait(alive, grace_s)
    alive = _alive(alive)
    for process in alive:
        process.signal_group(signal.SIGKILL)
    with suppress(asyncio.CancelledError):
        await _wait(alive, _KILL_PATIENCE_S)


async def stop_process(process: Process, signum: int, grace_s: float) -> bool:
    """Sends `signum` to a process group, and SIGKILL to what is left after `grace_s`; False if that does not help.

    A cancellation leaves the rest to the end of the sim.
    """
    _terminate([process], signum)
    await _wait([process], grace_s)
    if process.group_is_alive():
        process.signal_group(signal.SIGKILL)
        await _wait([process], _KILL_PATIENCE_S)
    return process.exit_code is not None


def _alive(processes: Iterable[Process]) -> list[Process]:
    return [process for process in processes if process.group_is_alive()]


def _terminate(processes: Iterable[Process], signum: int) -> None:
    for process in processes:
        process.signal_group(signum)
        # A stopped program gets the signal only when it goes on.
        process.signal_group(signal.SIGCONT)


async def _wait(processes: list[Process], patience_s: float) -> None:
    """Returns when all have ended, or when the time is over."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_s
    pause_s = _FIRST_POLL_S
    alive = processes
    while (alive := _alive(alive)) and loop.time() < deadline:
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _LONGEST_POLL_S)
