"""Names in labs: programs of every kind of node look them up, and what they find follows the lab."""

from __future__ import annotations

import sys
import time

import pytest

from patchbay_runner.errors import LabError
from patchbay_runner.lab import commands
from patchbay_runner.lab.client import LabClient
from patchbay_runner.model.firewall import firewall_mode
from patchbay_runner.model.names import NameRecord
from patchbay_runner.model.nat import nat_mode
from patchbay_runner.model.topology import IpSupport, Ipv6Provisioning, LabSettings, Region, Router, Topology
from tests.netns.support.looking_up import addresses, device, dig, fetched_from, look_up, running, said, web_server

# How long the C library takes to say that there is no such name, in seconds.
LOOK_UP_IN_VAIN = """
import socket, sys, time
started = time.monotonic()
try:
    socket.getaddrinfo(sys.argv[1], 80)
except socket.gaierror as error:
    print(error.errno == socket.EAI_NONAME, time.monotonic() - started)
"""

# Exits with the number of lookups that found anything but what is expected.
LOOK_UP_AT_ONCE = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor
def look(_):
    found = {found[4][0] for found in socket.getaddrinfo(sys.argv[1], 80, type=socket.SOCK_STREAM)}
    return found != set(sys.argv[2].split())
with ThreadPoolExecutor(20) as pool:
    sys.exit(sum(pool.map(look, range(100))))
"""

# A name server of the sim's own: everything is at 192.0.2.53.
SERVE_NAMES = """
import socket, sys
import dns.flags, dns.message, dns.rdatatype, dns.rrset
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((sys.argv[1], 53))
print("serving", flush=True)
while True:
    data, client = sock.recvfrom(2000)
    reply = dns.message.make_response(dns.message.from_wire(data), recursion_available=True)
    if reply.question[0].rdtype == dns.rdatatype.A:
        reply.answer = [dns.rrset.from_text(reply.question[0].name, 1, "IN", "A", "192.0.2.53")]
    sock.sendto(reply.to_wire(), client)
