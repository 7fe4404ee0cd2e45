"""`capture` of `[sim]`: whether packets are captured, and how much of them is kept."""

from __future__ import annotations

from typing import Any

from patchbay_runner.loader.diagnostics import Report
from patchbay_runner.loader.fields import boolean, integer, read_table
from patchbay_runner.loader.node import Node, describe
from patchbay_runner.loader.shapes import accepts, described, one_shape_of, shape_of, table_shape
from patchbay_runner.model.capture import LEAST_BYTES, LEAST_SNAP_LENGTH, MOST_BYTES, WHOLE_PACKETS, PacketCapture
from patchbay_runner.model.sizes import EXPECTED, format_size, parse_size


@accepts({"type": "string", "pattern": r"[Bb0-9}]\s*$"})
def capture_size(node: Node, report: Report) -> int | None:
    """Bytes, of a size such as "64MB"."""
    try:
        if not isinstance(node.value, str):
            raise ValueError  # a bare number does not say its unit
        size = parse_size(node.value)
    except ValueError:
        report.error(node, f"found {describe(node)}", EXPECTED)
        return None
    if not LEAST_BYTES <= size <= MOST_BYTES:
        expected = f"a size from {format_size(LEAST_BYTES)} to {format_size(MOST_BYTES)}"
        report.error(node, f"found {describe(node)}", expected)
        return None
    return size


CAPTURE_FIELDS: dict[str, Any] = {
    "max_size": described(
        capture_size,
        'how much of each interface is kept, from `"250KB"`; later packets replace the earliest',
        '`"64MB"`',
        kind='size with its unit (`"500KB"`, `"64MB"`, `"1GB"`)',
    ),
    "snaplen": described(integer(LEAST_SNAP_LENGTH, WHOLE_PACKETS), "how many bytes of each packet are kept", "all"),
}


@accepts(one_shape_of(shape_of(boolean), table_shape(CAPTURE_FIELDS)))
def packet_capture(node: Node, report: Report) -> PacketCapture | None:
    """What a table asks for, or what `true` stands for; None for `false`."""
    if not isinstance(node.value, dict):
        if isinstance(node.value, bool) or node.value in ("true", "false"):
            return PacketCapture() if boolean(node, report) else None
        report.error(node, f"found {describe(node)}", 'true, false, or a table such as { max_size = "64MB" }')
        return None
    before = len(report.errors)
    values = read_table(node, CAPTURE_FIELDS, report, "capture") or {}
    if len(report.errors) > before:
        return None
    default = PacketCapture()
    return PacketCapture(values.get("max_size", default.max_bytes), values.get("snaplen", default.snap_length))
