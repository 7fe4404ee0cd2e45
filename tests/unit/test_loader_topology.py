"""Routers, devices, regions: what tables become, and what is checked about them."""

from __future__ import annotations

import pytest

from patchbay_runner.model.firewall import firewall_mode
from patchbay_runner.model.links import LinkCondition
from patchbay_runner.model.nat import NAT_MODES, Filtering, Mapping, NatConfig, NatTimeouts, nat_mode
from patchbay_runner.model.presets import PRESET_ALIASES, PRESETS, Preset
from patchbay_runner.model.topology import IpSupport, NatV6, Pool, Router, RouterAdvertisements
from tests.unit.loading import Loading, loading

__all__ = ["loading"]


def router(loading: Loading, keys: str) -> Router:
    plan = loading.plan("[sim]", network=f'[[router]]\nname = "r"\n{keys}\n')
    return plan.topology.routers[0]


def test_a_router_is_plain_by_default(loading: Loading) -> None:
    found = router(loading, "")
    assert found == Router(name="r", origin=found.origin)
    assert found.ip_support is IpSupport.DUAL_STACK
    assert found.nat.config is None


@pytest.mark.parametrize("mode", NAT_MODES)
def test_nat_modes(loading: Loading, mode: str) -> None:
    nat = router(loading, f'nat = "{mode}"').nat
    assert (nat.mode, nat.config) == (mode, NAT_MODES[mode])


@pytest.mark.parametrize(
    ("written", "config"),
    [
        ("{}", NatConfig()),
        ("{ custom = {} }", NatConfig()),
        ('{ mapping = "edm" }', NatConfig(mapping=Mapping.ENDPOINT_DEPENDENT)),
        ('{ mapping = "endpoint-dependent", filtering = "eif" }',
         NatConfig(Mapping.ENDPOINT_DEPENDENT, Filtering.ENDPOINT_INDEPENDENT)),
        ('{ filtering = "address-dependent", hairpin = "true" }',
         NatConfig(filtering=Filtering.ADDRESS_DEPENDENT, hairpin=True)),
        ('{ udp_timeout = 2, udp_stream_timeout = "3", tcp_established_timeout = "2m" }',
         NatConfig(timeouts=NatTimeouts(2, 3, 120))),
        ('{ custom = { filtering = "apdf", timeouts = { udp = "1s", tcp_established = 5 } } }',
         NatConfig(timeouts=NatTimeouts(1, 120, 5))),
    ],
)  # fmt: skip
def test_custom_nat(loading: Loading, written: str, config: NatConfig) -> None:
    nat = router(loading, f"nat = {written}").nat
    assert (nat.mode, nat.config) == ("custom", config)


@pytest.mark.parametrize(
    "timeout", ["0", "-1", "1.5", "true", '"1500ms"', '"x"', '"0s"', "99999999999", '"²"', f'"{"9" * 400}"']
)
def test_nat_timeouts_are_whole_seconds(loading: Loading, timeout: str) -> None:
    (error,) = loading.errors("[sim]", network=f'[[router]]\nname = "r"\nnat = {{ udp_timeout = {timeout} }}\n')
    assert error.startswith("router[0].nat.udp_timeout: found")


def test_all_other_keys_of_a_router(loading: Loading) -> None:
    found = router(
        loading,
        'ip_support = "v4-only"\nnat_v6 = "nat64"\nmtu = "1400"\nfirewall = "corporate"\ndownlink = { loss = 1 }\n'
        'ra_enabled = "false"\nra_interval_secs = 5\nra_lifetime_secs = "0"\nregion = "eu"\n[region.eu]',
    )
    assert (found.ip_support, found.nat_v6, found.mtu) == (IpSupport.V4_ONLY, NatV6.NAT64, 1400)
    assert (found.firewall, found.downlink, found.region) == (
        firewall_mode("corporate"),
        LinkCondition(loss_pct=1),
        "eu",
    )
    assert found.ra == RouterAdvertisements(enabled=False, interval_s=5, lifetime_s=0)


@pytest.mark.parametrize("name", [*PRESETS, *PRESET_ALIASES])
def test_a_preset_sets_what_no_key_beside_it_overrides(loading: Loading, name: str) -> None:
    preset = PRESETS[PRESET_ALIASES.get(name, name)]
    values = {key: getattr(preset, key) for key in Preset.__struct_fields__}
    plain = router(loading, f'preset = "{name}"')
    assert plain == Router(name="r", origin=plain.origin, **values)
    own = router(loading, f'nat = "full-cone"\npreset = "{name}"\npool = "public"')
    assert own == Router(name="r", origin=own.origin, **values | {"nat": nat_mode("full-cone"), "pool": Pool.PUBLIC})


def test_the_pool_follows_the_nat_unless_it_is_said(loading: Loading) -> None:
    pools = [router(loading, keys).lan_pool.value for keys in ("", 'nat = "home"', 'nat = "home"\npool = "public"')]
    assert pools == ["public", "private", "public"]


