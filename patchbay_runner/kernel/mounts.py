"""The mounts of a sandbox and of a node.

::

    /run                       tmpfs of links to the host's /run, without what leads names and namespaces outside
    /run/patchbay/host/{run,etc}   the host's own, bound; the other entries of / beside them as links, so that relative
                               links such as ../usr/share/zoneinfo still lead where they did
    /run/patchbay/device       the one bind that differs from node to node: hosts, resolv.conf
    /run/patchbay/nodes/NAME   what is bound there
    /run/patchbay/shared       of the sandbox around this one, where there is one
    /etc                       tmpfs of links to the host's /etc, but hosts and resolv.conf lead to the device
    /proc                      of the sandbox's PID namespace
    /sys                       of the network namespace, with the host's /sys/fs/cgroup bound back

Links, not binds, because the host replaces files of /etc by renaming, which a bind over the file does not survive.
An ordinary user can make none of these directories in the host's /run: hence a tmpfs over it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from patchbay_runner.kernel import syscalls
from patchbay_runner.kernel.namespaces import entered, namespace_id, own_namespace
from patchbay_runner.kernel.syscalls import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_REC, MS_SLAVE

OWN_RUN = Path("/run/patchbay")
DEVICE_DIRECTORY = OWN_RUN / "device"
NODES_DIRECTORY = OWN_RUN / "nodes"
HOST_DIRECTORY = OWN_RUN / "host"
SHARED_DIRECTORY = OWN_RUN / "shared"

# Daemons that would answer for the host's network, and the host's named namespaces.
HIDDEN_BELOW_RUN = ("nscd", "systemd/resolve", "avahi-daemon", "netns")

DEFAULT_HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"

_CGROUP = "/sys/fs/cgroup"
_DEVICE_FILES = ("hosts", "resolv.conf")


def prepare_sandbox(hidden_below_run: Sequence[str] = HIDDEN_BELOW_RUN) -> None:
    """Makes all mounts of a sandbox, in its own mount, PID and network namespaces. Raises KernelError."""
    syscalls.mount("", "/", "", MS_SLAVE | MS_REC)
    with ExitStack() as stack:
        kept = {place: stack.enter_context(_copied(source)) for place, source in _kept_directories().items()}
        _mount_tmpfs("/run")
        _make_host_directory()
        for place, fd in kept.items():
            syscalls.move_mount(fd, place)
    _link_run(hidden_below_run)
    write_node_files(DEVICE_DIRECTORY)
    _mount_tmpfs("/etc")
    device_links = {name: str(DEVICE_DIRECTORY / name) for name in _DEVICE_FILES}
    _link_entries(str(HOST_DIRECTORY / "etc"), "/etc", device_links)
    syscalls.mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount_sysfs()


def _kept_directories() -> dict[str, str]:
    """Where directories go that are there already. Links that an outer sandbox has made would lead to themselves."""
    places = [str(HOST_DIRECTORY / "run"), str(HOST_DIRECTORY / "etc")]
    if all(Path(place).is_dir() for place in (*places, str(SHARED_DIRECTORY))):
        return {place: place for place in (*places, str(SHARED_DIRECTORY))}
    return dict(zip(places, ("/run", "/etc"), strict=True))


def share_no_more() -> None:
    """Gives this sandbox, and those made inside, a shared directory of their own. Raises KernelError."""
    _mount_tmpfs(str(SHARED_DIRECTORY))


def write_node_files(directory: Path, hosts: str = DEFAULT_HOSTS, resolv_conf: str = "") -> None:
    """Writes what `/etc/hosts` and `/etc/resolv.conf` of a node lead to; nobody there ever sees half of a file."""
    directory.mkdir(exist_ok=True)
    for name, text in (("hosts", hosts), ("resolv.conf", resolv_conf)):
        beside = directory / f".{name}"
        beside.write_text(text)
        beside.replace(directory / name)


def new_node_mounts(netns: int, directory: Path) -> int:
    """A descriptor of a mount namespace for the node in `netns`, with `directory` bound as its device directory.

    The caller stays where it is. About 0.5 ms, so the lab makes it when a node's first program starts.
    """
    elsewhere = namespace_id(netns) != _own_network_namespace_id()
    with entered(netns), returning_to_own_mounts():
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount(str(directory), str(DEVICE_DIRECTORY), "", MS_BIND)
        if elsewhere:  # the kernel refuses a second mount of the same /sys over the first
            mount_sysfs()
        return own_namespace("mnt")


def _own_network_namespace_id() -> int:
    return Path("/proc/thread-self/ns/net").stat().st_ino


@contextmanager
def returning_to_own_mounts() -> Iterator[None]:
    """Brings the thread back to its mount namespace and working directory, wherever the body took it."""
    home = own_namespace("mnt")
    directory = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield
    finally:
        # Entering a mount namespace also moves the working directory to its root.
        try:
            syscalls.setns(home, syscalls.CLONE_NEWNS)
            os.fchdir(directory)
        finally:
            os.close(home)
            os.close(directory)


def mount_sysfs() -> None:
    """Mounts the /sys of the current network namespace over the present one and binds the cgroups back."""
    flags = _flags_of_mount("/sys")
    if not Path(_CGROUP).is_dir():
        syscalls.mount("sysfs", "/sys", "sysfs", flags)
        return
    with _copied(_CGROUP) as cgroup:
        syscalls.mount("sysfs", "/sys", "sysfs", flags)
        syscalls.move_mount(cgroup, _CGROUP)


def _flags_of_mount(path: str) -> int:
    # The kernel refuses a user namespace a sysfs that is less restricted than the one already visible.
    present = os.statvfs(path).f_flag
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    same = (
        (os.ST_RDONLY, syscalls.MS_RDONLY),
        (os.ST_NOATIME, syscalls.MS_NOATIME),
        (os.ST_NODIRATIME, syscalls.MS_NODIRATIME),
        (os.ST_RELATIME, syscalls.MS_RELATIME),
    )
    return flags | sum(mount_flag for status_flag, mount_flag in same if present & status_flag)


def _mount_tmpfs(target: str) -> None:
    syscalls.mount("patchbay", target, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")


@contextmanager
def _copied(path: str) -> Iterator[int]:
    """The mounts at and below `path`, to be attached elsewhere when `path` has been covered."""
    fd = syscalls.open_tree(path)
    try:
        yield fd
    finally:
        os.close(fd)


def _make_host_directory() -> None:
    host = str(HOST_DIRECTORY)
    own = (OWN_RUN, DEVICE_DIRECTORY, NODES_DIRECTORY, SHARED_DIRECTORY, HOST_DIRECTORY)
    for directory in (*map(str, own), f"{host}/run", f"{host}/etc"):
        os.mkdir(directory)  # noqa: PTH102 - see _link_entries
    for name in os.listdir("/"):  # noqa: PTH208
        if name not in ("run", "etc"):
            os.symlink(f"/{name}", f"{host}/{name}")  # noqa: PTH211


def _link_run(hidden: Sequence[str]) -> None:
    """Links of /run; a hidden directory is empty, and a directory with one below is a directory of links in turn."""
    host = HOST_DIRECTORY / "run"
    parents = {parent for path in hidden for parent in Path(path).parents if parent != Path()}
    own = {*hidden, *map(str, parents), OWN_RUN.name}
    for directory in (Path(), *sorted(parents)):
        if not (host / directory).is_dir():
            continue
        target = Path("/run") / directory
        target.mkdir(exist_ok=True)
        names = {Path(path).name: None for path in own if Path(path).parent == directory}
        _link_entries(str(host / directory), str(target), names)
    for path in hidden:
        if (host / path).is_dir():
            (Path("/run") / path).mkdir(parents=True, exist_ok=True)


def _link_entries(source: str, target: str, special: Mapping[str, str | None]) -> None:
    """Fills `target` with links to the entries of `source`, links copied as they are.

    `special` names entries that lead elsewhere, whether or not `source` has them; None leaves one out.
    """
    # Hundreds of entries in every sandbox, of which there are many: Path objects would double the time.
    with os.scandir(source) as entries:
        links = {
            entry.name: os.readlink(entry.path) if entry.is_symlink() else f"{source}/{entry.name}"  # noqa: PTH115
            for entry in entries
        }
    for name, link in {**links, **special}.items():
        if link is not None:
            os.symlink(link, f"{target}/{name}")  # noqa: PTH211
