"""A router's translator: a process of its own, forked from the agent.

Its loop takes all of a processor when a download runs through it, and the agent has steps to time meanwhile.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import traceback
from typing import NoReturn

from patchbay_runner.errors import KernelError
from patchbay_runner.kernel import syscalls
from patchbay_runner.kernel.nat64.addresses import Nat64Config
from patchbay_runner.kernel.nat64.counters import SharedCounters
from patchbay_runner.kernel.nat64.link import ROUTER_MAC, TRANSLATOR_MAC, close_link, open_link
from patchbay_runner.kernel.nat64.relay import Relay

_HIGHEST_FD = 1 << 20


class Nat64:
    """A running translator. It ends with `stop`, or when the thread that started it does."""

    def __init__(self, pid: int, counters: SharedCounters, router_netns: int, node: str) -> None:
        self.pid = pid
        self._router_netns = router_netns
        self._node = node
        self._counters = counters
        self._pidfd = os.pidfd_open(pid)

    @classmethod
    def start(cls, router_netns: int, config: Nat64Config, node: str = "") -> Nat64:
        """Sets the interface and the routes up in the router, and starts to translate.

        The router's IPv4 NAT has to hide `config.pool`. `router_netns` stays the caller's and has to outlive `stop`.
        Raises KernelError; then nothing has changed.
        """
        counters = SharedCounters()
        try:
            with open_link(router_netns, config, node) as sock:
                pid = _fork(sock, config, counters)
        except KernelError:
            counters.close()
            raise
        return cls(pid, counters, router_netns, node)

    def fileno(self) -> int:
        """Readable once it has ended, which nothing but `stop` should make it do: for `loop.add_reader`."""
        return self._pidfd

    def counters(self) -> dict[str, int]:
        """Packets by what became of them; the names are those of `counters.COUNTERS`."""
        return self._counters.read()

    def stop(self) -> None:
        """Ends it, and removes its interface and routes. May be repeated. Raises KernelError."""
        if self._pidfd < 0:
            return
        signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._pidfd)
        self._pidfd = -1
        self._counters.close()
        close_link(self._router_netns, self._node)


def _fork(sock: socket.socket, config: Nat64Config, counters: SharedCounters) -> int:
    parent = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        raise KernelError("fork the NAT64 translator", error.errno or 0) from error
    if pid == 0:
        _become_translator(sock, config, counters, parent)
    return pid


def _become_translator(sock: socket.socket, config: Nat64Config, counters: SharedCounters, parent: int) -> NoReturn:
    status = 1
    try:
        syscalls.set_parent_death_signal(signal.SIGKILL)
        if os.getppid() == parent:
            _detach(sock.fileno())
            Relay(sock, config, ROUTER_MAC, TRANSLATOR_MAC, counters.numbers).run()
    except Exception:  # noqa: BLE001 - the last frame of a process, whose parent sees that it has ended
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _detach(kept: int) -> None:
    """Leaves behind what the fork has copied: descriptors that others wait to see closed, and signal handlers."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    os.closerange(3, kept)
    os.closerange(kept + 1, _HIGHEST_FD)
    # Objects that are alive now stay alive: keep the collector, and so copies of pages, away from them.
    gc.freeze()
