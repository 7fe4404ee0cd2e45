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

# Distributions keep nginx, tcpdump and nft where an ordinary user's PATH does not look.
_SYSTEM_DIRECTORIES = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_USUAL_PATH = "/usr/local/bin:/usr/bin:/bin"


def program_environment(host: Mapping[str, str]) -> dict[str, str]:
    """The host's environment without what leads out of the lab, and with the system directories in PATH."""
    kept = {name: value for name, value in host.items() if name not in _REMOVED and name.lower() not in _PROXIES}
    path = kept.get("PATH", _USUAL_PATH).split(":")
    kept["PATH"] = ":".join([*path, *(directory for directory in _SYSTEM_DIRECTORIES if directory not in path)])
    return kept
