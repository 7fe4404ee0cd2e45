"""`ready_when` of a spawn step."""

from __future__ import annotations

from typing import Any

from patchbay_runner.loader.diagnostics import Report, did_you_mean, one_of
from patchbay_runner.loader.fields import filled_text, integer, name_choice, read_table
from patchbay_runner.loader.node import Node, quote
from patchbay_runner.loader.shapes import FILLED_TEXT, accepts, described, table_shape
from patchbay_runner.loader.steps.draft import Table
from patchbay_runner.model.steps import Readiness

_WAYS = ("capture", "port", "file")


@accepts(FILLED_TEXT)
def _own_capture(node: Node, report: Report) -> str | None:
    name = filled_text(node, report)
    return None if name is None else name.removeprefix(".")


READY_FIELDS: dict[str, Any] = {
    "capture": described(_own_capture, "this capture of the step has a value"),
    "port": described(
        integer(1, 65_535),
        'a socket of the node, IPv4 or IPv6, listens on the TCP port; with `protocol = "udp"`, takes datagrams there '
        "from anybody",
    ),
    "protocol": described(name_choice(("tcp", "udp")), "the protocol of `port`", '`"tcp"`'),
    "file": described(
        filled_text,
        "there is this file, also a socket or a directory, as the program sees it: relative to its working directory, "
        'with its environment filled in, as in `"$TMPDIR/server.sock"`',
    ),
}


@accepts(table_shape(READY_FIELDS))
def readiness(node: Node, report: Report) -> Readiness | None:
    """The table, which names one thing to wait for."""
    values = read_table(
        node, READY_FIELDS, report, 'such as { port = 80 }, { capture = "ready" } or { file = "socket" }'
    )
    if values is None:
        return None
    written = [key for key in _WAYS if key in node.value]
    if len(written) != 1 and node.value.keys() <= READY_FIELDS.keys():
        what = "nothing" if not written else " and ".join(map(quote, written))
        report.error(node, f"the program is ready with {what}", f"one of {one_of(_WAYS)}")
    if "protocol" in node.value and "port" not in node.value:
        report.error(node.value["protocol"], '"protocol" is that of a port', '"port"')
    return Readiness(**values)


def check_readiness(table: Table, report: Report) -> None:
    """The capture is one of the step's own."""
    wished = table.get("ready_when")
    captures = table.get("captures", ())
    if wished is None or wished.capture is None or not isinstance(captures, tuple):
        return
    names = [capture.name for capture in captures]
    if wished.capture not in names and not (table.has("captures") and "captures" not in table.values):
        hint = did_you_mean(wished.capture, names)
        expected = one_of(names) if names else "a capture in [step.captures]"
        node = table.at("ready_when").value["capture"]
        report.error(node, f"the step has no capture {quote(wished.capture)}{hint}", "" if hint else expected)
