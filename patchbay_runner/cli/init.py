"""`patchbay init`: a first sim and its topology, to run and to change."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath

import click

from patchbay_runner.cli.text import shown_path
from patchbay_runner.errors import HostError
from patchbay_runner.results.files import make_directories

_FIRST_SIM = PurePosixPath("sims/first.toml")


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), default=".", metavar="[DIR]")
def init(*, directory: Path) -> None:
    """Writes a first sim and its topology to DIR, the working directory by default. No file is overwritten."""
    files = {directory / name: content for name, content in starter_files()}
    taken = [shown_path(path.absolute()) for path in files if path.exists() or path.is_symlink()]
    if taken:
        raise click.ClickException(f"there already: {', '.join(taken)}; nothing was written")
    _write_new(files)
    for path in files:
        click.echo(f"wrote {shown_path(path.absolute())}")
    place = "" if directory.resolve() == Path.cwd() else f"cd {_as_argument(directory)} && "
    click.echo(f"next: {place}patchbay run {_FIRST_SIM}")


def _as_argument(directory: Path) -> str:
    """As a shell takes it, whatever the name holds."""
    shown = shown_path(directory.absolute())
    return shlex.quote(f"./{shown}" if shown.startswith("-") else shown)


def starter_files() -> list[tuple[PurePosixPath, bytes]]:
    """What is written, by its path below the directory."""
    return sorted(_below(resources.files("patchbay_runner.cli") / "starter", PurePosixPath()))


def _below(directory: Traversable, path: PurePosixPath) -> Iterator[tuple[PurePosixPath, bytes]]:
    for entry in directory.iterdir():
        if entry.is_dir():
            yield from _below(entry, path / entry.name)
        elif entry.name.endswith(".toml"):
            yield path / entry.name, entry.read_bytes()


def _write_new(files: dict[Path, bytes]) -> None:
    """All of them or none: raises HostError, and takes away what it wrote until then."""
    written: list[Path] = []
    try:
        for path, content in files.items():
            make_directories(path.parent)
            with path.open("xb") as file:
                written.append(path)
                file.write(content)
    except OSError as error:
        for path in written:
            path.unlink()
        raise HostError(f"cannot write {error.filename}: {error.strerror}") from error
