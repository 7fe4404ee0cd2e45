"""Whether an interface gives segments on whole, as a card with segmentation offload does (linux/ethtool.h)."""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct

from patchbay_runner.errors import KernelError

_SIOCETHTOOL = 0x8946
_SET_TX_CHECKSUM, _SET_SCATTER_GATHER, _SET_TSO, _SET_GSO = 0x17, 0x19, 0x1F, 0x24


def keep_segments_whole(interface: str, whole: bool) -> None:
    """Switches the offloads of an interface's transmit side, in the current network namespace.

    Without them the kernel cuts segments into frames and completes their checksums before the interface sees them.
    """
    # Each needs those before it, so they are switched off in the opposite order.
    commands = (_SET_TX_CHECKSUM, _SET_SCATTER_GATHER, _SET_TSO, _SET_GSO)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        for command in commands if whole else reversed(commands):
            _set(sock, interface, command, whole)


def _set(sock: socket.socket, interface: str, command: int, on: bool) -> None:
    value = ctypes.create_string_buffer(struct.pack("=II", command, on))
    request = struct.pack("16sP16x", interface.encode(), ctypes.addressof(value))
    try:
        fcntl.ioctl(sock.fileno(), _SIOCETHTOOL, request)
    except OSError as error:
        raise KernelError(f"set offloads of {interface}", error.errno or 0) from error
