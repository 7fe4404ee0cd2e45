"""QEMU's command line for a machine, pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec

from patchbay_runner.model.vm import Accelerator
from patchbay_runner.vm.accelerators import processor_of
from patchbay_runner.vm.settings import Architecture
from patchbay_runner.vm.share import Share
from patchbay_runner.vm.state import State

_CONSOLES: dict[Architecture, str] = {"x86_64": "ttyS0", "aarch64": "ttyAMA0"}
_MACHINES: dict[Architecture, str] = {"x86_64": "q35", "aarch64": "virt"}
# QEMU has it for arm64 hosts; an image without a kernel beside it brings a boot loader that needs it.
_ARM_FIRMWARE = "edk2-aarch64-code.fd"


class Kernel(msgspec.Struct, frozen=True):
    """What is booted directly, where the image has no boot loader."""

    kernel: Path
    initrd: Path | None
    append: str


class Hardware(msgspec.Struct, frozen=True):
    """What the machine is made of. `seed` is a disk image that the first boot reads, if there is one."""

    qemu: Path
    name: str
    architecture: Architecture
    accelerator: Accelerator
    memory_mb: int
    processors: int
    ssh_port: int
    shares: tuple[Share, ...]
    kernel: Kernel | None = None
    seed: Path | None = None
    firmware: str = _ARM_FIRMWARE


def arguments(hardware: Hardware, state: State) -> list[str]:
    """The command. Everything is named: no default device, no configuration file of the user's."""
    threads = ",thread=multi" if hardware.accelerator == "tcg" else ""
    is_sharing_memory = any(share.by == "virtiofs" for share in hardware.shares)
    machine = _MACHINES[hardware.architecture] + (",memory-backend=memory" if is_sharing_memory else "")
    return [
        *(str(hardware.qemu), "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-name", f"patchbay-vm-{hardware.name}"),
        *("-machine", machine, "-accel", f"{hardware.accelerator}{threads}"),
        *("-cpu", processor_of(hardware.accelerator), "-smp", str(hardware.processors)),
        *("-m", str(hardware.memory_mb)),
        *(_shared_memory(hardware.memory_mb) if is_sharing_memory else ()),
        *_boot(hardware),
        *("-blockdev", _disk(state.disk), "-device", "virtio-blk-pci,drive=disk"),
        *(("-blockdev", _seed(hardware.seed), "-device", "virtio-blk-pci,drive=seed") if hardware.seed else ()),
        # The guest reaches the world through sockets of this process; the world reaches one port, on this host only.
        *("-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{hardware.ssh_port}-:22"),
        *("-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci"),
        *("-chardev", f"file,id=console,path={_escaped(state.console)}", "-serial", "chardev:console"),
        *("-qmp", f"unix:{_escaped(state.qmp)},server=on,wait=off"),
        *(word for share in hardware.shares for word in _share(share, state)),
    ]


def _boot(hardware: Hardware) -> Sequence[str]:
    if hardware.kernel is None:
        return () if hardware.architecture == "x86_64" else ("-bios", hardware.firmware)
    initrd = ("-initrd", str(hardware.kernel.initrd)) if hardware.kernel.initrd else ()
    append = f"console={_CONSOLES[hardware.architecture]} {hardware.kernel.append}".strip()
    return ("-kernel", str(hardware.kernel.kernel), *initrd, "-append", append)


def _disk(path: Path) -> str:
    """JSON, in which no character of a path means anything. A full host stops the machine instead of its disk."""
    file = {"driver": "file", "filename": str(path), "discard": "unmap"}
    return json.dumps({"driver": "qcow2", "node-name": "disk", "discard": "unmap", "file": file})


def _seed(path: Path) -> str:
    file = {"driver": "file", "filename": str(path), "read-only": True}
    return json.dumps({"driver": "raw", "node-name": "seed", "read-only": True, "file": file})


def _shared_memory(memory_mb: int) -> Sequence[str]:
    """virtiofs's daemon reads and writes the guest's memory."""
    return ("-object", f"memory-backend-memfd,id=memory,size={memory_mb}M,share=on")


def _share(share: Share, state: State) -> Sequence[str]:
    if share.by == "copy":
        return ()
    if share.by == "virtiofs":
        socket = f"socket,id={share.tag},path={_escaped(state.share_socket(share.tag))}"
        return ("-chardev", socket, "-device", f"vhost-user-fs-pci,chardev={share.tag},tag={share.tag}")
    access = "" if share.is_writable else ",readonly=on"
    place = f"local,id={share.tag},path={_escaped(share.host)},security_model=none,multidevs=remap{access}"
    return ("-fsdev", place, "-device", f"virtio-9p-pci,fsdev={share.tag},mount_tag={share.tag}")


def _escaped(path: Path) -> str:
    """A path among QEMU's comma-separated options."""
    return str(path).replace(",", ",,")
