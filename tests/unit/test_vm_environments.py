"""Environments are put together here, and work where they are copied to."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from patchbay_runner.errors import BinaryError, HostError
from patchbay_runner.vm import installing
from patchbay_runner.vm.environments import GuestPython, Packages
from patchbay_runner.vm.installing import install
from tests.unit.local_guest import LocalGuest
from tests.unit.wheelhouse import make_wheel

TOOL = "import sys, helper\n\n\ndef main():\n    print(sys.prefix, helper.WORD, *sys.argv[1:])\n    return 3\n"


def ignore(_line: str) -> None:
    pass


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    # The guest's interpreter, which is ours here.
    monkeypatch.setattr(installing, "_INTERPRETER", os.path.realpath(sys.executable))


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    make_wheel(tmp_path / "wheels", "helper", "1", {"helper.py": "WORD = 'helped'\n"})
    return make_wheel(tmp_path / "own", "tool", "1", {"tool.py": TOOL}, requires="helper", scripts="tool = tool:main")


def test_what_is_installed_runs_in_the_guest(tool: Path, tmp_path: Path) -> None:
    guest = LocalGuest(tmp_path / "home")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "own.py").write_text("WORD = 'own'\n")
    packages = Packages((tool,), import_paths=(str(tmp_path / "project"),))
    place = install(guest, packages, tmp_path / "cache", ignore)
    assert str(place).startswith(str(tmp_path / "home"))
    done = subprocess.run([place / "bin" / "tool", "a b"], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == (f"{place} helped a b\n", 3), done.stderr
    code = "import own, helper; print(own.WORD)"
    done = subprocess.run([place / "bin" / "python3", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "own\n", done.stderr


def test_it_is_put_together_and_copied_once(tool: Path, tmp_path: Path) -> None:
    guest = LocalGuest(tmp_path / "home")
    said: list[str] = []
    packages = Packages((tool,))
    first = install(guest, packages, tmp_path / "cache", said.append)
    assert len(said) == 2
    assert install(guest, packages, tmp_path / "cache", said.append) == first
    assert len(said) == 2
    # Another machine gets it from the cache; other contents are another environment.
    assert install(LocalGuest(tmp_path / "other"), packages, tmp_path / "cache", said.append).name == first.name
    assert len(said) == 3
    make_wheel(tmp_path / "own", "tool", "1", {"tool.py": TOOL + "\n"}, scripts="tool = tool:main")
    assert install(guest, packages, tmp_path / "cache", said.append) != first


def test_a_copy_that_was_interrupted_counts_for_nothing(
    tool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = LocalGuest(tmp_path / "home")

    def broken(source: Path, directory: str) -> None:
        (Path(directory) / source.name / "bin").mkdir(parents=True)
        raise HostError("the connection broke")

    with monkeypatch.context() as patch, pytest.raises(HostError):
        patch.setattr(guest, "copy_in", broken)
        install(guest, Packages((tool,)), tmp_path / "cache", ignore)
    place = install(guest, Packages((tool,)), tmp_path / "cache", ignore)
    assert subprocess.run([place / "bin" / "tool"], capture_output=True, check=False).returncode == 3


def test_what_cannot_be_had_is_what_pip_says(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    with pytest.raises(BinaryError, match=r"(?s)pip install failed.*nowhere"):
        install(LocalGuest(tmp_path / "home"), Packages((), ("nowhere",)), tmp_path / "cache", ignore)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == []


def test_wheels_fit_the_guest_and_not_this_machine() -> None:
    tags = GuestPython("3.13", "aarch64", 41).platforms()
    assert tags[0] == "manylinux_2_41_aarch64"
    assert {"manylinux_2_28_aarch64", "manylinux2014_aarch64", "manylinux_2_17_aarch64"} <= set(tags)
    assert not any(platform.machine() in tag for tag in tags if platform.machine() != "aarch64")
