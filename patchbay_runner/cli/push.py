"""`patchbay push`: a run to a patchbay-serve, as CI jobs do it."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import click
import msgspec

from patchbay_runner.cli.fetching import open_progress
from patchbay_runner.cli.text import counted, megabytes, printable, shown_path
from patchbay_runner.pushing.archive import packed
from patchbay_runner.pushing.contents import Contents, contents_of
from patchbay_runner.pushing.origins import merged, origin_in
from patchbay_runner.pushing.upload import Pushed, Target, server_url, upload
from patchbay_runner.results.documents import document_time
from patchbay_runner.results.origin import PROJECT_EXPECTED, RunOrigin, is_project, origin_of, read_origin

_SHOWN_LEFT_OUT = 5


@click.command()
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--url",
    envvar="PATCHBAY_URL",
    help="The server, with the path that it stands below, if any; PATCHBAY_URL by default.",
)
@click.option(
    "--project", help="What the run belongs to: up to 100 letters, digits, - and _; the repository's name in a CI job."
)
@click.option("--branch", help="Of the code under test. This and the following are known in GitHub and GitLab jobs.")
@click.option("--commit", help="Of the code under test.")
@click.option("--pr", type=click.IntRange(min=1), help="The number of the pull or merge request.")
@click.option("--pr-url", help="Its address.")
@click.option("--title", help="What the run is about, such as the title of the pull request.")
def push(directory: Path, *, url: str | None, project: str | None, **about: str | int | None) -> int:
    """Sends the run in DIR to a patchbay-serve and prints its address there.

    DIR is a run directory, a work directory with one run, or a directory of lab records. The server's key is read from
    the variable PATCHBAY_API_KEY.
    """
    url = _checked_url(url)
    api_key = _api_key()
    contents = contents_of(directory)
    given = origin_of({"project": project, **about})
    found = merged(given, read_origin(contents.directory) or RunOrigin(), origin_in(os.environ))
    target = Target(url, _checked_project(project, found), api_key)
    origin = msgspec.structs.replace(
        found, project=target.project, created_at=found.created_at or document_time(datetime.now(UTC))
    )
    _warn(contents, url)
    pushed = _send(target, contents, msgspec.json.encode(origin))
    page = f"run/{pushed.run}" if contents.is_run else f"inv/{pushed.invocation}"
    click.echo(f"{url}/#/{page}")
    return 0


def _checked_url(url: str | None) -> str:
    if not url:
        raise click.UsageError("which server? Give --url, or set PATCHBAY_URL")
    try:
        return server_url(url)
    except ValueError as error:
        raise click.UsageError(f"{error}; expected one such as https://patchbay.example.com") from error


def _api_key() -> str:
    """Only from the environment: command lines are seen by everybody on the machine."""
    key = os.environ.get("PATCHBAY_API_KEY", "").strip()
    if not key:
        raise click.UsageError("the server's key is missing: set PATCHBAY_API_KEY")
    if not key.isascii() or not key.isprintable():
        raise click.UsageError("PATCHBAY_API_KEY holds characters that a key cannot have")
    return key


def _checked_project(given: str | None, found: RunOrigin) -> str:
    project = found.project if given is None else given
    if project is None:
        raise click.UsageError("which project? Give --project")
    if not is_project(project):
        raise click.UsageError(f"{project!r} is no name of a project; give --project: {PROJECT_EXPECTED}")
    return project


def _warn(contents: Contents, url: str) -> None:
    for line in contents.left_out[:_SHOWN_LEFT_OUT]:
        click.echo(f"warning: not sent: {printable(line)}", err=True)
    if (more := len(contents.left_out) - _SHOWN_LEFT_OUT) > 0:
        click.echo(f"warning: not sent: {counted(more, 'more file')}", err=True)
    if urlsplit(url).scheme == "http" and not _is_loopback(urlsplit(url).hostname or ""):
        click.echo("warning: the key goes to the server unencrypted; use https://", err=True)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _send(target: Target, contents: Contents, run_info: bytes) -> Pushed:
    with open_progress() as progress:
        task = target.project

        def pack() -> Iterator[bytes]:
            return packed(contents, run_info, lambda done: progress.advanced(task, done))

        progress.started(task, f"pushing {shown_path(contents.directory)}", contents.size, 0)
        done_text = ""
        try:
            pushed = upload(target, pack, lambda text: progress.note(printable(text)))
            done_text = f"pushed {counted(len(contents.files), 'file')}, {megabytes(contents.size)}"
            return pushed
        finally:
            progress.ended(task, done_text)
