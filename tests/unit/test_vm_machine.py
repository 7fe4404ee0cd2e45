"""The life of a virtual machine, with an emulator that only looks like one."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from patchbay_runner.errors import HostError
from patchbay_runner.vm import accelerators
from patchbay_runner.vm.machine import Machine
from tests.unit.vm_fakes import Fakes


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fakes]:
    made = Fakes(tmp_path, monkeypatch)
    yield made
    made.end()


def left(machine: Machine) -> set[str]:
    """What lies in the machine's directory, and its socket directory if there is one."""
    found = {path.name for path in machine.state.directory.iterdir()}
    return found | ({"sockets"} if machine.state.sockets.exists() else set())


KEPT = {"disk.qcow2", "disk.json", "keys"}


def test_up_boots_once_and_down_leaves_the_disk_and_the_key(fakes: Fakes) -> None:
    machine = fakes.machine()
    assert machine.status().condition == "absent"
    guest = machine.up()
    status = machine.status()
    assert (status.condition, status.user, status.image) == ("running", "dev", "an image")
    assert guest.inside(machine.settings.workspace / "sims" / "a.toml") == "/app/sims/a.toml"
    assert guest.inside(machine.settings.work / "x") == "/work/x"
    assert guest.inside(Path("/elsewhere")) is None
    assert "mount -t 9p" in fakes.calls.read_text()
    assert "sudo -n settle" in fakes.calls.read_text()
    began = time.monotonic()
    machine.up()
    assert time.monotonic() - began < 2
    assert [machine.status().pid] == fakes.processes()
    assert machine.down()
    assert fakes.processes() == []
    assert left(machine) == KEPT
    assert machine.status().condition == "stopped"
    assert not machine.down()


def test_the_disk_is_made_once_and_anew_when_that_is_asked(fakes: Fakes) -> None:
    machine = fakes.machine()
    machine.up()
    machine.down()
    machine.state.disk.write_text("written by the guest")
    machine.up()
    assert machine.state.disk.read_text() == "written by the guest"
    machine.up(recreate=True)
    assert machine.state.disk.read_text() == "a disk"
    assert len(fakes.processes()) == 1


def test_without_qemu_the_command_that_installs_it_is_named(fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    only = fakes.root / "only"
    only.mkdir()
    for name in ("ssh", "ssh-keygen"):
        (only / name).symlink_to(fakes.bin / name)
    for manager, command in (
        ("apt-get", "apt-get install qemu-system-"),
        ("pacman", "pacman -S"),
        ("dnf", "dnf install"),
    ):
        (only / manager).symlink_to("/bin/true")
        monkeypatch.setenv("PATH", str(only))
        with pytest.raises(HostError, match=r"there is no qemu-system-") as caught:
            fakes.machine(qemu=None).up()
        assert command in caught.value.remedy
        (only / manager).unlink()


def test_a_port_that_was_asked_for_and_is_taken_is_an_error_that_says_who(fakes: Fakes) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(HostError, match=rf"port {port} of this host is taken by .*\(process {os.getpid()}\)"):
            fakes.machine(ssh_port=port).up()
    assert fakes.processes() == []


def test_machines_of_two_projects_are_up_side_by_side(fakes: Fakes) -> None:
    one, other = fakes.machine("one"), fakes.machine("other")
    one.up()
    other.up()
    assert one.status().ssh_port != other.status().ssh_port
    one.down()
    assert other.status().condition == "running"
    port = other.status().ssh_port
    with pytest.raises(HostError, match=r"the machine patchbay-vm of .*other"):
        fakes.machine("one", ssh_port=port).up()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("broken-image", "QEMU did not start: .*Image is not in qcow2 format"),
        ("no-image", "base.raw is no disk image: .*not a disk image"),
        ("no-space", "cannot make .*disk.qcow2: .*No space left on device"),
        ("dies", "the machine has ended(?s:.*)terminating"),
        ("silent", "does not answer, after 1 s(?s:.*)Kernel panic - not syncing"),
        ("no-login", r"does not answer, after 1 s: .*Permission denied(?s:.*)Kernel panic - not syncing"),
        ("no-mount", "unknown filesystem type '9p'"),
    ],
)
def test_a_machine_that_does_not_come_up_says_why_and_is_gone(fakes: Fakes, fault: str, message: str) -> None:
    fakes.break_(fault, *(["silent"] if fault == "dies" else []))
    machine = fakes.machine(boot_timeout_s=1.0 if fault in {"silent", "no-login"} else 20.0)
    with pytest.raises(HostError, match=message):
        machine.up()
    assert fakes.processes() == []
    assert left(machine) <= KEPT | {"console.log", "qemu.log"}
    fakes.break_()
    machine.up()
    machine.down()
    assert left(machine) == KEPT


