"""The grammar of `$NAME`, `${step.capture}` and `${binary.name}` in commands, environments and generated files.

`$$` is a dollar. `$NAME` is a variable when NAME is an identifier, and so is `${NETSIM_...}`; anything else after a
dollar is literal, as is a `${...}` that holds no dot-separated reference: shell snippets in a `cmd` keep their own
expansions that way, such as `${file%.txt}`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache

import msgspec

_TOKEN = re.compile(
    r"\$\$|\$([A-Za-z_][A-Za-z0-9_]*)|\$\{([\w-]+)\.([^${}\s]+)\}|\$\{((?:NETSIM|netsim)_[A-Za-z0-9_]*)\}"
)


class Literal(msgspec.Struct, frozen=True):
    text: str


class Variable(msgspec.Struct, frozen=True):
    """`$NAME`."""

    name: str


class BinaryRef(msgspec.Struct, frozen=True):
    """`${binary.name}`."""

    name: str


class CaptureRef(msgspec.Struct, frozen=True):
    """`${step.capture}`; `key` is "step.capture"."""

    key: str


Token = Literal | Variable | BinaryRef | CaptureRef


@lru_cache(maxsize=65_536)
def tokenize(text: str) -> tuple[Token, ...]:
    """Splits `text` into literals and references; a text without a dollar is one literal."""
    if "$" not in text:
        return (Literal(text),)
    return tuple(_tokens(text))


def _tokens(text: str) -> Iterator[Token]:
    start = 0
    literal = ""
    for found in _TOKEN.finditer(text):
        literal += text[start : found.start()]
        start = found.end()
        if found[0] == "$$":
            literal += "$"
            continue
        if literal:
            yield Literal(literal)
            literal = ""
        yield _reference(found)
    literal += text[start:]
    if literal or not text:
        yield Literal(literal)


def _reference(found: re.Match[str]) -> Token:
    if found[1] is not None or found[4] is not None:
        return Variable(found[1] or found[4])
    if found[2] == "binary":
        return BinaryRef(found[3])
    return CaptureRef(f"{found[2]}.{found[3]}")


def rename_captures(text: str, rename: Callable[[str], str]) -> str:
    """`text` with every capture key replaced by what `rename` makes of it; everything else stays as written."""

    def renamed(found: re.Match[str]) -> str:
        if found[2] is None or found[2] == "binary":
            return found[0]
        return "${" + rename(f"{found[2]}.{found[3]}") + "}"

    return _TOKEN.sub(renamed, text) if "$" in text else text


def is_lab_variable(name: str) -> bool:
    """True for the names that the lab defines, where an unknown one is an error rather than literal text."""
    return name.upper().startswith("NETSIM_")


def ip_variables(device: str, interface: str | None = None) -> tuple[str, str]:
    """The names of a device's IPv4 and IPv6 address variables: every character that is not alphanumeric is `_`.

    They are looked up as written and then in capitals, so `$NETSIM_IP_web` and `$NETSIM_IP_WEB` are the same.
    """
    name = device if interface is None else f"{device}_{interface}"
    suffix = re.sub(r"[^A-Za-z0-9]", "_", name).upper()
    return f"NETSIM_IP_{suffix}", f"NETSIM_IP6_{suffix}"
