"""Rulesets in real namespaces, by the library and by the program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.sandbox_inside import inside

from patchbay_runner.errors import HostError, LabError
from patchbay_runner.kernel import nftables
from patchbay_runner.kernel.namespaces import new_network_namespace
from patchbay_runner.kernel.remedies import install_nftables

InNamespace = Callable[[Callable[[int], Any]], Any]

RULESET = """
table ip nat {
 map out {
  type ipv4_addr . inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout 300s; size 65536;
 }
 chain post {
  type nat hook postrouting priority srcnat;
  oifname "wan" snat ip to ip saddr . udp sport map @out
 }
}
"""
ELEMENT = "add element ip nat out { 10.0.0.2 . 1000 : 198.18.0.1 . 2000 }"


@pytest.fixture(params=["library", "program"])
def in_namespace(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> InNamespace:
    """Calls a function with a fresh namespace; the sandbox forks from here and so inherits the patch."""
    if request.param == "program":
        monkeypatch.setattr(nftables, "_library", lambda: None)
    else:
        assert nftables._library() is not None, "libnftables is one of the packages that the suite needs"
    return lambda function: inside(lambda _: function(new_network_namespace()))


def test_ruleset_is_loaded_into_that_namespace_and_no_other(in_namespace: InNamespace) -> None:
    def look(netns: int) -> tuple[str, str]:
        nftables.load(netns, RULESET)
        return nftables.list_ruleset(netns), nftables.list_ruleset(new_network_namespace())

    loaded, elsewhere = in_namespace(look)
    assert 'oifname "wan" snat' in loaded
    assert elsewhere == ""


@pytest.mark.parametrize(
    ("ruleset", "place"),
    [
        ("table ip x {\n chain c {\n  bogus 1\n }\n}\n", "ruleset:3:3-7"),
        ("table ip x {\n chain c {\n  type nat hook forward priority 0;\n }\n}\n", "ruleset:2:8-8"),
        ("add rule ip nowhere c accept\n", "ruleset:1:13-19"),
    ],
    ids=["syntax", "refused by the kernel", "missing table"],
)
def test_error_names_the_node_and_quotes_the_line_at_fault(in_namespace: InNamespace, ruleset: str, place: str) -> None:
    def look(netns: int) -> str:
        with pytest.raises(LabError) as caught:
            nftables.load(netns, ruleset, "home-router")
        return str(caught.value)

    message = in_namespace(look)
    assert message.startswith(f"home-router: nftables: {place}: Error: ")
    line = int(place.split(":")[1])
    assert ruleset.splitlines()[line - 1] in message


def test_ruleset_with_an_error_changes_nothing(in_namespace: InNamespace) -> None:
    def look(netns: int) -> tuple[str, str]:
        nftables.load(netns, RULESET)
        before = nftables.list_ruleset(netns)
        with pytest.raises(LabError):
            nftables.load(netns, "flush ruleset\ntable ip x {\n chain c { type nat hook forward priority 0; }\n}\n")
        return before, nftables.list_ruleset(netns)

    before, after = in_namespace(look)
    assert before == after


def test_maps_are_read_back(in_namespace: InNamespace) -> None:
    def look(netns: int) -> dict[str, object]:
        nftables.load(netns, RULESET + ELEMENT)
        (full,) = nftables.list_objects(netns, "map ip nat out")
        return full["map"]

    full = in_namespace(look)
    assert (full["timeout"], full["size"]) == (300, 65536)
    assert full["elem"][0][1] == {"concat": ["198.18.0.1", 2000]}


def test_host_without_nftables_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nftables, "_library", lambda: None)
    monkeypatch.setattr(nftables, "_SYSTEM_PATH", "")
    monkeypatch.setenv("PATH", "")

    def look(netns: int) -> tuple[str, int]:
        with pytest.raises(HostError) as caught:
            nftables.load(netns, RULESET)
        return caught.value.remedy, caught.value.exit_code

    assert inside(lambda _: look(new_network_namespace())) == (install_nftables(), 4)
