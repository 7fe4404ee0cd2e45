"""The test programs of a Cargo workspace, built on this machine so that they run in any Linux of a processor."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from patchbay_runner.errors import BinaryError

_LINKS_ITSELF = "-C target-feature=+crt-static"


class TestProgram(msgspec.Struct, frozen=True):
    """`directory` is its package's, where Cargo would run it."""

    package: str
    target: str
    kind: str
    path: Path
    directory: Path


class _Target(msgspec.Struct, frozen=True):
    name: str
    kind: list[str]


class _Profile(msgspec.Struct, frozen=True):
    test: bool


class _Message(msgspec.Struct, frozen=True):
    """What Cargo says for machines, as far as it is of interest (`cargo build --message-format=json`)."""

    reason: str
    manifest_path: str = ""
    package_id: str = ""
    target: _Target | None = None
    profile: _Profile | None = None
    executable: str | None = None


class Platform(msgspec.Struct, frozen=True):
    """What to build for, and what Cargo needs to know for that in its environment."""

    triple: str
    environment: Mapping[str, str]


def choose_platform(machine: str, environment: Mapping[str, str], triple: str | None = None) -> Platform:
    """musl where it is installed, else glibc, linked statically, on a Linux of that processor.

    `triple` or $RUST_TARGET says otherwise. Raises BinaryError when nothing fits.
    """
    asked = triple or environment.get("RUST_TARGET")
    musl, gnu = f"{machine}-unknown-linux-musl", f"{machine}-unknown-linux-gnu"
    if asked or _is_installed(musl, environment):
        return _prepared(asked or musl, environment)
    if sys.platform == "linux" and _is_installed(gnu, environment):
        return _prepared(gnu, environment)
    raise BinaryError(f"Rust cannot build for {musl} here", f"rustup target add {musl}")


def build_tests(
    workspace: Path,
    platform: Platform,
    target_directory: Path,
    arguments: Sequence[str],
    environment: Mapping[str, str],
) -> list[TestProgram]:
    """Builds with `cargo test --no-run`, which speaks to the terminal, and says what it made, in Cargo's order.

    Raises BinaryError.
    """
    command = [_tool("cargo", environment), "test", "--no-run", "--message-format=json-render-diagnostics"]
    command += ["--target", platform.triple, *arguments]
    # Two that share a directory would build everything anew each time, as their flags differ.
    said = {**environment, **platform.environment, "CARGO_TARGET_DIR": str(target_directory)}
    done = subprocess.run(
        command, cwd=workspace, env=said, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        raise BinaryError(f"cargo cannot build the tests of {workspace} for {platform.triple}")
    return read_messages(done.stdout)


def read_messages(output: bytes) -> list[TestProgram]:
    """The test programs that Cargo's messages name."""
    found = []
    for line in output.splitlines():
        if not line.startswith(b"{"):
            continue  # a build script may print to standard output
        message = msgspec.json.decode(line, type=_Message)
        is_test = message.profile is not None and message.profile.test
        if message.reason != "compiler-artifact" or not is_test or message.target is None or not message.executable:
            continue
        directory = Path(message.manifest_path).parent
        kind, name = message.target.kind[0], message.target.name
        found.append(TestProgram(directory.name, name, kind, Path(message.executable), directory))
    return found


def _prepared(triple: str, environment: Mapping[str, str]) -> Platform:
    prefix = f"CARGO_TARGET_{triple.upper().replace('-', '_')}"
    added = {}
    if triple.endswith("-gnu"):
        # RUSTFLAGS, where there is one, is all that Cargo heeds.
        name = "RUSTFLAGS" if "RUSTFLAGS" in environment else f"{prefix}_RUSTFLAGS"
        added[name] = f"{environment.get(name, '')} {_LINKS_ITSELF}".strip()
    elif sys.platform != "linux" and f"{prefix}_LINKER" not in environment:
        added[f"{prefix}_LINKER"] = "rust-lld"  # the toolchain's own: the system's makes other systems' programs
    return Platform(triple, added)


def _is_installed(triple: str, environment: Mapping[str, str]) -> bool:
    command = [_tool("rustc", environment), "--print", "target-libdir", "--target", triple]
    done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)
    libraries = Path(done.stdout.strip())
    return done.returncode == 0 and any(libraries.glob("libstd-*.rlib"))


def _tool(name: str, environment: Mapping[str, str]) -> str:
    found = shutil.which(name, path=environment.get("PATH"))
    if found is None:
        raise BinaryError(f"{name} is not to be found", f"{name} on PATH, from https://rustup.rs")
    return found
