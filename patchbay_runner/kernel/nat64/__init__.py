"""NAT64: IPv6 clients reach IPv4 hosts through a router (RFC 6146, RFC 7915), translated in user space.

::

    LAN ── kernel, IPv6 ── veth ── translator ── veth ── kernel, IPv4 ── NAT ── uplink
                                   process.py            (the same router)

The translator gives each client an IPv4 address of a pool and rewrites headers. Ports, mappings, filtering and
timeouts are left to the IPv4 NAT of the router, which hides the pool as it would hide a LAN.
"""

from patchbay_runner.kernel.nat64.addresses import CLIENT_POOL, WELL_KNOWN_PREFIX, Nat64Config
from patchbay_runner.kernel.nat64.link import INTERFACE
from patchbay_runner.kernel.nat64.process import Nat64

__all__ = ["CLIENT_POOL", "INTERFACE", "WELL_KNOWN_PREFIX", "Nat64", "Nat64Config"]
