"""Handles of devices."""

from __future__ import annotations

from patchbay_runner.lab import commands
from patchbay_runner.library.interfaces import Condition, Interface, interface_of
from patchbay_runner.library.nodes import Node, name_of
from patchbay_runner.library.origin import callers_line
from patchbay_runner.library.routers import Router
from patchbay_runner.loader import values
from patchbay_runner.model.links import Direction


class Device(Node):
    """A device. Its changes return when the kernel has made them.

    What no TOML file may say raises InputError, what this network cannot do LabError.

    Examples:
        >>> laptop.link_down("eth0")
        >>> laptop.interfaces["eth0"].is_up
        False
    """

    _kind = "device"

    @property
    def interfaces(self) -> dict[str, Interface]:
        """The one of the default route first.

        Examples:
            >>> [(interface.name, interface.router) for interface in laptop.interfaces.values()]
            [('eth0', 'home')]
        """
        state = self._session.node_state("devices", self.name)
        listed = sorted(state["interfaces"], key=lambda each: each["name"] != state["default_via"])
        return {each["name"]: interface_of(each["name"], each) for each in listed}

    def link_down(self, interface: str) -> None:
        """Takes an interface down: nothing is sent or received, and its routes are gone.

        Examples:
            >>> laptop.link_down("eth0")
        """
        self._change(commands.LinkDown(self.name, interface))

    def link_up(self, interface: str) -> None:
        """Brings an interface up with its addresses and routes.

        Examples:
            >>> laptop.link_down("eth0")
            >>> laptop.link_up("eth0")
        """
        self._change(commands.LinkUp(self.name, interface))

    def set_link_condition(self, interface: str, condition: Condition | None, direction: Direction = "up") -> None:
        """Impairs a link, None clears it; "up" is what the device sends, "down" what it receives, "both".

        Examples:
            >>> laptop.set_link_condition("eth0", "wifi-bad")
            >>> laptop.set_link_condition("eth0", {"latency_ms": 50, "loss_pct": 1.5}, "both")
            >>> laptop.set_link_condition("eth0", None, "both")
        """
        found = values.condition_of(condition, callers_line())
        self._change(commands.SetLinkCondition(self.name, interface, found, direction))

    def set_default_route(self, interface: str) -> None:
        """Moves the default routes of both families.

        Examples:
            >>> laptop.add_interface("usb0", dc)
            >>> laptop.set_default_route("usb0")
            >>> list(laptop.interfaces)
            ['usb0', 'eth0']
        """
        self._change(commands.SetDefaultRoute(self.name, interface))

    def replug(self, interface: str, router: Router | str) -> None:
        """Moves an interface to another router's LAN, with new addresses.

        Examples:
            >>> laptop.replug("eth0", dc)
            >>> laptop.interfaces["eth0"].router
            'dc'
        """
        self._change(commands.Replug(self.name, interface, name_of(router)))

    def add_interface(self, interface: str, router: Router | str) -> None:
        """Plugs a further interface into a router's LAN; the default route stays where it is.

        Examples:
            >>> laptop.add_interface("eth1", dc)
            >>> list(laptop.interfaces)
            ['eth0', 'eth1']
        """
        self._change(commands.AddInterface(self.name, interface, name_of(router)))

    def remove_interface(self, interface: str) -> None:
        """Takes an interface away; a device keeps at least one.

        Examples:
            >>> laptop.add_interface("eth1", dc)
            >>> laptop.remove_interface("eth1")
        """
        self._change(commands.RemoveInterface(self.name, interface))

    def renew_address(self, interface: str) -> None:
        """Gives an interface new addresses on its LAN, as a renewed lease does.

        Examples:
            >>> before = laptop.ip
            >>> laptop.renew_address("eth0")
            >>> laptop.ip == before
            False
        """
        self._change(commands.RenewAddress(self.name, interface))

    def remove(self) -> None:
        """Takes it away, with the programs in it. Using its handle raises LabError from then on.

        Examples:
            >>> laptop.remove()
            >>> [device.name for device in lab.devices]
            ['server']
        """
        self._change(commands.RemoveDevice(self.name))
