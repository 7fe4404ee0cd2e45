"""Requests carried out by the kernel: what it then shows, what it refuses, and packets through what was built."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from support.sandbox_inside import inside

from patchbay_runner.errors import KernelError
from patchbay_runner.kernel import syscalls
from patchbay_runner.kernel.namespaces import entered, new_network_namespace
from patchbay_runner.kernel.netlink import (
    ANY_V4,
    ANY_V6,
    LOOPBACK_IFINDEX,
    Link,
    LinkEnd,
    NetlinkSocket,
    Route,
    RouteKind,
    add_address,
    add_route,
    await_carrier,
    bridge,
    delete_address,
    delete_link,
    delete_neighbour,
    delete_route,
    dump_addresses,
    dump_links,
    dump_neighbours,
    dump_routes,
    no_generated_addresses,
    replace_route,
    set_bridge_entry,
    set_link,
    set_neighbour,
    set_up,
    veth,
)

BRIDGE, ETHERNET = 2, 7
GATEWAY_MAC = bytes.fromhex("020000000001")
GATEWAY_V4, GATEWAY_V6 = IPv4Address("10.0.0.1"), IPv6Address("fe80::1")


def member_mac(number: int) -> bytes:
    return b"\x02\0\0\0\1" + bytes([number])


def member_v4(number: int) -> IPv4Address:
    return GATEWAY_V4 + number


def member_v6(number: int) -> IPv6Address:
    return IPv6Address("fd10::1") + number


def build_router() -> tuple[int, NetlinkSocket]:
    """A router with a bridge that is still down."""
    netns = new_network_namespace()
    router = NetlinkSocket.inside(netns, "router")
    router.batch([set_up(LOOPBACK_IFINDEX), bridge("br-lan", ifindex=BRIDGE, mac=GATEWAY_MAC)])
    return netns, router


def open_lan(router: NetlinkSocket) -> None:
    router.batch(
        [
            no_generated_addresses(BRIDGE),
            set_up(BRIDGE),
            add_address(BRIDGE, GATEWAY_V4, 24),
            add_address(BRIDGE, GATEWAY_V6, 64),
            add_address(BRIDGE, member_v6(0), 64),
        ]
    )


def build_member(router_netns: int, number: int, mtu: int = 1500) -> tuple[int, NetlinkSocket]:
    netns = new_network_namespace()
    member = NetlinkSocket.inside(netns, f"member-{number}")
    near = LinkEnd(f"port-{number}", b"", mtu, 100 + number, router_netns, up=True)
    far = LinkEnd("eth0", member_mac(number), mtu, ETHERNET)
    member.batch(
        [
            set_up(LOOPBACK_IFINDEX),
            veth(near, far, master=BRIDGE),
            no_generated_addresses(ETHERNET),
            set_up(ETHERNET),
            add_address(ETHERNET, member_v4(number), 24),
            add_address(ETHERNET, member_v6(number), 64),
            add_address(ETHERNET, GATEWAY_V6 + number, 64),
            add_route(Route(ANY_V4, 0, GATEWAY_V4)),
            add_route(Route(ANY_V6, 0, GATEWAY_V6, ETHERNET)),
            set_neighbour(ETHERNET, GATEWAY_V4, GATEWAY_MAC),
            set_neighbour(ETHERNET, GATEWAY_V6, GATEWAY_MAC),
        ]
    )
    return netns, member


def refusal(act: Callable[[], None]) -> tuple[int, str]:
    """Errno and text of the KernelError that `act` raises."""
    with pytest.raises(KernelError) as caught:
        act()
    return caught.value.errno, str(caught.value)


def udp_arrives(from_netns: int, to_netns: int, address: IPv4Address | IPv6Address) -> bool:
    """Whether a datagram goes from one namespace to another, and its answer comes back."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with entered(to_netns):
        receiver = socket.socket(family, socket.SOCK_DGRAM)
    with entered(from_netns):
        sender = socket.socket(family, socket.SOCK_DGRAM)
    with receiver, sender:
        receiver.bind((str(address), 4000))
        receiver.settimeout(2)
        sender.settimeout(2)
        sender.sendto(b"there", (str(address), 4000))
        data, peer = receiver.recvfrom(100)
        receiver.sendto(data + b" and back", peer)
        return sender.recv(100) == b"there and back"


