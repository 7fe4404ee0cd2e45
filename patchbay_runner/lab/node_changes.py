"""What brings nodes to a running network and takes them away."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from patchbay_runner.errors import LabError
from patchbay_runner.kernel import netlink
from patchbay_runner.kernel.links import LinkPort
from patchbay_runner.kernel.process import kill_inside
from patchbay_runner.lab import growth, requests
from patchbay_runner.lab.blueprint import Blueprint, NodeBlueprint
from patchbay_runner.lab.build import NetworkBuilder, raise_link_end
from patchbay_runner.lab.drawing import draw_blueprint
from patchbay_runner.lab.links import initial_conditions
from patchbay_runner.lab.names import check_names
from patchbay_runner.lab.region_links import RegionCable, region_cables
from patchbay_runner.lab.replan import Network
from patchbay_runner.lab.running import RunningNetwork
from patchbay_runner.lab.state import region_link_state, region_state
from patchbay_runner.model.topology import Topology


class NodeChanges(RunningNetwork):
    """A running network that grows and shrinks. Every method returns when the kernel has done it."""

    def extend(self, addition: Topology) -> None:
        """Adds regions, links between regions, routers, devices and names; all of it may refer to what is there.

        Raises LabError, and has then changed nothing, or KernelError.
        """
        network = growth.extend(self._network, addition)
        check_names(network.topology)
        blueprint = draw_blueprint(network.topology, network.plan)
        new = blueprint.nodes.keys() - self._blueprint.nodes.keys()
        links = self._new_cables(network)
        self._raise(blueprint)
        self._become(network)
        for cable in links:
            if cable.far.node not in new:
                self._join(cable)
        self._capturing.follow([blueprint.nodes[name] for name in blueprint.nodes if name in new], self._namespaces)
        self._begin_nodes([node for node in blueprint.nodes.values() if node.name in new])
        self._links.ask(initial_conditions(addition, network.plan))
        self._impair(addition, links)
        self._announce_nodes(addition, links)

    def remove_device(self, device: str) -> None:
        """Takes a device away, and ends the programs in it. Its addresses are given to nobody else."""
        self._remove(growth.without_device(self._network, device), device)
        self._emit("device_removed", name=device)

    def remove_router(self, router: str) -> None:
        """Takes a router away, and ends the programs in it. Raises LabError while anything is behind it."""
        network = growth.without_router(self._network, router)
        if any(name == router for name, _ in self._down):
            raise LabError("it is being rebooted", router)
        self._translators.stop(router)
        self._advertising.stop(router)
        self._remove(network, router)
        self._emit("router_removed", name=router)

    def _new_cables(self, network: Network) -> list[RegionCable]:
        old = {cable.link.pair for cable in region_cables(self.topology)}
        return [cable for cable in region_cables(network.topology) if cable.link.pair not in old]

    def _raise(self, blueprint: Blueprint) -> None:
        """Makes the nodes that are new; what is made of them goes when one cannot be made."""
        builder = NetworkBuilder(blueprint, self._namespaces)
        try:
            builder.build()
        except BaseException:
            for name in builder.namespaces.keys() - self._namespaces.keys():
                os.close(builder.namespaces[name])
            raise
        self._namespaces = builder.namespaces

    def _join(self, cable: RegionCable) -> None:
        """Makes the cable of a link between two regions whose routers stand."""
        for end in (cable.far, cable.near):
            interface = next(each for each in self._blueprint.nodes[end.node].interfaces if each.port == end)
            if interface.cable is not None:
                self._send(end.node, [requests.cable_request(interface, self._namespaces[interface.cable.owner])])
            raise_link_end(interface, self._namespaces[end.node])
        self._await_carriers(*((end.node, end.index) for end in cable.ends))

    def _remove(self, network: Network, node: str) -> None:
        blueprint, netns = self._blueprint.nodes[node], self._namespaces[node]
        kill_inside(netns)
        self._capturing.leave(node)
        for port in self._ports_of(blueprint):
            self._links.lift(port)
            self._links.forget(port)
        self._send(node, [netlink.delete_link(each.index) for each in blueprint.interfaces if each.cable is not None])
        self._gone(node)
        self._become(network)
        self._down = {(name, interface) for name, interface in self._down if name != node}
        del self._namespaces[node]
        os.close(netns)

    def _ports_of(self, node: NodeBlueprint) -> Iterator[LinkPort]:
        """Where conditions may be on what a node sends and receives."""
        if node.kind == "router":
            yield self._lan_port(node.name)
        for interface in node.interfaces:
            if interface.cable is not None:
                yield self._cable_port(interface)

    def _begin_nodes(self, nodes: Sequence[NodeBlueprint]) -> None:
        self._advertising.start(nodes, self._namespaces)
        for node in nodes:
            if node.kind == "device":
                self._expect(node.name)

    def _announce_nodes(self, addition: Topology, links: Iterable[RegionCable]) -> None:
        for router in addition.routers:
            self._emit("router_added", name=router.name, **self.router_state(router.name))
        for region in addition.regions:
            self._emit("region_added", name=region.name, **region_state(region.name, self.plan))
        for cable in links:
            self._emit("region_link_added", **region_link_state(cable, is_broken=False))
        for device in addition.devices:
            self._emit("device_added", name=device.name, **self.device_state(device.name))
