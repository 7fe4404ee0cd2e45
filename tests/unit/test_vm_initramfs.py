"""The archive that a virtual machine starts from."""

from __future__ import annotations

from pathlib import Path

import pytest

from patchbay_runner.errors import PatchbayError
from patchbay_runner.vm.image.initramfs import load_order, pack

DEPENDENCIES = """kernel/a/ring.ko:
kernel/a/core.ko: kernel/a/ring.ko
kernel/b/virtio_pci.ko: kernel/a/core.ko kernel/a/ring.ko
kernel/b/9p.ko: kernel/a/core.ko kernel/a/ring.ko
kernel/b/9pnet_virtio.ko:
kernel/b/overlay.ko:
"""


def test_a_module_comes_after_those_that_it_needs() -> None:
    order = [Path(path).stem for path in load_order(DEPENDENCIES, ("virtio_pci", "9p"))]
    assert order == ["ring", "core", "virtio_pci", "9p"]


def test_a_kernel_without_a_needed_module_is_named() -> None:
    with pytest.raises(PatchbayError, match="no module virtio_blk"):
        load_order(DEPENDENCIES, ("virtio_blk",))


def test_what_is_part_of_the_kernel_has_no_file() -> None:
    assert load_order(DEPENDENCIES, ("ring", "ext4"), "kernel/fs/ext4/ext4.ko\n") == ["kernel/a/ring.ko"]


def test_the_archive_holds_files_as_they_are(tmp_path: Path) -> None:
    modules = tmp_path / "modules"
    for line in DEPENDENCIES.splitlines():
        path = modules / line.partition(":")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.name.encode())
    (modules / "modules.dep").write_text(DEPENDENCIES)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/busybox").write_bytes(b"odd")
    init = tmp_path / "init"
    init.write_text("#!/bin/busybox sh\n")
    wanted = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
    entries = unpacked(pack(tmp_path / "bin/busybox", modules, wanted, init))
    assert entries["init"] == init.read_bytes()
    assert entries["bin/busybox"] == b"odd"
    assert [name for name in entries if name.startswith("modules/")] == [
        "modules/00-ring.ko",
        "modules/01-core.ko",
        "modules/02-virtio_pci.ko",
        "modules/03-9pnet_virtio.ko",
        "modules/04-9p.ko",
        "modules/05-overlay.ko",
    ]
    assert entries["modules/00-ring.ko"] == b"ring.ko"


def unpacked(archive: bytes) -> dict[str, bytes]:
    """Every entry's content by its name, read as the kernel reads them."""
    entries: dict[str, bytes] = {}
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        size, name_size = fields[6], fields[11]
        name = archive[at + 110 : at + 110 + name_size - 1].decode()
        content = (at + 110 + name_size + 3) & ~3
        if name == "TRAILER!!!":
            return entries
        entries[name] = archive[content : content + size]
        at = (content + size + 3) & ~3
