"""What routers, devices, interfaces, regions and steps may be called."""

from __future__ import annotations

import re

from patchbay_runner.loader.diagnostics import Report
from patchbay_runner.loader.node import Node, quote

# The kernel's limits: a host name's 64 bytes (the name is the node's host name), an interface name's 15.
_LONGEST_NODE = 64
_LONGEST_INTERFACE = 15
_LONGEST_ID = 200
_RESERVED_INTERFACES = {"lo": "every node has it", "all": "a sysctl has it", "default": "a sysctl has it"}
_STEP_ID = re.compile(r"[\w-]+(?:\.[\w-]+)*")
RESERVED_IDS = ("binary", "matrix", "group")


def check_node_name(node: Node, name: str, kind: str, report: Report) -> None:
    """Reports a name that cannot be a namespace's, a directory's and a host's at once."""
    if name == "ix":
        report.error(node, f'a {kind} cannot be named "ix", which is the internet exchange', "another name")
    elif name.startswith("region_"):
        report.error(node, f"the {kind} {quote(name)} has a reserved name", 'a name that does not start with "region_"')
    elif not name or _is_unfit(name) or name in (".", "..") or any(char in "${}" for char in name):
        report.error(node, f"{quote(name)} cannot name a {kind}", 'a name without "/", blanks, $ and braces')
    elif len(name.encode()) > _LONGEST_NODE:
        report.error(node, f"the name {quote(name)} is too long", f"at most {_LONGEST_NODE} bytes")


def check_interface_name(node: Node, name: str, report: Report) -> None:
    """Reports a name that Linux refuses for an interface."""
    if name in _RESERVED_INTERFACES:
        report.error(node, f"an interface cannot be named {quote(name)}: {_RESERVED_INTERFACES[name]}", "another name")
    elif not name or _is_unfit(name) or ":" in name or "%" in name or name in (".", ".."):
        report.error(node, f"{quote(name)} cannot name an interface", 'a name without "/", ":", "%" and blanks')
    elif len(name.encode()) > _LONGEST_INTERFACE:
        report.error(node, f"the interface name {quote(name)} is too long", f"at most {_LONGEST_INTERFACE} bytes")


def is_step_id(name: str) -> bool:
    """Whether `name` can stand in `${name.capture}` and name a file."""
    is_named = _STEP_ID.fullmatch(name) is not None and len(name.encode()) <= _LONGEST_ID
    return is_named and name.split(".", maxsplit=1)[0] not in RESERVED_IDS


def _is_unfit(name: str) -> bool:
    return any(char == "/" or char.isspace() or not char.isprintable() for char in name)
