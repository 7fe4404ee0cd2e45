"""Which pushed runs go when there is too much of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from patchbay_runner.server.pushed.readers import Readers
from patchbay_runner.server.pushed.store import Mark, RunStore

_EVERY_S = 60.0

_log = logging.getLogger("patchbay.push")


class Retention:
    """Keeps what `store` holds within `limit_bytes`."""

    def __init__(self, store: RunStore, limit_bytes: int, readers: Readers) -> None:
        self.limit_bytes = limit_bytes
        self._store = store
        self._readers = readers

    async def keep(self) -> None:
        """Never returns. People bring runs back, and readers go away: looks once a minute."""
        while True:
            await self.enforce()
            await asyncio.sleep(_EVERY_S)

    async def enforce(self) -> None:
        """Deletes the oldest runs that do not fit any more."""
        try:
            runs = await asyncio.to_thread(self._store.runs)
            for mark in overdue(runs, self.limit_bytes, self._readers.is_read):
                _log.info("deleting %s, pushed %s", mark.name, mark.received_at.isoformat(timespec="seconds"))
                await asyncio.to_thread(self._store.remove, mark)
        except OSError as error:
            _log.error("runs cannot be deleted: %s", error)


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
