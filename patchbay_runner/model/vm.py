"""What can be said about the virtual machine of a project: by flags, by the environment, by `patchbay.toml`."""

from __future__ import annotations

from typing import Literal

import msgspec

Accelerator = Literal["kvm", "hvf", "whpx", "tcg"]
Sharing = Literal["virtiofs", "9p", "copy"]

ACCELERATORS: tuple[Accelerator, ...] = ("kvm", "hvf", "whpx", "tcg")
SHARINGS: tuple[Sharing, ...] = ("virtiofs", "9p", "copy")
# The least that Debian starts in, and more than a host has.
MEMORY_MB = (256, 16_777_216)
PROCESSORS = (1, 1_024)
DISK_GB = (4, 65_536)
PORTS = (1, 65_535)


class MachineOptions(msgspec.Struct, frozen=True):
    """None is not said. Paths are as they were written: relative to the project root.

    `image` is a file or a URL; `qemu` and `virtiofsd` are programs, by name or path.
    """

    name: str | None = None
    memory_mb: int | None = None
    processors: int | None = None
    disk_gb: int | None = None
    ssh_port: int | None = None
    seed_port: int | None = None
    image: str | None = None
    user: str | None = None
    qemu: str | None = None
    virtiofsd: str | None = None
    accelerator: Accelerator | None = None
    sharing: Sharing | None = None
    target: str | None = None
    work: str | None = None
    boot_timeout_s: float | None = None

    def over(self, other: MachineOptions) -> MachineOptions:
        """These options, and what `other` says where these say nothing."""
        said = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        return msgspec.structs.replace(other, **said)
