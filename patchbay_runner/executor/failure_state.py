"""What is kept of every node of a sim that has failed, as it is at that moment: `failure-state/<node>/<table>.txt`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

from patchbay_runner.errors import CommandNotFound, LabError, StepError
from patchbay_runner.executor.on_failure import accept_cancellation
from patchbay_runner.executor.session import Session
from patchbay_runner.model.recording import Failure

DIRECTORY = "failure-state"

# What the lab tells by itself, then what programs tell; where one is missing, our own dump of the same table.
_TABLES: tuple[Literal["nftables", "processes"], ...] = ("nftables", "processes")
_PROGRAMS: dict[str, tuple[str, ...]] = {
    "conntrack": ("conntrack", "-L", "-o", "extended"),
    "conntrack-v6": ("conntrack", "-L", "-f", "ipv6", "-o", "extended"),
    "sockets": ("ss", "-a", "-n", "-p", "-e", "-i", "-m", "-t", "-u", "-w"),
    "neighbours": ("ip", "-s", "neighbour"),
    "routes": ("ip", "-4", "route", "show", "table", "all"),
    "routes-v6": ("ip", "-6", "route", "show", "table", "all"),
    "addresses": ("ip", "-d", "-s", "address"),
    "qdiscs": ("tc", "-s", "-d", "qdisc"),
    "counters": ("nstat", "-a", "-z", "-s"),
}
_DUMP = (sys.executable, "-m", "patchbay_runner.kernel.tables")
# Where Debian keeps ip, tc and conntrack, and an ordinary user's PATH does not look.
_SYSTEM_PATH = "/usr/sbin:/sbin"

# All of it together, when the time of the sim is over or will soon be, and each program.
_PATIENCE_S, _LATE_PATIENCE_S = 10.0, 4.0
_PROGRAM_PATIENCE_S = 4.0
_AT_ONCE = 4
_MOST_BYTES = 1_000_000
_MOST_PROBLEMS = 50
_INTERRUPTED = "interrupted"


async def keep_failure_state(session: Session, failure: Failure) -> bool:
    """Keeps what every node's kernel knows, the failed step's device first; what cannot be had is told and left out.

    It takes no longer than `_PATIENCE_S`. An interruption by the user is no failure; one meanwhile ends it: False.
    """
    if not session.options.keeps_failure_state or failure.phase == "interrupted":
        return True
    keeping = _Keeping(session)
    left_s = session.deadline_s - asyncio.get_running_loop().time()
    patience_s = min(_PATIENCE_S, max(left_s, _LATE_PATIENCE_S))
    nodes = sorted(session.network.nodes, key=lambda node: node != failure.device)
    try:
        async with asyncio.timeout(patience_s) as limit:
            await asyncio.gather(*[keeping.keep(node) for node in nodes])
    except TimeoutError:
        if not limit.expired():
            raise
        keeping.problems.append(f"not everything was there within {patience_s:.1f} s")
    except asyncio.CancelledError:
        accept_cancellation()
        keeping.problems.append(_INTERRUPTED)
    problems = tuple(keeping.problems[:_MOST_PROBLEMS])
    session.recorder.emit("failure_state_kept", path=DIRECTORY, files=keeping.files, problems=problems)
    return _INTERRUPTED not in keeping.problems


class _Keeping:
    def __init__(self, session: Session) -> None:
        self.files = 0
        self.problems: list[str] = []
        self._session = session
        self._turns = asyncio.Semaphore(_AT_ONCE)
        search = f"{session.options.environment.get('PATH', os.defpath)}:{_SYSTEM_PATH}"
        self._environment = {**session.options.environment, "PATH": search, "LC_ALL": "C"}

    async def keep(self, node: str) -> None:
        """Every table of a node; a node waits for its turn as a whole, so that those before it are complete."""
        async with self._turns:
            for table in _TABLES:
                with self._telling(node, table):
                    self._write(node, table, self._session.network.node_table(node, table).encode())
            for name, argv in _PROGRAMS.items():
                with self._telling(node, name):
                    self._write(node, name, await self._printed(node, name, argv))

    def _telling(self, node: str, name: str) -> _Telling:
        return _Telling(self.problems, f"{node}/{name}.txt")

    def _write(self, node: str, name: str, content: bytes) -> None:
        if len(content) > _MOST_BYTES:
            content = content[:_MOST_BYTES] + f"\n… cut: {len(content):,} bytes in all\n".encode()
        self._session.recorder.write_file(f"{DIRECTORY}/{node}/{name}.txt", content)
        self.files += 1

    async def _printed(self, node: str, name: str, argv: Sequence[str]) -> bytes:
        output = os.memfd_create(name)
        try:
            try:
                pid = self._start(node, argv, output)
            except CommandNotFound:
                pid = self._start(node, (*_DUMP, name), output)
            problem = await _end_of(pid)
            printed = os.pread(output, os.fstat(output).st_size, 0)
        finally:
            os.close(output)
        if problem:
            last_line = printed.decode(errors="replace").strip().rpartition("\n")[2]
            self.problems.append(f"{node}/{name}.txt: {argv[0]} {problem}" + (f": {last_line}" if last_line else ""))
        return printed

    def _start(self, node: str, argv: Sequence[str], output: int) -> int:
        network, cwd = self._session.network, str(self._session.options.project_root)
        return network.start(node, argv, self._environment, cwd=cwd, stdout=output, stderr=output)


class _Telling:
    """Notes why something could not be had, and goes on."""

    def __init__(self, problems: list[str], what: str) -> None:
        self._problems = problems
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        if isinstance(error, StepError | LabError):
            self._problems.append(f"{self._what}: {error}")
            return True
        return False


async def _end_of(pid: int) -> str:
    """Waits for a program, and kills it when it takes too long; returns what went wrong."""
    loop = asyncio.get_running_loop()
    pidfd = os.pidfd_open(pid)
    ended = asyncio.Event()
    loop.add_reader(pidfd, ended.set)
    waiting = asyncio.ensure_future(ended.wait())
    try:
        await asyncio.wait([waiting], timeout=_PROGRAM_PATIENCE_S)
    finally:
        waiting.cancel()
        loop.remove_reader(pidfd)
        os.close(pidfd)
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    if not ended.is_set():
        return f"was not done within {_PROGRAM_PATIENCE_S:g} s"
    code = os.waitstatus_to_exitcode(status)
    return f"exited with code {code}" if code else ""
