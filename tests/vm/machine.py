"""Runs a command on Debian's stock kernel, in a machine that QEMU emulates around the host's own files.

The guest reads the host's file tree and keeps what it writes in memory. It runs as root, and no privilege of the
host is needed, hardware virtualisation neither.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from patchbay_runner.errors import PatchbayError
from patchbay_runner.vm.image.initramfs import pack

_HERE = Path(__file__).resolve().parent
_QEMU = "qemu-system-x86_64"
_PROCESSORS = 2
_MEMORY_MB = 2048
# Nothing attacks the guest, and the emulation of mitigations is slow.
_KERNEL_ARGUMENTS = "console=ttyS0 quiet panic=-1 mitigations=off"
_LAST_LINES = 40
# They bring the host's file tree (9p over virtio) and a layer above it that can be written to.
_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")


def run_in_guest(system: Path, command: Sequence[str], environment: dict[str, str], timeout_s: float) -> int:
    """The exit code of a command that runs in the guest with the current directory as its own.

    `system` holds a kernel and busybox, unpacked from Debian's packages. The guest's console goes to standard output
    and to `console.log` in `system`. Raises PatchbayError when there is no exit code.
    """
    kernel, modules = _kernel(system)
    console = system / "console.log"
    with tempfile.TemporaryDirectory(prefix="patchbay-vm-") as place:
        shared = Path(place)
        initramfs = shared / "initramfs"
        initramfs.write_bytes(pack(system / "bin/busybox", modules, _MODULES, _HERE / "first-init.sh"))
        (shared / "run").write_text(_script(modules, command, environment))
        _emulate(_arguments(kernel, initramfs, shared, console), console, timeout_s)
        code = shared / "exit-code"
        if not code.exists():
            raise PatchbayError(f"the virtual machine ended before its command did; {_tail(console)}")
        return int(code.read_text())


def _kernel(system: Path) -> tuple[Path, Path]:
    """The newest kernel's image and modules. The packages leave the list of what modules need to depmod."""
    images = sorted(system.glob("boot/vmlinuz-*"), key=lambda path: path.stat().st_mtime)
    if not images:
        raise PatchbayError(f"there is no kernel in {system}: make test-vm unpacks one")
    version = images[-1].name.removeprefix("vmlinuz-")
    modules = system / "lib/modules" / version
    if not (modules / "modules.dep").exists():
        subprocess.run([_program("depmod"), "-b", str(system), version], check=True)
    return images[-1], modules


def _script(modules: Path, command: Sequence[str], environment: dict[str, str]) -> str:
    """What the guest runs once the host's files are its own."""
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())
    prepare = f"mkdir -p /lib/modules\nmount --bind {shlex.quote(str(modules.parent))} /lib/modules\n"
    return f"{exports}{prepare}cd {shlex.quote(str(Path.cwd()))}\n{shlex.join(command)}\n"


def _arguments(kernel: Path, initramfs: Path, shared: Path, console: Path) -> list[str]:
    return [
        *(_program(_QEMU), "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-accel", "tcg,thread=multi", "-cpu", "max", "-smp", str(_PROCESSORS), "-m", str(_MEMORY_MB)),
        *("-chardev", f"stdio,id=console,signal=off,logfile={console}", "-serial", "chardev:console"),
        *("-kernel", str(kernel), "-initrd", str(initramfs)),
        *("-append", f"{_KERNEL_ARGUMENTS} patchbay.init={_HERE / 'second-init.sh'}"),
        *_share("host", Path("/"), ",readonly=on,multidevs=remap"),
        *_share("run", shared),
    ]


def _share(tag: str, path: Path, more: str = "") -> tuple[str, ...]:
    backend = f"local,id={tag},path={path},security_model=none{more}"
    return "-fsdev", backend, "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"


def _emulate(arguments: list[str], console: Path, timeout_s: float) -> None:
    with subprocess.Popen(arguments, stdin=subprocess.DEVNULL) as machine:
        try:
            code = machine.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise PatchbayError(f"the virtual machine ran for more than {timeout_s:g} s; {_tail(console)}") from error
        finally:
            machine.kill()
    if code:
        raise PatchbayError(f"{_QEMU} failed with exit code {code}")


def _tail(console: Path) -> str:
    lines = console.read_text(errors="replace").splitlines() if console.exists() else []
    return "\n".join([f"the last lines of {console}:", *lines[-_LAST_LINES:]])


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise PatchbayError(f"there is no {name}: make test-vm installs it")
    return found
