"""Which pushed runs go when there is too much of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from patchbay_runner.server.pushed.store import Mark


def overdue(runs: Sequence[Mark], limit_bytes: int, is_read: Callable[[str], bool]) -> list[Mark]:
    """The oldest of `runs`, which go from old to new, without which the others fit into `limit_bytes`.

    The newest stays in any case, and so do those that somebody reads.
    """
    excess = sum(run.disk_bytes for run in runs) - limit_bytes
    doomed = []
    for run in runs[:-1]:
        if excess <= 0:
            break
        if not is_read(run.name):
            doomed.append(run)
            excess -= run.disk_bytes
    return doomed
