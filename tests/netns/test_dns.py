"""Real programs look names up in a lab: the C library, dig, curl, Python, and resolvers that ask both at once."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import sys
from ipaddress import ip_address

import pytest
from support.dns_world import World, device, on_loop

from patchbay_runner.errors import KernelError
from patchbay_runner.kernel.dns import Dns64, open_sockets
from patchbay_runner.lab.lab import Lab
from patchbay_runner.model.names import NameRecord
from patchbay_runner.model.topology import Router, Topology

# What musl does: both questions from one socket, to every nameserver, before any answer.
ASK_BOTH_AT_ONCE = """
import socket, struct, sys
def query(identifier, name, kind):
    labels = b"".join(bytes((len(p),)) + p.encode() for p in name.split(".")) + b"\\0"
    return struct.pack("!6H", identifier, 0x0100, 1, 0, 0, 0) + labels + struct.pack("!2H", kind, 1)
servers = [line.split()[1] for line in open("/etc/resolv.conf") if line.startswith("nameserver")]
family = socket.AF_INET6 if any(":" in server for server in servers) else socket.AF_INET
sock = socket.socket(family, socket.SOCK_DGRAM)
sock.settimeout(5)
for server in servers:
    if family == socket.AF_INET6 and ":" not in server:
        server = "::ffff:" + server
    for identifier, kind in ((1, 1), (2, 28)):
        sock.sendto(query(identifier, sys.argv[1], kind), (server, 53))
answers = {}
while len(answers) < 2:
    data = sock.recv(2000)
    answers[data[1]] = struct.unpack("!H", data[6:8])[0]
print(answers[1], answers[2])
"""

LOOK_UP_WHEN_ASKED = """
import socket
while input():
    try:
        print(socket.gethostbyname("server"), flush=True)
    except OSError as error:
        print(error, flush=True)
