"""What helps when a host lacks something, in one place, for errors and `patchbay doctor`. Pure but for reading.

Commands are those of the distribution that is running, by ID and ID_LIKE of os-release(5).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

ReadSetting = Callable[[str], str | None]

_INSTALLERS = {
    "debian": "apt-get install",
    "ubuntu": "apt-get install",
    "fedora": "dnf install",
    "rhel": "dnf install",
    "suse": "zypper install",
    "arch": "pacman -S",
    "alpine": "apk add",
}
_NETEM_PACKAGES = {
    "debian": "linux-image-$(dpkg --print-architecture)",  # cloud kernels lack what the ordinary one has
    "ubuntu": "linux-modules-extra-$(uname -r)",
    "fedora": "kernel-modules-extra",
    "rhel": "kernel-modules-extra",
    "suse": "kernel-default",
}
_WITH_ANOTHER_KERNEL = ("debian", "suse")


def read_text(path: str) -> str | None:
    """A file's text without blanks around it; None when it is not there or kept from us."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def read_setting(name: str) -> str | None:
    """A sysctl by its dotted name; None when this kernel does not have it or keeps it from us."""
    return read_text("/proc/sys/" + name.replace(".", "/"))


def as_root(command: str) -> str:
    """A command for root, with sudo for everybody else."""
    return command if os.geteuid() == 0 else f"sudo {command}"


def set_sysctl(name: str, value: str | int) -> str:
    """The command that changes a setting until the next boot."""
    return as_root(f"sysctl -w {name}={value}")


def install(package: str, families: tuple[str, ...] | None = None) -> str:
    """The command that installs a package that every distribution calls the same."""
    for family in distribution() if families is None else families:
        if family in _INSTALLERS:
            return as_root(f"{_INSTALLERS[family]} {package}")
    return f"install the package {package}"


def install_netem(families: tuple[str, ...] | None = None) -> str:
    """The command that installs the kernel's netem and tbf; "" where no package is known to hold them."""
    families = distribution() if families is None else families
    for family in families:
        if family in _NETEM_PACKAGES:
            another_kernel = ", then boot that kernel" if family in _WITH_ANOTHER_KERNEL else ""
            return install(_NETEM_PACKAGES[family], families) + another_kernel
    return ""


def load_modules(*names: str) -> str:
    """The command that loads modules of the kernel."""
    return as_root(f"modprobe -a {' '.join(names)}")


def install_nftables() -> str:
    """Everywhere the program comes with the library, by the same name."""
    return install("nftables")


@cache
def distribution() -> tuple[str, ...]:
    """This host's distribution and those it is like, the nearest first."""
    return families_of(read_text("/etc/os-release") or read_text("/usr/lib/os-release") or "")


def families_of(os_release: str) -> tuple[str, ...]:
    """ID and ID_LIKE of an os-release(5) file."""
    values = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    words = f"{values.get('ID', '')} {values.get('ID_LIKE', '')}".replace('"', "").replace("'", "").split()
    return tuple(dict.fromkeys(words))


def of_refused_namespaces(setting: ReadSetting) -> str:
    """What helps where a setting keeps user namespaces from ordinary users; "" when none does."""
    if setting("kernel.apparmor_restrict_unprivileged_userns") == "1":
        command = set_sysctl("kernel.apparmor_restrict_unprivileged_userns", 0)
        return f"AppArmor keeps user namespaces from ordinary users: {command}"
    if setting("kernel.unprivileged_userns_clone") == "0":
        return f"user namespaces are switched off: {set_sysctl('kernel.unprivileged_userns_clone', 1)}"
    return ""


def of_namespace_limit(setting: ReadSetting) -> str:
    """What helps where the kernel's number of namespaces of a kind is used up."""
    for kind in ("user", "pid", "mnt", "ipc", "uts", "net"):
        if setting(f"user.max_{kind}_namespaces") == "0":
            return set_sysctl(f"user.max_{kind}_namespaces", 65536)
    return "a limit on namespaces is reached: see `sysctl user` for user.max_*_namespaces"
