"""Router Advertisements between real kernels: what hosts make of them, when, and what is on the wire."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Coroutine
from ipaddress import IPv6Network
from typing import Any, TypeVar

import msgspec
import pytest
from support.ra_world import ADVERTISEMENT, LAN, PREFIX, ROUTER_LINK_LOCAL, World, run, until
from support.sandbox_inside import inside

from patchbay_runner.errors import KernelError
from patchbay_runner.kernel import netlink
from patchbay_runner.kernel.namespaces import entered
from patchbay_runner.kernel.ndp import PrefixInformation, slaac_address
from patchbay_runner.kernel.router_advertisements import open_socket
from patchbay_runner.kernel.sysctl import Sysctls

T = TypeVar("T")
ALL_NODES = "ff02::1"


def on_loop(body: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What `body` returns as the agent of a sandbox, on a loop."""
    return inside(lambda _: asyncio.run(body()))


def test_a_host_configures_itself_and_reaches_the_router() -> None:
    async def body() -> tuple[float, str, str, int]:
        world = World()
        host = world.hosts[0]
        world.advertiser.start()
        host.set_up()
        expected = slaac_address(PREFIX, host.mac)
        took_s = await until(lambda: expected in host.addresses() and bool(host.default_gateways()))
        assert host.addresses() == {expected}
        assert host.default_gateways() == [ROUTER_LINK_LOCAL]
        addresses = (await run(host.netns, "ip", "-6", "address", "show", "dev", "eth0")).output
        routes = (await run(host.netns, "ip", "-6", "route")).output
        ping = await run(host.netns, "ping", "-c1", "-W2", str(PREFIX.network_address + 1))
        assert ping.code == 0, ping.output
        assert world.told("router_solicitation")[0]["source"].startswith("fe80::")
        return took_s, addresses, routes, len(world.told("router_advertisement"))

    took_s, addresses, routes, sent = on_loop(body)
    assert took_s < 1.5  # about 20 ms; the kernel's own delay before it asks would alone be up to 1 s
    assert re.search(r"valid_lft 8639\d\w+ preferred_lft 1439\d|valid_lft 86400sec preferred_lft 14400sec", addresses)
    assert re.search(rf"default via {ROUTER_LINK_LOCAL} dev eth0 proto ra .*expires 1[78]\d\dsec mtu 1420", routes)
    assert f"{PREFIX} dev eth0 proto kernel" in routes
    assert sent >= 2  # the first to all, and the answer


def test_both_messages_are_on_the_wire() -> None:
    async def body() -> str:
        world = World(hosts=2)
        # A bridge without a carrier sends nothing; this host gives it one, and says nothing itself.
        with entered(world.hosts[1].netns):
            Sysctls().write("host", (("ipv6/conf/all/disable_ipv6", "1"),))
        world.hosts[1].set_up()
        capture = asyncio.ensure_future(
            run(world.router, "tcpdump", "-nvvlei", "lan", "-c4", "icmp6 and (ip6[40] == 133 or ip6[40] == 134)")
        )
        await asyncio.sleep(2)  # until tcpdump listens, also on a busy machine
        world.advertiser.start()
        world.hosts[0].set_up()
        await until(lambda: bool(world.hosts[0].addresses()))
        world.advertiser.stop()
        return (await capture).output

    output = on_loop(body)
    solicitation = re.search(r"hlim 255, next-header ICMPv6.*fe80::\S+ > ff02::2: .* router solicitation", output)
    assert solicitation, output
    assert "[bad icmp6 cksum" not in output
    assert output.count("[icmp6 sum ok]") == 4
    sent = re.findall(
        r"> (\S+): \[icmp6 sum ok\] ICMP6, router advertisement.*\n.*hop limit 64.*router lifetime (\d+)s", output
    )
    assert [lifetime for _, lifetime in sent] == ["1800", "1800", "0"]
    assert sent[0][0] == sent[2][0] == ALL_NODES
    assert sent[1][0].startswith("fe80::")
    assert f"{ROUTER_LINK_LOCAL} > " in output
    assert re.search(rf"prefix info option \(3\).*: {PREFIX}, Flags \[onlink, auto\], valid time 86400s", output)
    assert re.search(r"mtu option \(5\), length 8 \(1\):  1420", output)
    assert re.search(r"source link-address option \(1\), length 8 \(1\): 02:70:62:00:00:01", output)


def test_lifetime_zero_ends_the_route_and_leaves_the_address() -> None:
    async def body() -> None:
        world = World()
        host = world.hosts[0]
        world.advertiser.start()
        host.set_up()
        await until(lambda: bool(host.default_gateways() and host.addresses()))
        world.advertiser.stop()
        await until(lambda: not host.default_gateways())
        assert host.addresses() == {slaac_address(PREFIX, host.mac)}
        assert world.events[-1] == ("router_advertisement", {"destination": ALL_NODES, "lifetime_s": 0})

    on_loop(body)


