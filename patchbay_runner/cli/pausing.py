"""Sims that have failed and wait for people: how they are told, and how they let a sim go on."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from patchbay_runner.cli.labs import option_for
from patchbay_runner.cli.supervision import Interruption, Supervisor
from patchbay_runner.kernel.sandbox import Sandbox
from patchbay_runner.lab import commands
from patchbay_runner.lab.registry import LabRecord, Registration
from patchbay_runner.model.recording import Failure
from patchbay_runner.results.messages import Event
from patchbay_runner.results.sim import SimRecord

if TYPE_CHECKING:
    from patchbay_runner.cli.progress import View

PAUSING_EVENTS = ("sim_paused", "sim_resumed")
_LOCAL_MODES = 3  # of what tcgetattr gives


class Waiting(NamedTuple):
    """A sim that waits for people, and who has to do with it."""

    sim: SimRecord
    registration: Registration
    sandbox: Sandbox
    supervisor: Supervisor


class Pauses:
    """The sims that wait, in the order in which they came. A key lets the first go on; SIGINT where nobody types."""

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption
        self._waiting: dict[str, Sandbox] = {}
        self._keyboard = _Keyboard(self._go_on)

    def follow(self, event: Event, waiting: Waiting, view: View) -> None:
        """Takes in one of PAUSING_EVENTS: a sim begins to wait, or goes on."""
        is_begun = event.kind == "sim_paused"
        waiting.supervisor.set_paused(is_begun)
        waiting.registration.set_paused(is_begun)
        lab = waiting.registration.record
        if not is_begun:
            self.end(lab.id)
        elif not self._interruption.is_stopping:
            self._waiting[lab.id] = waiting.sandbox
            failure = msgspec.convert(event.fields, Failure)
            view.paused(waiting.sim, failure, [*how_to_enter(lab), self._how_to_go_on()])

    def _how_to_go_on(self) -> str:
        if self._keyboard.open():
            return "press any key to go on, Ctrl-C to end the run"
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._go_on)
        return f"Ctrl-C or kill -INT {os.getpid()} to go on"

    def end(self, identifier: str) -> None:
        """It waits no longer, for whatever reason."""
        if self._waiting.pop(identifier, None) is None or self._waiting:
            return
        if not self._keyboard.close():
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interruption.request)

    def _go_on(self) -> None:
        identifier, sandbox = next(iter(self._waiting.items()))
        with suppress(OSError):  # it has just ended by itself
            commands.send_message(sandbox.control, commands.Resume())
        self.end(identifier)


def how_to_enter(lab: LabRecord) -> list[str]:
    """What people are told of a network that they may enter."""
    which = option_for(lab)
    return [
        f"patchbay shell NODE{which}   or   patchbay run-in NODE{which} -- COMMAND   from another terminal",
        f"nodes: {', '.join(lab.nodes)}",
    ]


class _Keyboard:
    """Keys of the terminal that we are in the foreground of, one at a time and unseen."""

    def __init__(self, pressed: Callable[[], None]) -> None:
        self._pressed = pressed
        self._modes: list[Any] | None = None

    def open(self) -> bool:
        """Begins to listen; False when nobody types here."""
        if self._modes is not None:
            return True
        if sys.stdin is None or not sys.stdin.isatty() or os.tcgetpgrp(sys.stdin.fileno()) != os.getpgrp():
            return False
        fd = sys.stdin.fileno()
        self._modes = termios.tcgetattr(fd)
        modes = termios.tcgetattr(fd)
        modes[_LOCAL_MODES] &= ~(termios.ICANON | termios.ECHO)
        termios.tcsetattr(fd, termios.TCSANOW, modes)
        asyncio.get_running_loop().add_reader(fd, self._read, fd)
        return True

    def close(self) -> bool:
        """Leaves the terminal as it was; False when it was not listened to."""
        if self._modes is None:
            return False
        fd = sys.stdin.fileno()
        asyncio.get_running_loop().remove_reader(fd)
        with suppress(termios.error):  # the terminal has gone
            termios.tcsetattr(fd, termios.TCSADRAIN, self._modes)
        self._modes = None
        return True

    def _read(self, fd: int) -> None:
        try:
            os.read(fd, 1024)
        except OSError:  # the terminal has gone: SIGHUP tells
            asyncio.get_running_loop().remove_reader(fd)
            return
        self._pressed()
