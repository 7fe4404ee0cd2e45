"""Interfaces of nodes, as handles tell of them."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import msgspec

# How a link is impaired: the name of a preset, or a table as in TOML.
Condition = str | Mapping[str, object]


class Interface(msgspec.Struct, frozen=True):
    """An interface as it is at a time. Absent families are None; `router` is the node that it leads to.

    Examples:
        >>> laptop.interfaces["eth0"].router
        'home'
        >>> laptop.interfaces["eth0"].is_up
        True
    """

    name: str
    ip: IPv4Address | None
    ip6: IPv6Address | None
    link_local: IPv6Address | None
    mac: str
    router: str | None = None
    is_up: bool = True


def interface_of(name: str, state: Mapping[str, Any]) -> Interface:
    """The interface that a part of the lab's state describes."""
    ip, ip6, link_local = (ip_address(text) if (text := state[key]) else None for key in ("ip", "ip_v6", "ll_v6"))
    assert not isinstance(ip, IPv6Address) and not isinstance(ip6, IPv4Address)
    assert not isinstance(link_local, IPv4Address)
    return Interface(name, ip, ip6, link_local, state["mac"], state.get("router"), state.get("up", True))
