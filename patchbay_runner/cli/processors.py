"""How many sims the processors carry."""

from __future__ import annotations

import math
import os
from pathlib import Path

# Most sims wait more than they compute.
_SIMS_PER_PROCESSOR = 2
_CGROUPS = Path("/sys/fs/cgroup")


def automatic_jobs() -> int:
    """What `--jobs auto` means here."""
    return max(1, math.floor(_SIMS_PER_PROCESSOR * _processors()))


def _processors() -> float:
    """Those that this process may use, by its affinity and by the limits of its control groups (version 2)."""
    return min([len(os.sched_getaffinity(0)), *_limits(_own_cgroup())])


def _own_cgroup() -> Path:
    lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    own = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "/")
    return _CGROUPS / own.lstrip("/")


def _limits(cgroup: Path) -> list[float]:
    """From `cpu.max` (cgroups(7): quota and period in microseconds, or "max") of a group and those above it."""
    limits = []
    for directory in (cgroup, *cgroup.parents):
        try:
            quota, period = (directory / "cpu.max").read_text(encoding="utf-8").split()
        except OSError:  # the root has none, and neither has version 1
            continue
        if quota != "max":
            limits.append(int(quota) / int(period))
    return limits
