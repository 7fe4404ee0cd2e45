"""A router's advertisements on one link (RFC 4861, section 6.2): periodic, on solicitation, and a last one that ends.

It runs on the agent's own loop: a router sends one packet every half minute and one for each host that comes up, so a
process of its own would cost more than all of them.

Where RFC 4861 asks for patience (section 6.2.6), a lab is quick instead: a solicitation from an address is answered at
once and by unicast, without the random delay of up to 0.5 s; answers to all are at least `multicast_spacing_s` apart
(MIN_DELAY_BETWEEN_RAS: 3 s), and the interval may be shorter than 4 s. Where many hosts ask at once, one advertisement
to all answers them.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Callable
from ipaddress import IPv6Address

import msgspec

from patchbay_runner.errors import KernelError
from patchbay_runner.kernel.namespaces import entered
from patchbay_runner.kernel.ndp import (
    ROUTER_SOLICITATION,
    RouterAdvertisement,
    decode_solicitation,
    encode_advertisement,
)

ALL_NODES = "ff02::1"
_ALL_ROUTERS = "ff02::2"
# A message with another hop limit has crossed a router, and is forged (RFC 4861, section 6.1.1).
_HOP_LIMIT = 255
_ICMP6_FILTER = 1  # linux/icmpv6.h; a bit that is set blocks its type
_RECEIVE_BYTES = 2048
_MESSAGES_AT_A_TIME = 256
_ANSWERS_AT_A_TIME = 16

# RFC 4861, section 10: the first advertisements come sooner, for hosts that were there before the router.
_INITIAL_ADVERTISEMENTS = 3
_INITIAL_INTERVAL_S = 16.0

Emit = Callable[..., None]


_DEFAULT = "ipv6/conf/default"


def slaac_sysctls(*, dad: bool) -> tuple[tuple[str, str], ...]:
    """What a host's namespace needs, below /proc/sys/net and before its interfaces appear, to configure itself.

    Addresses come from the hardware address; there are no temporary ones (RFC 8981), which no plan could name. Without
    duplicate address detection a host is ready within milliseconds.
    """
    return (
        (f"{_DEFAULT}/accept_ra", "1"),
        (f"{_DEFAULT}/autoconf", "1"),
        (f"{_DEFAULT}/addr_gen_mode", "0"),
        (f"{_DEFAULT}/use_tempaddr", "0"),
        *dad_sysctls(dad),
    )


def dad_sysctls(dad: bool) -> tuple[tuple[str, str], ...]:
    """Whether a host probes for duplicates (RFC 4862, section 5.4): once, for a second, and not up to 1 s late."""
    return (
        (f"{_DEFAULT}/accept_dad", str(int(dad))),
        (f"{_DEFAULT}/dad_transmits", str(int(dad))),
        (f"{_DEFAULT}/router_solicitation_delay", "0"),
    )


class AdvertiserConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a router says on the link behind `interface`, and how often; `interval_s` is RFC 4861's maximum."""

    interface: str
    ifindex: int
    advertisement: RouterAdvertisement
    interval_s: float = 30.0
    multicast_spacing_s: float = 0.1


def open_socket(netns_fd: int, config: AdvertiserConfig, node: str = "") -> socket.socket:
    """A raw ICMPv6 socket in the router's namespace, ready for `RouterAdvertiser`. Raises KernelError."""
    with entered(netns_fd):
        try:
            sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_ICMPV6)
        except OSError as error:
            raise KernelError("open a raw ICMPv6 socket", error.errno or 0, node) from error
    try:
        prepare_socket(sock, config)
    except OSError as error:
        sock.close()
        raise KernelError(f"prepare advertisements on {config.interface}", error.errno or 0, node) from error
    return sock


def prepare_socket(sock: socket.socket, config: AdvertiserConfig) -> None:
    """Ties a raw ICMPv6 socket to the link: it hears solicitations and nothing else. Raises OSError."""
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, config.interface.encode())
    heard = bytearray(b"\xff" * 32)
    # Eight words of the machine's byte order, a bit for each type.
    struct.pack_into("=I", heard, ROUTER_SOLICITATION // 32 * 4, 0xFFFFFFFF ^ 1 << ROUTER_SOLICITATION % 32)
    sock.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, bytes(heard))
    for option in (socket.IPV6_MULTICAST_HOPS, socket.IPV6_UNICAST_HOPS):
        sock.setsockopt(socket.IPPROTO_IPV6, option, _HOP_LIMIT)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, config.ifindex)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
    group = IPv6Address(_ALL_ROUTERS).packed + struct.pack("=I", config.ifindex)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)


def _ignore_event(kind: str, /, **fields: object) -> None:
    """Where events go when nobody listens."""


