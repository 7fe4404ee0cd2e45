"""Whether an interface gives segments on whole, as a card with segmentation offload does (linux/ethtool.h)."""

from __future__ import annotations

import ctypes
import fcntl
import platform
import re
import socket
import struct

from patchbay_runner.errors import KernelError

_SIOCETHTOOL = 0x8946
_STRINGS, _STRING_SET_SIZE, _SET_FEATURES = 0x1B, 0x37, 0x3B
_FEATURES, _STRING_BYTES = 4, 32  # ETH_SS_FEATURES, ETH_GSTRING_LEN

_DESCRIBABLE = {
    "tx-tcp-segmentation",
    "tx-tcp6-segmentation",
    "tx-tcp-ecn-segmentation",
    "tx-tcp-mangleid-segmentation",
}
_INDESCRIBABLE = {"tx-gso-list", "tx-checksum-sctp", "tx-checksum-fcoe-crc"}


def keep_describable_segments(interface: str) -> None:
    """Lets an interface take whole only those segments that a virtio_net_hdr describes.

    The kernel cuts the others into frames, and completes the checksums that the header has no words for, before the
    interface sees them: SCTP's, those inside tunnels, and datagrams' before Linux 6.2.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        names = _feature_names(sock, interface)
        off = [position for position, name in enumerate(names) if _is_indescribable(name)]
        words = [0] * (-(-len(names) // 32))
        for position in off:
            words[position // 32] |= 1 << position % 32
        features = b"".join(struct.pack("=II", word, 0) for word in words)  # what is to change, what it becomes
        _ethtool(sock, interface, struct.pack("=II", _SET_FEATURES, len(words)) + features)


def segments_of_datagrams() -> bool:
    """Whether this kernel's packet sockets know segments of UDP."""
    major, minor = platform.release().split(".")[:2]
    return (int(major), int(re.sub(r"\D.*", "", minor))) >= (6, 2)


def _is_indescribable(feature: str) -> bool:
    if feature == "tx-udp-segmentation":
        return not segments_of_datagrams()
    return feature in _INDESCRIBABLE or (feature.endswith("-segmentation") and feature not in _DESCRIBABLE)


def _feature_names(sock: socket.socket, interface: str) -> list[str]:
    found = _ethtool(sock, interface, struct.pack("=IIQI", _STRING_SET_SIZE, 0, 1 << _FEATURES, 0))
    (count,) = struct.unpack_from("=I", found, 16)
    found = _ethtool(sock, interface, struct.pack("=III", _STRINGS, _FEATURES, count) + bytes(count * _STRING_BYTES))
    names = (found[12 + _STRING_BYTES * number :][:_STRING_BYTES] for number in range(count))
    return [name.split(b"\0")[0].decode() for name in names]


def _ethtool(sock: socket.socket, interface: str, command: bytes) -> bytes:
    """The command as the kernel leaves it."""
    memory = ctypes.create_string_buffer(command, len(command))
    request = struct.pack("16sP16x", interface.encode(), ctypes.addressof(memory))
    try:
        fcntl.ioctl(sock.fileno(), _SIOCETHTOOL, request)
    except OSError as error:
        raise KernelError(f"set offloads of {interface}", error.errno or 0) from error
    return memory.raw