def test_lan_carries_packets_in_both_families() -> None:
    def look() -> list[bool]:
        router_netns, router = build_router()
        one, two = build_member(router_netns, 1)[0], build_member(router_netns, 2)[0]
        open_lan(router)
        await_carrier(router, 101, 102, BRIDGE)
        return [
            udp_arrives(one, two, member_v4(2)),
            udp_arrives(one, two, member_v6(2)),
            udp_arrives(two, router_netns, GATEWAY_V4),
            udp_arrives(two, router_netns, member_v6(0)),
        ]

    assert inside(lambda _: look()) == [True] * 4


def test_links_are_as_asked() -> None:
    def look() -> tuple[dict[str, Link], dict[str, Link]]:
        router_netns, router = build_router()
        _, member = build_member(router_netns, 1, mtu=1400)
        open_lan(router)
        await_carrier(router, 101)
        return {link.name: link for link in dump_links(member)}, {link.name: link for link in dump_links(router)}

    member, router = inside(lambda _: look())
    ethernet, port, lan = member["eth0"], router["port-1"], router["br-lan"]
    assert (ethernet.ifindex, ethernet.mac, ethernet.mtu, ethernet.up) == (ETHERNET, member_mac(1), 1400, True)
    assert (port.ifindex, port.master, port.mtu, port.kind, port.carries) == (101, BRIDGE, 1400, "veth", True)
    assert (lan.ifindex, lan.kind, lan.mac, lan.up) == (BRIDGE, "bridge", GATEWAY_MAC, True)
    assert port.counters.rx_packets == ethernet.counters.tx_packets


def test_only_the_given_addresses_and_no_wait_for_duplicates() -> None:
    tentative = 0x40

    def look() -> list[tuple[str, int]]:
        router_netns, _ = build_router()
        _, member = build_member(router_netns, 1)
        found = (address for address in dump_addresses(member) if address.ifindex == ETHERNET)
        return [(f"{address.address}/{address.prefix_length}", address.flags & tentative) for address in found]

    assert sorted(inside(lambda _: look())) == [("10.0.0.2/24", 0), ("fd10::2/64", 0), ("fe80::2/64", 0)]


def test_routes_are_added_replaced_and_deleted() -> None:
    net = ip_address("10.9.0.0")

    def look() -> list[list[str]]:
        _, member = build_member(build_router()[0], 1)
        seen: list[list[str]] = []

        def note() -> None:
            routes = [route for route in dump_routes(member) if route.destination == net]
            seen.append([f"{route.gateway!s} {route.kind.name} {route.mtu}" for route in routes])

        member.request(add_route(Route(net, 16, ip_address("10.0.0.1"), mtu=1280)))
        note()
        member.request(replace_route(Route(net, 16, ip_address("10.0.0.9"))))
        note()
        member.request(replace_route(Route(net, 16, kind=RouteKind.BLACKHOLE)))
        note()
        member.request(delete_route(Route(net, 16, kind=RouteKind.BLACKHOLE)))
        note()
        return seen

    assert inside(lambda _: look()) == [["10.0.0.1 UNICAST 1280"], ["10.0.0.9 UNICAST 0"], ["None BLACKHOLE 0"], []]


def test_deleting_a_route_needs_no_more_than_its_destination() -> None:
    def look() -> int:
        _, member = build_member(build_router()[0], 1)
        before = len(dump_routes(member))
        member.batch([delete_route(Route(ANY_V4, 0)), delete_route(Route(ANY_V6, 0))])
        return before - len(dump_routes(member))

    assert inside(lambda _: look()) == 2


