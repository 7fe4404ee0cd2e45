"""All runs below the served directory: found once, and again where something changes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator

from patchbay_runner.results.origin import RUN_INFO_NAME, RunOrigin, parse_origin
from patchbay_runner.results.record import MANIFEST_NAME
from patchbay_runner.server import runs
from patchbay_runner.server.refusals import Refusal, not_found
from patchbay_runner.server.rooted import Parts, Root, is_served_name, read_document, stamp_at
from patchbay_runner.server.runs import EVENTS_NAME, Found
from patchbay_runner.server.shapes import Run

# How far below the served directory runs are looked for.
DEPTH = 3

# Told of every directory that was looked into and has to be watched, with a descriptor that is open for the call.
OnDirectory = Callable[[Parts, int], None]


class Catalog:
    """The runs by name. All threads may look, and read `found`, which is replaced and never changed."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self.found: dict[str, Found] = {}
        self._looking = threading.Lock()

    def look(self, parts: Parts, on_directory: OnDirectory | None = None) -> tuple[list[Run], list[str]]:
        """Looks at a directory and below; returns the runs that are new or have changed, and the names of those gone.

        `on_directory` is told of directories that are no runs, where some may appear, and of runs that are not over.
        """
        with self._looking:
            return self._look(parts, on_directory)

    def _look(self, parts: Parts, on_directory: OnDirectory | None) -> tuple[list[Run], list[str]]:
        new = {found.run.name: found for found in self._examine(parts, on_directory)}
        below = self._known_below(parts)
        changed = [found.run for name, found in new.items() if name not in below or below[name].run != found.run]
        removed = [name for name in below if name not in new]
        self.found = {name: found for name, found in self.found.items() if name not in below} | new
        return changed, removed

    def get(self, name: str, *, is_fresh: bool = False) -> Found:
        """The run of that name, also when it has only just appeared; `is_fresh`: as it is now.

        Raises Refusal when there is none.
        """
        found = self.found.get(name)
        if found is None or is_fresh:
            parts = found.parts if found else tuple(name.split("/"))
            is_possible = len(parts) <= DEPTH and all(map(is_served_name, parts))
            below = self._examine(parts, None) if is_possible else iter(())
            found = next((each for each in below if each.run.name == name), None)
        if found is None:
            raise not_found(f"run {name[:200]}")
        return found

    def name_of(self, parts: Parts) -> str:
        """What the run there is called."""
        return "/".join(parts) or self.root.path.name or "root"

    def _known_below(self, parts: Parts) -> dict[str, Found]:
        """A run may also have been replaced by a directory of runs, or the other way round."""
        depth = len(parts)
        return {name: found for name, found in self.found.items() if found.parts[:depth] == parts}

    def _examine(self, parts: Parts, on_directory: OnDirectory | None) -> Iterator[Found]:
        try:
            origin = self._origin_above(parts)
            descriptor = self.root.open_directory(parts)
        except Refusal:
            return
        try:
            yield from self._examine_open(descriptor, parts, origin, on_directory)
        finally:
            os.close(descriptor)

    def _examine_open(
        self, directory: int, parts: Parts, inherited: RunOrigin, on_directory: OnDirectory | None
    ) -> Iterator[Found]:
        if on_directory and self._is_to_watch_first(directory, parts):
            on_directory(parts, directory)  # before it is read: nothing that happens in between is missed
        own = stamp_at(directory, RUN_INFO_NAME)
        origin = _origin(directory) if own else inherited
        is_run = stamp_at(directory, MANIFEST_NAME) is not None
        if is_run or stamp_at(directory, EVENTS_NAME):
            found = self._read(directory, parts, origin, is_record=not is_run)
            if on_directory and found.run.status in ("running", "unreadable"):
                on_directory(parts, directory)
                found = self._read(directory, parts, origin, is_record=not is_run)
            yield found
        elif len(parts) < DEPTH:
            yield from self._examine_below(directory, parts, origin, on_directory)

    @staticmethod
    def _is_to_watch_first(directory: int, parts: Parts) -> bool:
        return not parts or (stamp_at(directory, MANIFEST_NAME) is None and stamp_at(directory, EVENTS_NAME) is None)

    def _examine_below(
        self, directory: int, parts: Parts, origin: RunOrigin, on_directory: OnDirectory | None
    ) -> Iterator[Found]:
        with os.scandir(directory) as entries:
            names = sorted(each.name for each in entries if is_served_name(each.name) and _is_directory(each))
        for name in names:
            try:
                descriptor = os.open(
                    name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory
                )
            except OSError:
                continue  # gone, or not for us to read
            try:
                yield from self._examine_open(descriptor, (*parts, name), origin, on_directory)
            finally:
                os.close(descriptor)

    def _read(self, directory: int, parts: Parts, origin: RunOrigin, *, is_record: bool) -> Found:
        name = self.name_of(parts)
        known = self.found.get(name)
        stamps = runs.stamps_of(directory, is_record=is_record)
        if (
            known is not None
            and (known.stamps, known.is_record, known.origin) == (stamps, is_record, origin)
            and known.run.status != "running"
        ):
            return known
        run = runs.read_run(directory, name, origin, is_record=is_record)
        return Found(parts=parts, is_record=is_record, stamps=stamps, origin=origin, run=run)

    def _origin_above(self, parts: Parts) -> RunOrigin:
        """What the nearest run.json above says. Raises Refusal below a run, where there are no others."""
        found = RunOrigin()
        for depth in range(len(parts)):
            with self.root.directory(parts[:depth]) as directory:
                if stamp_at(directory, MANIFEST_NAME) or stamp_at(directory, EVENTS_NAME):
                    raise not_found("run within a run")
                if stamp_at(directory, RUN_INFO_NAME):
                    found = _origin(directory)
        return found


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _origin(directory: int) -> RunOrigin:
    return parse_origin(read_document(directory, RUN_INFO_NAME) or b"") or RunOrigin()
