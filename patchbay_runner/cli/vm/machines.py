"""The machine that a command is about, and the images that it may start from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from patchbay_runner.cli.text import printable
from patchbay_runner.vm.image.records import Image
from patchbay_runner.vm.machine import Machine, Supply
from patchbay_runner.vm.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def machine_of(settings: Settings) -> Machine:
    """The machine that the settings mean."""
    return Machine(settings, Supply(_image, _seed))


def tell(line: str) -> None:
    """Says what is done, beside what a command prints."""
    click.echo(printable(line), err=True)


# What makes and fetches images takes a while to import, and a machine that is up needs none.


def _image(settings: Settings) -> Image:
    from patchbay_runner.binaries.progress import Cancellation, Task  # noqa: PLC0415
    from patchbay_runner.cli.fetching import open_progress  # noqa: PLC0415
    from patchbay_runner.vm.image.ready import ready  # noqa: PLC0415
    from patchbay_runner.vm.image.store import Store, images_root  # noqa: PLC0415

    with open_progress() as progress:
        return ready(settings, Store(images_root(os.environ)), Task("image", progress, Cancellation()))


def _seed(path: Path, user: str, public_key: str, hostname: str) -> Path:
    from patchbay_runner.vm.image.seed import seed  # noqa: PLC0415

    return seed(path, user, public_key, hostname)
