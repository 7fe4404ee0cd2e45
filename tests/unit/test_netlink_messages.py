"""Our requests, read back by pyroute2's decoder, which knows nothing of our encoder."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.ndtmsg import ndtmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from patchbay_runner.kernel.netlink import (
    ANY_V4,
    ANY_V6,
    LinkEnd,
    NeighbourState,
    Route,
    RouteKind,
    add_address,
    add_route,
    bridge,
    delete_address,
    delete_bridge_entry,
    delete_link,
    delete_neighbour,
    delete_route,
    describe,
    no_generated_addresses,
    replace_route,
    resolve_neighbours,
    set_bridge_entry,
    set_link,
    set_neighbour,
    set_up,
    veth,
    wire,
)

MAC = bytes.fromhex("020000000102")
MAC_TEXT = "02:00:00:00:01:02"


def decoded(request: bytes, kind: type[Any]) -> Any:
    message = kind(request)
    message.decode()
    assert message["header"]["length"] == len(request)
    return message


def test_every_request_fills_whole_words() -> None:
    requests = [
        veth(LinkEnd("p1", MAC), LinkEnd("eth0")),
        bridge("a"),
        set_up(1),
        set_link(1, name="abcdef", mac=MAC, mtu=9000),
        no_generated_addresses(3),
        set_neighbour(2, ANY_V4, MAC),
        set_bridge_entry(2, MAC),
    ]
    assert [len(request) % 4 for request in requests] == [0] * len(requests)


def test_veth_pair_says_everything_about_both_ends() -> None:
    near = LinkEnd("port-7", MAC, 1400, ifindex=70, netns_fd=5, up=True)
    far = LinkEnd("eth0", bytes.fromhex("020000000999"), 1300, ifindex=7)
    message = decoded(veth(near, far, master=2), ifinfmsg)
    assert (message["index"], message["flags"], message["change"]) == (70, 1, 1)
    assert [message.get_attr(f"IFLA_{name}") for name in ("IFNAME", "MTU", "ADDRESS", "MASTER", "NET_NS_FD")] == [
        "port-7",
        1400,
        MAC_TEXT,
        2,
        5,
    ]
    assert [message.get_attr(f"IFLA_NUM_{way}_QUEUES") for way in ("TX", "RX")] == [1, 1]
    info = message.get_attr("IFLA_LINKINFO")
    assert info.get_attr("IFLA_INFO_KIND") == "veth"
    peer = info.get_attr("IFLA_INFO_DATA").get_attr("VETH_INFO_PEER")
    assert (peer["index"], peer["flags"]) == (7, 0)
    assert [peer.get_attr(f"IFLA_{name}") for name in ("IFNAME", "MTU", "ADDRESS", "NET_NS_FD")] == [
        "eth0",
        1300,
        "02:00:00:00:09:99",
        None,
    ]
    assert message["header"]["flags"] == wire.NLM_F_REQUEST | wire.NLM_F_CREATE | wire.NLM_F_EXCL


def test_bridge_is_a_plain_switch() -> None:
    message = decoded(bridge("br-lan", ifindex=9, mac=MAC, mtu=1280), ifinfmsg)
    data = message.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA")
    names = ("STP_STATE", "FORWARD_DELAY", "MCAST_SNOOPING")
    assert [data.get_attr(f"IFLA_BR_{name}") for name in names] == [0, 0, 0]
    assert (message["index"], message.get_attr("IFLA_ADDRESS"), message.get_attr("IFLA_MTU")) == (9, MAC_TEXT, 1280)


def test_links_are_changed_only_in_what_is_given() -> None:
    message = decoded(set_link(4, master=0), ifinfmsg)
    assert (message["index"], message["change"]) == (4, 0)
    assert [name for name, _ in message["attrs"]] == ["IFLA_MASTER"]
    assert message.get_attr("IFLA_MASTER") == 0


@pytest.mark.parametrize(("up", "flags"), [(True, 1), (False, 0)])
def test_set_up_touches_that_flag_alone(up: bool, flags: int) -> None:
    message = decoded(set_up(4, up), ifinfmsg)
    assert (message["index"], message["flags"], message["change"]) == (4, flags, 1)


def test_ipv6_addresses_skip_duplicate_detection() -> None:
    message = decoded(add_address(3, ip_address("fd10::5"), 64), ifaddrmsg)
    assert (message["family"], message["prefixlen"], message["index"], message["scope"]) == (10, 64, 3, 0)
    assert message.get_attr("IFA_ADDRESS") == message.get_attr("IFA_LOCAL") == "fd10::5"
    assert message.get_attr("IFA_FLAGS") == 0x02


def test_link_local_addresses_have_link_scope() -> None:
    assert decoded(add_address(3, ip_address("fe80::5"), 64), ifaddrmsg)["scope"] == 253
    assert decoded(add_address(3, ip_address("feff::5"), 64), ifaddrmsg)["scope"] == 0


def test_ipv4_addresses_name_their_broadcast_address() -> None:
    message = decoded(add_address(3, bytes([10, 0, 1, 5]), 23, prefix_route=False), ifaddrmsg)
    assert message.get_attr("IFA_BROADCAST") == "10.0.1.255"
    assert message.get_attr("IFA_FLAGS") == 0x200
    assert decoded(add_address(3, bytes([10, 0, 1, 5]), 31), ifaddrmsg).get_attr("IFA_BROADCAST") is None


def test_packed_and_ip_objects_are_the_same_request() -> None:
    for text in ("10.1.2.3", "fd10::1"):
        address = ip_address(text)
        assert add_address(1, address, 24) == add_address(1, address.packed, 24)
        assert set_neighbour(1, address, MAC) == set_neighbour(1, address.packed, MAC)
        assert add_route(Route(address, 24, oif=1)) == add_route(Route(address.packed, 24, oif=1))


def test_route_with_everything() -> None:
    route = Route(
        ip_address("10.9.0.0"),
        16,
        ip_address("10.0.0.1"),
        oif=3,
        metric=50,
        onlink=True,
        table=1000,
        preferred_source=ip_address("10.0.0.7"),
        mtu=1280,
    )
    message = decoded(add_route(route), rtmsg)
    names = ("DST", "GATEWAY", "OIF", "PRIORITY", "PREFSRC", "TABLE")
    values = [message.get_attr(f"RTA_{name}") for name in names]
    assert values == ["10.9.0.0", "10.0.0.1", 3, 50, "10.0.0.7", 1000]
    assert (message["dst_len"], message["table"], message["scope"], message["flags"]) == (16, 252, 0, 4)
    assert message.get_attr("RTA_METRICS").get_attr("RTAX_MTU") == 1280


@pytest.mark.parametrize(("destination", "family"), [(ANY_V4, 2), (ANY_V6, 10)])
def test_default_route_has_no_destination(destination: bytes, family: int) -> None:
    message = decoded(add_route(Route(destination, 0, oif=3)), rtmsg)
    assert (message["family"], message["dst_len"], message.get_attr("RTA_DST")) == (family, 0, None)


def test_ipv4_route_by_an_ipv6_gateway() -> None:
    message = decoded(add_route(Route(ANY_V4, 0, ip_address("fe80::1"), oif=3)), rtmsg)
    assert message.get_attr("RTA_VIA") == {"family": 10, "addr": "fe80::1"}


def test_blackhole_needs_no_interface() -> None:
    message = decoded(add_route(Route(ip_address("10.0.0.0"), 8, kind=RouteKind.BLACKHOLE)), rtmsg)
    assert (message["type"], message["scope"], message.get_attr("RTA_OIF")) == (6, 0, None)


def test_neighbours_and_bridge_entries() -> None:
    message = decoded(set_neighbour(3, ip_address("fe80::1"), MAC, NeighbourState.STALE), ndmsg)
    assert (message["family"], message["ifindex"], message["state"]) == (10, 3, 4)
    assert (message.get_attr("NDA_DST"), message.get_attr("NDA_LLADDR")) == ("fe80::1", MAC_TEXT)
    entry = decoded(set_bridge_entry(3, MAC), ndmsg)
    assert (entry["family"], entry["state"], entry["flags"], entry.get_attr("NDA_LLADDR")) == (7, 0x40, 4, MAC_TEXT)


@pytest.mark.parametrize(("family", "table"), [(wire.AF_INET, "arp_cache"), (wire.AF_INET6, "ndisc_cache")])
def test_resolution_of_an_interface_is_set_in_its_table(family: int, table: str) -> None:
    request = resolve_neighbours(3, family, reachable_ms=4000, unicast_probes=0, queue_bytes=1 << 20)
    message = decoded(request, ndtmsg)
    assert (message["family"], message.get_attr("NDTA_NAME")) == (family, table)
    settings = message.get_attr("NDTA_PARMS")
    names = ("IFINDEX", "BASE_REACHABLE_TIME", "UCAST_PROBES", "QUEUE_LENBYTES")
    assert [settings.get_attr(f"NDTPA_{name}") for name in names] == [3, 4000, 0, 1 << 20]
    assert describe(request) == f"set {table} of index 3"


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (veth(LinkEnd("p1"), LinkEnd("eth0"), master=2), "add veth p1 with peer eth0 in bridge 2 mtu 1500"),
        (bridge("br-lan"), "add bridge br-lan mtu 1500"),
        (set_up(7), "set link index 7 up"),
        (set_up(7, False), "set link index 7 down"),
        (set_link(7, mtu=1280), "set link index 7 mtu 1280"),
        (set_link(7, master=0), "set link index 7 in bridge 0"),
        (no_generated_addresses(7), "set link index 7 addr_gen_mode none"),
        (delete_link(7), "delete link index 7"),
        (add_address(7, bytes([10, 0, 0, 5]), 24), "add address 10.0.0.5/24 on index 7"),
        (delete_address(7, bytes(15) + b"\x01", 64), "delete address ::1/64 on index 7"),
        (add_route(Route(bytes([10, 0, 1, 0]), 24, bytes([10, 0, 0, 1]))), "add route 10.0.1.0/24 via 10.0.0.1"),
        (replace_route(Route(ANY_V6, 0, oif=3, metric=9)), "replace route default (IPv6) dev index 3 metric 9"),
        (delete_route(Route(bytes([10, 0, 0, 0]), 8, kind=RouteKind.PROHIBIT)), "delete route 10.0.0.0/8 prohibit"),
        (add_route(Route(ANY_V4, 0, ip_address("fe80::1"), 3)), "add route default via fe80::1 dev index 3"),
        (set_neighbour(3, bytes([10, 0, 0, 1]), MAC), f"replace neighbour 10.0.0.1 at {MAC_TEXT} on index 3"),
        (delete_neighbour(3, bytes([10, 0, 0, 1])), "delete neighbour 10.0.0.1 on index 3"),
        (set_bridge_entry(3, MAC), f"replace bridge entry {MAC_TEXT} on index 3"),
        (delete_bridge_entry(3, MAC), f"delete bridge entry {MAC_TEXT} on index 3"),
        (wire.request(96, 0, b""), "netlink request 96"),
    ],
)
def test_requests_are_described_in_words(request_: bytes, words: str) -> None:
    assert describe(request_) == words