"""


# A dual-stack server and one of each family, seen from a NATed laptop, a host of each family, and one with two uplinks.
TOPOLOGY = Topology(
    routers=(
        Router(name="dc"),
        Router(name="old", ip_support=IpSupport.V4_ONLY),
        Router(name="new", ip_support=IpSupport.V6_ONLY),
        Router(name="home", nat=nat_mode("home")),
        Router(name="cell", nat=nat_mode("cgnat"), upstream="dc"),
    ),
    devices=(
        device("server", "dc"),
        device("server4", "old"),
        device("server6", "new"),
        device("Laptop", "home"),
        device("phone", "home", "cell"),
    ),
)


def test_curl_fetches_by_name_from_hosts_of_every_family(lab: LabClient) -> None:
    lab.build(TOPOLOGY)
    v4, v6 = addresses(lab, "server")
    with web_server(lab, "server"):
        assert fetched_from(lab, "server4", "server") == v4
        assert fetched_from(lab, "server6", "server") == v6
        assert fetched_from(lab, "Laptop", "server") in (v4, v6)
        assert fetched_from(lab, "Laptop", "SERVER", "-4") == v4
        assert fetched_from(lab, "Laptop", "eth0.server", "-6") == v6
        assert fetched_from(lab, "server", "server") in (v4, v6)
        assert fetched_from(lab, "dc", "server", "-6") == v6
        assert fetched_from(lab, "ix", "server", "-4") == v4


def test_every_node_finds_every_node(lab: LabClient) -> None:
    lab.build(TOPOLOGY)
    state = lab.state()
    expected = {name: addresses(lab, name) for name in state["devices"]}
    for name, router in state["routers"].items():
        uplink, lan = router["uplink"], router["downstream"]
        expected[name] = [address for address in (uplink["ip"], uplink["ip_v6"]) if address]
        expected[f"lan.{name}"] = [address for address in (lan["ip"], lan["ip_v6"]) if address]
    expected["ix"] = [state["ix"]["ip"], state["ix"]["ip_v6"]]
    expected["eth1.phone"] = addresses(lab, "phone", 1)
    for node in ("server", "server4", "server6", "Laptop", "phone", "dc", "cell", "ix"):
        for name, found in expected.items():
            assert look_up(lab, node, name) == found, (node, name)
    assert said(lab, "phone", "getent", "hosts", expected["lan.cell"][0]).split()[1] == "lan.cell"
    assert dig(lab, "server6", "-x", expected["Laptop"][1]) == ["laptop."]


def test_what_is_not_in_the_lab_is_denied_at_once(lab: LabClient) -> None:
    lab.build(TOPOLOGY)
    for node in ("Laptop", "server4", "server6", "home", "ix"):
        tries = [
            said(lab, node, sys.executable, "-Sc", LOOK_UP_IN_VAIN, name).split()
            for name in ("www.example.com", "nobody", "nobody.local")
        ]
        assert [denied for denied, _ in tries] == ["True"] * 3
        assert min(float(elapsed) for _, elapsed in tries) < 0.1


def test_names_follow_renewals_and_replugs(lab: LabClient) -> None:
    lab.build(TOPOLOGY)
    before = look_up(lab, "Laptop", "server")
    lab.change(commands.RenewAddress("server", "eth0"))
    renewed = addresses(lab, "server")
    assert not set(before) & set(renewed)
    assert look_up(lab, "Laptop", "server") == renewed
    assert look_up(lab, "server", "server") == renewed
    lab.change(commands.Replug("server", "eth0", "old"))
    assert look_up(lab, "Laptop", "server") == addresses(lab, "server")
    assert len(addresses(lab, "server")) == 1
    with web_server(lab, "server"):
        assert fetched_from(lab, "Laptop", "server") == addresses(lab, "server")[0]
    assert look_up(lab, "server", "server6") == addresses(lab, "server6")
    assert dig(lab, "Laptop", "server", "AAAA") == []


def test_a_device_asks_where_its_default_route_leads(lab: LabClient) -> None:
    lab.build(TOPOLOGY)
    state = lab.state()["routers"]
    home, cell = ([state[name]["downstream"][key] for key in ("ip", "ip_v6")] for name in ("home", "cell"))

    def nameservers() -> list[str]:
        lines = said(lab, "phone", "cat", "/etc/resolv.conf").splitlines()
        return [line.removeprefix("nameserver ") for line in lines]

    server = addresses(lab, "server")
    assert nameservers() == home
    lab.link_down("phone", "eth1")
    assert (nameservers(), look_up(lab, "phone", "server")) == (home, server)
    lab.link_up("phone", "eth1")
    lab.link_down("phone", "eth0")
    assert (nameservers(), look_up(lab, "phone", "server")) == (cell, server)
    lab.link_up("phone", "eth0")
    assert (nameservers(), look_up(lab, "phone", "server")) == (home, server)
    lab.set_default_route("phone", "eth1")
    assert (nameservers(), look_up(lab, "phone", "server")) == (cell, server)
    assert look_up(lab, "Laptop", "phone") == addresses(lab, "phone", 1)
    lab.change(commands.Replug("phone", "eth1", "old"))
    assert nameservers() == [state["old"]["downstream"]["ip"]]
    lab.change(commands.RemoveInterface("phone", "eth1"))
    assert (nameservers(), look_up(lab, "phone", "server")) == (home, server)
    lab.link_down("phone", "eth0")
    assert nameservers() == []
    assert said(lab, "phone", "getent", "ahosts", "server", code=2) == ""


def test_entries_are_for_all_and_those_of_a_device_for_itself(lab: LabClient) -> None:
    own = (NameRecord("api.example", ("10.9.9.9",)), NameRecord("server", alias="server4"))
    everybody = (
        NameRecord("api.example", ("203.0.113.7", "2001:db8:ffff::7")),
        NameRecord("www.example", alias="server"),
        NameRecord("*.cdn.example", alias="www.example"),
    )
    peers = (device("peer-0", "home", names=own), device("peer-1", "dc", names=own))
    lab.build(Topology(routers=TOPOLOGY.routers, devices=(*TOPOLOGY.devices, *peers), names=everybody))
    server, server4 = addresses(lab, "server"), addresses(lab, "server4")
    for node in ("Laptop", "server6", "home"):
        assert look_up(lab, node, "api.example") == ["203.0.113.7", "2001:db8:ffff::7"]
        assert look_up(lab, node, "www.example") == look_up(lab, node, "a.b.cdn.example") == server
        assert dig(lab, node, "api.example") == ["203.0.113.7"]
    for node in ("peer-0", "peer-1"):
        assert look_up(lab, node, "api.example") == dig(lab, node, "api.example") == ["10.9.9.9"]
        assert dig(lab, node, "api.example", "AAAA") == []
        assert look_up(lab, node, "server") == look_up(lab, node, "x.cdn.example") == server4
        assert look_up(lab, node, "server6") == addresses(lab, "server6")
    lab.change(commands.RenewAddress("peer-1", "eth0"))
    assert dig(lab, "peer-1", "api.example") == ["10.9.9.9"]


def test_hosts_holds_what_programs_find_that_read_nothing_else(lab: LabClient) -> None:
    own = (NameRecord("b.example", ("10.0.0.9",)),)
    everybody = (
        NameRecord("a.example", ("10.0.0.1", "fd00::1")),
        NameRecord("b.example", ("10.0.0.2",)),
        NameRecord("c.example", alias="server"),
        NameRecord("*.example", ("10.0.0.3",)),
    )
    lab.build(Topology(routers=(Router(name="dc"),), devices=(device("server", "dc", names=own),), names=everybody))
    v4, v6 = addresses(lab, "server")
    assert said(lab, "server", "cat", "/etc/hosts").split("\n") == [
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        f"{v4}\tserver",
        f"{v6}\tserver",
        "10.0.0.1\ta.example",
        "fd00::1\ta.example",
        "10.0.0.9\tb.example",
    ]
    assert set(said(lab, "server", "hostname", "-i").split()) == {v4, v6}


def test_names_are_set_while_programs_run(lab: LabClient) -> None:
    lab.build(TOPOLOGY)
    server, server4 = addresses(lab, "server"), addresses(lab, "server4")
    assert dig(lab, "Laptop", "db.example") == []
    lab.change(commands.SetNames((NameRecord("db.example", alias="server"),)))
    assert look_up(lab, "Laptop", "db.example") == look_up(lab, "phone", "db.example") == server
    lab.change(commands.SetNames((NameRecord("DB.example.", tuple(server4)),), "phone"))
    assert (look_up(lab, "Laptop", "db.example"), look_up(lab, "phone", "db.example")) == (server, server4)
    lab.change(commands.SetNames((NameRecord("db.example"),), "phone"))
    assert look_up(lab, "phone", "db.example") == server
    lab.change(commands.SetNames((NameRecord("db.example"),)))
    assert dig(lab, "phone", "db.example") == []


@pytest.mark.parametrize(
    ("records", "device", "problem"),
    [
        ((NameRecord("a..b", ("10.0.0.1",)),), None, "1 to 63 bytes"),
        ((NameRecord("a", ("10.0.0",)),), None, "Expected 4 octets"),
        ((NameRecord("a", ("fe80::1%eth0",)),), None, "has a zone"),
        ((NameRecord("a", ("10.0.0.1",), alias="b"),), None, "either addresses or one alias"),
        ((NameRecord("a", alias="b"), NameRecord("b", alias="A")), None, "in a circle: a -> b -> A"),
        ((NameRecord("a", ("10.0.0.1",)),), "nobody", "there is no such device"),
    ],
)
def test_a_wrong_name_changes_nothing(
    lab: LabClient, records: tuple[NameRecord, ...], device: str | None, problem: str
) -> None:
    lab.build(TOPOLOGY)
    lab.change(commands.SetNames((NameRecord("kept", ("10.1.1.1",)),)))
    with pytest.raises(LabError, match=problem):
        lab.change(commands.SetNames(records, device))
    assert look_up(lab, "Laptop", "kept") == ["10.1.1.1"]
    assert dig(lab, "Laptop", "a") == []


def test_a_name_longer_than_dns_carries_has_no_name_and_harms_nobody(lab: LabClient) -> None:
    long = "x" * 64
    lab.build(Topology(routers=(Router(name="dc"),), devices=(device(long, "dc"), device("Ärger", "dc"))))
    assert look_up(lab, "Ärger", "dc") == look_up(lab, long, "dc") != []
    assert dig(lab, long, "xn--rger-koa") == addresses(lab, "Ärger")[:1]


def test_a_firewall_leaves_the_gateways_resolver_to_the_lan(lab: LabClient) -> None:
    lab.build(TOPOLOGY)
    server = addresses(lab, "server")
    for mode in ("captive-portal", "corporate", "block-inbound"):
        lab.change(commands.SetFirewall("home", firewall_mode(mode)))
        assert look_up(lab, "Laptop", "server") == server
        gateway = lab.state()["routers"]["home"]["downstream"]["ip"]
        assert dig(lab, "Laptop", f"@{gateway}", "+tcp", "server") == server[:1]


def test_answers_too_large_for_a_datagram_come_by_tcp(lab: LabClient) -> None:
    many = tuple(f"10.9.{number // 250}.{number % 250 + 1}" for number in range(600))
    lab.build(Topology(routers=TOPOLOGY.routers, devices=TOPOLOGY.devices, names=(NameRecord("many", many),)))
    assert sorted(dig(lab, "server4", "many")) == sorted(many)
    whole = said(lab, "server4", "dig", "+ignore", "+noall", "+comments", "many")
    assert "flags: qr aa tc rd ra" in whole
    assert 0 < int(whole.split("ANSWER: ")[1].split(",")[0]) < len(many)


def test_a_routers_own_name_server_has_the_port_when_it_comes_first(lab: LabClient) -> None:
    lab.build(TOPOLOGY)
    home = lab.state()["routers"]["home"]["downstream"]["ip"]
    with running(lab, "home", sys.executable, "-c", SERVE_NAMES, home):
        assert dig(lab, "home", "server") == addresses(lab, "server")[:1]
        assert dig(lab, "Laptop", f"@{home}", "server") == ["192.0.2.53"]
        assert dig(lab, "phone", f"@{lab.state()['routers']['home']['downstream']['ip_v6']}", "server") != [
            "192.0.2.53"
        ]
    with running(lab, "server", sys.executable, "-c", SERVE_NAMES, addresses(lab, "server")[0]):
        assert dig(lab, "server4", f"@{addresses(lab, 'server')[0]}", "anything") == ["192.0.2.53"]


def test_many_ask_at_once(lab: LabClient) -> None:
    """A hundred lookups at a time from several nodes, with the lab changing meanwhile."""
    lab.build(TOPOLOGY)
    expected = " ".join(addresses(lab, "server"))
    look = (sys.executable, "-Sc", LOOK_UP_AT_ONCE, "server", expected)
    nodes = ("Laptop", "phone", "server4", "server6")
    started = [lab.popen(node, look) for node in nodes]
    for _ in range(20):
        lab.change(commands.RenewAddress("phone", "eth1"))
        time.sleep(0.01)
    assert [process.wait() for process in started] == [0] * len(nodes)


def test_names_where_devices_configure_themselves_in_regions_and_on_isolated_lans(lab: LabClient) -> None:
    own = (NameRecord("api.example", ("10.9.9.9",)),)
    lab.build(
        Topology(
            lab=LabSettings(ipv6_provisioning=Ipv6Provisioning.RA),
            regions=(Region(name="eu"), Region(name="us")),
            routers=(
                Router(name="paris", region="eu"),
                Router(name="boston", region="us", ip_support=IpSupport.V6_ONLY),
                Router(name="cafe", is_isolated=True),
            ),
            devices=(
                device("server", "paris"),
                device("client", "boston", names=own),
                device("guest", "cafe"),
            ),
        )
    )
    for node in ("server", "client", "guest", "paris", "cafe", "region_eu"):
        for name in ("server", "client", "guest"):
            assert look_up(lab, node, name) == addresses(lab, name), (node, name)
        assert look_up(lab, node, "lan.cafe") == look_up(lab, node, "cafe") != []
        assert look_up(lab, node, "region_us") != []
    assert dig(lab, "client", "api.example") == ["10.9.9.9"]
    assert dig(lab, "guest", "api.example") == []
