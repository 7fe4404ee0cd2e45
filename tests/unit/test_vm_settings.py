"""Where the settings of a virtual machine come from, and what is wrong with them."""

import os
from pathlib import Path

import pytest

from patchbay_runner.cli.vm.options import read_settings
from patchbay_runner.errors import InputError
from patchbay_runner.model.vm import MachineOptions
from patchbay_runner.vm.settings import from_environment, resolve


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("QEMU_") or name in {
            "SSH_USER",
            "SEED_PORT",
            "WORK_DIR",
            "VIRTIOFSD_BIN",
            "CARGO_TARGET_DIR",
        }:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_without_a_word_the_machine_is_the_one_of_the_book(tmp_path: Path) -> None:
    settings = resolve(MachineOptions(), Path(), tmp_path)
    processors = min(4, os.cpu_count() or 1)
    assert (settings.name, settings.memory_mb, settings.processors, settings.disk_gb) == (
        "patchbay-vm",
        4096,
        processors,
        40,
    )
    assert settings.workspace == tmp_path
    assert settings.target == tmp_path / "target"
    assert settings.work == tmp_path / ".patchbay-work"
    assert settings.state == tmp_path / ".qemu-vm" / "patchbay-vm"
    assert settings.ssh_port is None


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.joinpath("patchbay.toml").write_text(
        'work_dir = "out"\n[vm]\nname = "file"\ncpus = 1\nmemory_mb = 512\naccel = "tcg"\nboot_timeout = "2m"\n'
    )
    monkeypatch.setenv("QEMU_VM_CPUS", "2")
    monkeypatch.setenv("QEMU_VM_MEM_MB", "1024")
    monkeypatch.setenv("QEMU_VM_SSH_PORT", "")
    settings = read_settings(Path(), MachineOptions(memory_mb=2048))
    assert (settings.name, settings.processors, settings.memory_mb) == ("file", 2, 2048)
    assert (settings.accelerator, settings.boot_timeout_s, settings.ssh_port) == ("tcg", 120.0, None)
    assert settings.work == tmp_path / "out"


def test_paths_of_flags_begin_here_and_paths_of_files_at_the_project(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    project.joinpath("patchbay.toml").write_text('[vm]\ntarget_dir = "built"\n')
    settings = read_settings(Path("project"), MachineOptions(work="here"))
    assert settings.work == tmp_path / "here"
    assert settings.target == project / "built"


def test_everything_wrong_in_the_environment_is_said_at_once() -> None:
    with pytest.raises(InputError) as caught:
        from_environment({"QEMU_VM_CPUS": "many", "QEMU_VM_SSH_PORT": "70000", "QEMU_VM_ACCEL": "vax"})
    text = str(caught.value)
    assert "QEMU_VM_CPUS: found 'many'; expected an integer from 1" in text
    assert "QEMU_VM_SSH_PORT" in text
    assert "kvm, hvf, whpx, tcg" in text


@pytest.mark.parametrize("name", ["../up", "", " ", "-x", "a b", "x" * 65])
def test_a_name_that_is_no_directory_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="the machine's name"):
        resolve(MachineOptions(name=name), Path(), tmp_path)


def test_a_wrong_table_is_named_with_its_line(tmp_path: Path) -> None:
    tmp_path.joinpath("patchbay.toml").write_text("[vm]\ncpus = 0\nmemroy_mb = 1\n")
    with pytest.raises(InputError) as caught:
        read_settings(Path(), MachineOptions())
    assert "patchbay.toml:2: vm.cpus" in str(caught.value)
    assert "memory_mb" in str(caught.value)


def test_sockets_of_two_projects_differ_and_have_short_paths(tmp_path: Path) -> None:
    one, other = (resolve(MachineOptions(), Path(name * 50), tmp_path).sockets for name in "ab")
    assert one != other
    assert len(str(one)) < 60
