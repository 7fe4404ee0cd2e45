"""What changes the links between regions of a running network."""

from __future__ import annotations

from patchbay_runner.errors import LabError
from patchbay_runner.kernel import netlink
from patchbay_runner.lab import requests
from patchbay_runner.lab.running import RunningNetwork
from patchbay_runner.lab.state import link_names


class RegionChanges(RunningNetwork):
    """A running network whose regions part and meet again. Every method returns when the kernel has done it."""

    def break_region_link(self, a: str, b: str) -> None:
        """Parts two regions: from now on nothing gets from one to the other, what is under way included."""
        cable = self._region_cable(a, b)
        if self.is_broken(cable):
            raise LabError(f"the link between the regions {a!r} and {b!r} is broken already")
        for end in cable.ends:
            self._send(end.node, [netlink.set_up(end.index, up=False)])
            self._down.add((end.node, end.interface))
        for end in cable.ends:
            self._links.lose(self._region_port(end))
        self._emit("region_link_broken", **link_names(cable))

    def restore_region_link(self, a: str, b: str) -> None:
        """Joins two regions that `break_region_link` has parted."""
        cable = self._region_cable(a, b)
        if not self.is_broken(cable):
            raise LabError(f"the link between the regions {a!r} and {b!r} is not broken")
        for end in cable.ends:
            self._send(end.node, [netlink.set_up(end.index)])
        for end in cable.ends:
            interface = next(each for each in self._blueprint.nodes[end.node].interfaces if each.port == end)
            self._send(end.node, list(requests.member_requests(interface)))
            self._down.discard((end.node, end.interface))
        self._await_carriers(*((end.node, end.index) for end in cable.ends))
        self._emit("region_link_restored", **link_names(cable))
