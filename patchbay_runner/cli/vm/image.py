"""`patchbay-vm image`: builds the images that machines start from, lists and removes them."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from patchbay_runner.binaries.progress import Cancellation, Task
from patchbay_runner.cli.fetching import open_progress
from patchbay_runner.cli.text import counted
from patchbay_runner.model.sizes import format_size
from patchbay_runner.vm.image.build import build as build_image
from patchbay_runner.vm.image.records import Built
from patchbay_runner.vm.image.store import Store, images_root
from patchbay_runner.vm.settings import architecture_of

T = TypeVar("T")
_BLOCK = 512


@click.group()
def image() -> None:
    """The images that machines start from: one that is built here is used instead of Debian's, which is downloaded."""


@image.command()
@click.option("--suite", metavar="NAME", help="Debian's version; the newest that the mirror has, by default.")
@click.option(
    "--package", "packages", multiple=True, metavar="NAME", help="Another package of Debian's in it; repeatable."
)
def build(*, suite: str | None, packages: tuple[str, ...]) -> None:
    """Makes an image from Debian's packages, which the host's apt fetches. Needs no root, and installs nothing here."""
    architecture = architecture_of(platform.machine())
    made = tell(lambda task: build_image(_store(), architecture, task, suite=suite, packages=packages))
    click.echo(made.name)


@image.command(name="list")
@click.option("--json", "is_json", is_flag=True, help="As JSON.")
def list_(*, is_json: bool) -> None:
    """Shows what images there are, and how much they take. Machines start from the last one that was built."""
    store = _store()
    built = store.built()
    if is_json:
        listed = [msgspec.to_builtins(record) | {"bytes": _taken(place)} for record, place in built]
        click.echo(msgspec.json.format(msgspec.json.encode(listed), indent=2).decode())
        return
    for record, place in built:
        click.echo(f"{record.name}  {format_size(_taken(place)):>9}{_more(record)}")
    for path, what in ((store.downloads, "downloads"), (store.packages, "packages")):
        if path.is_dir():
            click.echo(f"{what}  {format_size(_taken(path)):>9}")
    if not built:
        click.echo(f"no image was built in {store.root}", err=True)


@image.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "is_all", is_flag=True, help="Every image that was built.")
@click.option("--downloads", "with_downloads", is_flag=True, help="What was downloaded, packages included.")
def remove(*, names: tuple[str, ...], is_all: bool, with_downloads: bool) -> None:
    """Removes images. A machine whose disk lies on one has to be made anew: patchbay-vm up --recreate."""
    if not names and not is_all and not with_downloads:
        raise click.UsageError("name an image, or say --all or --downloads")
    tell(lambda task: _remove(_store(), names, task, is_all=is_all, with_downloads=with_downloads))


def tell(work: Callable[[Task], T]) -> T:
    """What `work` makes; how it goes is shown on standard error."""
    with open_progress() as progress:
        return work(Task("image", progress, Cancellation()))


def _remove(store: Store, names: Sequence[str], task: Task, *, is_all: bool, with_downloads: bool) -> None:
    places = {record.name: place for record, place in store.built()}
    unknown = [name for name in names if name not in places]
    if unknown:
        raise click.UsageError(f"there is no image {unknown[0]}; patchbay-vm image list shows those that are there")
    going = [place for name, place in places.items() if is_all or name in names]
    with store.lock(task):
        going += [path for path in (store.downloads, store.packages) if with_downloads and path.is_dir()]
        freed = sum(map(_taken, going))
        for place in going:
            store.remove(place)
    click.echo(f"removed {counted(len(going), 'thing')}, {format_size(freed)}")


def _store() -> Store:
    return Store(images_root(os.environ))


def _more(record: Built) -> str:
    packages = f"  with {' '.join(record.packages)}" if record.packages else ""
    return f"  {time.strftime('%Y-%m-%d %H:%M', time.localtime(record.built_at))}{packages}"


def _taken(directory: Path) -> int:
    """What a directory takes on the disk; its images are sparse."""
    return sum(path.stat().st_blocks * _BLOCK for path in directory.rglob("*") if path.is_file())
