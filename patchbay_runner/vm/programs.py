"""QEMU and what belongs to it, found on this host; how it is installed where it is not."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from patchbay_runner.errors import HostError
from patchbay_runner.vm.settings import Architecture, Settings

# Distributions keep virtiofsd off the PATH.
_VIRTIOFSD_PLACES = ("/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd")
_DEBIAN: dict[Architecture, str] = {"x86_64": "qemu-system-x86", "aarch64": "qemu-system-arm"}
_FEDORA: dict[Architecture, str] = {"x86_64": "qemu-system-x86-core", "aarch64": "qemu-system-aarch64-core"}
_ARCH: dict[Architecture, str] = {"x86_64": "qemu-system-x86", "aarch64": "qemu-system-aarch64"}


def find_qemu(settings: Settings) -> Path:
    """The emulator of a machine with the host's processor. Raises HostError with the command that installs it."""
    wanted = settings.qemu or f"qemu-system-{settings.architecture}"
    found = _which(wanted, settings)
    if found is None:
        why = " (QEMU_BIN, --qemu or [vm] says so)" if settings.qemu else ""
        raise HostError(f"there is no {wanted}{why}", install_command(settings.architecture))
    return found


def find_qemu_img(settings: Settings, qemu: Path) -> Path:
    """The tool for disk images: that of the same QEMU, else the one on the PATH. Raises HostError."""
    beside = shutil.which("qemu-img", path=str(qemu.parent))
    found = beside or shutil.which("qemu-img")
    if found is None:
        raise HostError("there is no qemu-img", install_command(settings.architecture))
    return Path(found)


def find_virtiofsd(settings: Settings) -> Path | None:
    """The file-sharing daemon, which may be missing. Raises HostError for one that was asked for and is not there."""
    if settings.virtiofsd:
        found = _which(settings.virtiofsd, settings)
        if found is None:
            raise HostError(f"there is no {settings.virtiofsd} (VIRTIOFSD_BIN or [vm] says so)")
        return found
    places = (shutil.which("virtiofsd"), *(shutil.which(place) for place in _VIRTIOFSD_PLACES))
    return next((Path(place) for place in places if place), None)


def require_ssh(settings: Settings) -> None:
    """Raises HostError where there is no OpenSSH."""
    missing = [name for name in ("ssh", "ssh-keygen") if shutil.which(name) is None]
    if missing:
        package = {"apt-get": "openssh-client", "dnf": "openssh-clients"}.get(_package_manager(), "openssh")
        raise HostError(f"there is no {' and no '.join(missing)}", _installing(_package_manager(), package))


def install_command(architecture: Architecture) -> str:
    """The command that installs QEMU on this system."""
    manager = _package_manager()
    packages = {
        "apt-get": f"{_DEBIAN[architecture]} qemu-utils",
        "dnf": f"{_FEDORA[architecture]} qemu-img",
        "pacman": f"{_ARCH[architecture]} qemu-img",
        "zypper": f"{_DEBIAN[architecture]} qemu-img",
        "apk": f"qemu-system-{architecture} qemu-img",
        "brew": "qemu",
        "winget": "SoftwareFreedomConservancy.QEMU",
    }
    return (
        _installing(manager, packages[manager])
        if manager in packages
        else "install QEMU (https://www.qemu.org/download)"
    )


def _installing(manager: str, packages: str) -> str:
    verb = {"pacman": "sudo pacman -S", "apk": "sudo apk add", "brew": "brew install", "winget": "winget install"}
    return f"{verb.get(manager, f'sudo {manager} install')} {packages}"


def _package_manager() -> str:
    """The first of the system's package managers; "" where there is none that is known."""
    if sys.platform == "darwin":
        return "brew"
    if sys.platform == "win32":
        return "winget"
    return next((name for name in ("apt-get", "dnf", "pacman", "zypper", "apk", "brew") if shutil.which(name)), "")


def _which(program: str, settings: Settings) -> Path | None:
    """A name is looked up on the PATH, anything with a slash below the project root."""
    if "/" in program:
        program = str(settings.workspace / Path(program).expanduser())
    found = shutil.which(program)
    return Path(found) if found else None
