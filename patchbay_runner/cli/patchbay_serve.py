"""`patchbay-serve`: a server that keeps the runs of a team, and takes them from CI."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click
import msgspec

from patchbay_runner import __version__
from patchbay_runner.cli.browser import Address, parsed_address
from patchbay_runner.errors import HostError
from patchbay_runner.model.sizes import EXPECTED, parse_size
from patchbay_runner.server.hosting.serving import Endless, Hosted, host
from patchbay_runner.server.listening import join_address, listen
from patchbay_runner.server.pushed.api import PushApi
from patchbay_runner.server.pushed.described import description
from patchbay_runner.server.pushed.readers import CountReaders, Readers
from patchbay_runner.server.pushed.retention import Retention
from patchbay_runner.server.pushed.store import RunStore
from patchbay_runner.server.pushed.unpack import Limits

if TYPE_CHECKING:
    from starlette.routing import Route

    from patchbay_runner.server.guards import Guards

_LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?=.{{4,253}}\Z)(?:{_LABEL}\.)+{_LABEL}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_HTTP, _HTTPS = Address("0.0.0.0", 8080), Address("0.0.0.0", 4443)


class Settings(msgspec.Struct, frozen=True):
    """What the command line says, checked."""

    run_dir: Path
    data_dir: Path
    api_key: str | None  # None: nothing is taken in
    retention_bytes: int | None
    limits: Limits
    http: Address
    https: Address
    acme_domain: str | None
    acme_email: str
    acme_directory: str


def _size(_context: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    """An option's callback: bytes."""
    try:
        return None if text is None else parse_size(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}; expected {EXPECTED}") from error


_directory = click.Path(path_type=Path, file_okay=False)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="patchbay-serve %(version)s")
@click.option("--run-dir", type=_directory, help="The runs; DATA_DIR/runs with --accept-push, else this directory.")
@click.option(
    "--data-dir",
    type=_directory,
    help="Certificates, and pushed runs; patchbay-serve in $XDG_DATA_HOME, ~/.local/share by default.",
)
@click.option("--accept-push", is_flag=True, help="Takes runs at POST /api/push/PROJECT, by those who have the key.")
@click.option(
    "--api-key",
    envvar="PATCHBAY_API_KEY",
    help="The key; better set PATCHBAY_API_KEY, since all users of a machine see command lines.",
)
@click.option(
    "--retention",
    metavar="SIZE",
    callback=_size,
    help="The most that pushed runs may take, such as 10GB; the oldest beyond it are deleted.",
)
@click.option(
    "--max-run",
    metavar="SIZE",
    default="10GB",
    show_default=True,
    callback=_size,
    help="The most that one run may be when it is unpacked.",
)
@click.option(
    "--max-files",
    type=click.IntRange(min=1),
    default=200_000,
    show_default=True,
    help="The most files and directories in one run.",
)
@click.option(
    "--http-bind",
    metavar="ADDRESS",
    default="0.0.0.0:8080",
    show_default=True,
    callback=parsed_address(_HTTP),
    help="Where HTTP is; with --acme-domain it leads to HTTPS. [::]:8080 takes IPv6 and IPv4.",
)
@click.option(
    "--https-bind",
    metavar="ADDRESS",
    default="0.0.0.0:4443",
    show_default=True,
    callback=parsed_address(_HTTPS),
    help="Where HTTPS is, with --acme-domain.",
)
@click.option(
    "--acme-domain", metavar="NAME", help="Has a certificate made for this name, and renewed; answers for no other."
)
@click.option(
    "--acme-email",
    metavar="EMAIL",
    help="Needed with --acme-domain; giving it agrees to the terms of the certificate authority.",
)
@click.option("--acme-directory", metavar="URL", default=_LETS_ENCRYPT, show_default=True, help="The authority's ACME.")
def patchbay_serve(
    *,
    run_dir: Path | None,
    data_dir: Path | None,
    accept_push: bool,
    api_key: str | None,
    retention: int | None,
    max_run: int,
    max_files: int,
    http_bind: Address,
    https_bind: Address,
    acme_domain: str | None,
    acme_email: str | None,
    acme_directory: str,
) -> int:
    """Serves run directories, and takes runs that CI pushes, until SIGTERM or Ctrl-C."""
    if retention is not None and not accept_push:
        raise click.UsageError("--retention needs --accept-push: only pushed runs are ever deleted")
    data_dir = data_dir or _default_data_dir()
    domain = _checked_domain(acme_domain, acme_email)
    settings = Settings(
        run_dir=run_dir or (data_dir / "runs" if accept_push else Path.cwd()),
        data_dir=data_dir,
        api_key=_checked_key(api_key) if accept_push else None,
        retention_bytes=retention,
        limits=Limits(max_run, max_files),
        http=http_bind,
        https=https_bind,
        acme_domain=domain,
        acme_email=acme_email or "",
        acme_directory=_checked_authority(acme_directory),
    )
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    with ExitStack() as stack:
        asyncio.run(_host(settings, stack))
    return 0


