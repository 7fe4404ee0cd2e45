"""Random topologies for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

from patchbay_runner.model.links import LinkCondition
from patchbay_runner.model.nat import nat_mode
from patchbay_runner.model.regions import declared_regions
from patchbay_runner.model.topology import Device, Interface, IpSupport, NatV6, Pool, Region, Router, Topology

_MODES = ("none", "home", "corporate", "cgnat", "cloud-nat", "full-cone")


@st.composite
def topologies(draw: st.DrawFn, max_routers: int = 12, max_devices: int = 12) -> Topology:
    """Routers in trees of any depth and in any file order, devices with one to three interfaces, regions or none."""
    regions = draw(region_sets())
    names = [region.name for region in declared_regions(regions)]
    count = draw(st.integers(1, max_routers))
    routers = [
        Router(
            name=f"r{i}",
            upstream=(upstream := draw(st.sampled_from([None, *(f"r{j}" for j in range(i))]))),
            region=None if upstream is not None else draw(st.sampled_from([None, *names])),
            is_isolated=draw(st.sampled_from([False, False, False, True])),
            nat=nat_mode(draw(st.sampled_from(_MODES))),
            nat_v6=draw(st.sampled_from([NatV6.NONE, NatV6.NONE, NatV6.MASQUERADE])),
            ip_support=draw(st.sampled_from(IpSupport)),
            # In the pools' way, and in no other's.
            cidr=draw(st.sampled_from([None, None, f"10.0.{i + 1}.0/24", f"198.18.{i + 1}.0/24"])),
            cidr_v6=draw(st.sampled_from([None, None, f"fd10:0:0:{i + 1}::/64", f"2001:db8:1:{i + 1}::/64"])),
            pool=draw(st.sampled_from([None, None, *Pool])),
            mtu=draw(st.sampled_from([None, 1420, 1280])),
            block_icmp_frag_needed=draw(st.booleans()),
        )
        for i in range(count)
    ]
    devices = [
        Device(
            name=f"d{i}",
            mtu=draw(st.sampled_from([None, 1400])),
            interfaces=tuple(
                Interface(name=f"eth{k}", gateway=f"r{draw(st.integers(0, count - 1))}")
                for k in range(draw(st.integers(1, 3)))
            ),
        )
        for i in range(draw(st.integers(0, max_devices)))
    ]
    return Topology(
        routers=tuple(draw(st.permutations(routers))), devices=tuple(draw(st.permutations(devices))), regions=regions
    )


@st.composite
def region_sets(draw: st.DrawFn, max_regions: int = 4) -> tuple[Region, ...]:
    """Regions of which any are linked, from either side or both, and of which some are only mentioned."""
    names = [f"g{i}" for i in range(draw(st.integers(0, max_regions)))]
    condition = st.builds(LinkCondition, latency_ms=st.sampled_from([0.0, 10.0, 80.0]))
    written = [name for name in names if draw(st.booleans())]
    return tuple(
        Region(
            name=name,
            towards={other: draw(condition) for other in names if other != name and draw(st.booleans())},
        )
        for name in written
    )


def one_lan(count: int, ip_support: IpSupport = IpSupport.DUAL_STACK) -> Topology:
    """`count` devices on one router."""
    return Topology(
        routers=(Router(name="r", ip_support=ip_support),),
        devices=tuple(Device(name=f"d{i}", interfaces=(Interface(name="eth0", gateway="r"),)) for i in range(count)),
    )
