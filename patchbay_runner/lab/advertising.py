"""The advertising routers of a running lab."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from ipaddress import IPv6Address

from patchbay_runner.kernel.router_advertisements import AdvertiserConfig, RouterAdvertiser, open_socket
from patchbay_runner.lab.blueprint import InterfaceBlueprint, NodeBlueprint

# More hosts of one LAN are told by one advertisement to all.
_TOLD_ONE_BY_ONE = 16


class Advertising:
    """The routers' advertisers, by router; `emit` receives their events. They run on the agent's loop."""

    def __init__(self, emit: Callable[..., None]) -> None:
        self._emit = emit
        self._advertisers: dict[str, RouterAdvertiser] = {}
        self._configs: dict[str, AdvertiserConfig] = {}

    def start(self, nodes: Iterable[NodeBlueprint], namespaces: Mapping[str, int]) -> None:
        """Starts those that the blueprint asks for, on the running loop. Raises KernelError."""
        for node in nodes:
            if node.advertiser is not None:
                sock = open_socket(namespaces[node.name], node.advertiser, node.name)
                advertiser = RouterAdvertiser(sock, node.advertiser, partial(self._emit, router=node.name))
                self._advertisers[node.name] = advertiser
                self._configs[node.name] = node.advertiser
                advertiser.start()

    def is_default(self, interface: InterfaceBlueprint) -> bool:
        """Whether the interface is to learn a default route from its router."""
        advertiser = self._configs.get(interface.port.lan)
        return interface.learns_default and advertiser is not None and advertiser.advertisement.lifetime_s > 0

    def tell(self, router: str, hosts: list[IPv6Address]) -> None:
        """Sends hosts of the router's LAN what a solicitation of their own would have brought, unless it is away."""
        advertiser = self._advertisers.get(router)
        if advertiser is None:
            return
        if len(hosts) > _TOLD_ONE_BY_ONE:
            advertiser.advertise()
            return
        for host in hosts:
            advertiser.advertise_to(host)

    def stop(self, router: str) -> None:
        """Ends a router's advertisements, if it has any, without a word to its hosts."""
        advertiser = self._advertisers.pop(router, None)
        if advertiser is not None:
            advertiser.stop(is_announced=False)

    def close(self) -> None:
        """Ends the advertisements, on the loop that they run on."""
        for advertiser in self._advertisers.values():
            advertiser.stop()
        self._advertisers.clear()
