"""The list of runs, kept current."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial

from patchbay_runner.results.lock import LOCK_NAME
from patchbay_runner.results.origin import RUN_INFO_NAME
from patchbay_runner.results.record import MANIFEST_NAME
from patchbay_runner.server.catalog import DEPTH, Catalog
from patchbay_runner.server.feeds import Feed
from patchbay_runner.server.rooted import Parts
from patchbay_runner.server.runs import EVENTS_NAME, STATE_NAME, Found
from patchbay_runner.server.shapes import Run, RunChanges
from patchbay_runner.server.watching import Watch, Watcher

# A lock is let go a moment after its file is closed.
_AGAIN_S = 1.0
# The served directory may be made anew and a lab record may fall silent: nobody tells.
_ABSENT_S = 2.0
_LOOKS_PER_SILENCE = 15
_MOST_REMOVED = 10_000
_OWN_NAMES = (MANIFEST_NAME, EVENTS_NAME, RUN_INFO_NAME, STATE_NAME, LOCK_NAME)


class ListFeed(Feed):
    """`version` grows with every change of a run."""

    def __init__(self, catalog: Catalog, watcher: Watcher) -> None:
        super().__init__()
        self.catalog = catalog
        self.version = 0
        self._watcher = watcher
        self._watches: dict[Parts, Watch] = {}
        self._due: set[Parts] = {()}
        self._versions: dict[str, int] = {}
        self._removed: deque[tuple[int, str]] = deque(maxlen=_MOST_REMOVED)
        self._sorted: tuple[int, tuple[Found, ...]] = (-1, ())
        self._looks = 0
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Looks for the first time, which takes a moment where there are thousands."""
        await super().start()
        self._look_again()

    def read(self) -> bool:
        """Looks at every directory where something happened."""
        due, self._due = self._due, set()
        before = self.version
        for parts in sorted(due):
            if not any(parts[:depth] in due for depth in range(len(parts))):
                self._read_below(parts)
        return self.version != before

    def close(self) -> None:
        """Lets go of the watches."""
        if self._timer:
            self._timer.cancel()
        for watch in self._watches.values():
            watch.close()

    def refresh(self, parts: Parts) -> None:
        """Something was put below `parts`, or taken away there."""
        self._due.add(parts)
        self.touch()

    def newest_first(self) -> tuple[Found, ...]:
        """All runs."""
        version, found = self._sorted
        if version != self.version:
            version = self.version
            found = tuple(sorted(self.catalog.found.values(), key=lambda each: each.sort_key, reverse=True))
            self._sorted = version, found
        return found

    def changes_since(self, version: int) -> RunChanges | None:
        """What has changed after `version`; None when that is too long ago to be known."""
        if len(self._removed) == _MOST_REMOVED and self._removed[0][0] > version:
            return None
        found = self.catalog.found
        changed = [name for name, changed_in in self._versions.copy().items() if changed_in > version and name in found]
        removed = [name for removed_in, name in tuple(self._removed) if removed_in > version and name not in found]
        return RunChanges(changed=tuple(found[name].run for name in changed), removed=tuple(dict.fromkeys(removed)))

    def _read_below(self, parts: Parts) -> None:
        seen: dict[Parts, Watch] = {}

        def watch(place: Parts, descriptor: int) -> None:
            if place not in seen:
                seen[place] = self._watcher.watch(descriptor, partial(self._happened, place))

        changed, removed = self.catalog.look(parts, watch)
        depth = len(parts)
        for place in [place for place in self._watches if place[:depth] == parts]:
            self._watches.pop(place).close()
        self._watches.update(seen)
        self._note(changed, removed)

    def _note(self, changed: list[Run], removed: list[str]) -> None:
        if not changed and not removed:
            return
        version = self.version + 1
        for run in changed:
            self._versions[run.name] = version
        for name in removed:
            self._versions.pop(name, None)
            self._removed.append((version, name))
        self.version = version  # last: who sees it, sees everything

    def _happened(self, place: Parts, name: str) -> None:
        if not name or name in _OWN_NAMES:
            self.refresh(place)
            if name == LOCK_NAME:
                self._loop.call_later(_AGAIN_S, self.refresh, place)
        elif not name.startswith(".") and len(place) < DEPTH and not self._is_run(place):
            self.refresh((*place, name))

    def _is_run(self, place: Parts) -> bool:
        return self.catalog.name_of(place) in self.catalog.found

    def _look_again(self) -> None:
        self._looks += 1
        if () not in self._watches:
            self.refresh(())
        if self._looks % _LOOKS_PER_SILENCE == 0:
            for found in self.catalog.found.values():
                if found.run.status == "running":
                    self.refresh(found.parts)
        self._timer = self._loop.call_later(_ABSENT_S, self._look_again)
