"""Blueprint to kernel, in bulk: one namespace after another, each with one or two large batches of requests.

A second thread makes the namespaces while the first fills them. A member's veth pair is made from inside the member,
whose one batch then holds everything that it needs. The bridge of a LAN comes up last, and its ports carry no IPv6 of
their own: otherwise every member's multicast would flood all the ports made before it, and the cost of a node would
grow with their number.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from patchbay_runner.kernel import netlink, nftables, syscalls
from patchbay_runner.kernel.namespaces import entered, own_namespace
from patchbay_runner.kernel.namespaces_ahead import NamespacesAhead
from patchbay_runner.kernel.netlink import LOOPBACK_IFINDEX, NetlinkSocket
from patchbay_runner.kernel.sysctl import Sysctls
from patchbay_runner.lab import requests
from patchbay_runner.lab.blueprint import Blueprint, InterfaceBlueprint, NodeBlueprint
from patchbay_runner.lab.carriers import await_carriers, ends_of
from patchbay_runner.lab.provisioning import default_route_sysctl

# As long as the kernel takes it: an hour, in milliseconds.
_NEVER_MS = "3600000"


class NetworkBuilder:
    """Builds the nodes of a blueprint that have no namespace yet, once.

    `namespaces` maps every node to its network namespace, new ones beside those that it was given; the caller closes
    them.
    """

    def __init__(self, blueprint: Blueprint, namespaces: Mapping[str, int] | None = None) -> None:
        self.namespaces: dict[str, int] = dict(namespaces or {})
        self._nodes = [node for node in blueprint.nodes.values() if node.name not in self.namespaces]
        self._neighbours = [node for node in blueprint.nodes.values() if node.name in self.namespaces]
        self._sysctls = Sysctls()
        self._sysctls_ahead = Sysctls()
        self._inherited = _inherited_sysctls(self._sysctls)
        self._sockets: dict[str, NetlinkSocket] = {}

    def build(self) -> None:
        """Raises KernelError or LabError; what was made by then is in `namespaces`.

        The exchange lives in the caller's own network namespace, to which the caller returns.
        """
        home = own_namespace("net")
        try:
            self._raise_nodes(home)
            # Insiders first: a LAN's bridge starts to forward when everything behind it stands.
            for node in reversed(self._nodes):
                if node.bridges:
                    syscalls.setns(self.namespaces[node.name], syscalls.CLONE_NEWNET)
                    self._open_lan(node)
            for node in self._neighbours:
                self._meet(node)
            self._await_carriers()
        finally:
            self._sysctls.close()
            self._sysctls_ahead.close()
            for sock in self._sockets.values():
                sock.close()
            syscalls.setns(home, syscalls.CLONE_NEWNET)
            if home not in self.namespaces.values():  # the exchange was there before
                os.close(home)

    def _await_carriers(self) -> None:
        """Returns when frames pass every cable, and every LAN that has members."""
        cables = [interface for node in self._nodes for interface in node.interfaces if interface.cable is not None]
        if not cables:
            return
        # Of a cable the near end comes up last; those of one node in their order.
        last = cables[-1]
        with NetlinkSocket.inside(self.namespaces[last.port.node], last.port.node) as sock:
            netlink.await_turn(sock, last.index)
        lans = [
            (node.name, interface.index)
            for node in self._nodes
            for interface in node.interfaces
            if interface.is_lan and interface.neighbours
        ]
        await_carriers([*ends_of(last), *lans], self.namespaces.__getitem__)

    def _raise_nodes(self, home: int) -> None:
        others = [node for node in self._nodes if node.kind != "ix"]

        def prepare(index: int, netns: int) -> tuple[int, NetlinkSocket]:
            return netns, self._prepare(others[index], self._sysctls_ahead)

        with NamespacesAhead(len(others), prepare, _discard) as made:
            for exchange in (node for node in self._nodes if node.kind == "ix"):
                self._raise_node(exchange, home, self._prepare(exchange, self._sysctls))
            for node, (netns, sock) in zip(others, made, strict=True):
                self._raise_node(node, netns, sock)

    def _prepare(self, node: NodeBlueprint, sysctls: Sysctls) -> NetlinkSocket:
        """Settings and a socket of the namespace that the thread is in."""
        sysctls.write(node.name, (*self._inherited, *self._first_sysctls(node)))
        return NetlinkSocket(node.name)

    def _raise_node(self, node: NodeBlueprint, netns: int, sock: NetlinkSocket) -> None:
        """Everything that a node can have before the members of its LAN are there."""
        self.namespaces[node.name] = netns
        self._sockets[node.name] = sock
        sock.batch(list(self._first_requests(node)))
        for interface in node.interfaces:
            if interface.learns_default:
                syscalls.setns(netns, syscalls.CLONE_NEWNET)
                self._sysctls.write(node.name, [default_route_sysctl(interface.port.interface, True)])
        if node.bridges:
            syscalls.setns(netns, syscalls.CLONE_NEWNET)
            self._sysctls.write(node.name, (("ipv6/conf/default/disable_ipv6", "1"),))
        else:
            self._sockets.pop(node.name).close()

    def _first_sysctls(self, node: NodeBlueprint) -> Iterator[tuple[str, str]]:
        """What has to be set before the namespace's interfaces appear.

        Little for a device of both families and nothing for one of IPv4: there are many of them.
        """
        if node.v6:
            # Addresses and routes are the plan's: no router solicitations, and nothing learned from advertisements.
            yield "ipv6/conf/default/accept_ra", "0"
            # A host says twice to which multicast groups it belongs (RFC 3810). Nobody here asks to know, and the
            # bridge floods it: 1,000 members kept both processors busy for 3.5 s, and lost packets of others.
            yield "ipv6/conf/default/mldv2_unsolicited_report_interval", _NEVER_MS
        elif node.bridges:
            yield "ipv6/conf/default/disable_ipv6", "1"
        if node.bridges and self._sysctls.read("bridge/bridge-nf-call-iptables"):
            # Bridged frames are no business of the router's NAT.
            yield from ((f"bridge/bridge-nf-call-{table}", "0") for table in ("iptables", "ip6tables", "arptables"))
        if node.bridges:
            # An interface keeps the default that it was made with, and either it or "all" suffices to send redirects.
            yield "ipv4/conf/default/send_redirects", "0"
        yield from node.first_sysctls

    def _first_requests(self, node: NodeBlueprint) -> Iterator[bytes]:
        yield netlink.set_up(LOOPBACK_IFINDEX)
        for interface in _members(node):
            assert interface.cable is not None
            yield requests.cable_request(interface, self.namespaces[interface.cable.owner])
            yield from requests.member_requests(interface)
        for bridge in node.bridges:
            yield from requests.bridge_requests(bridge)

    def _open_lan(self, node: NodeBlueprint) -> None:
        """Raises the bridges, then gives the LAN's interface its addresses, neighbours and routes."""
        lan = next(interface for interface in node.interfaces if interface.is_lan)
        batch = [netlink.no_generated_addresses(lan.index)] if lan.port.v6 is not None else []
        # Before the bridge is up: meanwhile its closed ports swallow what the members say when they come up.
        batch += requests.neighbour_requests(lan)
        batch += [netlink.set_up(bridge.index) for bridge in reversed(node.bridges)]
        self._sockets[node.name].batch([*batch, *requests.address_requests(lan), *requests.route_requests(lan)])
        self._raise_far_ends(node)
        for ruleset in node.rulesets.values():
            nftables.load(self.namespaces[node.name], ruleset, node.name)
        # Last, so that nothing is forwarded before the NAT stands; some settings exist only once it does.
        self._sysctls.write(node.name, node.sysctls)

    def _meet(self, node: NodeBlueprint) -> None:
        """Raises the ends, at a node that was there before, of cables that new nodes have made."""
        new = {other.name for other in self._nodes}
        for interface in node.interfaces:
            if interface.is_region_link and interface.cable is None and interface.port.lan in new:
                raise_link_end(interface, self.namespaces[node.name])

    def _raise_far_ends(self, node: NodeBlueprint) -> None:
        """Raises the node's interfaces at cables that other nodes have made."""
        for interface in node.interfaces:
            if interface.cable is None and not interface.is_lan:
                # It came when ports were to have no IPv6, which it is to have.
                self._sysctls.write(node.name, ((f"ipv6/conf/{interface.port.interface}/disable_ipv6", "0"),))
                self._sockets[node.name].batch(list(requests.member_requests(interface)))


def raise_link_end(interface: InterfaceBlueprint, netns: int) -> None:
    """Raises the end of a link between regions at a router that stands. Raises KernelError."""
    port, sysctls = interface.port, Sysctls()
    try:
        # A router that stands gives new interfaces no IPv6: they are ports of its LAN, as a rule.
        with entered(netns):
            sysctls.write(port.node, ((f"ipv6/conf/{port.interface}/disable_ipv6", "0"),))
            with NetlinkSocket(port.node) as sock:
                sock.batch(list(requests.member_requests(interface)))
    finally:
        sysctls.close()


def _discard(made: tuple[int, NetlinkSocket]) -> None:
    netns, sock = made
    sock.close()
    os.close(netns)


def _members(node: NodeBlueprint) -> Iterator[InterfaceBlueprint]:
    return (interface for interface in node.interfaces if interface.cable is not None)


def _inherited_sysctls(sysctls: Sysctls) -> tuple[tuple[str, str], ...]:
    """What every new namespace has to undo of the host's settings.

    The reverse path filter would drop what comes in by another interface than the answer goes out, as it may.
    """
    settings = (f"ipv4/conf/{which}/rp_filter" for which in ("all", "default"))
    return tuple((path, "0") for path in settings if sysctls.read(path) != "0")
