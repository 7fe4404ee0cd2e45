"""An image made from Debian's packages: fetched and unpacked here, configured in a user namespace, written to a disk.

No root is needed, no loop device and no machine: nothing of it is emulated, so that it takes seconds.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from patchbay_runner.binaries.progress import Task
from patchbay_runner.vm.image import initramfs
from patchbay_runner.vm.image.apt import DEBIAN, find_apt
from patchbay_runner.vm.image.records import FORMAT, Built, Image
from patchbay_runner.vm.image.store import Store, image_of, name_of
from patchbay_runner.vm.image.tools import require, run
from patchbay_runner.vm.image.unpack import EXCLUDED, unpack
from patchbay_runner.vm.settings import Architecture

# What labs need, and those who work in the guest.
PACKAGES = (
    *("bash", "ca-certificates", "conntrack", "curl", "git", "iperf3", "iproute2", "iputils-ping", "less", "nftables"),
    *("openssl", "procps", "python3", "python3-venv", "sudo", "tcpdump", "xz-utils"),
)
# What starts and reaches the guest, and what makes its disk.
_SYSTEM = ("?essential", "apt", "busybox-static", "debian-archive-keyring", "e2fsprogs", "kmod", "openssh-server")
_BUILDERS = ("fakeroot",)
# Not the one for clouds, which lacks 9p.
_KERNEL = "linux-image-{}"
_DISK_MODULES = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4")
# Sparse; a machine's disk lies over it and is larger, and the file system grows into that at the first boot.
_DISK_SIZE = "4G"
_GUEST = Path(__file__).parent / "guest"
_GUEST_FILES = ("inittab", "lease", "sshd.conf", "start", "stop")


def build(
    store: Store, architecture: Architecture, task: Task, *, suite: str | None = None, packages: Sequence[str] = ()
) -> Image:
    """Makes an image, with `packages` beyond the usual ones. Raises HostError.

    Whenever it is interrupted, no image is there that is not whole.
    """
    with store.lock(task), store.writing(), store.building() as place:
        with task.shown("fetching Debian's packages", "Debian's packages are there"):
            apt = find_apt(store.packages, architecture, suite, task)
            asked = [*_SYSTEM, *_BUILDERS, *PACKAGES, *packages]
            archives = apt.closure(asked, task)
            kernel = apt.named(_KERNEL.format(DEBIAN[architecture]), task)
            apt.forget_old([*archives, kernel])
        with task.shown(f"unpacking {len(archives)} packages", f"{len(archives)} packages are unpacked"):
            tree = place / "tree"
            tree.mkdir()
            owners = unpack(archives, kernel, tree, task)
            made = place / "made"
            made.mkdir()
            version = _take_kernel(tree, made)
        with task.shown("configuring the packages", "the packages are configured"):
            _configure(tree, made, owners, (apt.suite, apt.mirror, apt.security), task)
        modules = tree / "usr/lib/modules" / version
        archive = initramfs.pack(tree / "usr/bin/busybox", modules, _DISK_MODULES, _GUEST / "first-init.sh")
        (made / "initrd").write_bytes(archive)
        name = name_of(architecture, apt.suite)
        record = Built(FORMAT, name, architecture, apt.suite, tuple(packages), version, time.time())
        return image_of(record, store.keep(made, record))


def _take_kernel(tree: Path, made: Path) -> str:
    """Moves the kernel beside the disk; its version. dpkg in the guest knows nothing of it: it belongs to the image."""
    image = next((tree / "boot").glob("vmlinuz-*"))
    version = image.name.removeprefix("vmlinuz-")
    shutil.copyfile(image, made / "vmlinuz")
    return version


def _configure(tree: Path, made: Path, owners: Sequence[str], source: tuple[str, str, str], task: Task) -> None:
    mine = tree / "usr/lib/patchbay"
    mine.mkdir(parents=True)
    for name in (*_GUEST_FILES, "configure.sh"):
        shutil.copyfile(_GUEST / name, mine / name)
        (mine / name).chmod(0o755)  # an installed package may have lost it
    (mine / "owners").write_text("".join(f"{command}\n" for command in owners))
    (mine / "excluded").write_text("".join(f"{pattern}\n" for pattern in EXCLUDED))
    output = "/dev/output/disk.raw"
    inside = ["/usr/bin/fakeroot-sysv", "--", "/usr/lib/patchbay/configure.sh", output, _DISK_SIZE, *source]
    namespaces = ["--mount", "--pid", "--ipc", "--uts", "--net", "--fork", "--kill-child=KILL"]
    if os.geteuid():
        namespaces += ["--user", "--map-root-user"]
    enter = ["/bin/sh", str(_GUEST / "enter.sh"), str(tree), str(made), *inside]
    # fakeroot would try, and be refused what the namespace has no number for.
    more = {"FAKEROOTDONTTRYCHOWN": "1", "HOME": "/root", "TMPDIR": "/tmp"}
    run([require("unshare", "util-linux"), *namespaces, "--", *enter], task, "unshare", more=more)