class RouterAdvertiser:
    """Advertises on one link from `start` to `stop`; takes the prepared socket over.

    `emit` receives `router_advertisement` (destination, lifetime_s), `router_solicitation` (source) and, when the
    kernel refuses a packet, `router_advertisement_failed` (destination, error): a link that is down refuses them all,
    and the next advertisement is due all the same. `choose` draws from [0, 1); give a seeded one to repeat a run.
    """

    def __init__(
        self,
        sock: socket.socket,
        config: AdvertiserConfig,
        emit: Emit = _ignore_event,
        choose: Callable[[], float] = random.random,
    ) -> None:
        self._socket = sock
        self._config = config
        self._emit = emit
        self._choose = choose
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sent = 0
        self._last_multicast_s = float("-inf")

    def start(self) -> None:
        """Advertises now and from now on, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._receive)
        self._advertise()

    def update(self, advertisement: RouterAdvertisement) -> None:
        """Says something else from now on, at once if it has started."""
        self._config = msgspec.structs.replace(self._config, advertisement=advertisement)
        self._sent = 0
        if self._loop is not None:
            self._advertise()

    def advertise(self) -> None:
        """Tells all hosts, as soon as the spacing allows."""
        assert self._loop is not None
        now_s = self._loop.time()
        due_s = max(now_s, self._last_multicast_s + self._config.multicast_spacing_s)
        if self._timer is None or self._timer.when() > due_s:
            self._schedule(due_s - now_s)

    def advertise_to(self, address: IPv6Address) -> None:
        """Sends one host what a solicitation of its own would have brought."""
        self._send(str(address), self._config.advertisement)

    def stop(self, *, is_announced: bool = True) -> None:
        """Sends the last advertisement, with lifetime 0, which ends the hosts' default routes; closes the socket.

        Unless it `is_announced`: a router that loses power says nothing.
        """
        if self._loop is None:
            self._socket.close()
            return
        self._loop.remove_reader(self._socket.fileno())
        self._loop = None
        self._cancel_timer()
        if is_announced:
            self._send(ALL_NODES, msgspec.structs.replace(self._config.advertisement, lifetime_s=0))
        self._socket.close()

    def _advertise(self) -> None:
        assert self._loop is not None
        self._send(ALL_NODES, self._config.advertisement)
        self._last_multicast_s = self._loop.time()
        self._sent += 1
        self._schedule(self._next_interval_s())

    def _next_interval_s(self) -> float:
        """Random, so that routers do not fall into step (section 6.2.4); MinRtrAdvInterval as in section 6.2.1."""
        longest = self._config.interval_s
        # RFC 4861's default for short intervals contradicts its own limit, which counts.
        shortest = 0.33 * longest if longest >= 9 else 0.75 * longest
        drawn = shortest + (longest - shortest) * self._choose()
        return min(drawn, _INITIAL_INTERVAL_S) if self._sent < _INITIAL_ADVERTISEMENTS else drawn

    def _schedule(self, delay_s: float) -> None:
        assert self._loop is not None
        self._cancel_timer()
        self._timer = self._loop.call_later(delay_s, self._advertise)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _receive(self) -> None:
        asking = []
        for _ in range(_MESSAGES_AT_A_TIME):
            try:
                data, ancillary, _, source = self._socket.recvmsg(_RECEIVE_BYTES, socket.CMSG_SPACE(4))
            except BlockingIOError:
                break
            hop_limits = [struct.unpack("=i", value)[0] for _, kind, value in ancillary if kind == socket.IPV6_HOPLIMIT]
            if hop_limits == [_HOP_LIMIT] and _is_solicitation(data, source[0]):
                asking.append(IPv6Address(source[0].partition("%")[0]))
        self._answer(asking)

    def _answer(self, asking: list[IPv6Address]) -> None:
        for source in asking:
            self._emit("router_solicitation", source=str(source))
        # When a whole LAN comes up the kernel may have dropped some questions: then all are answered.
        if len(asking) > _ANSWERS_AT_A_TIME or any(source.is_unspecified for source in asking):
            # One answers every host that asks until it is sent.
            self.advertise()
            return
        for source in asking:
            self.advertise_to(source)

    def _send(self, destination: str, advertisement: RouterAdvertisement) -> None:
        target = (destination, 0, 0, self._config.ifindex)
        try:
            self._socket.sendto(encode_advertisement(advertisement), target)
        except OSError as error:
            self._emit("router_advertisement_failed", destination=destination, error=error.strerror)
            return
        self._emit("router_advertisement", destination=destination, lifetime_s=advertisement.lifetime_s)


def _is_solicitation(data: bytes, source: str) -> bool:
    """Whether it is one that RFC 4861 (section 6.1.1) does not discard silently."""
    try:
        mac = decode_solicitation(data)
    except ValueError:
        return False
    # A host without an address has none to be told of.
    return not (mac and source == "::")
