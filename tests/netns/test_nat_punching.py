"""Hole punching between hosts behind NATs (RFC 5128): which pairs meet, and which need a relay."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from patchbay_runner.lab.client import LabClient
from patchbay_runner.model.nat import Filtering
from tests.netns.support.nat_probes import Endpoint, Tcp, Udp, accepted_from, outcome, seen_by
from tests.netns.support.nat_world import BEHAVIOURS, NAMED, NatWorld, independent

pytestmark = pytest.mark.netns

KINDS = (*NAMED, "eim-adf")
PAIRS = list(itertools.combinations_with_replacement(KINDS, 2))
_ROUNDS = 3


@pytest.fixture(scope="module")
def world(new_lab: Callable[[], LabClient]) -> NatWorld:
    return NatWorld(new_lab())


@pytest.fixture
def rendezvous(world: NatWorld) -> Iterator[Udp]:
    """The server from which both sides learn their outer endpoints."""
    with Udp(world, "alpha") as server:
        yield server


def lets_in(receiver: str, sender: str) -> bool:
    """Whether a packet to the receiver's known endpoint gets in, once the receiver has written to the sender's."""
    filtering = BEHAVIOURS[receiver].filtering
    if filtering is Filtering.ENDPOINT_INDEPENDENT:
        return True
    if not independent(receiver):
        return False  # it wrote to the sender from another port than the known one
    return filtering is Filtering.ADDRESS_DEPENDENT or independent(sender)


def meet(left: Udp, right: Udp, left_known: Endpoint, right_known: Endpoint) -> bool:
    """Whether both sides are heard and hear, when each writes to the other's known endpoint.

    A probe is answered and an answer acknowledged, to wherever the packet came from.
    """
    replies = {b"probe": b"answer", b"answer": b"acknowledgement"}
    heard = {left: False, right: False}
    for _ in range(_ROUNDS):
        left.send(right_known)
        right.send(left_known)
        for side in (left, right, left, right):
            for data, source in side.drain(0.01):
                heard[side] |= data != b"probe"
                if data in replies:
                    side.send(source, replies[data])
        if all(heard.values()):
            return True
    return False


@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_udp_simultaneous_open(world: NatWorld, rendezvous: Udp, left: str, right: str) -> None:
    with Udp(world, f"{left}-a") as one, Udp(world, f"{right}-b") as two:
        met = meet(one, two, seen_by(rendezvous, one), seen_by(rendezvous, two))
    if left == right and not BEHAVIOURS[left].hairpin:
        assert not met, "they are behind one router, which does not hairpin"
    else:
        assert met == (lets_in(left, right) or lets_in(right, left))


def test_udp_between_two_homes_and_from_home_to_corporate(world: NatWorld, rendezvous: Udp) -> None:
    """The two cases that everybody asks about, spelled out."""
    for router, expected in (("eim-apdf", True), ("corporate", False), ("cloud-nat", False), ("full-cone", True)):
        with Udp(world, "home-a") as one, Udp(world, f"{router}-a") as two:
            assert meet(one, two, seen_by(rendezvous, one), seen_by(rendezvous, two)) == expected


def test_udp_with_a_late_side(world: NatWorld, rendezvous: Udp) -> None:
    """Packets that come before the mapping leave nothing behind that would spoil it."""
    with Udp(world, "home-a") as early, Udp(world, "eim-apdf-a") as late:
        early_known = seen_by(rendezvous, early)
        # The late side's endpoint is known from its port alone: it has not sent anything to anyone.
        late_known = world.wan("eim-apdf"), late.address[1]
        for _ in range(3):
            early.send(late_known)
        late.send(early_known)
        assert early.receive() == (b"probe", late_known)
        early.send(late_known, b"answer")
        assert late.receive() == (b"answer", early_known)


@pytest.mark.parametrize(
    ("left", "right", "opens"),
    [
        ("home", "eim-apdf", True),
        ("home", "eim-adf", True),
        ("full-cone", "home", True),
        ("home", "corporate", False),
        ("corporate", "cloud-nat", False),
    ],
)
def test_tcp_simultaneous_open(world: NatWorld, left: str, right: str, opens: bool) -> None:
    with Tcp(world, "alpha") as server, Tcp(world, f"{left}-a") as one, Tcp(world, f"{right}-a") as two:
        listener = server.listen()
        known = []
        for client in (one, two):
            source, end = accepted_from(listener, client, server.address)
            end.close()
            known.append(source)
        # An open filter lets the other side's SYN in at once: its host has to be ready by then, or it refuses.
        attempts = one.start(known[1]), two.start(known[0])
        # A lost first SYN is sent again after a second.
        outcomes = [outcome(attempt, 3 if opens else 1.2) for attempt in attempts]
        assert outcomes == (["open", "open"] if opens else ["silent", "silent"])
        if opens:
            attempts[0].sendall(b"hello")
            attempts[1].settimeout(3)
            assert attempts[1].recv(5) == b"hello"