def test_onlink_gateway_outside_every_prefix() -> None:
    route = Route(ip_address("192.0.2.0"), 24, ip_address("203.0.113.1"), oif=ETHERNET)

    def look() -> tuple[int, bool]:
        _, member = build_member(build_router()[0], 1)
        refused, _ = refusal(lambda: member.request(add_route(route)))
        member.request(add_route(Route(route.destination, 24, route.gateway, ETHERNET, onlink=True)))
        return refused, any(found.onlink for found in dump_routes(member))

    assert inside(lambda _: look()) == (errno.ENETUNREACH, True)


def test_neighbours_are_permanent_until_deleted() -> None:
    def look() -> list[dict[str, tuple[str, int]]]:
        _, member = build_member(build_router()[0], 1)

        def neighbours() -> dict[str, tuple[str, int]]:
            found = (n for n in dump_neighbours(member) if not n.address.is_multicast)
            return {str(n.address): (n.mac.hex(), n.state) for n in found}

        seen = [neighbours()]
        member.request(set_neighbour(ETHERNET, GATEWAY_V4, member_mac(9)))
        member.request(delete_neighbour(ETHERNET, GATEWAY_V6))
        return [*seen, neighbours()]

    permanent = 0x80
    first, second = inside(lambda _: look())
    assert first == {"10.0.0.1": (GATEWAY_MAC.hex(), permanent), "fe80::1": (GATEWAY_MAC.hex(), permanent)}
    assert second["10.0.0.1"] == (member_mac(9).hex(), permanent)
    assert "fe80::1" not in second or second["fe80::1"][1] != permanent


def test_bridge_entry_keeps_frames_for_an_address_on_its_port() -> None:
    def look() -> list[int]:
        router_netns, router = build_router()
        for number in (1, 2, 3):
            build_member(router_netns, number)
        open_lan(router)
        await_carrier(router, 101, 102, 103, BRIDGE)
        nobody = bytes.fromhex("02000000ffff")
        router.batch([set_neighbour(BRIDGE, member_v4(3), nobody), set_bridge_entry(102, nobody)])
        before = {link.ifindex: link.counters.tx_packets for link in dump_links(router)}
        with entered(router_netns), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(10):
                sender.sendto(b"x", (str(member_v4(3)), 4000))
        after = {link.ifindex: link.counters.tx_packets for link in dump_links(router)}
        return [after[port] - before[port] for port in (101, 102, 103)]

    first, second, third = inside(lambda _: look())
    assert second >= 10
    assert max(first, third) < 10


def test_links_change_and_go() -> None:
    def look() -> list[object]:
        router_netns, router = build_router()
        build_member(router_netns, 1)
        router.batch([set_up(101, False), set_link(101, name="spare", mac=member_mac(8), mtu=1280, master=0)])
        (port,) = (link for link in dump_links(router) if link.ifindex == 101)
        router.request(delete_link(101))
        return [port.name, port.mac, port.mtu, port.master, port.up, len(dump_links(router))]

    assert inside(lambda _: look()) == ["spare", member_mac(8), 1280, 0, False, 2]


def test_link_moves_to_another_namespace() -> None:
    def look() -> list[str]:
        here, there = NetlinkSocket("here"), new_network_namespace()
        here.batch([veth(LinkEnd("a", ifindex=5), LinkEnd("b", ifindex=6)), set_link(6, netns_fd=there)])
        return [link.name for link in dump_links(NetlinkSocket.inside(there))]

    assert inside(lambda _: look()) == ["lo", "b"]


