"""Clients have pool addresses of their own, as many as there are; the one unused longest makes room."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network

import pytest

from patchbay_runner.kernel.nat64.addresses import CLIENT_POOL, WELL_KNOWN_PREFIX, Addresses, Nat64Config

HOST = IPv4Address("198.18.2.3").packed


def client(number: int) -> bytes:
    return bytes.fromhex("20010db80001000100000000") + number.to_bytes(4)


def small() -> Addresses:
    return Addresses(WELL_KNOWN_PREFIX, IPv4Network("240.0.0.0/29"))


def test_hosts_are_embedded_in_the_prefix() -> None:
    addresses = Addresses(WELL_KNOWN_PREFIX, CLIENT_POOL)
    v6 = addresses.embed(HOST)
    assert v6.hex() == "0064ff9b0000000000000000c6120203"
    assert addresses.embedded(v6) == HOST
    assert addresses.embedded(client(1)) is None
    assert addresses.embedded(addresses.embed(b"\xf0\0\0\1")) is None


def test_every_client_has_an_address_of_its_own() -> None:
    addresses = Addresses(WELL_KNOWN_PREFIX, CLIENT_POOL)
    given = [addresses.pool_address(client(number)) for number in range(2000)]
    assert len(set(given)) == len(addresses) == 2000
    for number, v4 in enumerate(given):
        assert v4 is not None
        assert IPv4Address(v4) in CLIENT_POOL
        assert addresses.client(v4) == client(number)
        assert addresses.pool_address(client(number)) == v4


def test_the_pools_ends_are_not_used() -> None:
    addresses = small()
    given = {addresses.pool_address(client(number)) for number in range(6)}
    assert given == {bytes((240, 0, 0, last)) for last in range(1, 7)}
    assert addresses.generation == 0


def test_the_client_that_was_quiet_longest_makes_room() -> None:
    addresses = small()
    given = [addresses.pool_address(client(number)) for number in range(6)]
    addresses.pool_address(client(0))
    assert given[1] is not None
    addresses.client(given[1])
    assert addresses.pool_address(client(6)) == given[2]
    assert addresses.generation == 1
    assert len(addresses) == 6
    assert addresses.client(given[2]) == client(6)  # type: ignore[arg-type]
    assert addresses.pool_address(client(0)) == given[0]
    assert addresses.pool_address(client(1)) == given[1]


@pytest.mark.parametrize("no_client", [bytes(16), b"\xff\x02" + bytes(14), WELL_KNOWN_PREFIX.network_address.packed])
def test_some_addresses_are_no_clients(no_client: bytes) -> None:
    addresses = small()
    assert addresses.pool_address(no_client) is None
    assert len(addresses) == 0


def test_nobody_has_a_pool_address_that_was_not_given() -> None:
    assert small().client(b"\xf0\0\0\3") is None


def test_prefixes_are_of_96_bits() -> None:
    with pytest.raises(ValueError, match="/96"):
        Addresses(IPv6Network("64:ff9b::/64"), CLIENT_POOL)


@pytest.mark.parametrize(("lan", "wan", "limit"), [(1500, 1500, 1440), (1280, 1500, 1220), (1500, 1400, 1360)])
def test_the_largest_segment(lan: int, wan: int, limit: int) -> None:
    assert Nat64Config(lan_mtu=lan, wan_mtu=wan).segment_limit == limit
