"""A page that is served in the guest, on a port of this machine."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import click

from patchbay_runner.cli.browser import Address, open_browser
from patchbay_runner.server.listening import join_address, listen
from patchbay_runner.vm.guest import Guest

_LOOK_S = 0.5
_ANSWER_S = 10.0
_LOOPBACK = ("127.0.0.1", "localhost")


@contextmanager
def served(guest: Guest, bind: Address | None, *, is_opening: bool = True) -> Iterator[list[str]]:
    """The arguments for a server in the guest that this machine's `bind` reaches, for as long as the block lasts.

    The port is the same on both sides, so that what the server says of itself is right here too. A browser is opened
    when it answers.
    """
    if bind is None:
        yield []
        return
    if bind.host not in _LOOPBACK:
        raise click.BadParameter(f"the ports of a machine are on 127.0.0.1 alone, and not on {bind.host}")
    with listen(_LOOPBACK[0], bind.port) as listener:  # says why it cannot be had, and finds one that is free
        port = int(listener.getsockname()[1])
    guest.forward(port, port)
    over = threading.Event()
    if is_opening:
        threading.Thread(target=_open, args=(port, over), name="browser", daemon=True).start()
    try:
        yield [*(["--open"] if is_opening else []), "--bind", f"{_LOOPBACK[0]}:{port}"]
    finally:
        over.set()
        guest.end_forward(port, port)


def _open(port: int, over: threading.Event) -> None:
    """Shows the page once it answers: ssh takes connections before there is anybody to answer them."""
    while not over.wait(_LOOK_S):
        connection = http.client.HTTPConnection(_LOOPBACK[0], port, timeout=_ANSWER_S)
        try:
            connection.request("GET", "/")
            connection.getresponse()
        except (OSError, http.client.HTTPException):
            continue
        finally:
            connection.close()
        open_browser(f"http://{join_address(_LOOPBACK[0], port)}/")
        return
