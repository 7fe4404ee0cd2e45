"""The connection to a guest that all commands share: a handshake takes long, above all in an emulated processor."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

from patchbay_runner.vm.ssh import Door

_BANNER_WITHIN_S = 3.0
_POWER_OFF_WITHIN_S = 10.0


def has_banner(port: int) -> bool:
    """Whether an SSH server speaks. QEMU takes connections long before the guest does."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_BANNER_WITHIN_S) as probe:
            return probe.recv(4) == b"SSH-"
    except OSError:
        return False


def is_open(door: Door) -> bool:
    """Whether there is a connection to share."""
    return _control(door, "check")


def close(door: Door) -> None:
    """Ends the connection, if there is one."""
    _control(door, "exit")


def open_(door: Door, log: Path, timeout_s: float) -> str:
    """Opens the connection, which stays in the background until the guest ends. Why it failed; "" when it did not.

    What ssh says goes to the file `log`: a pipe would be held open by the connection.
    """
    door.control.unlink(missing_ok=True)  # of a connection that was killed
    options = ("-M", "-N", "-f", "-o", "ControlPersist=yes")
    with log.open("wb") as output:
        try:
            done = subprocess.run(
                door.ssh(*options),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=timeout_s,
                check=False,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            return f"no handshake within {timeout_s:.0f} s"
    words = log.read_text(errors="replace").strip()
    return (words or f"ssh: exit code {done.returncode}") if done.returncode else ""


def power_off(door: Door) -> bool:
    """Whether the guest could be told to power off."""
    if not is_open(door):
        return False
    command = door.ssh("-T", script="sudo -n poweroff")
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_POWER_OFF_WITHIN_S, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _control(door: Door, what: str) -> bool:
    if not door.control.exists():
        return False
    done = subprocess.run(door.ssh("-O", what), stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return done.returncode == 0
