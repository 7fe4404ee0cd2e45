"""One lab with a router and two clients for every NAT behaviour, and hosts outside with which to look at them."""

from __future__ import annotations

import itertools
from typing import Any

from patchbay_runner.lab.client import LabClient
from patchbay_runner.model.nat import NAT_MODES, Filtering, Mapping, Nat, NatConfig, NatTimeouts
from patchbay_runner.model.topology import Device, Interface, Router, Topology

_SHORT = {Mapping.ENDPOINT_INDEPENDENT: "eim", Mapping.ENDPOINT_DEPENDENT: "edm"} | {
    Filtering.ENDPOINT_INDEPENDENT: "eif",
    Filtering.ADDRESS_DEPENDENT: "adf",
    Filtering.ADDRESS_AND_PORT_DEPENDENT: "apdf",
}

NAMED: dict[str, NatConfig] = {name: config for name, config in NAT_MODES.items() if config is not None}

CUSTOM: dict[str, NatConfig] = {
    f"{_SHORT[mapping]}-{_SHORT[filtering]}{'-hairpin' if hairpin else ''}": NatConfig(
        mapping, filtering, hairpin, NatTimeouts(40, 80, 1000)
    )
    for mapping, filtering, hairpin in itertools.product(Mapping, Filtering, (False, True))
}

BEHAVIOURS = NAMED | CUSTOM

# Mappings that a test can see expire.
SHORT_LIVED: dict[str, NatConfig] = {
    "brief": NatConfig(filtering=Filtering.ENDPOINT_INDEPENDENT, timeouts=NatTimeouts(2, 2, 2)),
    "brief-edm": NatConfig(Mapping.ENDPOINT_DEPENDENT, timeouts=NatTimeouts(2, 2, 2)),
    "staged": NatConfig(filtering=Filtering.ENDPOINT_INDEPENDENT, timeouts=NatTimeouts(1, 3, 60)),
}

OUTSIDE = ("alpha", "beta")


def independent(mode: str) -> bool:
    """Whether the mode's mapping is endpoint-independent."""
    return BEHAVIOURS[mode].mapping is Mapping.ENDPOINT_INDEPENDENT


def keeps_tables(mode: str) -> bool:
    """Whether the NAT knows its outer ports; else it is conntrack alone, which knows flows."""
    return (
        independent(mode)
        or BEHAVIOURS[mode].hairpin
        or BEHAVIOURS[mode].filtering is not Filtering.ADDRESS_AND_PORT_DEPENDENT
    )


class NatWorld:
    """`alpha` and `beta` are public hosts; behind every router `<mode>` sit `<mode>-a` and `<mode>-b`.

    With the usual behaviours there is more: the LAN of a router without translation, whose host is `deep`, is behind
    the NAT `home`; a whole home behind a carrier's NAT has the host `nested-a`.
    """

    def __init__(self, lab: LabClient, configs: dict[str, NatConfig] | None = None) -> None:
        self.lab = lab
        routers = [Router(name="internet")]
        homes = dict.fromkeys(OUTSIDE, "internet")
        if configs is None:
            configs = BEHAVIOURS | SHORT_LIVED
            routers += [
                Router(name="nested", upstream="cgnat", nat=Nat("home", NAMED["home"])),
                Router(name="plain", upstream="home"),
            ]
            homes |= {"nested-a": "nested", "nested-b": "nested", "deep": "plain"}
        routers += [Router(name=name, nat=Nat("custom", config)) for name, config in configs.items()]
        homes |= {f"{name}-{client}": name for name in configs for client in "ab"}
        devices = [
            Device(name=name, interfaces=(Interface(name="eth0", gateway=home),)) for name, home in homes.items()
        ]
        self.state: dict[str, Any] = lab.build(Topology(routers=tuple(routers), devices=tuple(devices)))
        # Below the range from which the kernel and a NAT under pressure take ports.
        self._ports = itertools.count(20_000)

    def port(self) -> int:
        """A port that no test has used."""
        return next(self._ports)

    def address(self, device: str, family: str = "ip") -> str:
        found = self.state["devices"][device]["interfaces"][0][family]
        assert isinstance(found, str)
        return found

    def wan(self, router: str, family: str = "ip") -> str:
        """A router's outer address."""
        found = self.state["routers"][router]["uplink"][family]
        assert isinstance(found, str)
        return found

    def run(self, node: str, *argv: str, input: bytes = b"") -> str:
        """A program's output in a node; raises when it fails."""
        return self.lab.run(node, argv, input=input).stdout.decode()
