"""The settings of a project's virtual machine: flags, else the environment, else `patchbay.toml`, else defaults."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from patchbay_runner.errors import Diagnostic, InputError
from patchbay_runner.model.vm import (
    ACCELERATORS,
    DISK_GB,
    MEMORY_MB,
    PORTS,
    PROCESSORS,
    SHARINGS,
    Accelerator,
    MachineOptions,
    Sharing,
)

Architecture = Literal["x86_64", "aarch64"]
T = TypeVar("T")

STATES = ".qemu-vm"
SSH_PORT = 2222
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ARCHITECTURES: dict[str, Architecture] = {
    "x86_64": "x86_64",
    "amd64": "x86_64",
    "aarch64": "aarch64",
    "arm64": "aarch64",
}
_DEFAULTS = MachineOptions(
    name="patchbay-vm",
    memory_mb=4096,
    processors=min(4, os.cpu_count() or 1),
    disk_gb=40,
    seed_port=8555,
    user="dev",
    target="target",
    work=".patchbay-work",
)
_TEXTS = {
    "QEMU_VM_NAME": "name",
    "QEMU_VM_IMAGE_URL": "image",
    "SSH_USER": "user",
    "QEMU_BIN": "qemu",
    "VIRTIOFSD_BIN": "virtiofsd",
    "CARGO_TARGET_DIR": "target",
    "WORK_DIR": "work",
}
_INTEGERS = {
    "QEMU_VM_MEM_MB": ("memory_mb", MEMORY_MB),
    "QEMU_VM_CPUS": ("processors", PROCESSORS),
    "QEMU_VM_DISK_GB": ("disk_gb", DISK_GB),
    "QEMU_VM_SSH_PORT": ("ssh_port", PORTS),
    "SEED_PORT": ("seed_port", PORTS),
    "QEMU_VM_BOOT_TIMEOUT_S": ("boot_timeout_s", (1, 86_400)),
}
_CHOICES: dict[str, tuple[str, tuple[str, ...]]] = {
    "QEMU_VM_ACCEL": ("accelerator", ACCELERATORS),
    "QEMU_VM_SHARING": ("sharing", SHARINGS),
}


class Settings(msgspec.Struct, frozen=True):
    """Every directory is absolute. `workspace`, `target` and `work` are shared, `state` is the machine's own.

    None: `ssh_port` is 2222, or one that is free; `image` is Debian's; `qemu`, `virtiofsd`, `accelerator` and
    `sharing` are what is found to work; `boot_timeout_s` depends on the accelerator.
    """

    name: str
    memory_mb: int
    processors: int
    disk_gb: int
    seed_port: int
    user: str
    workspace: Path
    target: Path
    work: Path
    state: Path
    architecture: Architecture
    ssh_port: int | None = None
    image: str | None = None
    qemu: str | None = None
    virtiofsd: str | None = None
    accelerator: Accelerator | None = None
    sharing: Sharing | None = None
    boot_timeout_s: float | None = None

    @property
    def sockets(self) -> Path:
        """The directory of the machine's sockets.

        Their paths may take 104 bytes at most (sun_path of macOS), and not every file system of a project has sockets.
        """
        digest = hashlib.sha256(os.fsencode(self.state)).hexdigest()[:16]
        return Path("/tmp") / f"patchbay-vm-{os.getuid()}-{digest}"


def resolve(options: MachineOptions, root: Path, cwd: Path) -> Settings:
    """The settings of the machine of the project in `root`, which may be relative to `cwd`.

    Raises InputError for a name that no directory could have, and for a processor that Debian does not support.
    """
    said = options.over(_DEFAULTS)
    workspace = (cwd / root).resolve()
    name = _filled(said.name)
    if not _NAME.fullmatch(name):
        expected = "up to 64 letters, digits, dots, dashes and underscores, the first a letter or a digit"
        raise _wrong("the machine's name", name, expected)
    return Settings(
        name=name,
        memory_mb=_filled(said.memory_mb),
        processors=_filled(said.processors),
        disk_gb=_filled(said.disk_gb),
        seed_port=_filled(said.seed_port),
        user=_filled(said.user),
        workspace=workspace,
        target=_directory(workspace, _filled(said.target)),
        work=_directory(workspace, _filled(said.work)),
        state=workspace / STATES / name,
        architecture=architecture_of(platform.machine()),
        ssh_port=said.ssh_port,
        image=said.image,
        qemu=said.qemu,
        virtiofsd=said.virtiofsd,
        accelerator=said.accelerator,
        sharing=said.sharing,
        boot_timeout_s=said.boot_timeout_s,
    )


def from_environment(environment: Mapping[str, str]) -> MachineOptions:
    """What the environment says; an empty variable says nothing. Raises InputError with everything that is wrong."""
    found: dict[str, str | int] = {}
    problems: list[Diagnostic] = []
    said = {name: text for name, text in environment.items() if text.strip()}
    found |= {field: said[name] for name, field in _TEXTS.items() if name in said}
    for name, (field, (least, most)) in _INTEGERS.items():
        if name not in said:
            continue
        if said[name].strip().isdecimal() and least <= int(said[name]) <= most:
            found[field] = int(said[name])
        else:
            problems.append(_problem(name, said[name], f"an integer from {least} to {most}"))
    for name, (field, choices) in _CHOICES.items():
        if name in said and said[name] not in choices:
            problems.append(_problem(name, said[name], f"one of {', '.join(choices)}"))
        elif name in said:
            found[field] = said[name]
    if problems:
        raise InputError(problems)
    return msgspec.convert(found, MachineOptions)


def architecture_of(machine: str) -> Architecture:
    """A processor as platform.machine() names it. Raises InputError for one that Debian's guests do not have."""
    found = _ARCHITECTURES.get(machine.lower())
    if found is None:
        raise _wrong("the host's processor", machine, "x86-64 or arm64: there is no guest for others")
    return found


def _directory(workspace: Path, path: str) -> Path:
    return (workspace / Path(path).expanduser()).resolve()


def _wrong(what: str, found: str, expected: str) -> InputError:
    return InputError([_problem(what, found, expected)])


def _problem(what: str, found: str, expected: str) -> Diagnostic:
    return Diagnostic("patchbay-vm", 0, what, f"found {found!r}", expected)


def _filled(value: T | None) -> T:
    assert value is not None  # the defaults fill it
    return value
