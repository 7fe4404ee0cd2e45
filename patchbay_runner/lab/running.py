"""A network that runs: what it is at a time, and how it becomes another."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from errno import ESRCH
from ipaddress import IPv6Address
from typing import Any

import msgspec

from patchbay_runner.errors import KernelError, LabError
from patchbay_runner.kernel import netlink, nftables
from patchbay_runner.kernel.capture import Keeper
from patchbay_runner.kernel.links import LinkPort
from patchbay_runner.kernel.namespaces import entered
from patchbay_runner.kernel.nat64 import Nat64Config
from patchbay_runner.kernel.netlink import NetlinkSocket
from patchbay_runner.kernel.sysctl import Sysctls
from patchbay_runner.lab.addressing import BRIDGE_INDEX, LAN_BRIDGE, AddressPlan, Port
from patchbay_runner.lab.advertising import Advertising
from patchbay_runner.lab.blueprint import InterfaceBlueprint
from patchbay_runner.lab.build import NetworkBuilder
from patchbay_runner.lab.capturing import Capturing
from patchbay_runner.lab.carriers import End, await_carriers
from patchbay_runner.lab.drawing import draw_blueprint
from patchbay_runner.lab.links import LinkConditions, initial_conditions, overload
from patchbay_runner.lab.planner import plan_addresses
from patchbay_runner.lab.reconcile import NodeChange, changes
from patchbay_runner.lab.region_links import RegionCable, region_cables
from patchbay_runner.lab.regions import region_of
from patchbay_runner.lab.replan import Network
from patchbay_runner.lab.settling import BUILD_PATIENCE_S, CHANGE_PATIENCE_S, Settling
from patchbay_runner.lab.state import device_state, region_link_state, region_state, router_state
from patchbay_runner.lab.translators import Translators
from patchbay_runner.model.links import LinkReport, compact_link
from patchbay_runner.model.regions import declared_regions
from patchbay_runner.model.topology import LabSettings, Topology


class RunningNetwork:
    """A topology in the kernel. `emit` receives the events of its changes; `seed` and `keeper` as in `LabOptions`."""

    def __init__(
        self, topology: Topology, emit: Callable[..., None], seed: int | None = None, keeper: Keeper | None = None
    ) -> None:
        self._tell = emit
        self._network = Network(topology, plan_addresses(topology))
        self._blueprint = draw_blueprint(topology, self._network.plan)
        self._down: set[tuple[str, str]] = set()
        self._namespaces: dict[str, int] = {}
        self._links = LinkConditions(initial_conditions(topology, self._network.plan), seed)
        self._has_changed = True
        self._advertising = Advertising(emit)
        self._settling = Settling(self._advertising, self._interfaces_up, lambda: self._namespaces)
        self._capturing = Capturing(keeper, emit)
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
        self._capturing.start(self._blueprint.nodes.values(), self._namespaces)
        self._translators.follow(self._nat64_configs())
        self._advertising.start(self._blueprint.nodes.values(), self._namespaces)
        for device in self.topology.devices:
            self._expect(device.name)
        for late in await self._settling.settle(BUILD_PATIENCE_S):
            raise LabError(f"{late} after {BUILD_PATIENCE_S:g} s", late.port.node)
        self._links.watch()
        self._impair(self.topology, region_cables(self.topology))

    async def settled(self) -> None:
        """Waits until devices that configure themselves have taken in the latest changes.

        A link that loses everything, or a program that filters advertisements, may keep one from it: then the wait
        ends, and an event says so.
        """
        for late in await self._settling.settle(CHANGE_PATIENCE_S):
            self._emit("ipv6_incomplete", device=late.port.node, iface=late.port.interface, missing=late.what)

    def _impair(self, topology: Topology, cables: Iterable[RegionCable]) -> None:
        """Puts the conditions that they begin with on the links of nodes, and on cables between regions."""
        for device in topology.devices:
            for interface in device.interfaces:
                if interface.impair is not None:
                    self._links.restore(self._link_port(device.name, interface.name))
        for router in topology.routers:
            if router.downlink is not None:
                self._links.restore(self._lan_port(router.name))
            if router.uplink is not None and not router.is_isolated:
                self._links.restore(self._uplink_port(router.name))
        for cable in cables:
            for end, condition in ((cable.near, cable.link.a_to_b), (cable.far, cable.link.b_to_a)):
                self._links.set(self._region_port(end), condition, "down")

    def close(self) -> None:
        """Gives up the namespaces; the kernel removes what is in them when their last process has ended."""
        self._capturing.close()
        self._advertising.close()
        self._translators.close()
        self._links.close()
        for fd in self._namespaces.values():
            os.close(fd)
        self._namespaces.clear()

    def link_report(self) -> LinkReport:
        """What has become of the packets of every link that is or was impaired."""
        return self._links.report()

    def end_capture(self) -> None:
        """Ends the packet capture, if there is one; the files are whole. Raises CapturerDied, HostError."""
        self._capturing.finish()

    def verdict(self) -> str | None:
        """Why the network was not what was asked for, None if it was; reports what links and translators counted.

        It ends the packet capture. Raises KernelError, EmulatorDied, CapturerDied, HostError.
        """
        self.end_capture()
        for router, counters in self._translators.counters().items():
            self._emit("nat64_statistics", router=router, **counters)
        report = self._links.report()
        for link in report.statistics:
            self._emit("link_statistics", **msgspec.to_builtins(compact_link(link)))
        return overload(report.statistics)

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
        return router_state(found, region_of(found, self.topology), self.plan, self._links.asked)

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

    def _gone(self, node: str) -> None:
        """Called when a node is being taken away: its links are gone, its namespace is still there."""

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
