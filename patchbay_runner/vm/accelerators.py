"""What runs the guest's instructions: found out by running some.

That a device file is there says little: KVM below another hypervisor may abort or hang when a processor starts. So each
accelerator runs a few instructions that end the emulator with an exit code that nothing else ends in.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from patchbay_runner.errors import HostError
from patchbay_runner.model.vm import Accelerator
from patchbay_runner.vm import processes
from patchbay_runner.vm.settings import Architecture

_BEFORE_TCG: dict[str, tuple[Accelerator, ...]] = {"linux": ("kvm",), "darwin": ("hvf",), "win32": ("whpx",)}
# One that works takes a tenth of a second; a busy host may take its time with emulation, for which nothing stands in.
_DEADLINE_S: dict[Accelerator, float] = {"kvm": 5.0, "hvf": 5.0, "whpx": 10.0, "tcg": 60.0}
_KILLED_WITHIN_S = 2.0
_POLL_S = 0.01
# The processor's first instruction is 16 bytes below the end: mov al,0x10; mov dx,0xf4; out dx,al; hlt; jmp to hlt.
_X86_FIRMWARE = bytes(65520) + bytes.fromhex("b010 baf400 ee f4 ebfd").ljust(16, b"\0")
# The exit code of isa-debug-exit for what was written to it.
_X86_EXIT = 0x10 << 1 | 1
# PSCI SYSTEM_OFF (Arm DEN 0022): movz w0,#0x8400,lsl 16; movk w0,#8; hvc #0; b to itself.
_ARM_FIRMWARE = bytes.fromhex("0080b052 00018072 020000d4 00000014")
_ARM_EXIT = 0


class PassedOver(msgspec.Struct, frozen=True):
    """An accelerator that does not work here, and why."""

    accelerator: Accelerator
    reason: str


class Choice(msgspec.Struct, frozen=True):
    """The accelerator that is used, and those that would have been better."""

    accelerator: Accelerator
    passed_over: tuple[PassedOver, ...] = ()


class _Kept(msgspec.Struct, frozen=True):
    """A choice that holds while the host is as `host` says."""

    host: list[str]
    choice: Choice


class Bench(msgspec.Struct, frozen=True):
    """Where accelerators are tried: a file for the firmware, and the lock that whoever tries holds."""

    firmware: Path
    lock: int

    @property
    def note(self) -> Path:
        """Which process is trying."""
        return self.firmware.with_suffix(".pid")

    @property
    def log(self) -> Path:
        """What it says."""
        return self.firmware.with_suffix(".log")


def choose(qemu: Path, architecture: Architecture, wanted: Accelerator | None, cache: Path, bench: Bench) -> Choice:
    """The best accelerator that works, or `wanted` if that does. Raises HostError where none does.

    The choice is kept in the directory `cache` and tried again when QEMU, the kernel, the user or /dev/kvm change.
    """
    if wanted is not None:
        reason = attempt(qemu, architecture, wanted, bench)
        if reason:
            raise HostError(f"the accelerator {wanted} does not work here: {reason}", "leave --accel out")
        return Choice(wanted)
    file, host = cache / f"accelerator-{architecture}.json", _host(qemu)
    kept = _read(file)
    if kept is not None and kept.host == host:
        return kept.choice
    choice = _first_that_works(qemu, architecture, bench)
    # The next command tries again where nothing can be kept: a home that is read-only, a full disk.
    with suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
        beside = file.with_name(f".{file.name}.{os.getpid()}")
        beside.write_bytes(msgspec.json.encode(_Kept(host, choice)))
        beside.replace(file)
    return choice


def cache_directory(environment: Mapping[str, str]) -> Path:
    """$XDG_CACHE_HOME/patchbay, else ~/.cache/patchbay (XDG Base Directory Specification)."""
    named = environment.get("XDG_CACHE_HOME", "")
    return (Path(named) if named.startswith("/") else Path(environment.get("HOME") or "/") / ".cache") / "patchbay"


def attempt(qemu: Path, architecture: Architecture, accelerator: Accelerator, bench: Bench) -> str:
    """Why the accelerator does not work; "" when it does."""
    firmware, expected = (_X86_FIRMWARE, _X86_EXIT) if architecture == "x86_64" else (_ARM_FIRMWARE, _ARM_EXIT)
    bench.firmware.write_bytes(firmware)
    deadline_s = _DEADLINE_S[accelerator]
    pid = processes.start(_trial(qemu, architecture, accelerator, bench.firmware), bench.note, bench.log, bench.lock)
    try:
        code = _wait(pid, deadline_s)
    finally:
        end_trial(bench.firmware)
    if code is None:
        return f"it hangs: nothing had run after {deadline_s:g} s"
    if code == expected:
        return ""
    words = [line for line in bench.log.read_text(errors="replace").splitlines() if line.strip()]
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"{words[0].strip() if words else 'it ends at once'} ({how})"


def end_trial(firmware: Path) -> None:
    """Ends a trial, be it one of a command that was killed."""
    processes.end(firmware.with_suffix(".pid"), str(firmware), _KILLED_WITHIN_S)


def processor_of(accelerator: Accelerator) -> str:
    """What QEMU calls the best processor of a guest."""
    return "host" if accelerator in {"kvm", "hvf"} else "max"


def _trial(qemu: Path, architecture: Architecture, accelerator: Accelerator, firmware: Path) -> list[str]:
    machine = ["-machine", "virt", "-m", "64"]
    if architecture == "x86_64":
        machine = ["-machine", "q35", "-m", "16", "-device", "isa-debug-exit,iobase=0xf4,iosize=1"]
    common = ["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]
    processor = ["-accel", accelerator, "-cpu", processor_of(accelerator)]
    return [str(qemu), *common, *machine, *processor, "-bios", str(firmware)]


def _wait(pid: int, patience_s: float) -> int | None:
    """The exit code; None when there is none in time."""
    deadline = time.monotonic() + patience_s
    while (code := processes.exit_code(pid)) is None and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return code


def _first_that_works(qemu: Path, architecture: Architecture, bench: Bench) -> Choice:
    passed_over: list[PassedOver] = []
    for accelerator in (*_BEFORE_TCG.get(sys.platform, ()), "tcg"):
        reason = attempt(qemu, architecture, accelerator, bench)
        if not reason:
            return Choice(accelerator, tuple(passed_over))
        passed_over.append(PassedOver(accelerator, reason))
    reasons = "\n".join(f"  {each.accelerator}: {each.reason}" for each in passed_over)
    raise HostError(f"{qemu} cannot run anything here:\n{reasons}")


def _host(qemu: Path) -> list[str]:
    """What the choice depends on."""
    told = [str(qemu), str(qemu.stat().st_mtime_ns), os.uname().release, str(os.getuid())]
    device = Path("/dev/kvm")
    return [*told, f"{device.exists()} {os.access(device, os.R_OK | os.W_OK)}"]


def _read(file: Path) -> _Kept | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=_Kept)
    except (OSError, msgspec.DecodeError):
        return None
