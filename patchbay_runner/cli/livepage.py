"""`patchbay run --open`: the page of a run while it runs and afterwards, served by a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote

import click

import patchbay_runner
from patchbay_runner.cli.browser import Address, open_browser, tell_who_can_read
from patchbay_runner.cli.supervision import Interruption
from patchbay_runner.server.listening import listen, url_of

_LOOK_S = 0.5
_GRACE_S = 5.0
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TOLD_BYTES = 2000


class LivePage:
    """Serves from `start` to the end of the block; not at all without an address.

    The runner itself stays free for the sims, and without threads.
    """

    def __init__(self, bind: Address | None) -> None:
        self._bind = bind
        self._url = ""
        self._listener: socket.socket | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end of the block

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._output.close()
        if self._listener is not None:
            self._listener.close()
        if self._server is not None:
            assert self._server.stdin is not None
            self._server.stdin.close()  # it waits for that
            try:
                self._server.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        self._output.close()

    def listen(self) -> None:
        """Takes the address, before anything is run. Raises HostError when it cannot be had."""
        if self._bind is not None:
            self._listener = listen(*self._bind)

    def start(self, run: Path) -> None:
        """Serves the work directory that the run is in, and shows the run."""
        if self._listener is None:
            return
        tell_who_can_read(self._listener, run.parent)
        self._url = f"{url_of(self._listener)}#/run/{quote(run.name, safe='')}"
        number = self._listener.fileno()
        command = [sys.executable, "-P", "-m", patchbay_runner.__name__, "serve", "--listen-fd", str(number)]
        self._server = subprocess.Popen(
            [*command, "--", str(run.parent)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._output,
            pass_fds=[number],
            env={**os.environ, "PYTHONPATH": _import_path(os.environ)},
            start_new_session=True,  # Ctrl-C is for us
        )
        self._listener.close()
        click.echo(f"live at {self._url}", err=True)
        open_browser(self._url)

    def stay(self, interruption: Interruption) -> None:
        """Waits until the user has seen enough: for Ctrl-C, SIGTERM or SIGHUP, or the end of the server.

        Who has stopped the run with one of them does not want to wait for another.
        """
        if self._server is None or interruption.count:
            return
        click.echo(f"still at {self._url}; Ctrl-C ends it", err=True)
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        try:
            while self._server.poll() is None:
                if interruption.count or signal.sigtimedwait(_ENDING, _LOOK_S):
                    return
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        click.echo(f"the page is not served any more: {self._last_output()}", err=True)

    def _last_output(self) -> str:
        assert self._server is not None
        with suppress(OSError):
            size = self._output.seek(0, os.SEEK_END)
            self._output.seek(max(0, size - _TOLD_BYTES))
            text = self._output.read().decode(errors="replace").strip()
            return text or f"its process ended with {self._server.returncode}"
        return "its output cannot be read"


def _import_path(environment: Mapping[str, str]) -> str:
    """That of ours, and before it where this package is: it may not be installed."""
    own = str(Path(patchbay_runner.__file__).parent.parent)
    return os.pathsep.join(filter(None, (own, environment.get("PYTHONPATH"))))
