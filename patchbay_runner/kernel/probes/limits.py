"""How much of everything this host lets us have. Pure: what is read comes through `Read`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath

import msgspec

from patchbay_runner.kernel import remedies
from patchbay_runner.kernel.probes.records import Probe, fine

Read = Callable[[str], str | None]

# Below these a lab of some tens of nodes, each with a program or two, is in danger.
_FEW_PROCESSES = 512
_LITTLE_MEMORY_MIB = 512
_FEW_OPEN_FILES = 4096
_TOO_FEW_OPEN_FILES = 64  # the runner itself
_FEW_INSTANCES = 32
_FEW_NEIGHBOURS = 1024  # what kernels come with
_FEW_NAMESPACES = 256

_FILES_OF_A_NODE = 3
_MIB = 1024 * 1024
_UNLIMITED_BYTES = 1 << 60  # cgroup v1 writes no limit as the largest number of whole pages
_CGROUP_ROOT = "/sys/fs/cgroup"
_NEIGHBOUR_SETTINGS = ("net.ipv4.neigh.default.gc_thresh3", "net.ipv6.neigh.default.gc_thresh3")


class _Room(msgspec.Struct, frozen=True):
    """What a control group leaves of one resource: `file` holds the limit."""

    left: int
    limit: int
    file: str


class Resource(msgspec.Struct, frozen=True):
    """A resource that control groups limit: the files of version 2 and of version 1, and systemd's property."""

    controller: str
    v2: tuple[str, str]
    v1: tuple[str, str]
    property: str
    container_option: str


