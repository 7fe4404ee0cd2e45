"""Which programs run in a node, seen from outside, by what they see of the file system."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

_PROC = Path("/proc")
_START_TIME = 19  # of proc_pid_stat(5), counted from what follows the name in brackets


class RunningProgram(msgspec.Struct, frozen=True):
    """`pid` is the caller's number of it, `pid_inside` the sandbox's; `age_s` how long it runs."""

    node: str
    pid: int
    pid_inside: int
    age_s: float
    argv: tuple[str, ...]


def programs_in(mounts: Mapping[int, str]) -> list[RunningProgram]:
    """The programs of nodes, given by the inodes of their mount namespaces; by node as given, oldest first."""
    found = [program for pid in _pids() if (program := _look_at(pid, mounts)) is not None]
    order = {node: position for position, node in enumerate(mounts.values())}
    return sorted(found, key=lambda program: (order[program.node], -program.age_s, program.pid))


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir(_PROC) if name.isdecimal())  # noqa: PTH208 - names are all that is needed


def _look_at(pid: int, mounts: Mapping[int, str]) -> RunningProgram | None:
    process = _PROC / str(pid)
    try:
        node = mounts.get((process / "ns" / "mnt").stat().st_ino)
        if node is None:
            return None
        argv = (process / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        numbers = next(line for line in (process / "status").read_text().splitlines() if line.startswith("NSpid:"))
        started = int((process / "stat").read_text().rpartition(")")[2].split()[_START_TIME])
        uptime_s = float((_PROC / "uptime").read_text().split()[0])
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None  # it has ended, or is somebody else's
    if argv == [b""]:
        return None  # a zombie
    age_s = max(0.0, uptime_s - started / os.sysconf("SC_CLK_TCK"))
    return RunningProgram(node, pid, int(numbers.split()[-1]), age_s, tuple(map(os.fsdecode, argv)))