REFUSALS = [
    (add_route(Route(ip_address("10.9.9.0"), 24, ip_address("10.77.0.1"))), errno.ENETUNREACH, "invalid gateway"),
    (delete_link(99), errno.ENODEV, "delete link index 99"),
    (add_address(LOOPBACK_IFINDEX, ip_address("10.0.0.5"), 33), errno.EINVAL, "Invalid prefix length"),
    (set_neighbour(55, ip_address("10.0.0.1"), GATEWAY_MAC), errno.ENODEV, "neighbour 10.0.0.1"),
    (delete_address(LOOPBACK_IFINDEX, ip_address("10.0.0.5"), 24), errno.EADDRNOTAVAIL, "10.0.0.5/24"),
    (veth(LinkEnd("a", ifindex=5), LinkEnd("b", ifindex=6, up=True)), errno.ENOTCONN, "veth a with peer b"),
]


@pytest.mark.parametrize(("request_", "number", "words"), REFUSALS, ids=[words for *_, words in REFUSALS])
def test_refusal_says_what_and_why(request_: bytes, number: int, words: str) -> None:
    def look() -> tuple[int, str]:
        sock = NetlinkSocket("node-1")
        return refusal(lambda: sock.batch([set_up(LOOPBACK_IFINDEX), request_, set_up(LOOPBACK_IFINDEX)]))

    code, text = inside(lambda _: look())
    assert code == number
    assert text.startswith("node-1: ")
    assert words in text


def test_first_of_several_refusals_is_the_one_reported() -> None:
    def look() -> list[str]:
        sock = NetlinkSocket()
        return [
            refusal(lambda: sock.batch([set_up(1), delete_link(71), set_up(1), delete_link(72)]))[1],
            refusal(lambda: sock.batch([delete_link(73), delete_link(74)]))[1],
            refusal(lambda: sock.batch([set_up(1), delete_link(75)]))[1],
        ]

    texts = inside(lambda _: look())
    assert [index in text for index, text in zip(("71", "73", "75"), texts, strict=True)] == [True] * 3


def test_socket_serves_on_after_refusals() -> None:
    def look() -> int:
        sock = NetlinkSocket()
        for _ in range(3):
            refusal(lambda: sock.batch([delete_link(71)] * 5))
            sock.batch([set_up(1)])
        return len(dump_links(sock))

    assert inside(lambda _: look()) == 1


def test_more_refusals_than_the_receive_buffer_holds() -> None:
    def look() -> tuple[int, str, int]:
        sock = NetlinkSocket()
        code, text = refusal(lambda: sock.batch([delete_link(1000 + number) for number in range(3000)]))
        sock.batch([set_up(1)])
        return code, text, len(dump_links(sock))

    code, text, links = inside(lambda _: look())
    assert (code, links) == (errno.ENODEV, 1)
    assert "index 1000" in text


def test_batch_larger_than_a_datagram() -> None:
    count = 6000

    def look() -> tuple[int, int]:
        sock = NetlinkSocket()
        base = ip_address("10.0.0.0")
        routes = [add_route(Route(base + number * 4, 30, kind=RouteKind.BLACKHOLE)) for number in range(count)]
        assert sum(map(len, routes)) > 2 * 128 * 1024 - 50_000
        sock.batch([set_up(1), *routes])
        code, _ = refusal(lambda: sock.batch([*routes[:1], *routes]))
        return len(dump_routes(sock)), code

    assert inside(lambda _: look()) == (count, errno.EEXIST)


def test_empty_batch_asks_nothing_of_the_kernel() -> None:
    inside(lambda _: NetlinkSocket().batch([]))


def test_without_the_capability_requests_are_refused() -> None:
    def look() -> tuple[int, str]:
        syscalls.unshare(syscalls.CLONE_NEWUSER)  # away from the owner of this network namespace
        return refusal(lambda: NetlinkSocket("node-1").request(set_up(LOOPBACK_IFINDEX)))

    assert inside(lambda _: look())[0] == errno.EPERM


def test_sockets_close_with_their_block() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with NetlinkSocket():
        assert len(list(Path("/proc/self/fd").iterdir())) == before + 1
    assert len(list(Path("/proc/self/fd").iterdir())) == before
