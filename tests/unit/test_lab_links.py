"""When links were too late for a sim to count, and how records spell what a network does."""

from __future__ import annotations

import msgspec
import pytest

from patchbay_runner.lab.links import overload
from patchbay_runner.lab.state import firewall_fields, nat_fields
from patchbay_runner.model.firewall import Firewall, FirewallConfig
from patchbay_runner.model.links import DirectionStatistics, LinkCondition, LinkStatistics, compact, compact_link
from patchbay_runner.model.nat import Mapping, Nat, NatConfig


@pytest.mark.parametrize(
    ("packets", "late_p50_ms", "overrun", "is_overloaded"),
    [
        (1, 40.0, 0, False),
        (2, 40.0, 0, False),
        (3, 40.0, 0, True),
        (99, 0.1, 0, False),
        (100, 0.1, 0, True),
        (1, 0.1, 1, True),
    ],
)
def test_one_late_frame_is_no_overload(packets: int, late_p50_ms: float, overrun: int, *, is_overloaded: bool) -> None:
    way = DirectionStatistics(
        packets=packets, overrun=overrun, late_p50_ms=late_p50_ms, late_p99_ms=40, late_max_ms=40, overloaded=True
    )
    assert (overload([LinkStatistics(name="phone.eth0", up=way)]) is not None) is is_overloaded


def test_a_link_that_was_on_time_is_none() -> None:
    way = DirectionStatistics(packets=1000, late_p50_ms=0.1, late_p99_ms=0.9, late_max_ms=30)
    assert overload([LinkStatistics(name="phone.eth0", up=way, down=way)]) is None


def test_the_verdict_names_the_links_and_how_late_they_were() -> None:
    way = DirectionStatistics(packets=1000, overrun=3, late_p99_ms=12.34, late_max_ms=50, overloaded=True)
    found = overload([LinkStatistics(name="fine.eth0"), LinkStatistics(name="phone.eth0", down=way)])
    assert found is not None
    assert found.endswith("on time: phone.eth0 was 12.3 ms late at p99, 50.0 ms at worst, 3 frames lost")


def test_records_say_nothing_of_zeros_and_no_digits_that_say_nothing() -> None:
    way = DirectionStatistics(packets=7, delay_total_ms=140.00000000000003, late_p99_ms=0.0 * 3, late_max_ms=1.25)
    link = compact_link(LinkStatistics("a.eth0", up=way, down=DirectionStatistics(delay_total_ms=1e-15)))
    assert msgspec.json.encode(link) == (
        b'{"name":"a.eth0","up":{"packets":7,"delay_total_ms":140,"late_max_ms":1.25},"down":{}}'
    )
    assert msgspec.json.encode(compact(LinkCondition(latency_ms=20.0, loss_pct=0.5))) == (
        b'{"latency_ms":20,"loss_pct":0.5}'
    )


def test_the_state_says_what_a_router_of_custom_tables_does() -> None:
    nat = Nat("custom", NatConfig(Mapping.ENDPOINT_DEPENDENT, port_range=(5000, 5999)))
    assert nat_fields(nat)["nat_table"] == {
        "port_range": [5000, 5999],
        "mapping": "endpoint-dependent",
        "filtering": "address-and-port-dependent",
        "hairpin": False,
        "udp_timeout": 30,
        "udp_stream_timeout": 120,
        "tcp_established_timeout": 432_000,
    }
    assert nat_fields(Nat()) == {"nat": "none", "nat_table": None}
    assert firewall_fields(Firewall("custom", FirewallConfig(allow_udp=(53,)))) == {
        "firewall": "custom",
        "firewall_table": {"block_inbound": False, "allow_udp": [53]},
    }
    assert firewall_fields(Firewall()) == {"firewall": "none", "firewall_table": None}
