"""Where the page is served, and a browser that shows it."""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click

from patchbay_runner.cli.text import printable


class Address(NamedTuple):
    """Where to listen; port 0 is any that is free."""

    host: str
    port: int


BIND = Address("127.0.0.1", 7421)

_ADDRESS = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]*)(?::(?P<port>\d{1,5}))?", re.ASCII)
_PORT = re.compile(r"\d{1,5}", re.ASCII)
_MOST_PORTS = 65535


def parsed_address(default: Address) -> Callable[[click.Context, click.Parameter, str | None], Address | None]:
    """An option's callback: HOST:PORT, HOST, :PORT or PORT; IPv6 addresses in brackets."""

    def parse(_context: click.Context, _option: click.Parameter, text: str | None) -> Address | None:
        if text is None:
            return None
        match = _ADDRESS.fullmatch(f":{text}" if _PORT.fullmatch(text) else text)
        port = int((match and match["port"]) or default.port)
        if match is None or not text or port > _MOST_PORTS:
            expected = f"{default.host}:{default.port} or [::1]:8080"
            raise click.BadParameter(f"{printable(text)!r} is no HOST:PORT, such as {expected}")
        return Address(match["host"].strip("[]") or default.host, port)

    return parse


bind_option = click.option(
    "--bind",
    metavar="HOST:PORT",
    callback=parsed_address(BIND),
    help=f"Where the page is served; {BIND.host}:{BIND.port} by default. Port 0 is any that is free.",
)


def tell_who_can_read(listener: socket.socket, directory: Path) -> None:
    """Says so when others than this machine's users may read the runs."""
    host = listener.getsockname()[0]
    if not (host.startswith("127.") or host == "::1"):
        what = f"whoever reaches {host} can read every run below {printable(str(directory))}: there is no password"
        click.echo(f"warning: {what}", err=True)


def open_browser(url: str) -> None:
    """Opens a browser of the user's desktop, if there is one. Browsers for terminals would take ours."""
    is_elsewhere = sys.platform != "linux"  # macOS says nothing of its desktop in the environment
    has_desktop = is_elsewhere or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    is_other_user = "SUDO_UID" in os.environ  # whose browser would be started as root
    if is_other_user or not (has_desktop or os.environ.get("BROWSER")):
        return
    import webbrowser  # noqa: PLC0415 - few need it

    # Some browsers are waited for until they are closed.
    threading.Thread(target=webbrowser.open, args=(url,), name="browser", daemon=True).start()
