"""Router Discovery messages, byte by byte and there and back."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchbay_runner.kernel.ndp import (
    PrefixInformation,
    RouterAdvertisement,
    decode_advertisement,
    decode_solicitation,
    encode_advertisement,
    encode_solicitation,
    slaac_address,
)

MAC = bytes.fromhex("027062000001")
ADVERTISEMENT = RouterAdvertisement(
    lifetime_s=1800,
    source_mac=MAC,
    mtu=1420,
    prefixes=(PrefixInformation(IPv6Network("fd10:0:0:1::/64"), 86_400, 14_400),),
    recursive_dns=(IPv6Address("fd10:0:0:1::1"),),
)


def test_advertisement_has_the_layout_of_the_rfcs() -> None:
    expected = (
        "86 00 0000 40 00 0708 00000000 00000000"
        "01 01 027062000001"
        "05 01 0000 0000058c"
        "03 04 40 c0 00015180 00003840 00000000 fd100000000000010000000000000000"
        "19 03 0000 00000708 fd100000000000010000000000000001"
    )
    assert encode_advertisement(ADVERTISEMENT) == bytes.fromhex(expected)


def test_flags_and_timers_of_an_advertisement() -> None:
    message = RouterAdvertisement(
        lifetime_s=0,
        hop_limit=0,
        managed=True,
        other=True,
        reachable_time_ms=1,
        retransmission_time_ms=2,
        prefixes=(PrefixInformation(IPv6Network("2001:db8::/48"), 7, 5, on_link=False, autonomous=False),),
    )
    data = encode_advertisement(message)
    assert data[:16] == bytes.fromhex("86000000 00c00000 00000001 00000002")
    assert data[16:20] == bytes.fromhex("03043000")
    assert decode_advertisement(data) == message


@given(
    st.builds(
        RouterAdvertisement,
        lifetime_s=st.integers(0, 65535),
        hop_limit=st.integers(0, 255),
        managed=st.booleans(),
        other=st.booleans(),
        reachable_time_ms=st.integers(0, 2**32 - 1),
        retransmission_time_ms=st.integers(0, 2**32 - 1),
        source_mac=st.sampled_from([b"", MAC]),
        mtu=st.integers(0, 2**32 - 1),
        prefixes=st.lists(
            st.builds(
                PrefixInformation,
                prefix=st.builds(
                    lambda base, length: IPv6Network((base, length), strict=False),
                    st.integers(0, 2**128 - 1),
                    st.integers(0, 128),
                ),
                valid_lifetime_s=st.integers(0, 2**32 - 1),
                preferred_lifetime_s=st.integers(0, 2**32 - 1),
                on_link=st.booleans(),
                autonomous=st.booleans(),
            ),
            max_size=3,
        ).map(tuple),
        recursive_dns=st.lists(st.ip_addresses(v=6), max_size=3).map(tuple),
    )
)
def test_advertisement_survives_the_wire(message: RouterAdvertisement) -> None:
    assert decode_advertisement(encode_advertisement(message)) == message


def test_unknown_options_are_passed_over() -> None:
    assert decode_advertisement(encode_advertisement(ADVERTISEMENT) + bytes((31, 1)) + bytes(6)) == ADVERTISEMENT


def test_solicitation_with_and_without_hardware_address() -> None:
    assert encode_solicitation() == bytes.fromhex("8500000000000000")
    assert encode_solicitation(MAC) == bytes.fromhex("85000000000000000101027062000001")
    assert decode_solicitation(encode_solicitation()) == b""
    assert decode_solicitation(encode_solicitation(MAC)) == MAC


@pytest.mark.parametrize(
    "data",
    [
        b"",
        encode_solicitation()[:7],
        b"\x85\x01" + bytes(6),
        encode_advertisement(ADVERTISEMENT),
        encode_solicitation() + bytes((1, 0)) + bytes(6),
        encode_solicitation() + bytes((1,)),
        encode_solicitation() + bytes((1, 2)) + bytes(6),
    ],
    ids=["empty", "short", "code", "other type", "length zero", "half an option", "option past the end"],
)
def test_solicitation_that_the_rfc_discards(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode_solicitation(data)


@pytest.mark.parametrize("option", [bytes((3, 1)) + bytes(6), bytes((5, 2)) + bytes(14), bytes((25, 2)) + bytes(14)])
def test_advertisement_with_an_option_of_the_wrong_size(option: bytes) -> None:
    with pytest.raises(ValueError, match=r"option|length"):
        decode_advertisement(encode_advertisement(RouterAdvertisement()) + option)


@given(st.binary(max_size=80))
def test_no_bytes_crash_the_decoders(data: bytes) -> None:
    for decode, head in ((decode_solicitation, b"\x85\x00"), (decode_advertisement, b"\x86\x00")):
        try:
            decode(head + data)  # type: ignore[operator]
        except ValueError:
            continue


def test_slaac_addresses_are_formed_from_the_hardware_address() -> None:
    assert slaac_address(IPv6Network("fd10:0:0:1::/64"), MAC) == IPv6Address("fd10::1:70:62ff:fe00:1")
    # The example of RFC 4291, appendix A, in modern form.
    example = bytes.fromhex("3456789abcde")
    assert slaac_address(IPv6Network("fe80::/64"), example) == IPv6Address("fe80::3656:78ff:fe9a:bcde")


@pytest.mark.parametrize("prefix", ["fd10::/48", "fd10::/80"])
def test_slaac_needs_a_64(prefix: str) -> None:
    with pytest.raises(ValueError, match="not a /64"):
        slaac_address(IPv6Network(prefix), MAC)
