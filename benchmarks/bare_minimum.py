"""The least that a network of COUNT devices behind one router's bridge can cost: the same kernel objects as a lab's
(namespaces, veth pairs, addresses, default routes, permanent neighbours), and nothing else.

    python -m benchmarks.bare_minimum COUNT [--families 4|46] [--threads 1|2]

prints {"count": …, "families": …, "build_s": …, "per_node_ms": …, "teardown_s": …}. It shares no code with the
package and is written to be hard to beat: every byte is encoded before the clock starts, a device costs one datagram,
and a second thread makes namespaces while the first fills them. `teardown_s` is the end of the process. That
the network is real is checked after the clock has stopped.
"""

import argparse
import ctypes
import fcntl
import gc
import json
import os
import queue
import resource
import socket
import struct
import threading
import time
import traceback
from collections.abc import Callable, Iterator

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x00020000, 0x10000000, 0x20000000, 0x40000000
SYS_FSOPEN, SYS_FSCONFIG, SYS_FSMOUNT, FSCONFIG_CMD_CREATE = 430, 431, 432, 6
SIOCGSKNS = 0x894C  # the network namespace of a socket, as a descriptor
NEW_LINK, NEW_ADDRESS, NEW_ROUTE, NEW_NEIGHBOUR = 16, 20, 24, 28
REQUEST, ACKNOWLEDGE, CREATE = 1, 4, 0x401
ACKNOWLEDGED_BYTES = 36
CHUNK_BYTES = 128 * 1024
NAMESPACES_PER_PROC = 64
ROUTER_FD = 200  # a fixed number, so that the requests that name it exist before it does

BRIDGE, ETHERNET, FIRST_PORT = 2, 2, 100
BRIDGE_MAC = bytes.fromhex("020000000001")
PREFIX_V4, PREFIX_V6, LINK_LOCAL = 16, 64, b"\xfe\x80" + bytes(10)
UNIQUE_LOCAL = b"\xfd\x10" + bytes(10)
# A bridge floods multicast, so that every report of a listener is COUNT packets, enough to overflow the queues of the
# machine for a second: no solicitations, and the repetition of reports an hour away.
DEVICE_SETTINGS = (
    ("ipv6/conf/default/accept_ra", b"0"),
    ("ipv6/conf/default/mldv2_unsolicited_report_interval", b"3600000"),
)

libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


# Encoding


def attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def number(kind: int, value: int) -> bytes:
    return struct.pack("=HHI", 8, kind, value)


def message(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 0, 0) + body


def link(flags: int, index: int, up: bool, attributes: bytes) -> bytes:
    return message(NEW_LINK, flags, link_header(index, up) + attributes)


def link_header(index: int, up: bool) -> bytes:
    return struct.pack("=BxHiII", 0, 0, index, up, up)


def named(name: str, mac: bytes) -> bytes:
    # One queue each, or a veth gets one for each processor: 0.2 ms a pair on a machine of two.
    queues = number(31, 1) + number(32, 1)
    return attribute(3, name.encode() + b"\0") + number(4, 1500) + attribute(1, mac) + queues


def veth(port: str, index: int, mac: bytes) -> bytes:
    peer = attribute(1, link_header(ETHERNET, False) + named("eth0", mac))
    info = attribute(18, attribute(1, b"veth") + attribute(2, peer))
    port_mac = b"\x06" + mac[1:]
    return link(CREATE, index, True, named(port, port_mac) + info + number(10, BRIDGE) + number(28, ROUTER_FD))


def no_generated_addresses(index: int) -> bytes:
    mode = struct.pack("=HHBxxx", 5, 8, 1)
    return link(REQUEST, index, False, attribute(26, attribute(socket.AF_INET6, mode)))


def address(packed: bytes, index: int) -> bytes:
    if len(packed) == 4:
        broadcast = attribute(4, packed[:2] + b"\xff\xff")
        header, flags = struct.pack("=BBBBI", socket.AF_INET, PREFIX_V4, 0, 0, index), broadcast
    else:
        scope = 253 if packed.startswith(LINK_LOCAL) else 0
        header, flags = struct.pack("=BBBBI", socket.AF_INET6, PREFIX_V6, 0, scope, index), number(8, 2)
    return message(NEW_ADDRESS, CREATE, header + attribute(2, packed) + attribute(1, packed) + flags)


def default_route(gateway: bytes) -> bytes:
    family = socket.AF_INET if len(gateway) == 4 else socket.AF_INET6
    header = struct.pack("=BBBBBBBBI", family, 0, 0, 0, 254, 4, 0, 1, 0)
    return message(NEW_ROUTE, CREATE, header + attribute(5, gateway) + number(4, ETHERNET))


