"""`patchbay serve`: the runs of a work directory in a browser."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import click

from patchbay_runner.cli.browser import BIND, Address, bind_option, open_browser, tell_who_can_read
from patchbay_runner.cli.testdir import find_testdir
from patchbay_runner.cli.text import printable
from patchbay_runner.loader.project import read_project
from patchbay_runner.server.app import AppOptions, create_app
from patchbay_runner.server.guards import any_host, only_loopback
from patchbay_runner.server.listening import is_loopback, listen, url_of
from patchbay_runner.server.serving import Server

_WORK_DIR = Path(".patchbay-work")


@click.command()
@click.argument("directory", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--testdir",
    "is_of_tests",
    is_flag=True,
    help="Shows what the latest cargo test or pytest of this project has recorded.",
)
@click.option("--open", "is_opening", is_flag=True, help="Opens a browser, where there is a desktop.")
@bind_option
@click.option("--listen-fd", type=int, hidden=True)
def serve(
    directory: Path | None, *, is_of_tests: bool, is_opening: bool, bind: Address | None, listen_fd: int | None
) -> None:
    """Shows the runs below DIR, the work directory by default, in a browser; live while they run. Ctrl-C ends it."""
    if is_of_tests:
        if directory is not None:
            raise click.UsageError("--testdir finds the directory itself: leave out DIR")
        directory = find_testdir(Path.cwd(), os.environ)
    directory = directory or read_project(Path(), Path.cwd()).work_dir or _WORK_DIR
    if not directory.is_dir():
        what = "is no directory" if directory.exists() else "is not there; patchbay run makes it"
        raise click.BadParameter(f"{printable(str(directory))} {what}", param_hint="DIR")
    if not os.access(directory, os.R_OK | os.X_OK):
        raise click.BadParameter(f"{printable(str(directory))} cannot be read", param_hint="DIR")
    if listen_fd is not None:
        _serve(directory, socket.socket(fileno=listen_fd), until=sys.stdin.fileno())
        return
    listener = listen(*(bind or BIND))
    url = url_of(listener)
    click.echo(f"{url} shows {printable(str(directory))}; Ctrl-C ends it", err=True)
    tell_who_can_read(listener, directory)
    if is_opening:
        open_browser(url)
    _serve(directory, listener)


def _serve(directory: Path, listener: socket.socket, until: int | None = None) -> None:
    """Serves until a signal, or until the other end of the pipe `until` is closed."""
    is_our_host = only_loopback if is_loopback(listener) else any_host
    server = Server(create_app(directory, AppOptions(is_our_host=is_our_host)), until=until)
    server.run([listener])
