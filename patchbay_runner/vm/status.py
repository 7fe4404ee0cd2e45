"""What can be known of a machine without touching it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import msgspec

from patchbay_runner.model.vm import Accelerator
from patchbay_runner.vm import processes, qmp
from patchbay_runner.vm.accelerators import PassedOver
from patchbay_runner.vm.disk import Origin
from patchbay_runner.vm.settings import Settings
from patchbay_runner.vm.share import Share
from patchbay_runner.vm.state import State, read_record

Condition = Literal["running", "starting", "paused", "stopped", "absent"]
_BLOCK_BYTES = 512
_PAUSED = {
    "io-error": "the disk is full",
    "paused": "QEMU was told to pause it",
    "guest-panicked": "its kernel panicked",
}


class Status(msgspec.Struct, frozen=True):
    """A machine. `disk_bytes` is what the disk takes; `up_s` is how long the machine has been up."""

    name: str
    condition: Condition
    directory: Path
    detail: str = ""
    pid: int | None = None
    ssh_port: int | None = None
    user: str = ""
    accelerator: Accelerator | None = None
    passed_over: tuple[PassedOver, ...] = ()
    qemu: str = ""
    memory_mb: int | None = None
    processors: int | None = None
    image: str = ""
    disk_bytes: int = 0
    up_s: float | None = None
    shares: tuple[Share, ...] = ()


def look(settings: Settings) -> Status:
    """The machine that the settings mean."""
    state = State.of(settings)
    origin = read_record(state.origin, Origin)
    has_disk = origin is not None and state.disk.exists()
    status = Status(
        name=settings.name,
        condition="stopped" if has_disk else "absent",
        directory=state.directory,
        image=origin.image.name if origin else "",
        disk_bytes=state.disk.stat().st_blocks * _BLOCK_BYTES if has_disk else 0,
    )
    pid = processes.find(state.qemu_note, str(state.qmp))
    running = state.read()
    if pid is None or running is None:
        return status
    doing = qmp.status(state.qmp)
    detail = _PAUSED.get(doing, "")
    condition: Condition = "running" if running.is_ready else "starting"
    return msgspec.structs.replace(
        status,
        condition="paused" if detail else condition,
        detail=detail,
        pid=pid,
        ssh_port=running.ssh_port,
        user=running.user,
        accelerator=running.accelerator,
        passed_over=running.passed_over,
        qemu=running.qemu,
        memory_mb=running.memory_mb,
        processors=running.processors,
        up_s=max(time.time() - running.started_at, 0.0),
        shares=running.shares,
    )
