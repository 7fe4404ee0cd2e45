"""`[vm]` of `patchbay.toml`: the project's virtual machine."""

from __future__ import annotations

from typing import Any

from patchbay_runner.loader.diagnostics import Report
from patchbay_runner.loader.fields import filled_text, integer, name_choice, positive_duration, read_table
from patchbay_runner.loader.node import Node
from patchbay_runner.model.vm import ACCELERATORS, DISK_GB, MEMORY_MB, PORTS, PROCESSORS, SHARINGS, MachineOptions

_FIELDS: dict[str, Any] = {
    "name": filled_text,
    "memory_mb": integer(*MEMORY_MB),
    "cpus": integer(*PROCESSORS),
    "disk_gb": integer(*DISK_GB),
    "ssh_port": integer(*PORTS),
    "seed_port": integer(*PORTS),
    "image": filled_text,
    "user": filled_text,
    "qemu": filled_text,
    "virtiofsd": filled_text,
    "accel": name_choice(ACCELERATORS),
    "sharing": name_choice(SHARINGS),
    "target_dir": filled_text,
    "boot_timeout": positive_duration,
}
_FIELD_OF = {"cpus": "processors", "accel": "accelerator", "target_dir": "target", "boot_timeout": "boot_timeout_s"}


def read_machine(node: Node, report: Report) -> MachineOptions | None:
    """What the table says; None when it is no table."""
    found = read_table(node, _FIELDS, report, "the virtual machine")
    return None if found is None else MachineOptions(**{_FIELD_OF.get(key, key): value for key, value in found.items()})
