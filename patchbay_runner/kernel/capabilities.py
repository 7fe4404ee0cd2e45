"""Which capabilities we hold, and which the programs of a sandbox inherit. See capabilities(7)."""

from __future__ import annotations

import os
from collections.abc import Iterable

from patchbay_runner.kernel import syscalls

CAP_NET_BIND_SERVICE = 10
CAP_NET_ADMIN = 12
CAP_NET_RAW = 13
CAP_SYS_CHROOT = 18
CAP_SYS_PTRACE = 19
CAP_SYS_ADMIN = 21

# What an ordinary user's steps get: enough for ip, ping, tcpdump, port 80 and debuggers,
# too little to leave the sandbox.
STEP_CAPABILITIES = (CAP_NET_ADMIN, CAP_NET_RAW, CAP_NET_BIND_SERVICE, CAP_SYS_PTRACE)

# What it takes to make labs and to enter their nodes. Nothing of it helps with files, which stay as closed as they are.
LAB_CAPABILITIES = (*STEP_CAPABILITIES, CAP_SYS_CHROOT, CAP_SYS_ADMIN)


def is_capable() -> bool:
    """Whether namespaces can be made and networks built in them without a user namespace."""
    effective, _, _ = syscalls.capget()
    needed = 1 << CAP_SYS_ADMIN | 1 << CAP_NET_ADMIN
    return effective & needed == needed


def pass_to_programs(numbers: Iterable[int] = STEP_CAPABILITIES) -> None:
    """Makes the permitted ones of `numbers` survive exec. For uid 0 the kernel passes every capability anyway."""
    if os.geteuid() == 0:
        return
    effective, permitted, inheritable = syscalls.capget()
    passed = [number for number in numbers if permitted >> number & 1]
    syscalls.capset(effective, permitted, inheritable | sum(1 << number for number in passed))
    for number in passed:
        syscalls.raise_ambient_capability(number)


def keep_for_children(numbers: Iterable[int]) -> None:
    """Gives up every capability but `numbers`, and has those survive exec of ordinary programs. Raises KernelError."""
    kept = list(numbers)
    mask = sum(1 << number for number in kept)
    syscalls.capset(mask, mask, mask)
    for number in kept:
        syscalls.raise_ambient_capability(number)