def test_a_host_that_was_there_before_the_router_hears_its_first_advertisement() -> None:
    async def body() -> None:
        world = World()
        host = world.hosts[0]
        host.set_up()
        await asyncio.sleep(0.3)
        assert not host.addresses()
        world.advertiser.start()
        await until(lambda: bool(host.addresses()))
        destinations = [fields["destination"] for fields in world.told("router_advertisement")]
        assert destinations[0] == ALL_NODES

    on_loop(body)


def test_down_and_up_configures_anew() -> None:
    async def body() -> None:
        world = World()
        host = world.hosts[0]
        world.advertiser.start()
        for _ in range(3):
            host.set_up()
            await until(lambda: bool(host.addresses() and host.default_gateways()))
            host.set_up(False)
            assert not host.addresses()
            assert not host.default_gateways()

    on_loop(body)


def test_duplicate_address_detection_delays_the_address() -> None:
    async def body() -> float:
        world = World(dad=True)
        world.advertiser.start()
        world.hosts[0].set_up()
        return await until(lambda: bool(world.hosts[0].addresses()), 15)

    assert on_loop(body) > 1.0


def test_advertisements_are_periodic() -> None:
    async def body() -> int:
        world = World(interval_s=0.4)
        world.advertiser.start()
        await asyncio.sleep(2.0)
        return len(world.told("router_advertisement"))

    assert 4 <= on_loop(body) <= 1 + round(2.0 / 0.3)


def test_many_solicitations_without_an_address_bring_few_answers_to_all() -> None:
    async def body() -> list[str]:
        world = World(multicast_spacing_s=0.3)
        world.advertiser.start()
        started_s = time.monotonic()
        world.hosts[0].set_up()
        await until(lambda: bool(world.hosts[0].addresses()))
        world.events.clear()
        for _ in range(20):
            world.hosts[0].send_solicitation()
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.4)
        assert len(world.told("router_solicitation")) == 20
        assert time.monotonic() - started_s < 5
        return [fields["destination"] for fields in world.told("router_advertisement")]

    answers = on_loop(body)
    assert answers in ([ALL_NODES], [ALL_NODES] * 2)


def test_a_whole_lan_that_comes_up_at_once_is_answered_at_once() -> None:
    async def body() -> int:
        world = World(hosts=40)
        world.advertiser.start()
        world.events.clear()
        for host in world.hosts:
            host.set_up()
        # The loop is busy elsewhere, as while a lab is built, until all have asked. A port that opens late loses the
        # first question of its host, which asks again after 4 s.
        deadline_s = time.monotonic() + 20
        while world.questions() < len(world.hosts):
            assert time.monotonic() < deadline_s, world.questions()
            time.sleep(0.01)
        await until(lambda: all(host.addresses() and host.default_gateways() for host in world.hosts))
        return len(world.told("router_advertisement"))

    assert on_loop(body) < 10  # one to all serves them; answered one by one they would be 40


def test_a_solicitation_from_beyond_the_link_is_ignored() -> None:
    async def body() -> None:
        world = World()
        world.advertiser.start()
        world.hosts[0].set_up()
        await until(lambda: bool(world.hosts[0].addresses()))
        world.events.clear()
        world.hosts[0].send_solicitation(hop_limit=254)
        await asyncio.sleep(0.3)
        assert world.events == []
        world.hosts[0].send_solicitation()
        await until(lambda: bool(world.told("router_advertisement")))

    on_loop(body)


def test_an_update_reaches_the_hosts_at_once() -> None:
    async def body() -> None:
        world = World(hosts=2)
        world.advertiser.start()
        for host in world.hosts:
            host.set_up()
        await until(lambda: all(host.addresses() for host in world.hosts))
        second = IPv6Network("fd10:0:0:2::/64")
        prefixes = (*ADVERTISEMENT.prefixes, PrefixInformation(second))
        world.advertiser.update(msgspec.structs.replace(ADVERTISEMENT, lifetime_s=0, prefixes=prefixes))
        for host in world.hosts:
            both = {slaac_address(prefix, host.mac) for prefix in (PREFIX, second)}
            await until(lambda host=host, both=both: host.addresses() == both and not host.default_gateways())  # type: ignore[misc]

    on_loop(body)


def test_a_refused_packet_is_told_and_the_next_one_sent() -> None:
    async def body() -> None:
        world = World(interval_s=0.2)
        world.advertiser.start()
        world.netlink.request(netlink.set_up(LAN, False))
        await until(lambda: bool(world.told("router_advertisement_failed")))
        failed = world.told("router_advertisement_failed")[0]
        assert failed["destination"] == ALL_NODES
        assert failed["error"]
        world.netlink.request(netlink.set_up(LAN))
        world.netlink.request(netlink.add_address(LAN, ROUTER_LINK_LOCAL, 64, replace=True))
        sent = len(world.told("router_advertisement"))
        await until(lambda: len(world.told("router_advertisement")) > sent)

    on_loop(body)


def test_a_link_that_is_not_there_is_an_error() -> None:
    async def body() -> None:
        world = World()
        with pytest.raises(KernelError, match=r"router: prepare advertisements on wan: .*ENODEV"):
            open_socket(world.router, msgspec.structs.replace(world.config, interface="wan"), "router")

    on_loop(body)
