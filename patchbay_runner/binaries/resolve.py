"""From the binaries that plans declare to programs on this machine, all of them before any lab is built."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from patchbay_runner.binaries.cache import Cache
from patchbay_runner.binaries.caller import Caller, acting_as, cache_root, caller
from patchbay_runner.binaries.download import open_client
from patchbay_runner.binaries.local import artifact_candidates, executable, existing, is_artifact, path_candidates
from patchbay_runner.binaries.overrides import Override, override_binaries
from patchbay_runner.binaries.progress import Cancellation, Progress, Task
from patchbay_runner.binaries.sources import (
    Workshop,
    built_from_repository,
    built_in_place,
    copied,
    downloaded,
    prepared,
)
from patchbay_runner.binaries.tools import tool_environment
from patchbay_runner.errors import BinariesMissing, BinaryError, Diagnostic, HostError
from patchbay_runner.model.plan import Binary, Plan, Prepare
from patchbay_runner.model.topology import Origin

if TYPE_CHECKING:
    import httpx

_AT_ONCE = 8


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to resolve. `user` is the uid and gid behind sudo, whom everything shall belong to.

    `declared` holds the names that may be overridden, whether or not the plans at hand use them.
    """

    project_root: Path
    environment: Mapping[str, str]
    cwd: Path
    overrides: tuple[Override, ...] = ()
    declared: frozenset[str] = frozenset()
    may_build: bool = True
    user: tuple[int, int] | None = None


class _Job(msgspec.Struct, frozen=True):
    """One thing to make, and the place that asks for it."""

    name: str
    place: Diagnostic
    make: Callable[[Task], Path | None]
    source: Binary | None = None


def resolve(plans: Sequence[Plan], options: Options, progress: Progress) -> list[dict[str, str]]:
    """For each plan, binary name to absolute path.

    What lies there is looked for first, so that a wrong path does not wait for a build, unless `[[prepare]]` may make
    it; downloads and builds go in parallel. Raises InputError for overrides that fit nothing, BinariesMissing with
    everything that cannot be had, HostError when the cache cannot be written.
    """
    return _Resolver(
        override_binaries(plans, options.overrides, options.declared, options.cwd), options, progress
    ).resolve()


