"""A router's `nat`: a mode's name, or a table of the behaviours of a custom one."""

from __future__ import annotations

import re
from typing import Any

from patchbay_runner.loader.diagnostics import Report
from patchbay_runner.loader.fields import boolean, choice, duration, integer, is_name_or_table, read_table
from patchbay_runner.loader.node import Node, describe
from patchbay_runner.loader.shapes import (
    accepts,
    array_shape,
    described,
    names_shape,
    object_shape,
    one_shape_of,
    shape_of,
    table_shape,
)
from patchbay_runner.model.nat import (
    MOST_PORTS,
    NAT_MODES,
    Filtering,
    Mapping,
    Nat,
    NatConfig,
    NatTimeouts,
    PortAllocation,
    nat_mode,
)

# RFC 4787's abbreviations stand beside the long names.
_MAPPINGS = {kind.value: kind for kind in Mapping} | {
    "eim": Mapping.ENDPOINT_INDEPENDENT,
    "edm": Mapping.ENDPOINT_DEPENDENT,
}
_FILTERINGS = {kind.value: kind for kind in Filtering} | {
    "eif": Filtering.ENDPOINT_INDEPENDENT,
    "adf": Filtering.ADDRESS_DEPENDENT,
    "apdf": Filtering.ADDRESS_AND_PORT_DEPENDENT,
}
# Kernels that count in milliseconds hold no longer timeout.
_LONGEST_S = 2_147_483
_WHOLE = re.compile(r"\s*[0-9]{1,9}\s*")


@accepts(one_shape_of({"type": "integer", "minimum": 1, "maximum": _LONGEST_S}, {"type": "string", "pattern": "[0-9]"}))
def timeout_s(node: Node, report: Report) -> int | None:
    """Whole seconds: an integer, one as a string, or a duration. The kernel's timeouts have no fractions."""
    value = node.value
    if isinstance(value, str) and not _WHOLE.fullmatch(value):
        seconds = duration(node, report)
        if seconds is None:
            return None
    else:
        seconds = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else 0.0
    if seconds != int(seconds) or not 1 <= seconds <= _LONGEST_S:
        report.error(node, f"found {describe(node)}", f"1 to {_LONGEST_S:,} whole seconds, as an integer or a duration")
        return None
    return int(seconds)


_TIMEOUT = "whole seconds, or a duration"
_FLAT_TIMEOUTS: dict[str, Any] = {
    "udp_timeout": described(timeout_s, "until a mapping without traffic is forgotten", "30 s", kind=_TIMEOUT),
    "udp_stream_timeout": described(timeout_s, "the same, once both sides have spoken", "120 s", kind=_TIMEOUT),
    "tcp_established_timeout": described(
        timeout_s, "the same, for established TCP connections", "432000 s (5 days)", kind=_TIMEOUT
    ),
}
_OLDER_TIMEOUTS = {name.removesuffix("_timeout"): timeout.alias_of(name) for name, timeout in _FLAT_TIMEOUTS.items()}
_PORT = integer(1, 65_535)


@accepts(array_shape(shape_of(_PORT), 2, 2))
def port_range(node: Node, report: Report) -> tuple[int, int] | None:
    """The first and the last of some ports."""
    expected = f"the first and the last of at most {MOST_PORTS:,} ports, such as [50000, 50063]"
    if not isinstance(node.value, tuple) or len(node.value) != 2:
        report.error(node, f"found {describe(node)}", expected)
        return None
    first, last = (_PORT(each, report) for each in node.value)
    if first is None or last is None:
        return None
    if last < first:
        report.error(node, f"{last} is below {first}", expected)
        return None
    if last - first >= MOST_PORTS:
        report.error(node, f"{first} to {last} are {last - first + 1:,} ports", expected)
        return None
    return first, last


_BEHAVIOURS: dict[str, Any] = {
    "mapping": described(
        choice(_MAPPINGS), "whether all destinations see the same outer port", '`"endpoint-independent"`'
    ),
    "filtering": described(choice(_FILTERINGS), "who outside may send to a mapping", '`"address-and-port-dependent"`'),
    "hairpin": described(boolean, "whether members reach each other at their outer addresses", "`false`"),
    "port_allocation": described(
        choice({kind.value: kind for kind in PortAllocation}),
        "which outer port a new mapping gets: the inner one while nobody has it (else another), any, or the one after "
        "the last that was given",
        "preserving for endpoint-independent mapping, else random",
    ),
    "port_range": described(
        port_range,
        "the outer ports, at most 4,096. When all are taken, packets that need a new one are dropped until a mapping "
        "expires",
        "all",
        kind="`[first, last]`",
    ),
}


def nat(node: Node, report: Report) -> Nat | None:
    """The NAT that `node` writes."""
    if not is_name_or_table(node, NAT_MODES, "NAT mode", report):
        return None
    if isinstance(node.value, str):
        return nat_mode(node.value)
    before = len(report.errors)
    config = _older_table(node, report) if "custom" in node.value else _table(node, report)
    return Nat("custom", config) if len(report.errors) == before else None


def _table(node: Node, report: Report) -> NatConfig:
    values = _behaviours(node, _FLAT_TIMEOUTS, report) or {}
    timeouts = {key.replace("_timeout", "_s"): values.pop(key) for key in _FLAT_TIMEOUTS if key in values}
    return NatConfig(**values, timeouts=NatTimeouts(**timeouts))


def _older_table(node: Node, report: Report) -> NatConfig:
    """`{ custom = { mapping, filtering, hairpin, timeouts = { udp, udp_stream, tcp_established } } }`."""
    outer = read_table(node, {"custom": _behaviours_and_timeouts}, report, "a NAT") or {}
    config: NatConfig = outer.get("custom", NatConfig())
    return config


def _behaviours_and_timeouts(node: Node, report: Report) -> NatConfig | None:
    values = _behaviours(node, {"timeouts": _timeouts}, report)
    return None if values is None else NatConfig(**values)


def _behaviours(node: Node, timeouts: dict[str, Any], report: Report) -> dict[str, Any] | None:
    values = read_table(node, _BEHAVIOURS | timeouts, report, "a NAT")
    if values is not None and "port_allocation" in values:
        values["allocation"] = values.pop("port_allocation")
    return values


def _timeouts(node: Node, report: Report) -> NatTimeouts | None:
    values = read_table(node, _OLDER_TIMEOUTS, report, "a NAT's timeouts")
    return None if values is None else NatTimeouts(**{f"{key}_s": value for key, value in values.items()})


NAT_FIELDS = _BEHAVIOURS | _FLAT_TIMEOUTS
_OLDER_SHAPE = table_shape(_BEHAVIOURS)
_OLDER_SHAPE["properties"]["timeouts"] = table_shape(_OLDER_TIMEOUTS)
accepts(
    {
        "anyOf": [
            names_shape(NAT_MODES),
            table_shape(NAT_FIELDS),
            object_shape({"custom": _OLDER_SHAPE}, ["custom"]),
        ]
    }
)(nat)
