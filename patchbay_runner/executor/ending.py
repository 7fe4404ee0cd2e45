"""Ending what still runs: terminate, then kill, whole process groups."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable

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
    alive = [process for process in processes if process.group_is_alive()]
    if not alive:
        return
    for process in alive:
        process.signal_group(signal.SIGTERM)
        # A stopped program gets the signal only when it goes on.
        process.signal_group(signal.SIGCONT)
    alive = await _wait(alive, grace_s)
    for process in alive:
        process.signal_group(signal.SIGKILL)
    await _wait(alive, _KILL_PATIENCE_S)


async def _wait(processes: list[Process], patience_s: float) -> list[Process]:
    """What is still alive when all have ended, when the time is over, or when the task is cancelled."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_s
    pause_s = _FIRST_POLL_S
    alive = processes
    while (alive := [process for process in alive if process.group_is_alive()]) and loop.time() < deadline:
        try:
            await asyncio.sleep(pause_s)
        except asyncio.CancelledError:
            break
        pause_s = min(pause_s * 1.5, _LONGEST_POLL_S)
    return alive
