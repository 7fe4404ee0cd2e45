"""The way into a guest: OpenSSH with a key and a list of known hosts that belong to the machine, and nothing else."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

# What sudo and cron call a path; sshd leaves out the directories of nft and ip.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Where a running command says which process group it is.
_PIDS = "/tmp/.patchbay-vm-"
_NOTED_WITHIN = 50


class Door(msgspec.Struct, frozen=True):
    """How the guest of one machine is reached. `control` is the socket of a connection that others may share."""

    port: int
    user: str
    key: Path
    known_hosts: Path
    control: Path
    name: str

    def options(self) -> list[str]:
        """The options of every ssh: no configuration, agent or key of the user's counts, and nothing is ever asked."""
        said = {
            "BatchMode": "yes",
            "ConnectTimeout": "10",
            "ControlPath": _quoted(self.control),
            "EscapeChar": "none",
            "GlobalKnownHostsFile": "none",
            # The port may be another one tomorrow, the guest is the same.
            "HostKeyAlias": self.name,
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "IdentityFile": _quoted(self.key),
            "LogLevel": "ERROR",
            "PreferredAuthentications": "publickey",
            "ServerAliveCountMax": "4",
            "ServerAliveInterval": "15",
            "StrictHostKeyChecking": "accept-new",
            "UserKnownHostsFile": _quoted(self.known_hosts),
        }
        listed = [word for option, value in said.items() for word in ("-o", f"{option}={value}")]
        return ["-F", "none", *listed, "-p", str(self.port), "-l", self.user]

    def ssh(self, *options: str, script: str | None = None) -> list[str]:
        """An ssh that runs a shell script in the guest, or none."""
        return ["ssh", *self.options(), *options, "127.0.0.1", *([] if script is None else [script])]


def interactive(argv: Sequence[str], env: Mapping[str, str], cwd: str | None, *, is_root: bool) -> str:
    """The script of a command on a terminal, whose keys are its signals. Without a command it is the login shell.

    As in `noted`, the shell around it says what became of it.
    """
    wanted = shlex.join(argv) if argv else '"$SHELL" -l'
    return _as(f"trap : INT QUIT TERM; {_entering(cwd)}{_env(env)} {wanted}; exit $?", is_root=is_root)


def noted(argv: Sequence[str], env: Mapping[str, str], cwd: str | None, token: str, *, is_root: bool) -> str:
    """The script of a command without a terminal, in a process group of its own that `signalled` finds by `token`.

    The shell around it outlives the signal and says what became of the command: ssh itself reports a command that a
    signal ended as it does a connection that broke.
    """
    note = f"{_PIDS}{token}"
    inner = (
        f"echo $$ >{note}; trap : HUP INT QUIT TERM; {_entering(cwd)}{_env(env)} {shlex.join(argv)}; "
        f"code=$?; rm -f {note}; exit $code"
    )
    return _as(f"exec setsid -w sh -c {shlex.quote(inner)}", is_root=is_root)


def signalled(token: str, signal_name: str, *, is_root: bool) -> str:
    """The script that sends a signal, such as "INT", to the command that was started with `token`."""
    note = f"{_PIDS}{token}"
    waiting = f"n=0; while [ ! -s {note} ] && [ $n -lt {_NOTED_WITHIN} ]; do sleep 0.1; n=$((n+1)); done"
    return _as(f"{waiting}; kill -{signal_name} -$(cat {note})", is_root=is_root)


def _as(script: str, *, is_root: bool) -> str:
    return f"exec sudo -n -H sh -c {shlex.quote(script)}" if is_root else script


def _entering(cwd: str | None) -> str:
    return f"cd {shlex.quote(cwd)} && " if cwd else ""


def _env(env: Mapping[str, str]) -> str:
    # Where commands run as root by sudo, root is who called: results shall not go to the guest's own user.
    unset = [word for name in ("UID", "GID", "USER", "COMMAND") for word in ("-u", f"SUDO_{name}")]
    return shlex.join(["env", *unset, *(f"{name}={value}" for name, value in ({"PATH": _PATH} | dict(env)).items())])


def _quoted(path: Path) -> str:
    """A path as ssh_config(5) reads it: blanks need quotes, and a percent sign begins a token."""
    return '"' + str(path).replace("%", "%%") + '"'
