"""How long mappings live, named after RFC 4787 (UDP) and RFC 5382 (TCP): as configured, and as packets find it.

The scenarios wait for seconds, so they all run at once; each test takes the outcome of one.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from patchbay_runner.lab.client import LabClient
from patchbay_runner.lab.nat import NAT_TABLE
from tests.netns.support.nat_probes import Endpoint, Tcp, Udp, accepted_from, outcome, seen_by
from tests.netns.support.nat_world import BEHAVIOURS, SHORT_LIVED, NatWorld, independent

pytestmark = pytest.mark.netns


CONFIGS = BEHAVIOURS | SHORT_LIVED


@pytest.fixture(scope="module")
def world(new_lab: Callable[[], LabClient]) -> NatWorld:
    return NatWorld(new_lab())


@pytest.fixture(scope="module")
def outcomes(world: NatWorld) -> Iterator[Mapping[str, Future[Any]]]:
    """What becomes of every scenario, by its name."""
    with ThreadPoolExecutor(len(SCENARIOS)) as pool:
        yield {scenario.__name__: pool.submit(scenario, world) for scenario in SCENARIOS}


@pytest.mark.parametrize("mode", CONFIGS)
def test_configured_timeouts_are_the_kernels(world: NatWorld, mode: str) -> None:
    timeouts = CONFIGS[mode].timeouts
    names = ("udp_timeout", "udp_timeout_stream", "tcp_timeout_established", "tcp_loose")
    read = world.run(mode, "cat", *(f"/proc/sys/net/netfilter/nf_conntrack_{name}" for name in names))
    assert read.split() == [str(timeouts.udp_s), str(timeouts.udp_stream_s), str(timeouts.tcp_established_s), "0"]


@pytest.mark.parametrize("mode", [mode for mode in BEHAVIOURS if independent(mode)])
def test_timeouts_of_the_tables_agree_with_conntrack(world: NatWorld, mode: str) -> None:
    timeouts = BEHAVIOURS[mode].timeouts
    with Udp(world, f"{mode}-a") as client, Udp(world, "alpha") as server:
        seen_by(server, client)
        found = tables(world, mode)
        conntrack = world.run(mode, "conntrack", "-L", "-p", "udp", "--orig-port-src", str(client.address[1]))
    assert {table["timeout"] for table in found.values()} == {timeouts.udp_stream_s}
    assert fresh(lifetimes(found["out"])["udp", *client.address], timeouts.udp_s)
    assert fresh(lifetimes(found["used"])["udp", client.address[1]], timeouts.udp_s)
    assert fresh(int(conntrack.split()[2]), timeouts.udp_s)


@pytest.mark.parametrize("mode", ["corporate", "cloud-nat", "edm-apdf"])
def test_a_nat_that_needs_no_tables_has_none(world: NatWorld, mode: str) -> None:
    assert tables(world, mode) == {}


@pytest.mark.parametrize("mode", ["home", "full-cone", "eim-adf-hairpin"])
def test_TCP_REQ_5_an_open_connection_keeps_its_mapping_for_the_long_timeout(world: NatWorld, mode: str) -> None:
    def lifetime() -> int:
        return lifetimes(tables(world, mode)["out"])["tcp", *client.address]

    with Tcp(world, f"{mode}-a") as client, Tcp(world, "alpha") as server:
        nobody = world.address("beta"), 9
        assert outcome(client.start(nobody)) == "refused"
        assert fresh(lifetime(), 240)
        _, end = accepted_from(server.listen(), client, server.address)
        assert fresh(lifetime(), BEHAVIOURS[mode].timeouts.tcp_established_s)
        assert outcome(client.start((nobody[0], 10))) == "refused"
        assert fresh(lifetime(), BEHAVIOURS[mode].timeouts.tcp_established_s), "the open connection still needs it"
        end.close()
        assert fresh(lifetime(), 240)


def tables(world: NatWorld, mode: str) -> dict[str, dict[str, Any]]:
    """The router's maps and sets with names."""
    listed = json.loads(world.run(mode, "nft", "-j", "list", "table", "ip", NAT_TABLE))["nftables"]
    return {
        entry[kind]["name"]: entry[kind]
        for entry in listed
        for kind in ("map", "set")
        if "timeout" in entry.get(kind, {})
    }


