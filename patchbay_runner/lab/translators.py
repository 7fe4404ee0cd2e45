"""The NAT64 translators of a lab's routers: one process a router, as long as the router translates."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from patchbay_runner.errors import TranslatorDied
from patchbay_runner.kernel import conntrack
from patchbay_runner.kernel.nat64 import Nat64, Nat64Config
from patchbay_runner.lab.nat import NAT64_MARK


class Translators:
    """Translators by router. For one thread, inside its loop."""

    def __init__(self, netns_of: Callable[[str], int]) -> None:
        self._netns_of = netns_of
        self._running: dict[str, Nat64] = {}
        self._counted: dict[str, Counter[str]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def stop(self, router: str) -> None:
        """Ends a router's translator, if there is one, and forgets its flows: the next has other clients."""
        translator = self._forget(router)
        if translator is not None:
            translator.stop()
            conntrack.flush(self._netns_of(router), router, mark=NAT64_MARK)

    def follow(self, wanted: dict[str, Nat64Config]) -> None:
        """Stops those that are not wanted any more, starts those that are and do not run. Raises KernelError.

        The end of one by itself is raised in the loop.
        """
        for router in self._running.keys() - wanted.keys():
            self.stop(router)
        for router, config in wanted.items():
            if router not in self._running:
                self._start(router, config)

    def counters(self) -> dict[str, dict[str, int]]:
        """What became of packets, by router, over all translators that it had."""
        found = {router: Counter(counted) for router, counted in self._counted.items()}
        for router, translator in self._running.items():
            found[router].update(translator.counters())
        return {router: dict(counted) for router, counted in found.items()}

    def close(self) -> None:
        """Ends all of them. The namespaces have to be there still."""
        for router in list(self._running):
            self.stop(router)

    def _start(self, router: str, config: Nat64Config) -> None:
        translator = Nat64.start(self._netns_of(router), config, router)
        self._running[router] = translator
        self._counted.setdefault(router, Counter())
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(translator.fileno(), self._ended, router)

    def _forget(self, router: str) -> Nat64 | None:
        translator = self._running.pop(router, None)
        if translator is not None:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(translator.fileno())
            self._counted[router].update(translator.counters())
        return translator

    def _ended(self, router: str) -> None:
        translator = self._forget(router)
        assert translator is not None
        translator.stop()
        raise TranslatorDied(f"the NAT64 translator of {router} has ended by itself")
