"""What is known of an image."""

from __future__ import annotations

from pathlib import Path

import msgspec

from patchbay_runner.vm.settings import Architecture

# Of what is in a built image and how it starts: one of another format is not used.
FORMAT = 1


class Image(msgspec.Struct, frozen=True):
    """What a disk is laid over: qcow2, or raw where it was built here.

    An image without `kernel` has a boot loader. `settling` is a command that the guest of a first boot is given as
    root once it answers, and that ends when it is as it should be; empty where it is so at once.
    """

    name: str
    disk: Path
    user: str
    kernel: Path | None = None
    initrd: Path | None = None
    append: str = ""
    settling: tuple[str, ...] = ()


class Built(msgspec.Struct, frozen=True):
    """The record beside a built image. `packages` are those that were asked for beyond the usual ones."""

    format: int
    name: str
    architecture: Architecture
    suite: str
    packages: tuple[str, ...]
    kernel: str
    built_at: float
