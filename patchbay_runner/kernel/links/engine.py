"""What the two link engines have in common."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from patchbay_runner.model.links import LinkCondition, LinkStatistics

Way = Literal["up", "down"]


class LinkPort(msgspec.Struct, frozen=True):
    """Where a link can be impaired. `name` stands for it in seeds, statistics and errors ("laptop.eth0").

    `port` is an interface of the namespace `netns` with the index `ifindex`: a router's end of a member's cable, whose
    egress is the member's download. The member `far_node` has it as `far_interface` in `far_netns`. A router's LAN
    bridge has no far end, and only a download.
    """

    name: str
    node: str
    netns: int
    port: str
    ifindex: int
    far_node: str = ""
    far_netns: int | None = None
    far_interface: str = ""
    far_ifindex: int = 0


class LinkEngine(Protocol):
    """A mechanism that impairs links."""

    @property
    def name(self) -> str:
        """As recorded: "netem" or "emulator"."""

    def apply(self, port: LinkPort, up: LinkCondition | None, down: LinkCondition | None) -> None:
        """Makes both directions of a link as asked; None or a clear condition leaves nothing in its path.

        Raises KernelError or LabError; the direction that it failed for is then as it was.
        """

    def lose(self, port: LinkPort) -> None:
        """Loses what is under way on a link whose interfaces have just gone down. Raises EmulatorDied."""

    def forget(self, port: LinkPort) -> None:
        """Leaves nothing behind at a link's port, before the port itself is removed; what was counted stays."""

    def statistics(self) -> list[LinkStatistics]:
        """Every link that is or was impaired, in the order of the first time. Raises EmulatorDied or KernelError."""

    def filenos(self) -> list[int]:
        """Descriptors that become readable when a process that the links need has ended, which it never should."""

    def check(self) -> None:
        """Raises EmulatorDied when such a process has ended."""

    def close(self) -> None:
        """Lets go of processes and descriptors; conditions are not lifted."""


def is_wanted(condition: LinkCondition | None) -> bool:
    """Whether there is anything to impair."""
    return condition is not None and not condition.is_clear