def lifetimes(table: dict[str, Any]) -> dict[tuple[Any, ...], int]:
    """How many seconds a table's entries have to live, by key."""
    found = {}
    for entry in table.get("elem", []):
        element = (entry[0] if isinstance(entry, list) else entry)["elem"]
        value = element["val"]
        found[tuple(value["concat"]) if isinstance(value, dict) else (value,)] = element["expires"]
    return found


def fresh(left_s: int, full_s: int) -> bool:
    """Whether what has `left_s` to live was given `full_s`, on a machine that may be busy."""
    return full_s - 5 <= left_s <= full_s


def expiry(world: NatWorld) -> tuple[list[bytes], list[bytes], Endpoint, Endpoint]:
    """A mapping that is left alone: what third hosts get through early and late, and who has its port afterwards."""
    port = world.port()
    with Udp(world, "brief-a", port) as client, Udp(world, "alpha") as server, Udp(world, "beta") as third:
        outer = seen_by(server, client)
        time.sleep(1.4)
        third.send(outer, b"early")
        early = [data for data, _ in client.drain()]
        time.sleep(2.4)
        third.send(outer, b"late")
        late = [data for data, _ in client.drain()]
        with Udp(world, "brief-b", port) as other:
            return early, late, outer, seen_by(server, other)


def outbound_keepalives(world: NatWorld) -> list[bytes]:
    with Udp(world, "brief-a") as client, Udp(world, "alpha") as server, Udp(world, "beta") as third:
        outer = seen_by(server, client)
        for _ in range(5):
            time.sleep(0.8)
            client.send(server.address, b"keepalive")
        third.send(outer, b"late")
        return [data for data, _ in client.drain()]


def inbound_keepalives(world: NatWorld) -> bytes:
    """Of a flow that was opened from inside."""
    with Udp(world, "brief-a") as client, Udp(world, "alpha") as server, Udp(world, "beta") as third:
        outer = seen_by(server, client)
        for _ in range(5):
            time.sleep(0.8)
            server.send(outer, b"keepalive")
        third.send(outer, b"late")
        return client.drain()[-1][0]


def inbound_keepalives_of_a_stranger(world: NatWorld) -> bytes:
    """Of a flow that was opened from outside."""
    with Udp(world, "brief-a") as client, Udp(world, "alpha") as server, Udp(world, "beta") as third:
        outer = seen_by(server, client)
        for _ in range(5):
            time.sleep(0.8)
            third.send(outer, b"keepalive")
        server.send(outer, b"late")
        return client.drain()[-1][0]


def endpoint_dependent_expiry(world: NatWorld) -> tuple[list[bytes], list[bytes], Endpoint, Endpoint]:
    with Udp(world, "brief-edm-a") as client, Udp(world, "alpha") as server:
        outer = seen_by(server, client)
        time.sleep(1.4)
        server.send(outer, b"early")
        early = [data for data, _ in client.drain()]
        time.sleep(2.4)
        server.send(outer, b"late")
        late = [data for data, _ in client.drain()]
        return early, late, outer, seen_by(server, client)


def unanswered(world: NatWorld) -> list[bytes]:
    """With 1 s for a mapping that has not carried a conversation and 3 s for one that has: a single exchange."""
    with Udp(world, "staged-a") as client, Udp(world, "alpha") as server, Udp(world, "beta") as third:
        outer = seen_by(server, client)
        server.send(outer, b"answer")
        time.sleep(1.6)
        third.send(outer, b"late")
        return [data for data, _ in client.drain()]