def test_a_disk_that_cannot_grow_is_told_from_a_guest_that_is_slow(fakes: Fakes) -> None:
    fakes.break_("disk-full", "silent")
    with pytest.raises(HostError, match=r"stands still: .* cannot grow, the disk is full"):
        fakes.machine().up()


def test_a_guest_that_does_not_power_down_is_ended(fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("patchbay_runner.vm.machine._EMULATED_POWERDOWN_S", 0.2)
    monkeypatch.setattr("patchbay_runner.vm.machine._POWERDOWN_S", 0.2)
    fakes.break_("deaf")
    machine = fakes.machine()
    machine.up()
    assert machine.down()
    assert fakes.processes() == []


def test_a_machine_that_shares_other_directories_is_not_taken_for_this_one(fakes: Fakes) -> None:
    fakes.machine().up()
    with pytest.raises(HostError, match=r"shares .* as /work, not .*elsewhere"):
        fakes.machine(work="elsewhere").up()


def test_without_9p_directories_are_copied(fakes: Fakes) -> None:
    fakes.break_("no-virtio-9p-pci")
    machine = fakes.machine(sharing=None, virtiofsd=None)
    with pytest.raises(HostError, match="built without 9p"):
        fakes.machine(sharing="9p").up()
    machine.up()
    by = {share.guest: share.by for share in machine.status().shares}
    assert by["/app"] == "copy"


def test_a_process_with_a_reused_number_is_left_alone(fakes: Fakes) -> None:
    machine = fakes.machine()
    machine.up()
    machine.down()
    machine.state.qemu_note.write_text(f"{os.getpid()}\n")
    assert machine.status().condition == "stopped"
    assert not machine.down()
    assert left(machine) == KEPT


def test_a_machine_whose_directory_was_removed_is_ended_by_the_next_command(fakes: Fakes) -> None:
    machine = fakes.machine()
    machine.up()
    shutil.rmtree(machine.state.directory)
    machine.cleanup()
    deadline = time.monotonic() + 20
    while fakes.processes():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_cleanup_ends_what_never_came_up_and_leaves_what_is_up(fakes: Fakes) -> None:
    machine = fakes.machine()
    machine.up()
    assert machine.cleanup() == []
    assert machine.status().condition == "running"
    machine.down()
    fakes.break_("silent")
    with command(fakes, "up") as up:
        wait_for(lambda: machine.status().condition == "starting")
        up.kill()
    assert machine.state.qemu_note in machine.cleanup()
    assert fakes.processes() == []
    assert left(machine) == KEPT


def test_two_commands_at_once_make_one_machine(fakes: Fakes) -> None:
    machines = [fakes.machine() for _ in range(4)]
    threads = [threading.Thread(target=machine.up) for machine in machines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fakes.processes()) == 1


def test_a_command_killed_at_any_moment_leaves_a_machine_that_the_next_one_finds(fakes: Fakes) -> None:
    machine = fakes.machine()
    began = time.monotonic()
    with command(fakes, "up") as up:
        assert up.wait(60) == 0
    whole_s = time.monotonic() - began
    machine.down()
    for attempt_number in range(6):
        with command(fakes, "up") as up:
            time.sleep(random.uniform(0.2, 1) * whole_s)
            up.kill()
        if attempt_number % 2:
            machine.up()
            assert len(fakes.processes()) == 1
        machine.down()
        assert fakes.processes() == []
        assert left(machine) <= KEPT


def test_an_accelerator_that_is_broken_is_passed_over_and_that_is_remembered(fakes: Fakes) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("KVM is Linux's")
    fakes.break_("kvm-aborts")
    machine = fakes.machine()
    told: list[str] = []
    machine.up(report=told.append)
    status = machine.status()
    assert status.accelerator == "tcg"
    assert [each.reason for each in status.passed_over] == ["kvm: failed to set MSR 0x10a (signal 6)"]
    assert any("kvm does not work here" in line for line in told)
    machine.down()
    fakes.break_()
    machine.up()
    assert machine.status().accelerator == "tcg"


def test_an_accelerator_that_hangs_is_given_up(fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(accelerators._DEADLINE_S, "kvm", 0.3)
    fakes.break_("kvm-hangs")
    with pytest.raises(HostError, match="the accelerator kvm does not work here: it hangs"):
        fakes.machine(accelerator="kvm").up()


def command(fakes: Fakes, what: str) -> subprocess.Popen[bytes]:
    """A process that does something to the machine."""
    program = f"""
import sys
from pathlib import Path
from tests.unit.vm_fakes import Fakes
fakes = Fakes.__new__(Fakes)
fakes.root = Path({str(fakes.root)!r})
fakes._sockets = set()
fakes.machine().{what}()
"""
    return subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[2])


def wait_for(is_true: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
