"""What can be seen from outside a sandbox. Pure but for the search for nftables."""

from __future__ import annotations

import re

from patchbay_runner.kernel import nftables, remedies
from patchbay_runner.kernel.probes.records import Probe, fine

_OLDEST_KERNEL = (5, 3)  # pidfd_open(2); open_tree(2) and fsmount(2) are of 5.2
_APPARMOR = "kernel.apparmor_restrict_unprivileged_userns"


def kernel_version(release: str) -> Probe:
    """`release` is uname's, such as "6.1.0-18-amd64"."""
    numbers = re.match(r"(\d+)\.(\d+)", release)
    if numbers is not None and (int(numbers[1]), int(numbers[2])) < _OLDEST_KERNEL:
        return Probe(
            name="kernel",
            verdict="missing",
            found=f"Linux {release}",
            meaning="sandboxes need system calls of Linux 5.3",
            remedy="install a newer kernel",
            is_needed=True,
        )
    return fine("kernel", f"Linux {release}")


def apparmor(setting: remedies.ReadSetting, *, is_capable: bool, has_sandbox: bool) -> Probe:
    """Ubuntu 24.04 and its like keep user namespaces from programs without a profile."""
    if setting(_APPARMOR) != "1":
        return fine("AppArmor", "does not restrict user namespaces")
    command = remedies.set_sysctl(_APPARMOR, 0)
    if has_sandbox and not is_capable:
        return fine("AppArmor", "restricts user namespaces, but not ours")
    return Probe(
        name="AppArmor",
        verdict="weaker" if is_capable else "missing",
        found="restricts user namespaces",
        meaning="ordinary users cannot run labs" + ("; root can" if is_capable else ""),
        remedy=command,
        is_needed=True,
    )


def nftables_library() -> Probe:
    """libnftables is what loads the rules of routers; the program serves where it is absent."""
    if nftables.has_library():
        return fine("libnftables", "loads rules in this process")
    has_program = nftables.find_program() is not None
    return Probe(
        name="libnftables",
        verdict="weaker" if has_program else "missing",
        found="libnftables.so.1 cannot be loaded",
        meaning="each ruleset costs the start of a program" if has_program else "routers cannot have rules",
        remedy=remedies.install_nftables(),
        is_needed=True,
    )


def nft_program() -> Probe:
    """For people who want to look at the rules of a node, and in place of the library."""
    if (path := nftables.find_program()) is not None:
        return fine("nft", path)
    return Probe(
        name="nft",
        verdict="weaker" if nftables.has_library() else "missing",
        found="neither on the PATH nor in /usr/sbin",
        meaning="steps that look at rules have nothing to do it with; labs need it only without libnftables",
        remedy=remedies.install_nftables(),
        is_needed=True,
    )
