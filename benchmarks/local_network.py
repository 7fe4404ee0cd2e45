"""A network that is this machine, for benchmarks of what stands above the lab."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from patchbay_runner.model.links import LinkReport


class LocalNetwork:
    """Starts programs here, whatever the node. Implements executor.Network."""

    def start(
        self, node: str, argv: Sequence[str], env: Mapping[str, str], *, cwd: str, stdout: int, stderr: int
    ) -> int:
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, stdout, 1),
            (os.POSIX_SPAWN_DUP2, stderr, 2),
        ]
        return os.posix_spawnp(argv[0], list(argv), dict(env), file_actions=actions, setsid=True)

    @property
    def nodes(self) -> Sequence[str]:
        return ()

    def node_table(self, node: str, name: str) -> str:
        return ""

    def variables(self) -> Mapping[str, str]:
        return {}

    def addresses(self, device: str) -> Sequence[IPv4Address | IPv6Address]:
        return ()

    def take_state(self) -> dict[str, Any] | None:
        return None

    def link_report(self) -> LinkReport:
        return LinkReport()

    def verdict(self) -> str | None:
        return None

    async def settled(self) -> None:
        return None

    def link_down(self, device: str, interface: str) -> None:
        raise NotImplementedError

    def link_up(self, device: str, interface: str) -> None:
        raise NotImplementedError

    def set_default_route(self, device: str, interface: str) -> None:
        raise NotImplementedError
