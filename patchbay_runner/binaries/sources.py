"""How a binary of each mode comes to be. Each function runs in a thread of its own and holds the locks it needs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from patchbay_runner.binaries.archives import is_archive, opened_program
from patchbay_runner.binaries.cache import Cache, key_of, sha256_of
from patchbay_runner.binaries.cargo import Cargo, Features, Target, TargetKind
from patchbay_runner.binaries.download import fetch, shown_url
from patchbay_runner.binaries.git import Repository, repository_url
from patchbay_runner.binaries.local import artifact_candidates, executable, named_target_directory
from patchbay_runner.binaries.progress import Task
from patchbay_runner.errors import BinaryError
from patchbay_runner.model.plan import Binary, Prepare

if TYPE_CHECKING:
    import httpx

# What changes the program that Cargo makes of the same sources.
_BUILD_VARIABLES = ("RUST_TARGET", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS")


class Workshop(msgspec.Struct, frozen=True):
    """What every source needs. `environment` is that of tools; relative paths begin at `project_root`.

    `begun_s` is the time of day at which the work began.
    """

    project_root: Path
    environment: Mapping[str, str]
    cache: Cache
    may_build: bool
    begun_s: float

    def repository_of(self, binary: Binary) -> str:
        """The address that the binary is cloned from."""
        return repository_url(binary.repo or "", self.project_root)

    def directory_of(self, binary: Binary) -> Path:
        """The directory of sources that the binary is built from."""
        return (self.project_root / Path(binary.path or "").expanduser()).resolve()

    def target_directory(self, directory: Path, task: Task) -> Path:
        """Cargo's target directory: the environment's, the one that is there, else what Cargo says."""
        named = named_target_directory(self.project_root, self.environment)
        usual = directory / "target"
        if named or usual.is_dir() or not _is_in_workspace(directory):
            return named or usual
        return Cargo(directory, self.environment, task).target_directory()


def downloaded(binary: Binary, shop: Workshop, task: Task, client: httpx.Client) -> Path:
    """A program at an address, or in an archive there. Raises BinaryError."""
    url = binary.url or ""
    fetched = fetch(url, binary.sha256, shop.cache, task, client, since_s=shop.begun_s)
    wanted = tuple(dict.fromkeys(name for name in (binary.bin, binary.name) if name))
    key = key_of("download", fetched.sha256, *wanted)
    with shop.cache.lock(f"program-{key}", task):
        ready = shop.cache.program(key)
        if ready:
            return ready
        if not is_archive(urlsplit(url).path, fetched.path):
            with fetched.path.open("rb") as source:
                return shop.cache.keep_program(key, PurePosixPath(wanted[0]).name, source)
        with opened_program(fetched.path, wanted, shown_url(url)) as (name, source):
            return shop.cache.keep_program(key, name, source)


def built_from_repository(binary: Binary, shop: Workshop, task: Task) -> Path:
    """A program of a Git repository at a commit. Raises BinaryError."""
    url, cache = shop.repository_of(binary), shop.cache
    repository_key = key_of("repository", url)
    with cache.lock(f"repository-{repository_key}", task, lambda: task.note("another run works on its repository")):
        home = cache.directory("repositories", repository_key)
        os.utime(home)  # it is used now, whether or not anything is built
        repository = Repository(url, home / "source", shop.environment, task)
        commit = repository.resolve(binary.commit, may_fetch=shop.may_build)
        wanted = [binary.bin or "", binary.example or "", binary.name if not (binary.bin or binary.example) else ""]
        options = [*sorted(binary.features), str(binary.all_features)]
        environment = [shop.environment.get(name, "") for name in _BUILD_VARIABLES]
        key = key_of("build", url, commit, *wanted, *options, *environment)
        ready = cache.program(key)
        if ready:
            return ready
        if not shop.may_build:
            raise BinaryError(
                f"{shown_url(url)} at {commit[:12]} has not been built", "a run without --no-build before"
            )
        sources = repository.check_out(commit)
        shown = f"{shown_url(url)} at {commit[:12]}"
        cargo = Cargo(sources, shop.environment, task, target_directory=home / "target", shown=shown)
        built = _build(cargo, binary, cache.directory("logs") / f"{key}.log")
        with built.open("rb") as source:
            return cache.keep_program(key, built.name, source)


def built_in_place(binary: Binary, shop: Workshop, task: Task, *, is_shared: bool) -> Path:
    """A program of the project, or of the directory that the binary names. Raises BinaryError.

    `is_shared` means that another binary's build overwrites it: then it is copied away.
    """
    directory = shop.directory_of(binary)
    if not shop.may_build:
        target = shop.target_directory(directory, task)
        candidates = artifact_candidates(
            msgspec.structs.replace(binary, path=None), target, shop.environment.get("RUST_TARGET", "")
        )
        try:
            return executable(candidates)
        except BinaryError as error:
            raise BinaryError(
                f"{error.message}, and --no-build was given", "a program that was built before"
            ) from error
    built = _build(_cargo_of(shop, directory, task), binary, _log_of(shop, directory, binary.name))
    if not is_shared:
        return built
    return copied(built, shop.cache)


def prepared(entry: Prepare, shop: Workshop, task: Task) -> None:
    """Builds what a `[[prepare]]` of the project names. Raises BinaryError."""
    cargo = _cargo_of(shop, shop.project_root, task)
    targets = [cargo.find(name, ["example"]) for name in entry.examples]
    targets += [cargo.find(name, ["bin"]) for name in entry.bins]
    features = Features(entry.features, entry.all_features)
    for manifest in dict.fromkeys(target.manifest for target in targets):
        log = _log_of(shop, shop.project_root, f"prepare {manifest}")
        cargo.build([target for target in targets if target.manifest == manifest], features, log)


def copied(path: Path, cache: Cache) -> Path:
    """An executable copy in the cache, by what is in it."""
    key = key_of("copy", sha256_of(path), path.name)
    ready = cache.program(key)
    if ready:
        return ready
    with path.open("rb") as source:
        return cache.keep_program(key, path.name, source)


def _cargo_of(shop: Workshop, directory: Path, task: Task) -> Cargo:
    target = named_target_directory(shop.project_root, shop.environment)
    return Cargo(directory, shop.environment, task, target_directory=target)


def _build(cargo: Cargo, binary: Binary, log: Path) -> Path:
    kinds: list[TargetKind] = ["bin"] if binary.bin else ["example"] if binary.example else ["example", "bin"]
    target: Target = cargo.find(binary.bin or binary.example or binary.name, kinds)
    return cargo.build([target], Features(binary.features, binary.all_features), log)[target]


def _log_of(shop: Workshop, directory: Path, what: str) -> Path:
    return shop.cache.directory("logs") / f"{key_of('log', str(directory), what)}.log"


def _is_in_workspace(directory: Path) -> bool:
    return any((parent / "Cargo.toml").is_file() for parent in (directory, *directory.parents))
