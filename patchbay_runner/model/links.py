"""Link conditions: what a link does to the packets that cross it, and what became of them."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec

Direction = Literal["up", "down", "both"]


class LinkCondition(msgspec.Struct, frozen=True, omit_defaults=True):
    """An impairment of one direction of a link.

    `rate_kbit` counts frame bytes, 0 is unlimited. Percentages run from 0 to 100. Jitter is uniform, plus or minus,
    around the one-way latency. `loss_burst` is the mean length of a loss burst in packets (Gilbert-Elliott; 0 is
    independent loss), `buffer_ms` the depth of the queue at the asked rate (0 leaves it to the engine).
    """

    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    loss_pct: float = 0.0
    rate_kbit: float = 0.0
    reorder_pct: float = 0.0
    duplicate_pct: float = 0.0
    corrupt_pct: float = 0.0
    loss_burst: float = 0.0
    buffer_ms: float = 0.0

    @property
    def is_clear(self) -> bool:
        return self == _CLEAR


_CLEAR = LinkCondition()


class DirectionStatistics(msgspec.Struct, frozen=True, omit_defaults=True):
    """One direction of a link since it was first impaired. Bytes are frame bytes.

    `lost`, `reordered`, `duplicated` and `corrupted` were asked for; `overflowed` fell to the full queue; `overrun`
    and `refused` were lost against the wish (by a machine too busy, by an interface that was down), and `dropped`
    is all losses together. `delay_total_ms` is what the link has added to all frames that it let pass.

    The kernel's engine counts the bytes of what it let through, knows of the queue what it held when it was asked, and
    tells neither reordered, duplicated and corrupted packets nor the delay, which nothing makes late there.
    """

    packets: int = 0
    bytes: int = 0
    dropped: int = 0
    lost: int = 0
    overflowed: int = 0
    reordered: int = 0
    duplicated: int = 0
    corrupted: int = 0
    queue_peak_bytes: int = 0
    overrun: int = 0
    refused: int = 0
    delay_total_ms: float = 0.0
    late_p50_ms: float = 0.0
    late_p99_ms: float = 0.0
    late_max_ms: float = 0.0
    overloaded: bool = False


class LinkStatistics(msgspec.Struct, frozen=True, omit_defaults=True):
    """Both directions of a link; None was never impaired."""

    name: str
    up: DirectionStatistics | None = None
    down: DirectionStatistics | None = None


class LinkReport(msgspec.Struct, frozen=True):
    """All links that are or were impaired. `engine` is what served: "netem", "emulator"; None: nothing had to."""

    engine: str | None = None
    statistics: tuple[LinkStatistics, ...] = ()


_Counted = TypeVar("_Counted", LinkCondition, DirectionStatistics)


def compact(record: _Counted) -> _Counted:
    """The same in as few characters as JSON takes: nothing that is zero, and no digits that say nothing."""
    fields = zip(record.__struct_fields__, record.__struct_defaults__, strict=True)
    values = {name: (_shortest(getattr(record, name)), default) for name, default in fields}
    # What is left out is the very object of the default, by which the encoder knows it.
    return type(record)(**{name: value for name, (value, default) in values.items() if value != default})


def compact_link(link: LinkStatistics) -> LinkStatistics:
    """`compact` of both directions."""
    return LinkStatistics(link.name, link.up and compact(link.up), link.down and compact(link.down))


def _shortest(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    rounded = round(value, 6)
    return int(rounded) if rounded.is_integer() else rounded


PRESETS: dict[str, LinkCondition] = {
    "lan": _CLEAR,
    "wifi": LinkCondition(latency_ms=5, jitter_ms=2, loss_pct=0.1),
    "wifi-bad": LinkCondition(latency_ms=40, jitter_ms=15, loss_pct=2, rate_kbit=20_000),
    "mobile-4g": LinkCondition(latency_ms=25, jitter_ms=8, loss_pct=0.5),
    "mobile-3g": LinkCondition(latency_ms=100, jitter_ms=30, loss_pct=2, rate_kbit=2_000),
    "satellite": LinkCondition(latency_ms=40, jitter_ms=7, loss_pct=1),
    "satellite-geo": LinkCondition(latency_ms=300, jitter_ms=20, loss_pct=0.5, rate_kbit=25_000),
}

# Names that older documents use for the same conditions.
PRESET_ALIASES: dict[str, str] = {"mobile": "mobile-4g", "mobile4g": "mobile-4g", "mobile3g": "mobile-3g"}