def neighbour(packed: bytes, mac: bytes, index: int) -> bytes:
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    header = struct.pack("=BxxxiHBB", family, index, 0x80, 0, 0)
    return message(NEW_NEIGHBOUR, CREATE, header + attribute(1, packed) + attribute(2, mac))


# The network: member 0 is the router, 1 to COUNT are the devices.


def addresses(member: int, families: str) -> list[bytes]:
    number_ = (member + 1).to_bytes(4)
    v6 = [LINK_LOCAL + number_, UNIQUE_LOCAL + number_] if "6" in families else []
    return [b"\x0a\x00" + number_[2:], *v6]


def mac_of(member: int) -> bytes:
    return BRIDGE_MAC if member == 0 else b"\x02\x01" + member.to_bytes(4)


def device_requests(member: int, families: str) -> list[bytes]:
    gateways = addresses(0, families)
    return [
        link(REQUEST, 1, True, b""),
        veth(f"p{member}", FIRST_PORT + member, mac_of(member)),
        no_generated_addresses(ETHERNET),
        link(REQUEST, ETHERNET, True, b""),
        *(address(packed, ETHERNET) for packed in addresses(member, families)),
        *(neighbour(packed, BRIDGE_MAC, ETHERNET) for packed in gateways),
        *(default_route(packed) for packed in gateways[:2]),
    ]


def router_requests(count: int, families: str) -> tuple[list[bytes], list[bytes]]:
    """What makes the router before its devices, and what opens its LAN after them."""
    plain = attribute(2, number(1, 0) + number(5, 0) + struct.pack("=HHBxxx", 5, 23, 0))
    info = attribute(18, attribute(1, b"bridge") + plain)
    before = [link(REQUEST, 1, True, b""), link(CREATE, BRIDGE, False, named("br0", BRIDGE_MAC) + info)]
    after = [no_generated_addresses(BRIDGE)]
    after += [address(packed, BRIDGE) for packed in addresses(0, families)]
    for member in range(1, count + 1):
        after += [neighbour(packed, mac_of(member), BRIDGE) for packed in addresses(member, families)]
    return before, [*after, link(REQUEST, BRIDGE, True, b"")]


def datagrams(requests: list[bytes]) -> Iterator[bytes]:
    """Joined as far as a socket's buffer goes; only the last of each datagram is acknowledged, errors always are."""
    chunk: list[bytes] = []
    for position, request in enumerate(requests):
        chunk.append(request)
        if position + 1 == len(requests) or sum(map(len, chunk)) > CHUNK_BYTES:
            length, kind, flags = struct.unpack_from("=IHH", chunk[-1])
            chunk[-1] = struct.pack("=IHH", length, kind, flags | ACKNOWLEDGE) + chunk[-1][8:]
            yield b"".join(chunk)
            chunk = []


# Carrying it out


def send(sock: socket.socket, data: bytes) -> None:
    sock.send(data)
    reply = sock.recv(4096, socket.MSG_DONTWAIT)
    if len(reply) != ACKNOWLEDGED_BYTES or reply[16:20] != bytes(4):
        (code,) = struct.unpack_from("=i", reply, 16)
        raise OSError(-code, f"{os.strerror(-code)}: request type {struct.unpack_from('=H', reply, 24)[0]}")


def netlink_socket() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)


def private_proc() -> int:
    """A mount of proc with a path cache of its own: in a shared one every namespace makes the next one's slower."""
    context = checked(libc.syscall(SYS_FSOPEN, b"proc", 1))
    checked(libc.syscall(SYS_FSCONFIG, context, FSCONFIG_CMD_CREATE, None, None, 0))
    mount = checked(libc.syscall(SYS_FSMOUNT, context, 1, 0))
    os.close(context)
    return mount


class Settings:
    """Writes below /proc/sys/net of the thread's namespace."""

    def __init__(self) -> None:
        self._proc, self._visits = private_proc(), 0

    def write(self, *paths_and_values: tuple[str, bytes]) -> None:
        self._visits += 1
        if self._visits % NAMESPACES_PER_PROC == 0:
            os.close(self._proc)
            self._proc = private_proc()
        for path, value in paths_and_values:
            fd = os.open(f"sys/net/{path}", os.O_WRONLY, dir_fd=self._proc)
            os.write(fd, value)
            os.close(fd)


