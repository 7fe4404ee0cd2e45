"""Each refusal of the kernel has its remedy."""

from __future__ import annotations

import errno

import pytest

from patchbay_runner.kernel import remedies
from patchbay_runner.kernel.sandbox import diagnosis
from patchbay_runner.kernel.sandbox.messages import SetupFailed

_UNSHARE = "unshare 0x7c020000"


@pytest.mark.parametrize(
    ("operation", "number", "settings", "remedy"),
    [
        (
            "mount proc on /proc",
            errno.EACCES,
            {"kernel.apparmor_restrict_unprivileged_userns": "1", "kernel.unprivileged_userns_clone": "1"},
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        (
            _UNSHARE,
            errno.EPERM,
            {"kernel.unprivileged_userns_clone": "0", "kernel.apparmor_restrict_unprivileged_userns": "0"},
            "sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        (_UNSHARE, errno.EPERM, {}, "--security-opt seccomp=unconfined"),
        ("mount proc on /proc", errno.EPERM, {}, "--security-opt systempaths=unconfined"),
        ("mount sysfs on /sys", errno.EPERM, {}, "--security-opt systempaths=unconfined"),
        ("write /proc/self/uid_map", errno.EPERM, {}, "restricts user namespaces"),
        (
            _UNSHARE,
            errno.ENOSPC,
            {"user.max_user_namespaces": "0"},
            "sysctl -w user.max_user_namespaces=65536",
        ),
        (
            _UNSHARE,
            errno.ENOSPC,
            {"user.max_user_namespaces": "100", "user.max_net_namespaces": "0"},
            "sysctl -w user.max_net_namespaces=65536",
        ),
        (_UNSHARE, errno.ENOSPC, {}, "a limit on namespaces is reached"),
        (_UNSHARE, errno.EINVAL, {}, "the kernel is built without"),
        ("mount on /", errno.EINVAL, {}, "pivot_root"),
        ("open_tree /run", errno.ENOSYS, {}, "5.3"),
        ("fork", errno.EAGAIN, {}, "ulimit -u"),
        ("mount tmpfs on /run", errno.EIO, {}, ""),
    ],
)
def test_remedy(operation: str, number: int, settings: dict[str, str], remedy: str) -> None:
    error = diagnosis.host_error(SetupFailed(operation, number), settings.get)
    assert remedy in error.remedy
    assert bool(remedy) == bool(error.remedy)
    assert operation in error.problem
    assert errno.errorcode[number] in error.problem


def test_detail_is_shown() -> None:
    error = diagnosis.host_error(SetupFailed("fork", errno.EAGAIN, "too many"), {}.get)
    assert str(error).startswith(
        "a sandbox cannot be made: fork: Resource temporarily unavailable (EAGAIN): too many; "
    )


def test_settings_of_the_kernel_are_read_and_missing_ones_are_none() -> None:
    assert remedies.read_setting("kernel.ostype") == "Linux"
    assert remedies.read_setting("kernel.no_such_setting") is None
