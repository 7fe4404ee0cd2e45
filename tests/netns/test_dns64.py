"""DNS64 behind routers that translate: hosts with IPv6 alone find hosts with IPv4 alone by name, and reach them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Network

from patchbay_runner.lab import commands
from patchbay_runner.lab.client import LabClient
from patchbay_runner.model.names import NameRecord
from patchbay_runner.model.topology import IpSupport, NatV6, Router, Topology
from tests.netns.support.looking_up import addresses, device, dig, fetched_from, look_up, said, web_server

PREFIX = IPv6Network("64:ff9b::/96")
V6_ONLY = IpSupport.V6_ONLY

# A server of each kind; a phone behind a NAT64, what is tethered to it, a dual-stack host there, and one elsewhere.
TOPOLOGY = Topology(
    routers=(
        Router(name="old", ip_support=IpSupport.V4_ONLY),
        Router(name="dc"),
        Router(name="cell", ip_support=V6_ONLY, nat_v6=NatV6.NAT64),
        Router(name="hotspot", upstream="cell", ip_support=V6_ONLY),
        Router(name="campus", nat_v6=NatV6.NAT64),
        Router(name="plain", ip_support=V6_ONLY),
    ),
    devices=(
        device("server4", "old"),
        device("server", "dc"),
        device("phone", "cell", names=(NameRecord("mine.example", ("198.18.0.1",)),)),
        device("tethered", "hotspot"),
        device("student", "campus"),
        device("elsewhere", "plain"),
    ),
    names=(NameRecord("www.example", alias="server4"), NameRecord("api.example", ("203.0.113.7",))),
)


def over_v6(lab: LabClient, node: str, name: str) -> list[str]:
    """What is found that a host without IPv4 can use."""
    return [address for address in look_up(lab, node, name) if ":" in address]


def translated(address: str) -> str:
    return str(PREFIX[int(IPv4Address(address))])


def test_a_phone_without_ipv4_fetches_from_a_server_without_ipv6_by_name(lab: LabClient) -> None:
    lab.build(TOPOLOGY)
    (server4,), (server, server_v6) = addresses(lab, "server4"), addresses(lab, "server")
    with web_server(lab, "server4", "0.0.0.0"), web_server(lab, "server"):
        for client in ("phone", "tethered"):
            assert over_v6(lab, client, "server4") == over_v6(lab, client, "www.example") == [translated(server4)]
            assert fetched_from(lab, client, "server4") == translated(server4)
            assert fetched_from(lab, client, "server") == server_v6
        assert look_up(lab, "student", "server4") == [server4, translated(server4)]
        assert fetched_from(lab, "student", "www.example", "-6") == translated(server4)
        assert fetched_from(lab, "student", "www.example", "-4") == server4
    assert look_up(lab, "student", "server") == [server, server_v6]
    assert dig(lab, "elsewhere", "server4", "AAAA") == []
    assert dig(lab, "phone", "ipv4only.arpa", "AAAA") == [translated("192.0.0.170"), translated("192.0.0.171")]
    assert dig(lab, "phone", "-x", translated(server4))[-1] == "server4."


def test_files_do_not_forestall_what_the_resolver_makes(lab: LabClient) -> None:
    lab.build(TOPOLOGY)
    hosts = said(lab, "phone", "cat", "/etc/hosts").split("\n")
    assert hosts[2:] == [f"{addresses(lab, 'phone')[0]}\tphone"]
    assert over_v6(lab, "phone", "mine.example") == [translated("198.18.0.1")]
    assert over_v6(lab, "phone", "api.example") == [translated("203.0.113.7")]
    assert "api.example" in said(lab, "elsewhere", "cat", "/etc/hosts")


def test_answers_follow_the_translation(lab: LabClient) -> None:
    lab.build(TOPOLOGY)
    (server4,) = addresses(lab, "server4")
    for nat_v6 in (NatV6.NONE, NatV6.NAT64, NatV6.MASQUERADE, NatV6.NAT64):
        lab.change(commands.SetNatV6("campus", nat_v6))
        is_translated = nat_v6 is NatV6.NAT64
        assert look_up(lab, "student", "server4") == [server4, *([translated(server4)] if is_translated else [])]
        entries = said(lab, "student", "cat", "/etc/hosts")
        assert ("api.example" in entries) is not is_translated
    lab.change(commands.RebootRouter("cell", 0.1))
    assert over_v6(lab, "tethered", "server4") == over_v6(lab, "phone", "server4") == [translated(server4)]
    lab.change(commands.Replug("phone", "eth0", "plain"))
    assert dig(lab, "phone", "server4", "AAAA") == []