def build(count: int, families: str, threads: int) -> tuple[float, list[int]]:
    """Seconds, and the namespaces of the devices."""
    before, after = (list(datagrams(requests)) for requests in router_requests(count, families))
    filling = [b"".join(datagrams(device_requests(member, families))) for member in range(1, count + 1)]
    namespaces: list[int] = []
    settings, v6 = Settings(), "6" in families
    gc.disable()
    started = time.perf_counter()

    checked(libc.unshare(CLONE_NEWNET))
    settings.write(("ipv4/conf/all/forwarding", b"1"), ("ipv6/conf/all/forwarding", b"1" if v6 else b"0"))
    with netlink_socket() as router:
        os.dup2(fcntl.ioctl(router, SIOCGSKNS), ROUTER_FD)
        for data in before:
            send(router, data)
        settings.write(("ipv6/conf/default/disable_ipv6", b"1"))  # of the ports, not of the bridge before them
        for sock, data in zip(made(count, settings, v6, threads), filling, strict=True):
            send(sock, data)
            namespaces.append(fcntl.ioctl(sock, SIOCGSKNS))
            sock.close()
        for data in after:
            send(router, data)
    return time.perf_counter() - started, namespaces


def made(count: int, settings: Settings, v6: bool, threads: int) -> Iterator[socket.socket]:
    """A socket in each of COUNT new namespaces; with two threads they are made while the caller fills them."""

    def one() -> socket.socket:
        checked(libc.unshare(CLONE_NEWNET))
        if v6:
            settings.write(*DEVICE_SETTINGS)
        return netlink_socket()

    if threads == 1:
        return (one() for _ in range(count))
    sockets: queue.SimpleQueue[socket.socket | BaseException] = queue.SimpleQueue()
    threading.Thread(target=produce, args=(one, count, sockets.put), daemon=True).start()
    return (received(sockets.get()) for _ in range(count))


def produce(one: Callable[[], socket.socket], count: int, put: Callable[[socket.socket | BaseException], None]) -> None:
    try:
        for _ in range(count):
            put(one())
    except OSError as error:
        put(error)


def received(item: socket.socket | BaseException) -> socket.socket:
    if isinstance(item, BaseException):
        raise item
    return item


def check(namespaces: list[int], count: int, families: str) -> None:
    """A datagram from the last device to the router and to the first device, in every family."""
    for to_member, to_namespace in ((0, ROUTER_FD), (1, namespaces[0])):
        for packed in addresses(to_member, families)[:: 2 if "6" in families else 1]:
            family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
            checked(libc.setns(to_namespace, CLONE_NEWNET))
            receiver = socket.socket(family, socket.SOCK_DGRAM)
            checked(libc.setns(namespaces[count - 1], CLONE_NEWNET))
            with receiver, socket.socket(family, socket.SOCK_DGRAM) as sender:
                if not arrives(sender, receiver, socket.inet_ntop(family, packed)):
                    raise SystemExit(f"nothing arrives at {socket.inet_ntop(family, packed)}: this is no network")


def arrives(sender: socket.socket, receiver: socket.socket, text: str) -> bool:
    """Within five attempts: the first reports of the last devices may still be flooding the LAN."""
    receiver.bind((text, 4000))
    receiver.settimeout(1)
    for _ in range(5):
        sender.sendto(b"x", (text, 4000))
        try:
            return receiver.recv(10) == b"x"
        except TimeoutError:
            continue
    return False


def enter_namespaces() -> None:
    """As root a process namespace of our own, as anybody else a user namespace around it: like a sandbox."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        checked(libc.unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET))
        return
    checked(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET))
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123
            file.write(text)


def run_inside(count: int, families: str, threads: int, report: int, keep: int) -> None:
    """Builds, checks, says how long it took, and ends when the other end of `keep` is closed."""
    seconds, namespaces = build(count, families, threads)
    check(namespaces, count, families)
    os.write(report, struct.pack("d", seconds))
    os.read(keep, 1)


def forked(work: Callable[[], None]) -> int:
    """The pid of a process that does this work and ends."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:  # noqa: BLE001  the process ends here, whatever happened
            traceback.print_exc()
        finally:
            os._exit(status)
    return pid


def in_namespaces(work: Callable[[], None]) -> None:
    """The work in a child, because a process namespace begins with the next child."""
    enter_namespaces()
    _, status = os.waitpid(forked(work), 0)
    if status:
        raise SystemExit(1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int)
    parser.add_argument("--families", choices=["4", "46"], default="4")
    parser.add_argument("--threads", type=int, choices=[1, 2], default=2)
    asked = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    report, reported = os.pipe()
    kept, keep = os.pipe()

    def work() -> None:
        os.close(keep)
        in_namespaces(lambda: run_inside(asked.count, asked.families, asked.threads, reported, kept))

    pid = forked(work)
    os.close(reported)
    answer = os.read(report, 8)
    started = time.perf_counter()
    os.close(keep)
    os.waitpid(pid, 0)
    teardown_s = time.perf_counter() - started
    if not answer:
        raise SystemExit("nothing was built")
    (build_s,) = struct.unpack("d", answer)
    figures = {"build_s": build_s, "per_node_ms": 1000 * build_s / asked.count, "teardown_s": teardown_s}
    print(json.dumps({"count": asked.count, "families": asked.families, **figures}))


if __name__ == "__main__":
    main()
