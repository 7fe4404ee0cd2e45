"""One run, followed: what is known of it, and of each of its sims."""

from __future__ import annotations

from typing import NamedTuple

from patchbay_runner.results.lock import LOCK_NAME
from patchbay_runner.results.origin import RUN_INFO_NAME
from patchbay_runner.results.record import MANIFEST_NAME
from patchbay_runner.server.catalog import Catalog
from patchbay_runner.server.feeds import Feed
from patchbay_runner.server.places import read_run_detail
from patchbay_runner.server.runs import STATE_NAME
from patchbay_runner.server.shapes import RunHead, SimLine
from patchbay_runner.server.watching import Watch, Watcher

_NAMES = ("", MANIFEST_NAME, RUN_INFO_NAME, STATE_NAME, LOCK_NAME)
_AGAIN_S = 1.0


class RunNow(NamedTuple):
    """A run at one moment. `version` grows with every change, and `versions` has that of each sim's last one."""

    version: int
    head: RunHead
    sims: tuple[SimLine, ...]
    versions: tuple[int, ...]

    def sims_since(self, version: int) -> tuple[SimLine, ...]:
        """Those that have changed after `version`, in order."""
        return tuple(sim for sim, changed in zip(self.sims, self.versions, strict=True) if changed > version)


class RunFeed(Feed):
    """`now` is replaced as a whole."""

    def __init__(self, catalog: Catalog, watcher: Watcher, name: str) -> None:
        super().__init__()
        self.now: RunNow | None = None
        self._name = name
        self._catalog, self._watcher = catalog, watcher
        self._watch: Watch | None = None

    def read(self) -> bool:
        """Looks at the manifest, or at what a lab record has instead."""
        if self._watch is None:
            with self._catalog.root.directory(self._catalog.get(self._name).parts) as directory:
                self._watch = self._watcher.watch(directory, self._happened)
        _, head, sims = read_run_detail(self._catalog, self._name)
        now = self.now
        if now and now.head == head and now.sims == sims:
            return False
        version = now.version + 1 if now else 1
        known = {sim.name: (sim, changed) for sim, changed in zip(now.sims, now.versions, strict=True)} if now else {}
        changed = (known[sim.name][1] if known.get(sim.name, (None,))[0] == sim else version for sim in sims)
        self.now = RunNow(version, head, sims, tuple(changed))
        return True

    def close(self) -> None:
        """Lets go of the watch."""
        if self._watch:
            self._watch.close()

    def _happened(self, name: str) -> None:
        if name in _NAMES:
            self.touch()
        if name == LOCK_NAME:
            self._loop.call_later(_AGAIN_S, self.touch)
