"""What changes the routers of a running network: their translation, their firewall, their state."""

from __future__ import annotations

import asyncio

import msgspec

from patchbay_runner.errors import LabError
from patchbay_runner.kernel import conntrack, nftables
from patchbay_runner.lab import replan, requests
from patchbay_runner.lab.carriers import carriers_up, ends_of
from patchbay_runner.lab.running import RunningNetwork
from patchbay_runner.lab.state import firewall_fields, nat_fields, spelled
from patchbay_runner.model.firewall import Firewall
from patchbay_runner.model.links import LinkCondition
from patchbay_runner.model.nat import Nat
from patchbay_runner.model.topology import NatV6, Router


class RouterChanges(RunningNetwork):
    """A running network whose routers change. Every method returns when the kernel has done it."""

    def set_nat(self, router: str, nat: Nat) -> None:
        """Changes a router's IPv4 NAT. Mappings are forgotten; flows that the kernel tracks go on until `flush_nat`."""
        self._change_router(router, nat=nat)
        self._emit("nat_changed", router=router, **nat_fields(nat))

    def set_nat_v6(self, router: str, mode: NatV6) -> None:
        """Changes how a router translates IPv6. The LAN keeps its prefix, and flows go on as with `set_nat`."""
        self._become(replan.set_nat_v6(self._network, router, mode))
        self._emit("nat_v6_changed", router=router, nat_v6=mode.value)

    def flush_nat(self, router: str) -> None:
        """Forgets a router's mappings and tracked flows."""
        self._forget_flows(self._router(router))
        self._emit("nat_state_flushed", router=router)

    def set_firewall(self, router: str, firewall: Firewall) -> None:
        """Changes what a router lets through; flows that it knows are let through until they end."""
        self._change_router(router, firewall=firewall)
        self._emit("firewall_changed", router=router, **firewall_fields(firewall))

    def set_downlink(self, router: str, condition: LinkCondition | None) -> None:
        """Impairs what a router sends into its LAN, None clears it; traffic between members is not touched."""
        self._links.set(self._lan_port(self._router(router)), condition, "down")
        self._emit("downlink_condition_changed", router=router, condition=spelled(condition))

    def set_uplink(self, router: str, condition: LinkCondition | None) -> None:
        """Impairs what a router sends to its upstream or the exchange, None clears it."""
        self._links.set(self._uplink_port(self._router(router)), condition, "up")
        self._emit("uplink_condition_changed", router=router, condition=spelled(condition))

    async def reboot_router(self, router: str, down_for_s: float) -> None:
        """Takes a router away with all that it has learned, and brings it back after a while as it was set up.

        What else is changed about it meanwhile comes into force when it is back.
        """
        interfaces = self._blueprint.nodes[self._router(router)].interfaces
        names = {(router, interface.port.interface) for interface in interfaces}
        if names & self._down:
            raise LabError("it is being rebooted", router)
        self._down |= names
        self._translators.stop(router)
        self._advertising.stop(router)
        self._send(router, list(requests.router_down_requests(self._blueprint.nodes[router])))
        await asyncio.sleep(down_for_s)
        self._forget_flows(router)
        self._send(router, list(requests.router_up_requests(self._blueprint.nodes[router])))
        ends = [end for each in interfaces if each.cable is not None for end in ends_of(each)]
        await carriers_up(ends, self._namespaces.__getitem__)
        self._down -= names
        self._changed()
        self._translators.follow(self._nat64_configs())
        self._advertising.start([self._blueprint.nodes[router]], self._namespaces)
        self._emit("router_rebooted", router=router, down_for_s=down_for_s)

    def _change_router(self, router: str, **fields: object) -> None:
        def changed(old: Router) -> Router:
            return msgspec.structs.replace(old, **fields)

        self._become(replan.change_router(self._network, router, changed))

    def _forget_flows(self, router: str) -> None:
        netns = self._namespaces[router]
        for table, ruleset in self._blueprint.nodes[router].rulesets.items():
            nftables.load(netns, f"delete table {table}\n{ruleset}", router)
        conntrack.flush(netns, router)
