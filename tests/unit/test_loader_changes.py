"""Steps that change the network: later steps are checked against what is there by then."""

from __future__ import annotations

from patchbay_runner.model.firewall import FirewallConfig
from patchbay_runner.model.nat import Filtering, NatConfig
from patchbay_runner.model.steps import RenewAddress, Replug, SetFirewall, SetNat
from patchbay_runner.model.steptext import summary_of
from tests.unit.loading import Loading, loading

__all__ = ["loading"]

NETWORK = """
[[router]]
name = "wifi"
[[router]]
name = "cell"
ip_support = "v4-only"
[device.phone.wlan0]
gateway = "wifi"
[device.phone.cell0]
gateway = "cell"
[device.peer]
count = 2
[device.peer.eth0]
gateway = "wifi"
[device.peer.eth1]
gateway = "cell"
"""


def step(action: str, **values: str) -> str:
    keys = "".join(f'{key} = "{value}"\n' for key, value in values.items())
    return f'[[step]]\naction = "{action}"\n{keys}'


def ping(variable: str) -> str:
    return f'[[step]]\ndevice = "phone"\ncmd = ["ping", "${variable}"]\n'


def default_interfaces(loading: Loading, text: str) -> list[tuple[str, str]]:
    steps = loading.steps(text, network=NETWORK)
    return [(each.device, each.interface) for each in steps if isinstance(each, RenewAddress | Replug)]


def test_the_default_interface_is_that_of_the_moment(loading: Loading) -> None:
    renew = step("renew-ip", device="phone")
    text = (
        renew
        + step("set-default-route", device="phone", to="cell0")
        + renew
        + step("remove-iface", device="phone", interface="cell0")
        + step("replug", device="phone", to="cell")
        + step("add-iface", device="phone", interface="cell0", gateway="cell")
        + renew
    )
    assert default_interfaces(loading, text) == [
        ("phone", "wlan0"),
        ("phone", "cell0"),
        ("phone", "wlan0"),
        ("phone", "wlan0"),
    ]


def test_every_instance_has_a_default_interface_of_its_own(loading: Loading) -> None:
    text = step("set-default-route", device="peer-1", to="eth1") + step("renew-ip", device="peer")
    assert default_interfaces(loading, text) == [("peer-0", "eth0"), ("peer-1", "eth1")]


def test_a_skipped_step_changes_nothing(loading: Loading) -> None:
    skipped = step("add-iface", device="phone", interface="usb0", gateway="wifi", when="false")
    (error,) = loading.errors(skipped + step("link-down", device="phone", interface="usb0"), network=NETWORK)
    assert error.startswith('step[1].interface: unknown interface "usb0"')


def test_variants_of_a_matrix_go_their_own_ways(loading: Loading) -> None:
    text = (
        '[matrix]\nto = ["wifi", "cell"]\n[sim]\nname = "x-${matrix.to}"\n'
        + step("replug", device="phone", interface="wlan0", to="${matrix.to}")
        + ping("NETSIM_IP6_PHONE")
    )
    (error,) = loading.errors(text, network=NETWORK)
    assert error.endswith('$NETSIM_IP6_PHONE is not there: its router carries no IPv6 [matrix to = "cell"]')


def test_addresses_follow_the_default_route_of_a_device_known_only_at_run_time(loading: Loading) -> None:
    """Any family that one of the interfaces has may be the default interface's."""
    pick = '[[step]]\nid = "pick"\ndevice = "phone"\ncmd = ["a"]\ncaptures.device.regex = "."\n'
    moves = step("set-default-route", device="phone", to="cell0")
    assert len(loading.errors(pick + moves + ping("NETSIM_IP6_PHONE"), network=NETWORK)) == 1
    unknown = step("set-default-route", device="${pick.device}", to="wlan0")
    assert len(loading.steps(pick + moves + unknown + ping("NETSIM_IP6_PHONE"), network=NETWORK)) == 4


def test_tables_of_nats_and_firewalls(loading: Loading) -> None:
    nat, firewall = loading.steps(
        '[[step]]\naction = "set-nat"\nrouter = "wifi"\nnat = { filtering = "adf", hairpin = true }\n'
        '[[step]]\naction = "set-firewall"\nrouter = "wifi"\nfirewall = { allow_tcp = [443] }\n',
        network=NETWORK,
    )
    assert isinstance(nat, SetNat)
    assert nat.nat.config == NatConfig(filtering=Filtering.ADDRESS_DEPENDENT, hairpin=True)
    assert isinstance(firewall, SetFirewall)
    assert firewall.firewall.config == FirewallConfig(allow_tcp=(443,))


def test_steps_on_routers_are_not_counted(loading: Loading) -> None:
    text = step("flush-nat", router="wifi", device="peer")
    assert len(loading.steps(text, network=NETWORK)) == 1
    assert loading.warnings(text, network=NETWORK) == ['"device" has no effect on a flush-nat step']


def test_a_line_says_what_changes(loading: Loading) -> None:
    text = (
        step("replug", device="phone", to="cell")
        + step("add-iface", device="phone", interface="usb0", gateway="wifi")
        + step("remove-iface", device="phone", interface="cell0")
        + step("renew-ip", device="phone", interface="usb0")
        + step("set-nat", router="wifi", nat="cgnat")
        + step("flush-nat", router="wifi")
        + step("set-firewall", router="wifi", firewall="corporate")
    )
    assert [summary_of(each) for each in loading.steps(text, network=NETWORK)] == [
        "wlan0 to cell",
        "usb0 at wifi",
        "cell0",
        "usb0",
        "wifi: cgnat",
        "wifi",
        "wifi: corporate",
    ]
