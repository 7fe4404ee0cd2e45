"""A network that runs, and the changes that can be made to it. Every method returns when the kernel has done it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from errno import ESRCH
from ipaddress import IPv6Address
from typing import Any

import msgspec

from patchbay_runner.errors import KernelError, LabError
from patchbay_runner.kernel import netlink, nftables
from patchbay_runner.kernel.links import LinkPort
from patchbay_runner.kernel.namespaces import entered
from patchbay_runner.kernel.nat64 import Nat64Config
from patchbay_runner.kernel.netlink import NetlinkSocket
from patchbay_runner.kernel.sysctl import Sysctls
from patchbay_runner.lab import replan, requests
from patchbay_runner.lab.addressing import BRIDGE_INDEX, LAN_BRIDGE, AddressPlan, Port, plan_addresses
from patchbay_runner.lab.advertising import Advertising
from patchbay_runner.lab.blueprint import InterfaceBlueprint, draw_blueprint
from patchbay_runner.lab.build import NetworkBuilder
from patchbay_runner.lab.carriers import End, await_carriers, ends_of
from patchbay_runner.lab.links import LinkConditions, initial_conditions, overload
from patchbay_runner.lab.reconcile import NodeChange, changes
from patchbay_runner.lab.region_links import RegionCable, region_cables
from patchbay_runner.lab.replan import Network
from patchbay_runner.lab.settling import BUILD_PATIENCE_S, CHANGE_PATIENCE_S, Settling
from patchbay_runner.lab.state import device_state, link_names, region_link_state, region_state, router_state
from patchbay_runner.lab.translators import Translators
from patchbay_runner.model.links import Direction, LinkCondition, LinkReport
from patchbay_runner.model.regions import declared_regions
from patchbay_runner.model.topology import Interface, LabSettings, Topology


class RunningNetwork:
    """A topology in the kernel. `emit` receives the events of its changes; `seed` as in `LabOptions`."""

    def __init__(self, topology: Topology, emit: Callable[..., None], seed: int | None = None) -> None:
        self._tell = emit
        self._network = Network(topology, plan_addresses(topology))
        self._blueprint = draw_blueprint(topology, self._network.plan)
        self._down: set[tuple[str, str]] = set()
        self._namespaces: dict[str, int] = {}
        self._links = LinkConditions(initial_conditions(topology, self._network.plan), seed)
        self._has_changed = True
        self._advertising = Advertising(emit)
        self._settling = Settling(self._advertising, self._interfaces_up, lambda: self._namespaces)
        self._translators = Translators(lambda router: self._namespaces[router])

    @property
    def topology(self) -> Topology:
        """As it is now."""
        return self._network.topology

    @property
    def plan(self) -> AddressPlan:
        """The addresses as they are now."""
        return self._network.plan

    @property
    def nodes(self) -> list[str]:
        """ "ix", then routers, then devices."""
        return list(self._blueprint.nodes)

    def build_network(self) -> None:
        """Makes everything. Raises LabError or KernelError; nothing survives the sandbox."""
        builder = NetworkBuilder(self._blueprint)
        try:
            builder.build()
        finally:
            self._namespaces = builder.namespaces

    def _emit(self, kind: str, /, **fields: Any) -> None:
        self._has_changed = True
        self._tell(kind, **fields)

    async def begin(self) -> None:
        """Starts what needs the loop, waits for the devices, then impairs the links that begin impaired.

        Once, after `build_network`. Raises LabError when a device is not configured in time.
        """
        self._translators.follow(self._nat64_configs())
        self._advertising.start(self._blueprint.nodes.values(), self._namespaces)
        for device in self.topology.devices:
            self._expect(device.name)
        for late in await self._settling.settle(BUILD_PATIENCE_S):
            raise LabError(f"{late} after {BUILD_PATIENCE_S:g} s", late.port.node)
        self._links.watch()
        self._impair()

    async def settled(self) -> None:
        """Waits until devices that configure themselves have taken in the latest changes.

        A link that loses everything, or a program that filters advertisements, may keep one from it: then the wait
        ends, and an event says so.
        """
        for late in await self._settling.settle(CHANGE_PATIENCE_S):
            self._emit("ipv6_incomplete", device=late.port.node, iface=late.port.interface, missing=late.what)

    def _impair(self) -> None:
        for device in self.topology.devices:
            for interface in device.interfaces:
                if interface.impair is not None:
                    self._links.restore(self._link_port(device.name, interface.name))
        for router in self.topology.routers:
            if router.downlink is not None:
                self._links.restore(self._lan_port(router.name))
            if router.uplink is not None and not router.is_isolated:
                self._links.restore(self._uplink_port(router.name))
        for cable in region_cables(self.topology):
            for end, condition in ((cable.near, cable.link.a_to_b), (cable.far, cable.link.b_to_a)):
                self._links.set(self._region_port(end), condition, "down")

    def close(self) -> None:
        """Gives up the namespaces; the kernel removes what is in them when their last process has ended."""
        self._advertising.close()
        self._translators.close()
        self._links.close()
        for fd in self._namespaces.values():
            os.close(fd)
        self._namespaces.clear()

    def link_down(self, device: str, interface: str) -> None:
        """Takes an interface down: nothing is sent or received, and its routes are gone."""
        self._send(device, [netlink.set_up(self._interface(device, interface).index, up=False)])
        self._down.add((device, interface))
        self._changed()
        self._emit("link_down", device=device, iface=interface)

    def link_up(self, device: str, interface: str) -> None:
        """Brings an interface up with the addresses, neighbours and routes that the kernel forgot meanwhile."""
        blueprint = self._interface(device, interface)
        self._send(device, list(requests.member_requests(blueprint)))
        self._await_carriers(*ends_of(blueprint))
        self._down.discard((device, interface))
        self._expect(device)
        self._changed()
        self._emit("link_up", device=device, iface=interface)

    def set_default_route(self, device: str, interface: str) -> None:
        """Moves the default routes of both families. Towards an interface that is down they appear when it is up."""
        self._interface(device, interface)
        self._become(replan.set_default_interface(self._network, device, interface))
        self._emit("default_route_changed", device=device, iface=interface)

    def replug(self, device: str, interface: str, router: str) -> None:
        """Moves an interface to another router's LAN, with new addresses. One that is down stays down."""
        before = self._interface(device, interface).port.lan
        self._links.lift(self._link_port(device, interface))
        self._become(replan.replug(self._network, device, interface, router))
        if (device, interface) not in self._down:
            self._await_carriers(*ends_of(self._interface(device, interface)))
        self._links.restore(self._link_port(device, interface))
        self._emit(
            "interface_replugged",
            device=device,
            iface=interface,
            from_router=before,
            to_router=router,
            **self._new_addresses(device, interface),
        )

    def add_interface(self, device: str, interface: str, router: str) -> None:
        """Plugs a further interface into a router's LAN. The default route stays where it is."""
        self._become(replan.add_interface(self._network, device, Interface(name=interface, gateway=router)))
        self._await_carriers(*ends_of(self._interface(device, interface)))
        self._emit(
            "interface_added", device=device, iface=interface, router=router, **self._new_addresses(device, interface)
        )

    def remove_interface(self, device: str, interface: str) -> None:
        """Takes an interface away; if it was the default one, the first that is left takes its place."""
        port = self._link_port(device, interface)
        changed = replan.remove_interface(self._network, device, interface)
        self._links.lift(port)
        self._become(changed)
        self._links.forget(port)
        self._down.discard((device, interface))
        self._emit("interface_removed", device=device, iface_name=interface)

    def renew_address(self, device: str, interface: str) -> None:
        """Gives an interface new addresses on its LAN, as a renewed lease does; its routes stay."""
        self._interface(device, interface)
        self._become(replan.renew_address(self._network, device, interface))
        self._emit("device_ip_changed", device=device, iface_name=interface, **self._new_addresses(device, interface))

    def set_link_condition(
        self, device: str, interface: str, condition: LinkCondition | None, direction: Direction = "up"
    ) -> None:
        """Impairs a device's link, None clears it. `up` is what the device sends, `down` what it receives.

        It stays with the interface through `replug`.
        """
        self._links.set(self._link_port(device, interface), condition, direction)
        self._emit("link_condition_changed", device=device, iface=interface, condition=condition, direction=direction)

    def set_downlink(self, router: str, condition: LinkCondition | None) -> None:
        """Impairs what a router sends into its LAN, None clears it; traffic between members is not touched."""
        self._links.set(self._lan_port(self._router(router)), condition, "down")
        self._emit("downlink_condition_changed", router=router, condition=condition)

    def set_uplink(self, router: str, condition: LinkCondition | None) -> None:
        """Impairs what a router sends to its upstream or the exchange, None clears it."""
        self._links.set(self._uplink_port(self._router(router)), condition, "up")
        self._emit("uplink_condition_changed", router=router, condition=condition)

    def link_report(self) -> LinkReport:
        """What has become of the packets of every link that is or was impaired."""
        return self._links.report()

    def verdict(self) -> str | None:
        """Why the network was not what was asked for, None if it was; reports what links and translators counted."""
        for router, counters in self._translators.counters().items():
            self._emit("nat64_statistics", router=router, **counters)
        report = self._links.report()
        for link in report.statistics:
            self._emit("link_statistics", **msgspec.to_builtins(link))
        return overload(report.statistics)

    def break_region_link(self, a: str, b: str) -> None:
        """Parts two regions: from now on nothing gets from one to the other, what is under way included."""
        cable = self._region_cable(a, b)
        if self.is_broken(cable):
            raise LabError(f"the link between the regions {a!r} and {b!r} is broken already")
        for end in cable.ends:
            self._send(end.node, [netlink.set_up(end.index, up=False)])
            self._down.add((end.node, end.interface))
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

    def is_broken(self, cable: RegionCable) -> bool:
        """Whether a link between regions is broken."""
        return (cable.near.node, cable.near.interface) in self._down

    def device_state(self, device: str) -> dict[str, Any]:
        """As in `state.json`."""
        found = next(each for each in self.topology.devices if each.name == device)
        down = frozenset(interface for name, interface in self._down if name == device)
        return device_state(found, self.plan, down, self._links.asked)

    def router_state(self, router: str) -> dict[str, Any]:
        """As in `state.json`."""
        found = next(each for each in self.topology.routers if each.name == router)
        return router_state(found, self.plan, self._links.asked)

    def regions_state(self) -> dict[str, Any]:
        """As in `state.json`: `regions` by name, and `region_links`."""
        return {
            "regions": {
                region.name: region_state(region.name, self.plan) for region in declared_regions(self.topology.regions)
            },
            "region_links": [
                region_link_state(cable, is_broken=self.is_broken(cable)) for cable in region_cables(self.topology)
            ],
        }

    def _become(self, network: Network) -> None:
        """Makes the kernel's network `network`, touching only what differs."""
        blueprint = draw_blueprint(network.topology, network.plan)
        is_down = self._down.__contains__
        asked = changes(
            self._blueprint, blueprint, lambda node, interface: is_down((node, interface)), self._namespaces.__getitem__
        )
        for change in list(asked):
            self._carry_out(change)
            if blueprint.nodes[change.node].kind == "device":
                self._expect(change.node)
        self._network, self._blueprint = network, blueprint
        self._translators.follow(self._nat64_configs())
        self._changed()

    def _changed(self) -> None:
        """Called after every change of the topology, the addresses, or of which interfaces are down."""

    def _nat64_configs(self) -> dict[str, Nat64Config]:
        """Of the routers that are there and translate."""
        found = {name: node.nat64 for name, node in self._blueprint.nodes.items() if node.nat64 is not None}
        return {name: config for name, config in found.items() if (name, LAN_BRIDGE) not in self._down}

    def _carry_out(self, change: NodeChange) -> None:
        netns = self._namespaces[change.node]
        if change.requests:
            self._send(change.node, list(change.requests))
        for ruleset in change.rulesets:
            nftables.load(netns, ruleset, change.node)
        if change.sysctls:
            sysctls = Sysctls()
            try:
                with entered(netns):
                    sysctls.write(change.node, change.sysctls)
            finally:
                sysctls.close()
        if change.forgetting:
            self._forget_default_routes(change.node, change.forgetting)

    def _expect(self, device: str) -> None:
        if self.topology.lab != LabSettings():
            self._settling.expect(device)

    def _interfaces_up(self, device: str) -> list[InterfaceBlueprint]:
        interfaces = self._blueprint.nodes[device].interfaces
        return [each for each in interfaces if (device, each.port.interface) not in self._down]

    def _forget_default_routes(self, node: str, interfaces: Collection[int]) -> None:
        """Removes the default routes that interfaces have learned from advertisements."""
        with NetlinkSocket.inside(self._namespaces[node], node) as sock:
            for route in netlink.dump_routes(sock):
                if route.oif in interfaces and route.prefix_length == 0 and isinstance(route.gateway, IPv6Address):
                    try:
                        sock.request(netlink.delete_route(route))
                    except KernelError as error:
                        if error.errno != ESRCH:  # it has come to its end by itself
                            raise

    def _await_carriers(self, *ends: End) -> None:
        await_carriers(ends, self._namespaces.__getitem__)

    def _send(self, node: str, batch: list[bytes]) -> None:
        with NetlinkSocket.inside(self._namespaces[node], node) as sock:
            sock.batch(batch)

    def _interface(self, device: str, interface: str) -> InterfaceBlueprint:
        if all(each.name != device for each in self.topology.devices):
            raise LabError("there is no such device", device)
        for blueprint in self._blueprint.nodes[device].interfaces:
            if blueprint.port.interface == interface:
                return blueprint
        raise LabError(f"it has no interface {interface!r}", device)

    def _link_port(self, device: str, interface: str) -> LinkPort:
        return self._cable_port(self._interface(device, interface))

    def _uplink_port(self, router: str) -> LinkPort:
        node = self._blueprint.nodes[router]
        for blueprint in node.interfaces:
            if blueprint.port.interface == node.default_interface:
                return self._cable_port(blueprint)
        raise LabError("it is isolated: it has no uplink", router)

    def _cable_port(self, blueprint: InterfaceBlueprint) -> LinkPort:
        node, interface, cable = blueprint.port.node, blueprint.port.interface, blueprint.cable
        assert cable is not None
        return LinkPort(
            name=f"{node}.{interface}",
            node=cable.owner,
            netns=self._namespaces[cable.owner],
            port=cable.port_name,
            ifindex=cable.port_index,
            far_node=node,
            far_netns=self._namespaces[node],
            far_interface=interface,
            far_ifindex=blueprint.index,
        )

    def _lan_port(self, router: str) -> LinkPort:
        return LinkPort(f"{router}.{LAN_BRIDGE}", router, self._namespaces[router], LAN_BRIDGE, BRIDGE_INDEX)

    def _region_cable(self, a: str, b: str) -> RegionCable:
        for cable in region_cables(self.topology):
            if cable.link.pair == {a, b}:
                return cable
        raise LabError(f"there is no link between the regions {a!r} and {b!r}")

    def _region_port(self, end: Port) -> LinkPort:
        """An end of a region link, whose egress is its direction; the other is that of the other end."""
        return LinkPort(f"{end.node}.{end.interface}", end.node, self._namespaces[end.node], end.interface, end.index)

    def _router(self, name: str) -> str:
        if all(each.name != name for each in self.topology.routers):
            raise LabError("there is no such router", name)
        return name

    def _new_addresses(self, device: str, interface: str) -> dict[str, str | None]:
        port = self.plan.ports[device, interface]
        return {
            "new_ip": str(port.v4.ip) if port.v4 else None,
            "new_ip_v6": str(port.v6.ip) if port.v6 else None,
        }
