"""What a run could leave behind: processes in its namespaces, interfaces, mounts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_KINDS = ("user", "pid", "mnt", "net", "ipc", "uts")


@dataclass(frozen=True, slots=True)
class Host:
    """The mount points and interfaces outside of all sandboxes."""

    mounts: frozenset[str]
    interfaces: frozenset[str]

    def more_than(self, before: Host) -> list[str]:
        """What is here and was not before."""
        return sorted([*self.mounts - before.mounts, *self.interfaces - before.interfaces])


def host() -> Host:
    """How it is now."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    interfaces = frozenset(path.name for path in Path("/sys/class/net").iterdir())
    return Host(frozenset(line.split()[4] for line in lines), interfaces)


@dataclass(frozen=True, slots=True)
class Inhabitant:
    """A process, told from a later one with the same number by when it started."""

    pid: int
    started: str

    @property
    def is_alive(self) -> bool:
        return _start_time(self.pid) == self.started


def foreign_namespaces(pids: Iterable[int]) -> frozenset[str]:
    """The namespaces that processes are in or hold open, as `net:[4026531840]`, less those that we have to do with."""
    found = {name for pid in pids for name in _namespaces(pid)}
    return frozenset(found - set(_namespaces(os.getpid())))


def inhabitants(namespaces: frozenset[str]) -> frozenset[Inhabitant]:
    """The processes that are in one of `namespaces` or hold one open, whatever their environment says.

    To be asked while something holds the namespaces: the kernel gives their numbers away again at once.
    """
    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    users = [pid for pid in pids if not namespaces.isdisjoint(_namespaces(pid))]
    return frozenset(Inhabitant(pid, started) for pid in users if (started := _start_time(pid)))


def children(pid: int) -> list[int]:
    """The children of a single-threaded process; none when it is gone."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _namespaces(pid: int) -> Iterator[str]:
    process = Path(f"/proc/{pid}")
    links = [process / "ns" / kind for kind in _KINDS]
    # What has ended meanwhile has none, and what is another user's is not ours to look into.
    with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        links += (process / "fd").iterdir()
    for link in links:
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            target = str(link.readlink())
            if target.partition(":")[0] in _KINDS:
                yield target


def _start_time(pid: int) -> str:
    """Field 22 of proc_pid_stat(5), in ticks since boot; "" for a process that is gone.

    A zombie is gone: it holds nothing, and when it is the host's own init that collects an orphan, that may take its
    time.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]
