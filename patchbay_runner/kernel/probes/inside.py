"""What can only be known within a sandbox: a kernel says yes outside and no inside, and the other way round."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Callable
from errno import EMFILE, ENFILE, ENOENT
from pathlib import Path

from patchbay_runner.errors import HostError, KernelError, LabError
from patchbay_runner.kernel import nftables, remedies
from patchbay_runner.kernel.links import has_netem
from patchbay_runner.kernel.mounts import NODES_DIRECTORY, new_node_mounts, write_node_files
from patchbay_runner.kernel.namespaces import entered, new_network_namespace, new_uts_namespace
from patchbay_runner.kernel.probes.records import Probe, fine

# Each of these is a module of its own in many kernels: tables of both families and of bridges, NAT of all kinds,
# sets that expire, verdict maps, connection marks and limits.
_RULES = """
table inet probe {
  map mappings {
    type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service
    flags timeout
    size 16
  }
  set peers {
    type ipv4_addr . inet_service
    flags dynamic, timeout
    timeout 1m
    size 16
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    ct state established,related accept
    meta l4proto udp update @peers { ip saddr . udp sport timeout 1s }
    ct status dnat accept
    reject with icmpx type admin-prohibited
  }
  chain raw {
    type filter hook prerouting priority raw;
    meta mark set 1
  }
}
table ip probe4 {
  chain out {
    type nat hook postrouting priority srcnat;
    oifname "x" masquerade random
  }
  chain in {
    type nat hook prerouting priority dstnat;
    udp dport 9 dnat to 192.0.2.1
  }
}
table ip6 probe6 {
  chain out {
    type nat hook postrouting priority srcnat;
    oifname "x" masquerade
  }
}
"""
_NFT_MODULES = ("nf_tables", "nft_chain_nat", "nft_masq", "nft_ct", "nft_reject_inet")

_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x0001 | 0x1000
_INOTIFY_TRIED = 64


def rules() -> Probe:
    """Loads a ruleset such as routers have."""
    netns = new_network_namespace()
    try:
        nftables.load(netns, _RULES)
    except (LabError, HostError) as error:
        return _missing("NAT and firewalls", str(error), "routers cannot have rules", _rules_remedy(error), needed=True)
    finally:
        os.close(netns)
    return fine("NAT and firewalls", "the kernel takes rulesets with NAT of both families")


def _rules_remedy(error: Exception) -> str:
    return error.remedy if isinstance(error, HostError) else remedies.load_modules(*_NFT_MODULES)


def ipv6() -> Probe:
    """Networks are dual-stack unless told otherwise."""
    if Path("/proc/sys/net/ipv6").is_dir():
        return fine("IPv6", "is there")
    remedy = "boot without ipv6.disable=1, or run sims whose routers are all v4-only"
    return _missing("IPv6", "the kernel has none", "dual-stack networks, the default, cannot be built", remedy)


def netem() -> Probe:
    """The kernel's link engine, for which ours stands in."""
    if has_netem():
        return fine("netem", "the kernel impairs links")
    modules = Path("/lib/modules", os.uname().release)
    if next(modules.rglob("sch_netem.ko*"), None) is not None:
        remedy = remedies.load_modules("sch_netem", "sch_tbf")
    else:  # without a directory of modules, such as in a micro-VM or a container, no package brings one
        remedy = remedies.install_netem() if modules.is_dir() else ""
    meaning = "links are impaired by an emulator: the same conditions, but it takes processor time of the sims"
    return Probe(name="netem", verdict="weaker", found="the kernel has none", meaning=meaning, remedy=remedy)


def tun() -> Probe:
    """What VPN programs of steps open."""
    netns = new_network_namespace()
    try:
        with entered(netns):
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH14x", b"probe", _IFF_TUN_NO_PI))
            finally:
                os.close(fd)
    except OSError as error:
        is_absent = error.errno == ENOENT
        remedy = f"{remedies.load_modules('tun')}; in a container: --device /dev/net/tun"
        return _missing(
            "tun",
            f"/dev/net/tun: {error.strerror}",
            "programs of steps that bring a VPN or a user-space stack cannot make their interface",
            remedy if is_absent else remedies.as_root("chmod 0666 /dev/net/tun"),
        )
    finally:
        os.close(netns)
    return fine("tun", "programs of steps can make tun interfaces")


def ping() -> Probe:
    """Raw sockets are what ping(8) falls back to; datagram sockets what programs without capabilities use."""
    netns = new_network_namespace()
    try:
        with entered(netns):
            socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
            group = os.getegid()
            Path("/proc/sys/net/ipv4/ping_group_range").write_text(f"{group} {group}")
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP).close()
    except OSError as error:
        remedy = "start the container with the default seccomp profile off: --security-opt seccomp=unconfined"
        return _missing("ping", f"{error.strerror}", "programs of steps cannot ping", remedy)
    finally:
        os.close(netns)
    open_them = f'sysctl -w net.ipv4.ping_group_range="{group} {group}"'
    return fine("ping", f"raw ICMP sockets work; a step opens unprivileged ones in its node by {open_them}")


def node() -> Probe:
    """The namespaces and mounts of one node, as a lab makes them for its first program."""
    directory = NODES_DIRECTORY / "probe"
    write_node_files(directory)
    netns = new_network_namespace()
    held = [netns]
    try:
        held.append(new_node_mounts(netns, directory))
        held.append(new_uts_namespace("probe"))
    finally:
        for fd in held:
            os.close(fd)
    return fine("node", "namespaces and mounts of a device can be made")


def inotify_room() -> int:
    """How many inotify instances can be made, of a few tens."""
    libc = ctypes.CDLL(None, use_errno=True)
    held: list[int] = []
    try:
        while len(held) < _INOTIFY_TRIED:
            fd = int(libc.inotify_init1(os.O_CLOEXEC))
            if fd < 0:
                number = ctypes.get_errno()
                if number not in (EMFILE, ENFILE):
                    raise OSError(number, os.strerror(number))
                return len(held) if _can_open() else _INOTIFY_TRIED
            held.append(fd)
    finally:
        for fd in held:
            os.close(fd)
    return len(held)


def _can_open() -> bool:
    """Whether it is not our own limit of open files that was in the way, which has a probe of its own."""
    try:
        os.close(os.open("/", os.O_PATH | os.O_CLOEXEC))
    except OSError:
        return False
    return True


_PROBES: dict[str, tuple[Callable[[], Probe], bool]] = {
    "node": (node, True),
    "NAT and firewalls": (rules, True),
    "IPv6": (ipv6, False),
    "netem": (netem, False),
    "tun": (tun, False),
    "ping": (ping, False),
}


def probe_inside() -> list[Probe]:
    """Everything, in a sandbox that nothing else runs in. One refusal does not keep the others from being asked."""
    return [_probed(name, probe, is_needed) for name, (probe, is_needed) in _PROBES.items()]


def _probed(name: str, probe: Callable[[], Probe], is_needed: bool) -> Probe:
    try:
        return probe()
    except HostError as error:
        return _missing(name, error.problem, "", error.remedy, needed=is_needed)
    except (KernelError, LabError, OSError) as error:
        return _missing(name, str(error), "the kernel refuses what labs ask of it", "", needed=is_needed)


def _missing(name: str, found: str, meaning: str, remedy: str, *, needed: bool = False) -> Probe:
    return Probe(name=name, verdict="missing", found=found, meaning=meaning, remedy=remedy, is_needed=needed)
