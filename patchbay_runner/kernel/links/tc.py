"""Traffic control requests: the splice's classifiers, and the qdiscs of the kernel's engine.

The formats are those of linux/pkt_sched.h, pkt_cls.h and tc_act/*.h.
"""

from __future__ import annotations

import socket
import struct

import msgspec

from patchbay_runner.kernel.links.chance import burst_chances
from patchbay_runner.kernel.links.line import DEFAULT_BUFFER_MS
from patchbay_runner.kernel.netlink import wire
from patchbay_runner.kernel.netlink.socket import NetlinkSocket
from patchbay_runner.model.links import LinkCondition

_TC = struct.Struct("=BxxxiIII")  # family, index, handle, parent, info
_U32, _U64 = struct.Struct("=I"), struct.Struct("=Q")
TCA_KIND, TCA_OPTIONS, _TCA_STATS2 = wire.TCA_KIND, 2, 7
INGRESS, EGRESS = wire.CLSACT_INGRESS, wire.CLSACT_EGRESS
_CLSACT_HANDLE = 0xFFFF0000
CUTTER_HANDLE, NETEM_HANDLE, RATE_HANDLE = 0x00010000, 0x00020000, 0x00030000

_ALL_PROTOCOLS = socket.htons(3)
_TCA_BPF_ACT, _TCA_BPF_OPS_LEN, _TCA_BPF_OPS = 1, 4, 5
_TCA_ACT_KIND, _TCA_ACT_OPTIONS = 1, 2
_TCA_MIRRED_PARMS = 2
_MIRRED = struct.Struct("=IIiiiiI")  # index, capab, action, refcnt, bindcnt, eaction, ifindex
_TC_ACT_STOLEN = 4
TO_EGRESS, TO_INGRESS = 1, 3  # TCA_EGRESS_REDIR, TCA_INGRESS_REDIR

_SOCK_FILTER = struct.Struct("=HBBI")
_LOAD_MARK = _SOCK_FILTER.pack(0x20, 0, 0, 0xFFFFF014)  # ld [SKF_AD_OFF + SKF_AD_MARK]
_MATCH, _NO_MATCH = _SOCK_FILTER.pack(6, 0, 0, 0xFFFFFFFF), _SOCK_FILTER.pack(6, 0, 0, 0)

_TCA_NETEM_REORDER, _TCA_NETEM_CORRUPT, _TCA_NETEM_LOSS = 3, 4, 5
_TCA_NETEM_RATE, _TCA_NETEM_LATENCY64, _TCA_NETEM_JITTER64, _TCA_NETEM_PRNG_SEED = 6, 10, 11, 14
_NETEM_LOSS_GE = 2
_NETEM = struct.Struct("=IIIIII")  # latency, limit, loss, gap, duplicate, jitter
_WHOLE = 0xFFFFFFFF
# A rate that never holds a frame up, but with which netem keeps frames in their order whatever their delays, and with
# which they are off their sender's account while they wait, as if they were in another machine's queue.
_ORDERING_RATE_BYTES = 0xFFFFFFFE

_TCA_TBF_PARMS, _TCA_TBF_BURST, _TCA_TBF_RATE64 = 1, 6, 4
_RATE_SPEC = struct.Struct("=BBHhHI")
_TBF = struct.Struct("=12s12sIII")  # rate, peak rate, limit, buffer, mtu
_PSCHED_TICK_NS = 64
_LINKLAYER_ETHERNET = 1
_TAGGED_ETHERNET_HEADER_BYTES = 18
_LATE_TIMER_S = 0.004
_UNLIMITED_RATE_BYTES = 100_000_000_000
_UNLIMITED_BURST_BYTES = 1 << 20  # above the longest segment

_MINIMUM_FRAME_BYTES = 60
_LEAST_QUEUE_PACKETS = 100_000


class QdiscCounters(msgspec.Struct, frozen=True):
    """What a qdisc has sent and dropped, and what waits in it."""

    bytes: int = 0
    packets: int = 0
    drops: int = 0
    backlog_bytes: int = 0


def add_clsact(ifindex: int) -> bytes:
    """Give an interface hooks for classifiers on both of its ways."""
    return _qdisc(
        wire.RTM_NEWQDISC, wire.CREATE_NEW, ifindex, handle=_CLSACT_HANDLE, parent=wire.TC_H_CLSACT, kind="clsact"
    )


