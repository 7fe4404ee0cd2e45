"""Handles of routers, and of the internet exchange that they meet on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from patchbay_runner.lab import commands
from patchbay_runner.library.interfaces import Condition, Interface, interface_of
from patchbay_runner.library.nodes import Node
from patchbay_runner.library.origin import callers_line
from patchbay_runner.loader import values
from patchbay_runner.model.topology import REBOOT_S


class Ix(Node):
    """The internet exchange: what all routers without an upstream are connected to.

    Examples:
        >>> lab.ix.run(["ping", "-c1", str(home.ip)]).returncode
        0
    """

    _kind = "ix"

    @property
    def interfaces(self) -> dict[str, Interface]:
        """Its bridge, by name.

        Examples:
            >>> [str(bridge.ip) for bridge in lab.ix.interfaces.values()]
            ['198.18.0.1']
        """
        state = self._session.client.state()["ix"]
        return {state["bridge"]: interface_of(state["bridge"], state)}


class Router(Node):
    """A router. Its changes return when the kernel has made them.

    What no TOML file may say raises InputError, what this network cannot do LabError.

    Examples:
        >>> home.set_nat("cgnat")
        >>> home.flush_nat()
    """

    _kind = "router"

    @property
    def interfaces(self) -> dict[str, Interface]:
        """The uplink first, then the LAN.

        Examples:
            >>> list(home.interfaces)
            ['ix', 'lan']
        """
        state = self._state()
        found = [state["uplink"]] if state["uplink"] else []
        return {each["interface"]: interface_of(each["interface"], each) for each in (*found, state["downstream"])}

    def set_nat(self, nat: str | Mapping[str, object]) -> None:
        """Changes its IPv4 NAT; mappings are forgotten, flows that the kernel tracks go on until `flush_nat`.

        Examples:
            >>> home.set_nat("corporate")
            >>> home.set_nat({"mapping": "endpoint-independent", "filtering": "address-dependent"})
        """
        self._change(commands.SetNat(self.name, values.nat_of(nat, callers_line())))

    def set_nat_v6(self, mode: str) -> None:
        """Changes how it translates IPv6: "none", "nptv6", "masquerade" or "nat64".

        Examples:
            >>> home.set_nat_v6("nptv6")
        """
        self._change(commands.SetNatV6(self.name, values.nat_v6_of(mode, callers_line())))

    def flush_nat(self) -> None:
        """Forgets its mappings and tracked flows.

        Examples:
            >>> home.flush_nat()
        """
        self._change(commands.FlushNat(self.name))

    def set_firewall(self, firewall: str | Mapping[str, object]) -> None:
        """Changes what it lets through; flows that it knows are let through until they end.

        Examples:
            >>> home.set_firewall("corporate")
        """
        self._change(commands.SetFirewall(self.name, values.firewall_of(firewall, callers_line())))

    def set_downlink(self, condition: Condition | None) -> None:
        """Impairs what it sends into its LAN; None clears it.

        Examples:
            >>> home.set_downlink({"rate_kbit": 20_000, "latency_ms": 10})
            >>> home.set_downlink(None)
        """
        self._change(commands.SetDownlink(self.name, values.condition_of(condition, callers_line())))

    def set_uplink(self, condition: Condition | None) -> None:
        """Impairs what it sends to its upstream or the exchange; None clears it.

        Examples:
            >>> home.set_uplink({"rate_kbit": 2_000})
        """
        self._change(commands.SetUplink(self.name, values.condition_of(condition, callers_line())))

    def reboot(self, down_for_s: float = REBOOT_S) -> None:
        """Takes it away with all that it has learned, for `down_for_s` seconds; returns when it is back.

        Examples:
            >>> home.reboot(down_for_s=0.2)
        """
        self._change(commands.RebootRouter(self.name, down_for_s))

    def remove(self) -> None:
        """Takes it away, with the programs in it. Raises LabError while anything is behind it.

        Examples:
            >>> cafe = lab.add_router("cafe", nat="home")
            >>> cafe.remove()
            >>> [router.name for router in lab.routers]
            ['dc', 'home']
        """
        self._change(commands.RemoveRouter(self.name))

    def _state(self) -> dict[str, Any]:
        return self._session.node_state("routers", self.name)
