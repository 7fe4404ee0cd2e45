"""The guest's first file system: an archive of busybox, the kernel modules that reach the host's files, and an init."""

from __future__ import annotations

from pathlib import Path
from stat import S_IFDIR, S_IFREG

from patchbay_runner.errors import PatchbayError

# They bring the host's file tree (9p over virtio) and a layer above it that can be written to.
_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
_DIRECTORIES = ("dev", "proc", "sys", "bin", "modules", "host", "written", "root")
_BUSYBOX = "bin/busybox"


def pack(system: Path, modules: Path, init: Path) -> bytes:
    """The archive, made of what is unpacked in `system` and of a kernel's module directory (with its modules.dep)."""
    archive = b"".join(_entry(name, S_IFDIR | 0o755) for name in _DIRECTORIES)
    archive += _entry("init", S_IFREG | 0o755, init.read_bytes())
    archive += _entry(_BUSYBOX, S_IFREG | 0o755, (system / _BUSYBOX).read_bytes())
    for place, path in enumerate(load_order((modules / "modules.dep").read_text(), _MODULES)):
        # The init loads them in the order of their names.
        archive += _entry(f"modules/{place:02}-{Path(path).name}", S_IFREG | 0o644, (modules / path).read_bytes())
    return archive + _entry("TRAILER!!!", 0)


def load_order(dependencies: str, wanted: tuple[str, ...]) -> list[str]:
    """The files of the wanted modules and of what they need, each after those that it needs (depmod's modules.dep)."""
    needs = {path: rest.split() for path, _, rest in (line.partition(":") for line in dependencies.splitlines())}
    paths = {Path(path).name.partition(".")[0].replace("-", "_"): path for path in needs}
    order: list[str] = []
    for name in wanted:
        if name not in paths:
            raise PatchbayError(f"the kernel for the virtual machine has no module {name}")
        # A line names what is needed first last.
        order += [path for path in (*reversed(needs[paths[name]]), paths[name]) if path not in order]
    return order


def _entry(name: str, mode: int, content: bytes = b"") -> bytes:
    """A file as the kernel reads it (Documentation/driver-api/early-userspace/buffer-format.rst, "newc")."""
    path = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + path
    return _padded(header) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
