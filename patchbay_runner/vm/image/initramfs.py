"""A guest's first file system: an archive of busybox, the kernel modules that reach its files, and an init."""

from __future__ import annotations

import lzma
from collections.abc import Sequence
from pathlib import Path
from stat import S_IFDIR, S_IFREG

from patchbay_runner.errors import HostError

_DIRECTORIES = ("dev", "proc", "sys", "bin", "modules", "host", "written", "root")


def pack(busybox: Path, modules: Path, wanted: Sequence[str], init: Path) -> bytes:
    """The archive; `modules` is a kernel's directory of them, with its modules.dep.

    Raises HostError when the kernel has one of the wanted modules neither in itself nor beside it.
    """
    archive = b"".join(_entry(name, S_IFDIR | 0o755) for name in _DIRECTORIES)
    archive += _entry("init", S_IFREG | 0o755, init.read_bytes())
    archive += _entry("bin/busybox", S_IFREG | 0o755, busybox.read_bytes())
    within = modules / "modules.builtin"
    builtin = within.read_text() if within.exists() else ""
    for place, path in enumerate(load_order((modules / "modules.dep").read_text(), wanted, builtin)):
        # The init loads them in the order of their names.
        name = f"modules/{place:02}-{Path(path).name.removesuffix('.xz')}"
        archive += _entry(name, S_IFREG | 0o644, _content(modules / path))
    return archive + _entry("TRAILER!!!", 0)


def load_order(dependencies: str, wanted: Sequence[str], builtin: str = "") -> list[str]:
    """The files of the wanted modules and of what they need, each after those that it needs (depmod's modules.dep).

    Those that are part of the kernel have no file.
    """
    needs = {path: rest.split() for path, _, rest in (line.partition(":") for line in dependencies.splitlines())}
    paths = {_name(path): path for path in needs}
    within = {_name(path) for path in builtin.splitlines()}
    order: list[str] = []
    for name in wanted:
        if name not in paths and name not in within:
            raise HostError(f"the kernel for the virtual machine has no module {name}")
        # A line names what is needed first last.
        found = (*reversed(needs[paths[name]]), paths[name]) if name in paths else ()
        order += [path for path in found if path not in order]
    return order


def _name(path: str) -> str:
    return Path(path).name.partition(".")[0].replace("-", "_")


def _content(module: Path) -> bytes:
    """Not compressed: busybox need not know how."""
    data = module.read_bytes()
    return lzma.decompress(data) if module.suffix == ".xz" else data


def _entry(name: str, mode: int, content: bytes = b"") -> bytes:
    """A file as the kernel reads it (Documentation/driver-api/early-userspace/buffer-format.rst, "newc")."""
    path = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + path
    return _padded(header) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