async def _host(settings: Settings, stack: ExitStack) -> None:
    """Everything that can be refused is, before the first connection is taken."""
    readers = Readers()
    routes: list[Route] = []
    beside: list[Endless] = []
    if settings.api_key is not None:
        store = RunStore(settings.run_dir.resolve())
        stack.callback(store.close)
        retention = None
        if settings.retention_bytes is not None:
            retention = Retention(store, settings.retention_bytes, readers)
            beside.append(retention.keep)
        routes = PushApi(store, settings.api_key, settings.limits, retention).routes()
    elif not settings.run_dir.is_dir():
        raise HostError(f"there is no directory {settings.run_dir}", "name one that holds runs with --run-dir")
    app = CountReaders(_application(settings, routes), readers)
    http = stack.enter_context(listen(*settings.http))
    if settings.acme_domain is None:
        _announce(settings, "http", http, "")
        await host([Hosted(app, http)], beside)
        return
    https = stack.enter_context(listen(*settings.https))
    from patchbay_runner.server.hosting.acme import Request  # noqa: PLC0415 - slow to import
    from patchbay_runner.server.hosting.encrypted import Encrypted  # noqa: PLC0415

    request = Request(settings.acme_directory, settings.acme_domain, settings.acme_email)
    place = settings.data_dir / "acme"
    encrypted = Encrypted(app, http=http, https=https, request=request, directory=place)
    _announce(settings, "https", https, f", once {settings.acme_domain} has a certificate")
    await host(encrypted.servers, [*beside, encrypted.keep])


def _application(settings: Settings, routes: list[Route]) -> Guards:
    from patchbay_runner.server import guards  # noqa: PLC0415 - slow to import
    from patchbay_runner.server.app import AppOptions, create_app  # noqa: PLC0415

    hosts = guards.one_of((settings.acme_domain,)) if settings.acme_domain else guards.any_host
    options = AppOptions(
        is_our_host=hosts,
        title=settings.acme_domain,
        is_accepting_pushes=settings.api_key is not None,
        routes=tuple(routes),
        described=description() if routes else {},
    )
    return create_app(settings.run_dir, options)


def _announce(settings: Settings, scheme: str, listener: socket.socket, when: str) -> None:
    name, port = listener.getsockname()[:2]
    address = f"{scheme}://{join_address(settings.acme_domain or name, port)}/runs"
    click.echo(f"serving {settings.run_dir} at {address}{when}")


def _default_data_dir() -> Path:
    base = os.environ.get("XDG_DATA_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".local" / "share") / "patchbay-serve"


def _checked_key(key: str | None) -> str:
    if not (key or "").strip():
        raise click.UsageError("--accept-push needs a key: set PATCHBAY_API_KEY, or give --api-key")
    assert key is not None
    if not key.isascii() or not key.isprintable() or key != key.strip():
        raise click.UsageError("the key holds characters that a header cannot carry; expected printable ASCII")
    return key


def _checked_domain(domain: str | None, email: str | None) -> str | None:
    if domain is None and email is None:
        return None
    if domain is None or email is None:
        raise click.UsageError("--acme-domain and --acme-email belong together")
    name = domain.lower().removesuffix(".")
    if not _DOMAIN.fullmatch(name):
        raise click.UsageError(f"{domain!r} is no domain; expected one such as patchbay.example.com")
    if not _EMAIL.fullmatch(email):
        raise click.UsageError(f"{email!r} is no e-mail address")
    return name


def _checked_authority(url: str) -> str:
    """Pebble and the like are asked over TLS too (RFC 8555, section 6.1)."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise click.UsageError(f"--acme-directory: {url!r} is no https address")
    return url
