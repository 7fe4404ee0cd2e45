"""From QEMU's start to a guest that answers and sees the host's directories."""

from __future__ import annotations

import os
import time

import msgspec

from patchbay_runner.errors import HostError
from patchbay_runner.vm import connection, disk, ports, processes, qmp, shares
from patchbay_runner.vm.guest import Guest
from patchbay_runner.vm.ssh import Door
from patchbay_runner.vm.state import Running, State, tail, write_record

_QEMU_WITHIN_S = 60.0
_HANDSHAKE_S = 60.0
_POLL_S = 0.2
_LAST_LINES = 20
_PORT_REFUSED = "host forwarding rule"
_LOCKED = 'Failed to get "write" lock'


class PortTaken(HostError):
    """Somebody was quicker to take the port that had been free."""


def launch(command: list[str], state: State, lock: int, port: int) -> None:
    """Starts QEMU and returns when it runs. Raises PortTaken, and HostError with what QEMU says."""
    for log in (state.console, state.qmp):
        log.unlink(missing_ok=True)
    pid = processes.start(command, state.qemu_note, state.log, lock)
    deadline = time.monotonic() + _QEMU_WITHIN_S
    while not qmp.status(state.qmp):
        if processes.exit_code(pid) is not None:
            state.qemu_note.unlink(missing_ok=True)
            raise _refusal(state, port)
        if time.monotonic() > deadline:
            raise HostError(f"QEMU does not answer, after {_QEMU_WITHIN_S:g} s{_said(state)}")
        time.sleep(_POLL_S / 10)


def await_guest(state: State, door: Door, timeout_s: float) -> None:
    """Returns when commands can be run. Raises HostError with the console's last lines."""
    deadline = time.monotonic() + timeout_s
    why = "it does not listen for SSH"
    while True:
        if connection.has_banner(door.port):
            why = connection.open_(door, state.directory / "ssh.log", _HANDSHAKE_S)
            if not why:
                return
        check_running(state)
        if time.monotonic() > deadline:
            problem = f"the guest does not answer, after {timeout_s:g} s: {why}"
            raise HostError(f"{problem}{_said(state)}", "look at what its console says, or patchbay-vm up --recreate")
        time.sleep(_POLL_S)


def check_running(state: State) -> None:
    """Raises HostError when the machine has ended, or stands still because the host's disk is full."""
    if processes.find(state.qemu_note, str(state.qmp)) is None:
        raise HostError(f"the machine has ended{_said(state)}")
    if qmp.status(state.qmp) != "io-error":
        return
    with qmp.Qmp(state.qmp) as control:
        control.ask("cont")  # there may be room again
    time.sleep(_POLL_S)
    if qmp.status(state.qmp) == "io-error":
        raise HostError(f"the machine stands still: {state.disk} cannot grow, the disk is full", "make room on it")


def prepare(guest: Guest, state: State, running: Running) -> None:
    """Brings the shared directories into the guest, for a user who owns what the host's user owns. Raises HostError."""
    uid, user = os.getuid(), running.user
    _settle(guest, state, running.boot_timeout_s)
    if uid and guest.output(["id", "-u", user]).strip() != str(uid):
        guest.output(["sudo", "-n", "sh", "-c", _renumbering(user, uid)], timeout_s=_HANDSHAKE_S)
        # What runs has the old number, the connection as well.
        connection.close(guest.door)
        why = connection.open_(guest.door, state.directory / "ssh.log", _HANDSHAKE_S)
        if why:
            raise HostError(f"the guest does not answer: {why}{_said(state)}")
    guest.output(["sudo", "-n", "sh", "-c", shares.mounting(guest.shares, user)], timeout_s=_HANDSHAKE_S)


def _settle(guest: Guest, state: State, timeout_s: float) -> None:
    """Waits for a first boot to be whole; what it is waited for again is what a killed command did not wait for."""
    origin = disk.find(state)
    if origin is None or origin.is_settled:
        return
    guest.output(["sudo", "-n", *origin.image.settling], timeout_s=timeout_s)
    write_record(state.origin, msgspec.structs.replace(origin, is_settled=True))


def _renumbering(user: str, uid: int) -> str:
    """The script that gives a user another number; usermod refuses it while the user is logged in."""
    return (
        f"if getent passwd {uid} >/dev/null; then echo the guest has another user {uid} >&2; exit 1; fi; "
        f"sed -i 's/^{user}:\\([^:]*\\):[0-9]*:/{user}:\\1:{uid}:/' /etc/passwd && chown -R {uid} ~{user}"
    )


def _refusal(state: State, port: int) -> HostError:
    words = state.log.read_text(errors="replace").strip() if state.log.exists() else ""
    if _PORT_REFUSED in words:
        error = ports.taken(port)
        return PortTaken(error.problem, error.remedy)
    if _LOCKED in words:
        return HostError(f"another process uses {state.disk}", "patchbay-vm cleanup")
    lines = [line for line in words.splitlines() if line.strip()]
    return HostError(f"QEMU did not start: {lines[-1].strip() if lines else 'it says nothing'}")


def _said(state: State) -> str:
    """The last that was heard of the machine."""
    parts = []
    for path, what in ((state.log, "QEMU"), (state.console, "its console")):
        lines = tail(path, _LAST_LINES)
        if lines:
            parts.append(f"\nthe last lines of {what} ({path}):\n{lines}")
    return "".join(parts) or f"; its console ({state.console}) is empty"
