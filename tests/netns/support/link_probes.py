"""Traffic that shows what a link can carry."""

from __future__ import annotations

import json
import struct
import threading
import time
from typing import Any

from tests.netns.support.link_world import SO_TIMESTAMPNS, LinkWorld

FRAME, PAYLOAD = 1514, 1472
# What headers leave of a frame for the payload of TCP with timestamps.
TCP_SHARE = 1448 / FRAME


def goodput_kbit(world: LinkWorld, seconds: float, settle_s: float = 0.5) -> float:
    """What the server reads of an upload by TCP, from `settle_s` on."""
    with world.lab.socket("server") as listener:
        listener.bind((world.address("server"), 0))
        listener.listen()
        listener.settimeout(10)
        end_s = time.monotonic() + seconds

        def send() -> None:
            with world.lab.socket("d0") as sender:
                sender.connect(listener.getsockname())
                while time.monotonic() < end_s:
                    sender.send(bytes(1 << 16))

        thread = threading.Thread(target=send)
        thread.start()
        connection, _ = listener.accept()
        with connection:
            begin_s = time.monotonic() + settle_s
            first_s = last_s = 0.0
            received = 0
            while (now_s := time.monotonic()) < end_s and (size := len(connection.recv(1 << 16))):
                if now_s >= begin_s:
                    # What the first read brings was sent before it.
                    received += size if first_s else 0
                    first_s, last_s = first_s or time.monotonic(), time.monotonic()
        thread.join()
    return received * 8 / (last_s - first_s) / 1e3


def paced_delays_ms(world: LinkWorld, links: int, gap_s: float, seconds: float) -> list[float]:
    """Sends a datagram by every link each `gap_s`; returns the milliseconds that each took."""
    receiver = world.lab.socket("server", "inet", "dgram")
    receiver.setsockopt(1, 8, 16 << 20)  # SO_RCVBUF
    receiver.setsockopt(1, SO_TIMESTAMPNS, 1)
    receiver.bind((world.address("server"), 0))
    receiver.settimeout(1.0)
    found: list[float] = []

    def collect() -> None:
        while True:
            try:
                data, ancillary, _, _ = receiver.recvmsg(2048, 64)
            except TimeoutError:
                return
            seconds, nanoseconds = struct.unpack("=qq", ancillary[0][2])
            found.append((seconds * 10**9 + nanoseconds - int.from_bytes(data[:8], "big")) / 1e6)

    collector = threading.Thread(target=collect)
    collector.start()
    senders = [world.lab.socket(f"d{i}", "inet", "dgram") for i in range(links)]
    for sender in senders:
        sender.connect(receiver.getsockname())
    next_s = time.perf_counter()
    end_s = next_s + seconds
    while next_s < end_s:
        for sender in senders:
            # The links' turns are spread over the gap, as those of links that know nothing of each other.
            next_s += gap_s / links
            if (left_s := next_s - time.perf_counter()) > 0:
                time.sleep(left_s)
            sender.send(time.time_ns().to_bytes(8, "big") + bytes(PAYLOAD - 8))
    collector.join()
    for sock in (receiver, *senders):
        sock.close()
    return found


def iperf(world: LinkWorld, seconds: int, *options: str) -> dict[str, Any]:
    """The end of iperf3's report of an upload."""
    server = world.lab.popen("server", ["iperf3", "-s", "-1"])
    time.sleep(0.3)
    done = world.lab.run("d0", ["iperf3", "-c", world.address("server"), "-J", "-t", str(seconds), *options])
    server.wait()
    end: dict[str, Any] = json.loads(done.stdout)["end"]
    return end