def conversation(world: NatWorld) -> tuple[list[bytes], list[bytes]]:
    """A conversation, then an unanswered packet to somebody else, which does not shorten the mapping's life."""
    with Udp(world, "staged-a") as client, Udp(world, "alpha") as server, Udp(world, "beta") as third:
        for _ in range(7):
            outer = seen_by(server, client)
            server.send(outer, b"answer")
            time.sleep(0.4)
        client.send(third.address)
        client.drain()
        time.sleep(2.2)
        # First the one whose own flow has expired: it depends on the mapping alone.
        third.send(outer, b"early")
        server.send(outer, b"early")
        early = [data for data, _ in client.drain()]
        time.sleep(3.5)
        third.send(outer, b"late")
        return early, [data for data, _ in client.drain()]


def idle_tcp(world: NatWorld) -> tuple[str, list[str], int]:
    """A connection idle for longer than the timeout: what either side still gets, and packets with inner addresses."""
    inner = world.address("brief-a")
    with Tcp(world, "brief-a") as client, Tcp(world, "alpha") as server:
        listener = server.listen()
        near = client.connect(server.address)
        far, _ = listener.accept()
        with far, world.lab.socket("alpha", "inet", "raw", 6) as sniffer:
            time.sleep(1.2)
            near.sendall(b"early")
            early = far.recv(10).decode()
            time.sleep(2.6)
            late = []
            for source, sink in ((far, near), (near, far)):
                source.sendall(b"late")
                sink.settimeout(0.3)
                with contextlib.suppress(TimeoutError):
                    late.append(sink.recv(10).decode())
            sniffer.setblocking(False)
            return early, late, leaked(sniffer, inner)


def leaked(sniffer: Any, inner: str) -> int:
    """How many packets have arrived with the untranslated source address."""
    count = 0
    while True:
        try:
            _, (source, _) = sniffer.recvfrom(65536)
        except BlockingIOError:
            return count
        count += source == inner


SCENARIOS = (
    expiry,
    outbound_keepalives,
    inbound_keepalives,
    inbound_keepalives_of_a_stranger,
    endpoint_dependent_expiry,
    unanswered,
    conversation,
    idle_tcp,
)


def test_REQ_5_a_mapping_expires_when_idle(outcomes: Mapping[str, Future[Any]]) -> None:
    early, late, outer, reused = outcomes["expiry"].result()
    assert (early, late) == ([b"early"], [])
    assert reused == outer, "the port is free for somebody else"


def test_REQ_5_an_endpoint_dependent_mapping_expires_when_idle(outcomes: Mapping[str, Future[Any]]) -> None:
    early, late, outer, renewed = outcomes["endpoint_dependent_expiry"].result()
    assert (early, late) == ([b"early"], [])
    assert renewed != outer


def test_REQ_5_a_conversation_earns_the_longer_timeout(outcomes: Mapping[str, Future[Any]]) -> None:
    assert outcomes["unanswered"].result() == [b"answer"]
    assert outcomes["conversation"].result() == ([b"early", b"early"], [])


def test_REQ_6_outbound_packets_refresh_a_mapping(outcomes: Mapping[str, Future[Any]]) -> None:
    assert outcomes["outbound_keepalives"].result() == [b"late"]


def test_REQ_6_inbound_packets_refresh_a_mapping(outcomes: Mapping[str, Future[Any]]) -> None:
    assert outcomes["inbound_keepalives"].result() == b"late"
    assert outcomes["inbound_keepalives_of_a_stranger"].result() == b"late"


def test_TCP_REQ_5_an_idle_connection_is_forgotten(outcomes: Mapping[str, Future[Any]]) -> None:
    early, late, leaked_packets = outcomes["idle_tcp"].result()
    assert (early, late) == ("early", [])
    assert leaked_packets == 0


def test_TCP_REQ_5_a_reset_connection_can_be_opened_again_from_its_port(world: NatWorld) -> None:
    with Tcp(world, "home-a") as client, Tcp(world, "alpha") as server:
        listener = server.listen()
        refused = client.start((server.address[0], world.port()))
        assert outcome(refused) == "refused"
        source, end = accepted_from(listener, client, server.address)
        end.close()
        assert source == (world.wan("home"), client.address[1])
