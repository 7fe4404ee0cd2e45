"""Cargo: what a workspace can build, building it, and where the artifacts are."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from patchbay_runner.binaries.progress import Task
from patchbay_runner.binaries.tools import Ended, run_tool
from patchbay_runner.errors import BinaryError

TargetKind = Literal["example", "bin"]

_SHOWN_NAMES = 12
_TAIL_LINES = 20


class Target(msgspec.Struct, frozen=True):
    """Something that Cargo makes a program of, in the package of this manifest."""

    kind: TargetKind
    name: str
    manifest: str


class Features(msgspec.Struct, frozen=True):
    """Which features to build with."""

    names: tuple[str, ...] = ()
    has_all: bool = False

    def arguments(self) -> list[str]:
        if self.has_all:
            return ["--all-features"]
        return ["--features", ",".join(self.names)] if self.names else []


class _CargoTarget(msgspec.Struct, frozen=True):
    kind: list[str]
    name: str


class _Package(msgspec.Struct, frozen=True):
    manifest_path: str
    targets: list[_CargoTarget]


class _Metadata(msgspec.Struct, frozen=True):
    packages: list[_Package]
    target_directory: str


class _Message(msgspec.Struct, frozen=True):
    reason: str
    target: _CargoTarget | None = None
    executable: str | None = None


class Cargo:
    """Cargo in the workspace at `directory`, called `shown` in messages, with its own target directory unless given."""

    def __init__(
        self,
        directory: Path,
        environment: Mapping[str, str],
        task: Task,
        *,
        target_directory: Path | None = None,
        shown: str = "",
    ) -> None:
        self._directory = directory
        self._shown = shown or str(directory)
        self._environment = dict(environment)
        if target_directory is not None:
            self._environment["CARGO_TARGET_DIR"] = str(target_directory)
        self._task = task
        self._platform = environment.get("RUST_TARGET", "")
        self._cargo = find_cargo(environment)
        self._found: _Metadata | None = None

    def target_directory(self) -> Path:
        """Where the artifacts of all profiles are. Raises BinaryError."""
        return Path(self._metadata().target_directory)

    def find(self, name: str, kinds: Iterable[TargetKind]) -> Target:
        """The target of that name, of the first kind that has one. Raises BinaryError with those there are."""
        targets = [
            Target(kind, target.name, package.manifest_path)
            for package in self._metadata().packages
            for target in package.targets
            for kind in kinds
            if kind in target.kind
        ]
        for kind in kinds:
            found = next((target for target in targets if (target.kind, target.name) == (kind, name)), None)
            if found:
                return found
        what = " or ".join(kinds)
        names = sorted({target.name for target in targets})
        listed = ", ".join(names[:_SHOWN_NAMES]) + (", …" if len(names) > _SHOWN_NAMES else "")
        expected = f"one of: {listed}" if names else "a workspace with one"
        raise BinaryError(f"{self._shown} has no {what} {name!r}", expected)

    def build(self, targets: Iterable[Target], features: Features, log: Path) -> dict[Target, Path]:
        """Builds targets of one package in release mode, and says where each is. Raises BinaryError."""
        wanted = list(targets)
        shown = ", ".join(f"{target.kind} {target.name}" for target in wanted)
        arguments = ["build", "--release", "--message-format=json-render-diagnostics", *features.arguments()]
        arguments += ["--manifest-path", wanted[0].manifest]
        for target in wanted:
            arguments += [f"--{target.kind}", target.name]
        if self._platform:
            arguments += ["--target", self._platform]
        with self._task.shown(f"building {shown} of {self._shown}", f"built {shown} of {self._shown}"):
            ended = self._run(arguments, log)
            if ended.exit_code:
                raise BinaryError(
                    f"cargo cannot build {shown} of {self._shown}; its whole output is in {log}",
                    output=ended.tail[-_TAIL_LINES:],
                )
        return _artifacts(ended.output, wanted)

    def _metadata(self) -> _Metadata:
        if self._found is None:
            if not (self._directory / "Cargo.toml").is_file() and not self._directory.is_dir():
                raise BinaryError(f"there is no directory {self._directory}", "a Cargo project")
            ended = self._run(["metadata", "--format-version=1", "--no-deps"])
            if ended.exit_code:
                raise BinaryError(f"cargo cannot read {self._shown}", "a Cargo project", ended.tail[-_TAIL_LINES:])
            self._found = msgspec.json.decode(ended.output, type=_Metadata)
        return self._found

    def _run(self, arguments: list[str], log: Path | None = None) -> Ended:
        command = [self._cargo, *arguments]
        if log is None:
            return run_tool(command, self._directory, self._environment, self._task)
        with log.open("wb") as file:
            return run_tool(command, self._directory, self._environment, self._task, file)


def find_cargo(environment: Mapping[str, str]) -> str:
    """Cargo on PATH, else where rustup puts it, which sudo's PATH leaves out. Raises BinaryError."""
    home = environment.get("CARGO_HOME") or f"{environment.get('HOME', '')}/.cargo"
    path = f"{environment.get('PATH', '')}:{home}/bin"
    found = shutil.which("cargo", path=path)
    if found is None:
        raise BinaryError("cargo is not to be found", "cargo on PATH, from https://rustup.rs or the package cargo")
    return found


def _artifacts(output: bytes, wanted: list[Target]) -> dict[Target, Path]:
    """Where Cargo says it put the programs."""
    found = {}
    for line in output.splitlines():
        if not line.startswith(b"{"):
            continue  # a build script may print to standard output
        message = msgspec.json.decode(line, type=_Message)
        if message.reason != "compiler-artifact" or message.target is None or message.executable is None:
            continue
        for target in wanted:
            if target.name == message.target.name and target.kind in message.target.kind:
                found[target] = Path(message.executable)
    missing = [target for target in wanted if target not in found]
    if missing:
        raise BinaryError(f"cargo made no program of the {missing[0].kind} {missing[0].name!r}", "an executable target")
    return found