class _Resolver:
    def __init__(self, plans: Sequence[Plan], options: Options, progress: Progress) -> None:
        self._plans = plans
        self._caller: Caller = caller(options.environment, options.user)
        self._cache = Cache(cache_root(self._caller, options.environment))
        environment = tool_environment(options.environment, self._caller.home)
        self._shop = Workshop(options.project_root, environment, self._cache, options.may_build, time.time())
        self._overridden = {override.name for override in options.overrides}
        self._progress = progress
        self._cancelled = Cancellation()
        self._client: httpx.Client
        self._found: dict[Binary, Path] = {}
        self._failures: dict[Diagnostic, BinaryError] = {}

    def resolve(self) -> list[dict[str, str]]:
        sources: dict[Binary, tuple[Plan, Binary]] = {}
        entries: dict[Prepare, Plan] = {}
        for plan in self._plans:
            for binary in plan.binaries:
                sources.setdefault(_source(binary), (plan, binary))
            for entry in plan.prepare if self._shop.may_build else ():
                entries.setdefault(msgspec.structs.replace(entry, origin=Origin()), plan)
        jobs = [self._job(plan, binary) for plan, binary in sources.values()]
        local = [job for job in jobs if job.source and job.source.mode in ("path", "target")]
        first, last = ([], local) if entries else (local, [])
        self._run_here(first)
        with ExitStack() as stack:
            if any(job.source and job.source.mode == "fetch" for job in jobs):
                self._client = stack.enter_context(open_client())
            preparing = [_prepare_job(entry, plan, self._shop) for entry, plan in entries.items()]
            self._run_chains(self._chains(jobs, preparing))
        self._run_here(last)
        return [{binary.name: str(self._found[_source(binary)]) for binary in plan.binaries} for plan in self._plans]

    def _job(self, plan: Plan, binary: Binary) -> _Job:
        source = _source(binary)
        makers: dict[str, Callable[[Task], Path]] = {
            "path": lambda task: self._local(binary, task),
            "target": lambda task: self._local(binary, task),
            "fetch": lambda task: downloaded(binary, self._shop, task, self._client),
            "build": lambda task: self._built(binary, task),
        }
        return _Job(binary.name, _place(plan, binary.origin, f"binary.{binary.name}"), makers[binary.mode], source)

    def _local(self, binary: Binary, task: Task) -> Path:
        if is_artifact(binary):
            with acting_as(self._caller):
                target = self._shop.target_directory(self._shop.project_root, task)
            return executable(artifact_candidates(binary, target, self._shop.environment.get("RUST_TARGET", "")))
        candidates = path_candidates(binary, self._shop.project_root)
        if binary.name not in self._overridden:
            return executable(candidates)
        found = existing(candidates)  # what CI hands from job to job often loses its mode
        with acting_as(self._caller):
            return copied(found, self._cache)

    def _built(self, binary: Binary, task: Task) -> Path:
        if binary.repo:
            return built_from_repository(binary, self._shop, task)
        return built_in_place(binary, self._shop, task, is_shared=self._artifacts()[self._artifact(binary)] > 1)

    def _artifacts(self) -> Counter[tuple[str | None, ...]]:
        """How many different builds of the run write each artifact."""
        binaries = {_source(binary) for plan in self._plans for binary in plan.binaries}
        builds = {
            msgspec.structs.replace(binary, name="" if binary.bin or binary.example else binary.name)
            for binary in binaries
            if binary.mode == "build" and not binary.repo
        }
        return Counter(map(self._artifact, builds))

    def _artifact(self, binary: Binary) -> tuple[str | None, ...]:
        return (str(self._shop.directory_of(binary)), binary.example, binary.bin or binary.example or binary.name)

    def _chains(self, jobs: Sequence[_Job], preparing: list[_Job]) -> list[list[_Job]]:
        """What must go one after another: builds of the same sources, whose Cargo would wait anyway."""
        chains: dict[str, list[_Job]] = {"project": preparing}
        for job in jobs:
            if job.source and job.source.mode == "fetch":
                chains[f"url {job.source}"] = [job]
            elif job.source and job.source.mode == "build":
                key = self._shop.repository_of(job.source) if job.source.repo else "project"
                chains.setdefault(key, []).append(job)
        return [chain for chain in chains.values() if chain]

    def _run_here(self, jobs: Sequence[_Job]) -> None:
        for job in jobs:
            self._run(job)
        self._raise_failures()

    def _run_chains(self, chains: Sequence[Sequence[_Job]]) -> None:
        """Every thread has ended when this returns: what forks sandboxes afterwards must have none beside it."""
        if not chains:
            return
        with acting_as(self._caller), ThreadPoolExecutor(_AT_ONCE, "binaries") as pool:
            try:
                futures = [pool.submit(self._run_chain, chain) for chain in chains]
                for future in futures:
                    future.result()
            except BaseException:
                self._cancelled.set()
                raise
        self._raise_failures()

    def _run_chain(self, chain: Sequence[_Job]) -> None:
        for job in chain:
            self._run(job)

    def _run(self, job: _Job) -> None:
        task = Task(job.name, self._progress, self._cancelled)
        try:
            task.check()
            path = job.make(task)
        except BinaryError as error:
            place = msgspec.structs.replace(job.place, message=error.message, expected=error.expected)
            self._failures[place] = error
        except OSError as error:
            remedy = f"XDG_CACHE_HOME=/a/directory/with/room, or a look at {self._cache.root}"
            raise HostError(f"cannot keep {job.name} in {self._cache.root}: {error}", remedy) from error
        else:
            if job.source is not None and path is not None:
                self._found[job.source] = path

    def _raise_failures(self) -> None:
        if self._failures:
            raise BinariesMissing(sorted(self._failures.items(), key=lambda item: item[0]))


def _source(binary: Binary) -> Binary:
    """The binary without the place that declares it: two sims that mean the same get the same."""
    return msgspec.structs.replace(binary, origin=Origin())


def _prepare_job(entry: Prepare, plan: Plan, shop: Workshop) -> _Job:
    return _Job("prepare", _place(plan, entry.origin, "prepare"), lambda task: prepared(entry, shop, task))


def _place(plan: Plan, origin: Origin, key: str) -> Diagnostic:
    return Diagnostic(origin.file or plan.source, origin.line, key, "")
