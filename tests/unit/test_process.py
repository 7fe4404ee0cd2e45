"""Finding programs, and the helpers that need no sandbox."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from pathlib import Path

import pytest

from patchbay_runner.errors import CommandNotFound, KernelError
from patchbay_runner.kernel import process, syscalls


@pytest.fixture
def directories(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    return tmp_path / "first", tmp_path / "second"


def _program(path: Path, mode: int = 0o755) -> Path:
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


def test_first_of_the_path_wins(directories: tuple[Path, Path]) -> None:
    first, second = (_program(directory / "tool") for directory in directories)
    path = ":".join(map(str, directories))
    assert process.find_program("tool", {"PATH": path}) == str(first)
    first.unlink()
    assert process.find_program("tool", {"PATH": path}) == str(second)


def test_what_cannot_be_executed_is_passed_over_but_remembered(directories: tuple[Path, Path]) -> None:
    refused = _program(directories[0] / "tool", 0o644)
    wanted = _program(directories[1] / "tool")
    path = ":".join(map(str, directories))
    assert process.find_program("tool", {"PATH": path}) == str(wanted)
    wanted.unlink()
    with pytest.raises(CommandNotFound, match=f"tool: {refused} is not executable"):
        process.find_program("tool", {"PATH": path})


def test_directory_of_that_name_is_no_program(directories: tuple[Path, Path]) -> None:
    (directories[0] / "tool").mkdir()
    with pytest.raises(CommandNotFound, match="no such program in PATH"):
        process.find_program("tool", {"PATH": str(directories[0])})


def test_empty_entry_of_the_path_is_the_working_directory(
    directories: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _program(directories[0] / "tool")
    monkeypatch.chdir(directories[0])
    assert process.find_program("tool", {"PATH": f"{directories[1]}:"}) == "./tool"


def test_without_a_path_the_systems_programs_are_found() -> None:
    assert process.find_program("sh", {}) in ("/bin/sh", "/usr/bin/sh")


def test_a_slash_means_no_search() -> None:
    assert process.find_program("./anything", {"PATH": "/bin"}) == "./anything"


def test_signal_of_a_group_that_has_ended() -> None:
    child = subprocess.Popen(["true"], start_new_session=True)
    child.wait()
    assert not process.signal_group(child.pid, signal.SIGTERM)


def test_wait_gives_up_and_can_be_repeated() -> None:
    reader, writer = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, reader, 0)]
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "read line; exit 5"], {}, file_actions=actions)
    os.close(reader)
    assert process.wait(pid, 0.01) is None
    assert process.reap(pid) is None
    os.write(writer, b"go\n")
    assert process.wait(pid, 10) == 5
    os.close(writer)


def test_refused_system_calls_name_the_operation_and_the_reason() -> None:
    with pytest.raises(KernelError, match=r"setns 0x40000000: Bad file descriptor \(EBADF\)"):
        syscalls.setns(-1, syscalls.CLONE_NEWNET)
    with pytest.raises(KernelError, match="open_tree /nowhere") as caught:
        syscalls.open_tree("/nowhere")
    assert caught.value.errno in (errno.ENOENT, errno.EPERM)


def test_capabilities_are_those_of_proc() -> None:
    status = dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines() if "Cap" in line)
    shown = tuple(int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh"))
    assert syscalls.capget() == shown