PIDS = Resource("pids", ("pids.max", "pids.current"), ("pids.max", "pids.current"), "TasksMax", "--pids-limit=-1")
MEMORY = Resource(
    "memory",
    ("memory.max", "memory.current"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    "MemoryMax",
    "a larger --memory",
)


def control_groups(read: Read) -> list[Probe]:
    """What the control groups that we are in leave of processes and memory."""
    return [_pids(_tightest(PIDS, read)), _memory(_tightest(MEMORY, read))]


def _pids(room: _Room | None) -> Probe:
    if room is None:
        return fine("cgroup pids", "no limit")
    text = f"{room.left:,} more processes of {room.limit:,}"
    if room.left >= _FEW_PROCESSES:
        return fine("cgroup pids", text)
    meaning = "a sim takes some five processes and those of its steps; beyond the limit, programs cannot start"
    return _weaker("cgroup pids", text, meaning, _raise_cgroup(PIDS, room))


def _memory(room: _Room | None) -> Probe:
    if room is None:
        return fine("cgroup memory", "no limit")
    text = f"{room.left // _MIB:,} MiB left of {room.limit // _MIB:,}"
    if room.left >= _LITTLE_MEMORY_MIB * _MIB:
        return fine("cgroup memory", text)
    meaning = "a sim takes some 60 MiB and what its programs take; beyond the limit, the kernel kills one of them"
    return _weaker("cgroup memory", text, meaning, _raise_cgroup(MEMORY, room))


def _tightest(resource: Resource, read: Read) -> _Room | None:
    return min(_rooms(resource, read), key=lambda room: room.left, default=None)


def _rooms(resource: Resource, read: Read) -> Iterator[_Room]:
    """What each group from ours to the root leaves, where it has a limit."""
    for line in (read("/proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            bases, files = (_CGROUP_ROOT, f"{_CGROUP_ROOT}/unified"), resource.v2
        elif resource.controller in controllers.split(","):
            bases, files = (f"{_CGROUP_ROOT}/{controllers}", f"{_CGROUP_ROOT}/{resource.controller}"), resource.v1
        else:
            continue
        group = PurePosixPath(path)
        for base in bases:
            for level in (group, *group.parents):
                directory = base + str(level).rstrip("/")
                limit, used = (read(f"{directory}/{name}") or "" for name in files)
                if limit.isdigit() and int(limit) < _UNLIMITED_BYTES:
                    spent = int(used) if used.isdigit() else 0
                    yield _Room(max(0, int(limit) - spent), int(limit), f"{directory}/{files[0]}")


def _raise_cgroup(resource: Resource, room: _Room) -> str:
    unit = PurePosixPath(room.file).parent.name
    if unit.endswith((".slice", ".scope", ".service")):
        return remedies.as_root(f"systemctl set-property --runtime {unit} {resource.property}=infinity")
    if PurePosixPath(room.file).parent == PurePosixPath(_CGROUP_ROOT):
        return f"start the container with {resource.container_option}"
    limit = "-1" if room.file.endswith("limit_in_bytes") else "max"
    return f"echo {limit} | {remedies.as_root(f'tee {room.file}')}"


def open_files(soft_and_hard: tuple[int, int]) -> Probe:
    """RLIMIT_NOFILE: a sandbox raises its own to the hard limit, or beyond where it may."""
    _, hard = soft_and_hard
    if hard < 0 or hard >= _FEW_OPEN_FILES:
        return fine("open files", "no limit" if hard < 0 else f"{hard:,} a process")
    limits = "/etc/security/limits.d/60-patchbay.conf"
    keep = f'echo "$(id -un) hard nofile 524288" | {remedies.as_root(f"tee {limits}")}, then log in again'
    is_enough = hard >= _TOO_FEW_OPEN_FILES
    nodes = f"labs of at most {hard // 4:,} nodes or so" if is_enough else "too few for a lab"
    return Probe(
        name="open files",
        verdict="weaker" if is_enough else "missing",
        found=f"{hard:,} a process",
        meaning=f"a node takes {_FILES_OF_A_NODE} and a running program 2: {nodes}",
        remedy=f"{keep}; as root in this shell: ulimit -n 524288",
        is_needed=True,
    )


def inotify(instances: int, read: Read) -> Probe:
    """`instances` is how many could be made just now, of as many as somebody tried."""
    limit = read("/proc/sys/fs/inotify/max_user_instances")
    watches = read("/proc/sys/fs/inotify/max_user_watches")
    found = f"{limit or 'an unknown number of'} instances and {watches or 'an unknown number of'} watches a user"
    if instances >= _FEW_INSTANCES:
        return fine("inotify", found)
    meaning = f"only {instances} more can be made; programs that follow files (tail -f, file watchers) fail beyond them"
    return _weaker("inotify", found, meaning, remedies.set_sysctl("fs.inotify.max_user_instances", 1024))


def neighbours(setting: remedies.ReadSetting) -> Probe:
    """The neighbour tables are shared by all network namespaces; the settings show in the first one only."""
    values = [setting(name) for name in _NEIGHBOUR_SETTINGS]
    known = [int(value) for value in values if value is not None and value.isdigit()]
    if not known:
        return fine("neighbour tables", "the sizes are not visible from here (a container)")
    found = " and ".join(f"{value:,}" for value in known) + " entries (IPv4, IPv6), for all namespaces of the host"
    if min(known) >= _FEW_NEIGHBOURS:
        return fine("neighbour tables", found)
    meaning = "when devices of one LAN talk to each other in greater numbers, first packets are lost"
    command = remedies.as_root("sysctl -w " + " ".join(f"{name}=16384" for name in _NEIGHBOUR_SETTINGS))
    return _weaker("neighbour tables", found, meaning, command)


def namespaces(setting: remedies.ReadSetting, kinds: Sequence[str]) -> Probe:
    """How many namespaces of the `kinds` that a lab makes a user may have: a node has one of each of three kinds."""
    limits = {kind: setting(f"user.max_{kind}_namespaces") for kind in kinds}
    numbers = {kind: int(value) for kind, value in limits.items() if value is not None and value.isdigit()}
    if not numbers:
        return fine("namespaces", "no limit is known")
    kind = min(numbers, key=lambda each: numbers[each])
    found = f"user.max_{kind}_namespaces is {numbers[kind]:,}"
    if numbers[kind] >= _FEW_NAMESPACES:
        return fine("namespaces", found)
    command = remedies.set_sysctl(f"user.max_{kind}_namespaces", 65536)
    if numbers[kind] == 0:
        meaning = "a lab needs at least one of each kind"
        return Probe(name="namespaces", verdict="missing", found=found, meaning=meaning, remedy=command, is_needed=True)
    return _weaker("namespaces", found, f"labs of fewer than {numbers[kind]:,} nodes", command)


def _weaker(name: str, found: str, meaning: str, remedy: str) -> Probe:
    return Probe(name=name, verdict="weaker", found=found, meaning=meaning, remedy=remedy)
