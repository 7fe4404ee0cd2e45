"""Paths of network namespaces, where ip(8) looks for them: a file below /run/netns that the namespace is bound to.

A path needs no passing of descriptors, and setns(2) takes what is opened there.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from patchbay_runner.errors import KernelError
from patchbay_runner.kernel import syscalls

_DIRECTORY = Path("/run/netns")


def prepare() -> None:
    """Makes the directory, once in a sandbox. Raises KernelError.

    Sandboxes that are made inside later have copies of these mounts, which would keep the namespaces of labs that are
    over: from a shared mount the copies go with the original.
    """
    _DIRECTORY.mkdir(exist_ok=True)
    syscalls.mount(str(_DIRECTORY), str(_DIRECTORY), "", syscalls.MS_BIND)
    syscalls.mount("", str(_DIRECTORY), "", syscalls.MS_SHARED)


class NamespacePaths:
    """The paths of one lab's nodes, each made when it is asked for first."""

    def __init__(self, lab: str) -> None:
        self._lab = lab
        self._paths: dict[str, Path] = {}

    def of(self, node: str, netns: int) -> Path:
        """The path of a node's namespace, whose descriptor is `netns`. Raises KernelError."""
        path = self._paths.get(node)
        if path is None:
            path = _DIRECTORY / f"{self._lab}.{node}"
            os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
            syscalls.mount(f"/proc/self/fd/{netns}", str(path), "", syscalls.MS_BIND)
            self._paths[node] = path
        return path

    def forget(self, node: str) -> None:
        """A node is gone: its namespace is not to outlive it."""
        path = self._paths.pop(node, None)
        if path is not None:
            with suppress(KernelError, FileNotFoundError):  # the command inside has taken it away itself
                syscalls.unmount(str(path))
            path.unlink(missing_ok=True)

    def close(self) -> None:
        for node in list(self._paths):
            self.forget(node)
