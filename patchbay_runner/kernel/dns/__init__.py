"""The resolver of a lab: its names, DNS64, the messages, and the sockets that routers answer on."""

from patchbay_runner.kernel.dns.dns64 import Dns64
from patchbay_runner.kernel.dns.resolver import Resolver
from patchbay_runner.kernel.dns.server import DnsListener, open_sockets
from patchbay_runner.kernel.dns.zone import WELL_KNOWN, Zone

__all__ = ["WELL_KNOWN", "Dns64", "DnsListener", "Resolver", "Zone", "open_sockets"]