def test_a_device_keeps_its_interfaces_in_order(loading: Loading) -> None:
    network = '[device.d]\nmtu = 1400\n[device.d.wlan0]\ngateway = "r"\n[device.d.eth0]\ngateway = "r"'
    (device,) = loading.plan('[sim]\n[[router]]\nname = "r"', network=network).topology.devices
    assert [interface.name for interface in device.interfaces] == ["wlan0", "eth0"]
    assert (device.default_interface, device.mtu) == ("wlan0", 1400)


@pytest.mark.parametrize("key", ["latencies", "latency"])
def test_latencies_of_regions(loading: Loading, key: str) -> None:
    text = f'[region.a]\n{key} = {{ b = 80, c = "90", d = "0.1s" }}\n[region.b]\n[region.c]\n[region.d]\n'
    region = loading.plan("[sim]", network=text).topology.regions[0]
    assert {name: towards.latency_ms for name, towards in region.towards.items()} == {"b": 80.0, "c": 90.0, "d": 100.0}


CHAIN = """
[[router]]
name = "top"
ip_support = "{}"
[[router]]
name = "low"
upstream = "top"
ip_support = "{}"
nat_v6 = "{}"
[device.d.eth0]
gateway = "low"
"""


@pytest.mark.parametrize(
    ("top", "low", "nat_v6", "is_warned"),
    [
        ("v4-only", "v6-only", "none", True),
        ("v6-only", "v4-only", "none", True),
        ("v4-only", "v6-only", "nat64", False),
        ("v4-only", "dual-stack", "none", False),
        ("dual-stack", "v6-only", "none", False),
    ],
)
def test_an_interface_that_reaches_nothing_is_warned_about(
    loading: Loading, top: str, low: str, nat_v6: str, is_warned: bool
) -> None:
    text = '[[step]]\naction = "wait"\nduration = "0s"'
    warnings = loading.warnings(text, network=CHAIN.format(top, low, nat_v6))
    assert warnings == ['no address family of the router "low" gets through its upstreams'] * is_warned


ADDRESSES = """
[[router]]
name = "four"
ip_support = "v4-only"
[[router]]
name = "six"
ip_support = "v6-only"
[device.phone]
default_via = "b-b"
[device.phone.a]
gateway = "six"
[device.phone.b-b]
gateway = "four"
"""


@pytest.mark.parametrize(
    ("variable", "exists"),
    [
        ("NETSIM_IP_phone", True),
        ("NETSIM_IP_PHONE", True),
        ("netsim_ip_phone", True),
        ("NETSIM_IP6_phone", False),
        ("NETSIM_IP_phone_b_b", True),
        ("NETSIM_IP6_PHONE_B_B", False),
        ("NETSIM_IP_phone_a", False),
        ("NETSIM_IP6_phone_a", True),
        ("NETSIM_IP_phone_c", False),
        ("NETSIM_MTU_phone", False),
        ("HOME", True),
    ],
)
@pytest.mark.parametrize("braces", ["${}", "${{{}}}"])
def test_address_variables(loading: Loading, variable: str, exists: bool, braces: str) -> None:
    text = f'[[step]]\ndevice = "phone"\ncmd = ["echo", "{braces.format(variable)}:80"]'
    if exists:
        assert len(loading.steps(text, network=ADDRESSES)) == 1
    else:
        assert len(loading.errors(text, network=ADDRESSES)) == 1


@pytest.mark.parametrize(
    "name", ["ix", "region_x", "a/b", "a b", "a\\tb", "a$b", "..", "", "x" * 65, "ü" * 33, "a\\u0000b", "a\\u200bb"]
)
def test_names_that_nodes_cannot_have(loading: Loading, name: str) -> None:
    assert loading.errors("[sim]", network=f'[[router]]\nname = "r"\n[device."{name}".eth0]\ngateway = "r"\n')
    assert loading.errors("[sim]", network=f'[[router]]\nname = "{name}"\n')


@pytest.mark.parametrize("name", ["a.b", "A-1", "ü", "x" * 64, "region", "10"])
def test_names_that_nodes_can_have(loading: Loading, name: str) -> None:
    text = f'[[step]]\ndevice = "{name}"\ncmd = ["a"]\n[[step]]\naction = "assert"\ncheck = "{name}.exit_code == 0"\n'
    assert len(loading.steps(text, network=f'[[router]]\nname = "r"\n[device."{name}".eth0]\ngateway = "r"\n')) == 2


@pytest.mark.parametrize("name", ["lo", "all", "default", "a/b", "a b", "x" * 16, "a:b", "a%d", ".", ""])
def test_names_that_interfaces_cannot_have(loading: Loading, name: str) -> None:
    assert loading.errors("[sim]", network=f'[[router]]\nname = "r"\n[device.d."{name}"]\ngateway = "r"\n')


def test_the_placeholders_of_a_topology_file_are_the_sims(loading: Loading) -> None:
    loading.write("topos/net.toml", '[[router]]\nname = "dc"\nnat = "${matrix.nat}"\n')
    plans = loading.plans('[matrix]\nnat = ["home", "none"]\n[sim]\nname = "s"\ntopology = "net"', network="")
    assert [plan.topology.routers[0].nat.mode for plan in plans] == ["home", "none"]
