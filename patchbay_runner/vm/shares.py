"""The directories that host and guest share: by virtiofs where its daemon works, else 9p, else as copies."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import msgspec

from patchbay_runner.errors import HostError
from patchbay_runner.model.vm import Sharing
from patchbay_runner.vm import processes
from patchbay_runner.vm.programs import find_virtiofsd
from patchbay_runner.vm.settings import Settings
from patchbay_runner.vm.share import Share
from patchbay_runner.vm.state import State, tail

_TAGS = ("app", "target", "work")
_READY_WITHIN_S = 10.0
_POLL_S = 0.02
_PATIENCE_S = 5.0
# What 9p moves at once; the kernel allows so much over virtio.
_MESSAGE_BYTES = 512_000


class Daemon(msgspec.Struct, frozen=True):
    """A virtiofsd, and how this version of it is told things."""

    program: Path
    is_old: bool
    can_refuse_writing: bool

    def command(self, shared: Share, socket: Path, sandbox: str) -> list[str]:
        """How a directory is shared at a socket. The first one, in C, has other options than its successor."""
        if self.is_old:
            options = ["-o", f"source={shared.host}", "-o", f"sandbox={sandbox}", "-o", "cache=auto", "-f"]
            return [str(self.program), f"--socket-path={socket}", *options]
        refusing = [] if shared.is_writable else ["--readonly"]
        places = ["--socket-path", str(socket), "--shared-dir", str(shared.host)]
        return [str(self.program), *places, "--sandbox", sandbox, "--cache", "auto", *refusing]


def wanted(settings: Settings) -> tuple[Share, ...]:
    """What the guest is to see of the host. Directories that are not there yet are made, but for the project's own."""
    shares = (
        Share("app", settings.workspace, "/app"),
        Share("target", settings.target, "/target"),
        Share("work", settings.work, "/work", is_writable=True),
    )
    for share in shares:
        try:
            share.host.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HostError(
                f"cannot make {share.host}, which the guest sees as {share.guest}: {error.strerror}"
            ) from error
    return shares


def offer(settings: Settings, state: State, qemu: Path, lock: int) -> tuple[Share, ...]:
    """Starts what sharing needs, and says how each directory is shared.

    Raises HostError when the way that was asked for does not work.
    """
    shares = wanted(settings)
    if settings.sharing == "copy":
        return tuple(_shared(share, "copy") for share in shares)
    daemon, without = (None, "") if settings.sharing == "9p" else _daemon(settings, qemu)
    has_9p = settings.sharing != "virtiofs" and has_device(qemu, "virtio-9p-pci")
    offered = []
    for share in shares:
        why_not = without if daemon is None else _serve(daemon, share, state, lock)
        if daemon is not None and not why_not:
            offered.append(_shared(share, "virtiofs"))
        elif settings.sharing == "virtiofs":
            raise HostError(f"{share.host} cannot be shared by virtiofs: {why_not}", "leave --sharing out")
        elif has_9p:
            offered.append(_shared(share, "9p", why_not))
        elif settings.sharing == "9p":
            raise HostError(f"{qemu} was built without 9p", "leave --sharing out")
        else:
            offered.append(_shared(share, "copy", f"{why_not}; {qemu.name} was built without 9p"))
    return tuple(offered)


def end(state: State) -> None:
    """Ends the daemons. They end by themselves with QEMU, but for those whose QEMU never came."""
    for tag in _TAGS:
        processes.end(state.note_of(tag), str(state.share_socket(tag)), _PATIENCE_S)


def mounting(shares: tuple[Share, ...], user: str) -> str:
    """The script that brings the directories into the guest; run by root."""
    lines = []
    for share in shares:
        access = "rw" if share.is_writable else "ro"
        if share.by == "copy":
            # Of an earlier boot: what was copied then may be gone from the host.
            lines.append(f"rm -rf {share.guest} && mkdir {share.guest} && chown {user} {share.guest}")
            continue
        lines.append(f"mkdir -p {share.guest}")
        options = f"trans=virtio,version=9p2000.L,msize={_MESSAGE_BYTES},{access}" if share.by == "9p" else access
        mount = f"mount -t {share.by} -o {options} {share.tag} {share.guest}"
        lines.append(f"mountpoint -q {share.guest} || {mount}")
    return " && ".join(lines)


def has_device(qemu: Path, device: str) -> bool:
    """Whether QEMU was built with a device."""
    asked = [str(qemu), "-machine", "none", "-device", f"{device},help"]
    return subprocess.run(asked, capture_output=True, stdin=subprocess.DEVNULL, check=False).returncode == 0


def _shared(share: Share, by: Sharing, passed_over: str = "") -> Share:
    return msgspec.structs.replace(share, by=by, passed_over=passed_over)


def _daemon(settings: Settings, qemu: Path) -> tuple[Daemon | None, str]:
    """The daemon, or why there is none."""
    program = find_virtiofsd(settings)
    if program is None:
        return None, "no virtiofsd"
    if not has_device(qemu, "vhost-user-fs-pci"):
        return None, f"{qemu.name} was built without virtiofs"
    told = subprocess.run([str(program), "--help"], capture_output=True, text=True, check=False)
    options = told.stdout + told.stderr
    return Daemon(program, "--shared-dir" not in options, "--readonly" in options), ""


def _serve(daemon: Daemon, share: Share, state: State, lock: int) -> str:
    """Why a directory cannot be shared by the daemon; "" when it is. Its ways to lock itself in are tried in turn."""
    if not share.is_writable and not daemon.can_refuse_writing:
        return f"{daemon.program} cannot share read-only"
    socket, note, log = state.share_socket(share.tag), state.note_of(share.tag), state.directory / "virtiofsd.log"
    mark = str(socket)
    for sandbox in ("namespace", "chroot" if os.getuid() == 0 else "none"):
        pid = processes.start(daemon.command(share, socket, sandbox), note, log, lock)
        deadline = time.monotonic() + _READY_WITHIN_S
        while processes.exit_code(pid) is None and not socket.exists() and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        # It may listen and end all the same, for what it may not do comes after.
        if socket.exists() and not processes.has_ended(note, mark, _POLL_S * 5):
            return ""
        processes.end(note, mark, _PATIENCE_S)
        socket.unlink(missing_ok=True)
    last = tail(log, 1).strip().removeprefix("│").strip()
    return f"{daemon.program} did not start: {last or 'it says nothing'}"
