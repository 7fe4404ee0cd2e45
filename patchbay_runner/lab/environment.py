"""The environment that programs in a lab start with. Pure."""

from __future__ import annotations

from collections.abc import Mapping

# What leads out of the lab, or to services that a node does not have: proxies, the session bus, systemd's socket, and
# the host's temporary directory, which every node has its own of.
_REMOVED = frozenset(
    {
        "DBUS_SESSION_BUS_ADDRESS",
        "DBUS_SYSTEM_BUS_ADDRESS",
        "NOTIFY_SOCKET",
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
        "LISTEN_PID",
        "TMPDIR",
    }
)
_PROXIES = frozenset({"http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy", "socks_proxy"})


def program_environment(host: Mapping[str, str]) -> dict[str, str]:
    """The host's environment without what leads out of the lab."""
    return {name: value for name, value in host.items() if name not in _REMOVED and name.lower() not in _PROXIES}