def add_redirect(
    ifindex: int, hook: int, preference: int, target: int, *, to: int = TO_EGRESS, unless_mark: int = 0
) -> bytes:
    """Send what passes `hook` of an interface to another one, but for packets that carry the mark `unless_mark`."""
    program = _program(unless_mark)
    mirred = wire.attribute(_TCA_MIRRED_PARMS, _MIRRED.pack(0, 0, _TC_ACT_STOLEN, 0, 0, to, target))
    action = wire.nested(1, wire.text(_TCA_ACT_KIND, "mirred"), wire.nested(_TCA_ACT_OPTIONS, mirred))
    options = wire.nested(
        TCA_OPTIONS,
        wire.nested(_TCA_BPF_ACT, action),
        wire.u16(_TCA_BPF_OPS_LEN, len(program) // _SOCK_FILTER.size),
        wire.attribute(_TCA_BPF_OPS, program),
    )
    body = _filter_header(ifindex, hook, preference, _ALL_PROTOCOLS) + wire.text(TCA_KIND, "bpf") + options
    return wire.request(wire.RTM_NEWTFILTER, wire.CREATE_NEW, body)


def delete_redirect(ifindex: int, hook: int, preference: int) -> bytes:
    body = _filter_header(ifindex, hook, preference, _ALL_PROTOCOLS)
    return wire.request(wire.RTM_DELTFILTER, 0, body)


def set_tree(ifindex: int, condition: LinkCondition, frame_bytes: int, seed: int | None = None) -> list[bytes]:
    """Make what an interface sends as `condition` asks, by three qdiscs, or change those that are there.

    The first cuts segments into frames where each has a fate of its own, netem decides over it and delays it, the last
    has the rate and the queue before it. All are always there, so that a change loses nothing of what waits.
    `frame_bytes` is the longest frame, see `longest_frame_bytes`. Kernels before 6.6 draw their random numbers without
    regard to `seed`.
    """
    return [
        _tbf(ifindex, wire.TC_H_ROOT, CUTTER_HANDLE, _cutter_options(condition, frame_bytes)),
        _set(ifindex, CUTTER_HANDLE | 1, NETEM_HANDLE, "netem", _netem_options(condition, seed)),
        _tbf(ifindex, NETEM_HANDLE | 1, RATE_HANDLE, _rate_options(condition, frame_bytes)),
    ]


def delete_root(ifindex: int) -> bytes:
    """Remove an interface's qdiscs; what they hold is lost."""
    return _qdisc(wire.RTM_DELQDISC, 0, ifindex, handle=0, parent=wire.TC_H_ROOT)


def longest_frame_bytes(mtu: int) -> int:
    """Of an interface with this MTU, as a qdisc sees it."""
    return mtu + _TAGGED_ETHERNET_HEADER_BYTES


def dump_qdiscs(sock: NetlinkSocket) -> dict[tuple[int, int], QdiscCounters]:
    """What the qdiscs of a namespace have counted, by interface index and handle."""
    bodies = sock.dump(wire.request(wire.RTM_GETQDISC, wire.NLM_F_DUMP, _TC.pack(0, 0, 0, 0, 0)))
    return {_TC.unpack_from(body)[1:3]: parse_qdisc(body) for body in bodies}


def parse_qdisc(body: bytes) -> QdiscCounters:
    """One answer to a dump of qdiscs (linux/gen_stats.h)."""
    attributes = wire.parse_attributes(body, _TC.size)
    statistics = wire.parse_attributes(attributes.get(_TCA_STATS2, b""), 0)
    sent, packets = struct.unpack_from("=QI", statistics.get(1, bytes(12)))
    _, backlog, drops = struct.unpack_from("=III", statistics.get(3, bytes(12)))
    return QdiscCounters(sent, packets, drops, backlog)


def queue_packets(condition: LinkCondition) -> int:
    """How many packets may be on their way in netem: at least the delay times the rate, in the smallest frames."""
    held_ms = condition.latency_ms + condition.jitter_ms + buffer_ms(condition)
    return min(_WHOLE, max(_LEAST_QUEUE_PACKETS, round(condition.rate_kbit / 8 * held_ms / _MINIMUM_FRAME_BYTES)))


def buffer_ms(condition: LinkCondition) -> float:
    return condition.buffer_ms or DEFAULT_BUFFER_MS


def burst_bytes(rate_bytes: int, frame_bytes: int) -> int:
    """What the bucket holds: a frame, and what is owed when the kernel's timer is late. All of it may pass at once."""
    return frame_bytes + round(rate_bytes * _LATE_TIMER_S)


def _netem_options(condition: LinkCondition, seed: int | None) -> bytes:
    duplicate, loss = _chance(condition.duplicate_pct), _chance(condition.loss_pct)
    in_bursts = bool(condition.loss_burst and condition.loss_pct)
    gap = 1 if condition.reorder_pct else 0
    # The times of this structure are in clock ticks and are overruled by the 64-bit ones below.
    attributes = [_NETEM.pack(0, queue_packets(condition), 0 if in_bursts else loss, gap, duplicate, 0)]
    attributes.append(wire.attribute(_TCA_NETEM_LATENCY64, struct.pack("=q", round(condition.latency_ms * 1e6))))
    attributes.append(wire.attribute(_TCA_NETEM_JITTER64, struct.pack("=q", round(condition.jitter_ms * 1e6))))
    if in_bursts:
        enter, leave = burst_chances(condition)
        model = struct.pack("=IIII", round(enter * _WHOLE), round(leave * _WHOLE), 0, 0)
        attributes.append(wire.nested(_TCA_NETEM_LOSS, wire.attribute(_NETEM_LOSS_GE, model)))
    attributes.append(
        wire.attribute(_TCA_NETEM_REORDER, struct.pack("=II", _chance(condition.reorder_pct), 0)),
    )
    attributes.append(
        wire.attribute(_TCA_NETEM_CORRUPT, struct.pack("=II", _chance(condition.corrupt_pct), 0)),
    )
    ordering = 0 if condition.is_clear else _ORDERING_RATE_BYTES
    attributes.append(wire.attribute(_TCA_NETEM_RATE, struct.pack("=IiIi", ordering, 0, 0, 0)))
    if seed is not None:
        attributes.append(wire.attribute(_TCA_NETEM_PRNG_SEED, _U64.pack(seed & 0xFFFFFFFFFFFFFFFF)))
    return b"".join(attributes)


def _cutter_options(condition: LinkCondition, frame_bytes: int) -> bytes:
    """A bucket that holds nothing up, but takes no more than a frame at once: segments are cut to fit."""
    burst = _UNLIMITED_BURST_BYTES if _passes_segments_whole(condition) else frame_bytes
    return _tbf_options(_UNLIMITED_RATE_BYTES, burst, _WHOLE)


def _passes_segments_whole(condition: LinkCondition) -> bool:
    """Whether segments may cross a link uncut: only where no fate befalls a single frame, and none takes its time."""
    return not (
        condition.loss_pct
        or condition.rate_kbit
        or condition.reorder_pct
        or condition.duplicate_pct
        or condition.corrupt_pct
    )


def _rate_options(condition: LinkCondition, frame_bytes: int) -> bytes:
    if not condition.rate_kbit:
        return _tbf_options(_UNLIMITED_RATE_BYTES, _UNLIMITED_BURST_BYTES, _WHOLE)
    rate_bytes = max(1, round(condition.rate_kbit * 125))
    burst = burst_bytes(rate_bytes, frame_bytes)
    return _tbf_options(rate_bytes, burst, burst + round(rate_bytes * buffer_ms(condition) / 1000))


def _tbf_options(rate_bytes: int, burst: int, limit: int) -> bytes:
    spec = _RATE_SPEC.pack(0, _LINKLAYER_ETHERNET, 0, 0, 0, min(rate_bytes, _WHOLE))
    burst_ticks = min(_WHOLE, round(burst / rate_bytes * 1e9 / _PSCHED_TICK_NS))
    parameters = wire.attribute(_TCA_TBF_PARMS, _TBF.pack(spec, bytes(12), min(limit, _WHOLE), burst_ticks, 0))
    parameters += wire.u32(_TCA_TBF_BURST, burst)
    if rate_bytes > _WHOLE:
        parameters += wire.attribute(_TCA_TBF_RATE64, _U64.pack(rate_bytes))
    return parameters


def _program(unless_mark: int) -> bytes:
    """Classic BPF that matches every packet, or every one without the mark."""
    if not unless_mark:
        return _MATCH
    return _LOAD_MARK + _SOCK_FILTER.pack(0x15, 0, 1, unless_mark) + _NO_MATCH + _MATCH


def _chance(percent: float) -> int:
    return round(percent / 100 * _WHOLE)


def _filter_header(ifindex: int, hook: int, preference: int, protocol: int) -> bytes:
    return _TC.pack(0, ifindex, 0, hook, preference << 16 | protocol)


def _tbf(ifindex: int, parent: int, handle: int, options: bytes) -> bytes:
    return _set(ifindex, parent, handle, "tbf", options)


def _set(ifindex: int, parent: int, handle: int, kind: str, options: bytes) -> bytes:
    return _qdisc(
        wire.RTM_NEWQDISC, wire.CREATE_OR_REPLACE, ifindex, handle=handle, parent=parent, kind=kind, options=options
    )


def _qdisc(
    message: int, flags: int, ifindex: int, *, handle: int, parent: int, kind: str = "", options: bytes = b""
) -> bytes:
    body = _TC.pack(0, ifindex, handle, parent, 0)
    if kind:
        body += wire.text(TCA_KIND, kind)
    if options:
        body += wire.attribute(TCA_OPTIONS, options)
    return wire.request(message, flags, body)