"""

LOOK_UP_ALL = """
import socket, sys, time
started = time.monotonic()
names = [f"peer-{n}.fleet" for n in range(int(sys.argv[1]))]
wrong = [name for name in names if len(socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)) != 2]
print(len(wrong), time.monotonic() - started)
"""


def test_the_c_library_resolves_names_in_both_families() -> None:
    async def body() -> None:
        world = World([NameRecord("api.example.com", alias="server")])
        v4, v6 = world.address("server"), world.address("server", "ip_v6")
        for name in ("server", "SERVER", "api.example.com"):
            assert set((await world.said("laptop", "getent", "ahosts", name)).split()) >= {v4, v6}
        assert (await world.said("laptop", "getent", "ahostsv6", "server")).split()[0] == v6
        assert (await world.said("laptop", "getent", "ahostsv4", "tablet")).split()[0] == world.address("tablet")
        assert (await world.run("laptop", "getent", "ahosts", "nobody")).code == 2
        for address in (v4, v6):
            assert re.fullmatch(rf"{address}\s+server", await world.said("laptop", "getent", "hosts", address))
        assert world.failures == []

    on_loop(body)


def test_python_and_both_questions_at_once() -> None:
    async def body() -> None:
        world = World()
        look = "import socket; print(*sorted({a[4][0] for a in socket.getaddrinfo('server', 80)}))"
        found = (await world.said("laptop", sys.executable, "-Sc", look)).split()
        assert found == sorted([world.address("server"), world.address("server", "ip_v6")])
        for node, expected in (("laptop", "1 1"), ("phone", "1 1"), ("old", "1 1")):
            assert await world.said(node, sys.executable, "-Sc", ASK_BOTH_AT_ONCE, "server") == expected
        assert await world.said("laptop", sys.executable, "-Sc", ASK_BOTH_AT_ONCE, "old") == "1 0"

    on_loop(body)


def test_dig_by_every_transport_and_family() -> None:
    async def body() -> None:
        many = NameRecord("many", tuple(f"10.9.0.{i}" for i in range(1, 201)))
        world = World([many])
        v4, v6 = world.address("server"), world.address("server", "ip_v6")
        for server in world.nameservers("laptop"):
            for options in ((), ("+tcp",), ("+noedns",)):
                dig = ("dig", f"@{server}", "+short", *options)
                assert await world.said("laptop", *dig, "server", "A") == v4
                assert await world.said("laptop", *dig, "server", "AAAA") == v6
                assert await world.said("laptop", *dig, "-x", v6) == "server."
                assert len((await world.said("laptop", *dig, "many", "A")).splitlines()) == 200
        whole = await world.said("laptop", "dig", "+noall", "+comments", "nobody", "A")
        assert "status: NXDOMAIN" in whole
        assert "flags: qr aa rd ra; QUERY: 1, ANSWER: 0, AUTHORITY: 1, ADDITIONAL: 1" in whole
        assert "EDNS: version: 0, flags:; udp: 1232" in whole
        assert ";; WARNING" not in whole
        absent = await world.said("laptop", "dig", "+noall", "+comments", "old", "AAAA")
        assert "status: NOERROR" in absent
        assert "ANSWER: 0, AUTHORITY: 1" in absent

    on_loop(body)


def test_curl_fetches_by_name() -> None:
    async def body() -> None:
        world = World()
        serve = (sys.executable, "-m", "http.server", "--bind", "::", "--directory", "/usr/share/doc", "80")
        with world.running("server", *serve):
            curl = ("curl", "-s", "--retry", "20", "--retry-connrefused", "--retry-delay", "1", "-o", "/dev/null")
            shown = ("-w", "%{http_code} %{remote_ip}", "http://server/")
            for family, key in (("-4", "ip"), ("-6", "ip_v6")):
                expected = f"200 {world.address('server', key)}"
                assert await world.said("laptop", *curl, family, *shown) == expected

    on_loop(body)


def test_dns64_answers_behind_the_router_that_translates_and_nowhere_else() -> None:
    async def body() -> None:
        world = World()
        translated = str(Dns64().embed(ip_address(world.address("old"))))  # type: ignore[arg-type]
        assert (await world.said("phone", "getent", "ahosts", "old")).split()[0] == translated
        assert await world.said("phone", "dig", "+short", "server", "AAAA") == world.address("server", "ip_v6")
        assert (
            await world.said("phone", "dig", "+short", "ipv4only.arpa", "AAAA") == "64:ff9b::c000:aa\n64:ff9b::c000:ab"
        )
        assert (await world.said("phone", "dig", "+short", "-x", translated)).splitlines()[-1] == "old."
        assert await world.said("laptop", "dig", "+short", "old", "AAAA") == ""
        assert await world.said("laptop", "dig", "+short", "ipv4only.arpa", "AAAA") == ""

    on_loop(body)


def test_a_device_has_entries_of_its_own_by_either_family() -> None:
    async def body() -> None:
        world = World()
        own = (NameRecord("server", ("10.7.7.7",)), NameRecord("secret.example", ("10.7.7.8",)))
        world.lab.set_names(own, "laptop")
        for server in world.nameservers("laptop"):
            dig = ("dig", f"@{server}", "+short")
            assert await world.said("laptop", *dig, "server") == "10.7.7.7"
            assert await world.said("laptop", *dig, "secret.example") == "10.7.7.8"
            assert await world.said("laptop", *dig, "old") == world.address("old")
            assert await world.said("tablet", *dig, "server") == world.address("server")
            assert await world.said("tablet", *dig, "secret.example") == ""

    on_loop(body)


def test_a_changed_zone_and_a_new_nameserver_are_seen_by_programs_that_run() -> None:
    async def body() -> None:
        world = World()
        answers, questions = os.pipe(), os.pipe()
        pid = world.lab.start(
            "laptop",
            [sys.executable, "-Sc", LOOK_UP_WHEN_ASKED],
            {"PATH": os.environ["PATH"]},
            cwd="/",
            stdin=questions[0],
            stdout=answers[1],
            stderr=answers[1],
        )

        async def asked() -> str:
            os.write(questions[1], b"?\n")
            loop = asyncio.get_running_loop()
            return (await loop.run_in_executor(None, os.read, answers[0], 1000)).decode().strip()

        assert pid
        assert await asked() == world.address("server")
        world.lab.renew_address("server", "eth0")
        renewed = str(world.lab.addresses("server")[0])
        assert renewed != world.address("server")
        assert await asked() == renewed
        world.lab.set_names([NameRecord("server", ("198.18.1.99",))])
        assert await asked() == "198.18.1.99"
        world.lab.set_names([NameRecord("server")])
        assert await asked() == renewed
        # Another gateway answers from here on; the C library notices that the file has changed.
        world.lab.replug("laptop", "eth0", "dc")
        assert await asked() == renewed
        world.lab.link_down("laptop", "eth0")
        assert "failure in name resolution" in await asked()

    on_loop(body)


def test_the_resolver_is_on_the_wire_and_goes_with_the_link() -> None:
    async def body() -> str:
        world = World()
        capture = asyncio.ensure_future(world.run("laptop", "tcpdump", "-nni", "eth0", "-c2", "udp port 53"))
        await asyncio.sleep(0.5)
        assert await world.said("laptop", "dig", "+short", "server") == world.address("server")
        output = (await capture).output
        world.lab.link_down("laptop", "eth0")
        assert (await world.run("laptop", "dig", "+tries=1", "+time=1", "server")).code != 0
        world.lab.link_up("laptop", "eth0")
        assert await world.said("laptop", "dig", "+short", "server") == world.address("server")
        return output

    output = on_loop(body)
    assert re.search(r"10\.0\.\d+\.2\.\d+ > 10\.0\.\d+\.1\.53: .* A\? server\.", output)
    assert re.search(r"10\.0\.\d+\.1\.53 > 10\.0\.\d+\.2\.\d+: .* 1/0/1 A 198\.18\.", output)


def test_a_thousand_names() -> None:
    async def body() -> tuple[int, float]:
        records = [
            NameRecord(f"peer-{i}.fleet", (f"198.19.{i // 250}.{i % 250 + 1}", f"2001:db8:9::{i + 1:x}"))
            for i in range(1000)
        ]
        world = World(records)
        wrong, seconds = (await world.said("laptop", sys.executable, "-Sc", LOOK_UP_ALL, "1000")).split()
        assert world.failures == []
        return int(wrong), float(seconds)

    wrong, seconds = on_loop(body)
    assert wrong == 0
    assert seconds < 15  # about one


def test_a_port_that_is_taken_is_an_error_that_names_the_node() -> None:
    async def body() -> None:
        lab = Lab.build(Topology(routers=(Router(name="dc"),), devices=(device("server", "dc"),)))
        gateway = ip_address("198.18.1.1")
        first = open_sockets(lab._namespaces["dc"], gateway, "dc")
        with pytest.raises(KernelError, match=r"dc: serve DNS on 198\.18\.1\.1 port 53: .*EADDRINUSE") as caught:
            open_sockets(lab._namespaces["dc"], gateway, "dc")
        assert caught.value.errno == errno.EADDRINUSE
        first.udp.close()
        first.tcp.close()
        again = open_sockets(lab._namespaces["dc"], gateway, "dc")
        again.udp.close()
        again.tcp.close()

    on_loop(body)
