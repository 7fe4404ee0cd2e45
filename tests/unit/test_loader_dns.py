"""Where entries of names come from, and what steps make of them."""

from __future__ import annotations

from patchbay_runner.model.names import NameRecord
from patchbay_runner.model.steps import SetNames
from patchbay_runner.model.steptext import summary_of
from tests.unit.loading import Loading, loading

__all__ = ["loading"]

STEP = '[[step]]\ndevice = "server"\ncmd = ["true"]\n'
OFFICE = '[[router]]\nname = "dc"\n[device.server.eth0]\ngateway = "dc"\n'


def names(loading: Loading, text: str, *, network: str) -> dict[str, tuple[str, ...]]:
    records = loading.plan(text, network=network).topology.names
    return {record.name: record.addresses or (record.alias,) for record in records}


def test_names_of_all_files_add_up_and_the_nearer_file_wins(loading: Loading) -> None:
    loading.write("topos/office.toml", f'{OFFICE}[dns]\na = "10.0.0.1"\nb = "10.0.0.1"\nc = "10.0.0.1"\n')
    loading.write("library.toml", '[dns]\n"B." = "10.0.0.2"\nc = "10.0.0.2"\nd = "server"\n')
    text = f'[sim]\ntopology = "office"\n[[extends]]\nfile = "library.toml"\n[dns]\nC = "10.0.0.3"\n{STEP}'
    assert names(loading, text, network="") == {
        "a": ("10.0.0.1",),
        "B.": ("10.0.0.2",),
        "C": ("10.0.0.3",),
        "d": ("server",),
    }


def test_an_inline_topology_keeps_the_names_of_extended_files(loading: Loading) -> None:
    loading.write("library.toml", '[dns]\nold = "server"\n')
    text = f'[[extends]]\nfile = "library.toml"\n{STEP}'
    assert names(loading, text, network=OFFICE) == {"old": ("server",)}


def test_names_are_those_of_the_variant(loading: Loading) -> None:
    text = f'[matrix]\nto = ["server", "10.0.0.9"]\n[dns]\napi = "${{matrix.to}}"\n{STEP}'
    plans = loading.plans(text, network=OFFICE)
    assert [plan.topology.names for plan in plans] == [
        (NameRecord("api", alias="server"),),
        (NameRecord("api", ("10.0.0.9",)),),
    ]


def test_names_without_a_network(loading: Loading) -> None:
    text = '[dns]\nx = "10.0.0.1"\n[[step]]\ndevice = "ix"\ncmd = ["true"]\n'
    assert names(loading, text, network="") == {"x": ("10.0.0.1",)}


def test_an_entry_called_gateway_is_an_entry_when_it_is_an_address(loading: Loading) -> None:
    network = f'{OFFICE}[device.server.dns]\ngateway = "10.0.0.1"\n'
    (device,) = loading.plan(STEP, network=network).topology.devices
    assert device.names == (NameRecord("gateway", ("10.0.0.1",)),)


def test_a_step_sets_names(loading: Loading) -> None:
    text = 'action = "set-dns"\ndevice = "peer"\nentries = { a = "server", b = ["10.0.0.1"], c = [], d = "${x.y}" }'
    producer = '[[step]]\nid = "x"\ndevice = "server"\ncmd = ["true"]\ncaptures.y.regex = "y"\n'
    _, *steps = loading.steps(f"{producer}[[step]]\n{text}")
    entries = {"a": ("server",), "b": ("10.0.0.1",), "c": (), "d": ("${x.y}",)}
    assert [(step.device, step.entries) for step in steps if isinstance(step, SetNames)] == [
        (f"peer-{number}", entries) for number in range(3)
    ]
    assert summary_of(steps[0]) == "a: server; b: 10.0.0.1; c: gone; d: ${x.y}"
