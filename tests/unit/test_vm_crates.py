"""What a Cargo workspace's tests are built for, and with what."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from patchbay_runner.errors import BinaryError
from patchbay_runner.vm.crates import Platform, build_tests, choose_platform, read_messages

MUSL, GNU = "x86_64-unknown-linux-musl", "x86_64-unknown-linux-gnu"
Tools = Callable[..., dict[str, str]]


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    """An environment in which Rust can build for the given targets."""

    def make(*targets: str, **more: str) -> dict[str, str]:
        for target in targets:
            library = tmp_path / target
            library.mkdir(parents=True)
            (library / "libstd-0.rlib").touch()
        script = tmp_path / "bin" / "rustc"
        script.parent.mkdir()
        script.write_text(f'#!/bin/sh\necho "{tmp_path}/$4"\n')
        script.chmod(0o755)
        return {"PATH": f"{script.parent}:{os.environ['PATH']}", **more}

    return make


def test_musl_where_it_is_installed(tools: Tools) -> None:
    assert choose_platform("x86_64", tools(MUSL, GNU)) == Platform(MUSL, {})


def test_else_glibc_that_is_linked_statically(tools: Tools) -> None:
    name = "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS"
    assert choose_platform("x86_64", tools(GNU)) == Platform(GNU, {name: "-C target-feature=+crt-static"})


def test_flags_that_are_there_are_kept(tools: Tools) -> None:
    """Cargo heeds RUSTFLAGS alone where there is one."""
    platform = choose_platform("x86_64", tools(GNU, RUSTFLAGS="-C opt-level=1"))
    assert platform.environment == {"RUSTFLAGS": "-C opt-level=1 -C target-feature=+crt-static"}


def test_what_is_asked_for(tools: Tools) -> None:
    assert choose_platform("x86_64", tools(MUSL, RUST_TARGET="x-y")).triple == "x-y"


def test_what_is_asked_for_now(tools: Tools) -> None:
    assert choose_platform("x86_64", tools(MUSL, RUST_TARGET="x-y"), "z").triple == "z"


def test_neither(tools: Tools) -> None:
    with pytest.raises(BinaryError, match=f"rustup target add {MUSL}"):
        choose_platform("x86_64", tools())


def test_no_rust() -> None:
    with pytest.raises(BinaryError, match="rustc is not to be found"):
        choose_platform("x86_64", {"PATH": "/nowhere"})


def artifact(name: str, kind: str, *, is_test: bool = True, executable: str | None = "/t/a") -> str:
    return json.dumps(
        {
            "reason": "compiler-artifact",
            "manifest_path": "/w/net/Cargo.toml",
            "target": {"name": name, "kind": [kind], "src_path": "x"},
            "profile": {"test": is_test, "opt_level": "0"},
            "executable": executable,
        }
    )


def test_only_test_programs_count() -> None:
    lines = [
        "a build script says hello",
        artifact("dep", "lib", is_test=False, executable=None),
        artifact("net", "lib"),
        artifact("server", "bin", is_test=False),
        artifact("nat", "test"),
        '{"reason":"build-finished","success":true}',
    ]
    found = read_messages("\n".join(lines).encode())
    assert [(program.package, program.kind, program.target) for program in found] == [
        ("net", "lib", "net"),
        ("net", "test", "nat"),
    ]
    assert found[0].directory == Path("/w/net")


def test_cargo_is_called_as_people_call_it(tmp_path: Path) -> None:
    cargo = tmp_path / "cargo"
    cargo.write_text(f'#!/bin/sh\necho "$@" "$CARGO_TARGET_DIR" "$FLAGS" "$PWD" >{tmp_path}/said\nexit $CODE\n')
    cargo.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CODE": "0"}
    platform = Platform(GNU, {"FLAGS": "static"})
    assert build_tests(tmp_path, platform, Path("/t"), ["--package", "x"], environment) == []
    expected = f"test --no-run --message-format=json-render-diagnostics --target {GNU} --package x /t static {tmp_path}"
    assert (tmp_path / "said").read_text() == f"{expected}\n"
    with pytest.raises(BinaryError, match="cargo cannot build the tests"):
        build_tests(tmp_path, platform, Path("/t"), [], {**environment, "CODE": "101"})
