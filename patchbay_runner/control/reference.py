"""The methods of the protocol as the reference shows them, made from what checks the requests."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from patchbay_runner.control.methods import METHODS, Method, Parameter
from patchbay_runner.control.requests import TEXTS

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null", Any: "as in TOML"}


def methods_reference() -> str:
    """Markdown: a heading, a sentence, a table of parameters and the answer of each method."""
    return "\n".join(_section(method) for method in METHODS.values())


def _section(method: Method) -> str:
    lines = [f"### {method.name}", "", " ".join(method.text.split())]
    if method.parameters:
        lines += ["", "| parameter | type | |", "|---|---|---|"]
        lines += [_row(method.name, parameter) for parameter in method.parameters]
    return "\n".join([*lines, "", f"Answers {method.answer}.", ""])


def _row(method: str, parameter: Parameter) -> str:
    text = TEXTS.get(f"{method}.{parameter.name}") or TEXTS[parameter.name]
    kind = type_text(parameter.kind)
    if not parameter.is_required and parameter.default not in (None, "", {}):
        text += f"; {msgspec.json.encode(parameter.default).decode()} unless given"
    needed = ", required" if parameter.is_required else ""
    return f"| `{parameter.name}` | {kind}{needed} | {text} |"


def type_text(kind: Any) -> str:
    """A type in the words of JSON; null is not told, since what may be left out may be null."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return type_text(args[0])
    if origin is Literal:
        return " or ".join(f'`"{value}"`' for value in args)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(type_text(each) for each in args if each is not type(None)))
    if origin in (list, tuple, Sequence):
        return f"array of {_several(args[0])}"
    if origin in (dict, Mapping):
        return "object" if args[1] is Any else f"object of {_several(args[1])}"
    return _PLAIN[kind]


def _several(kind: Any) -> str:
    text = type_text(kind)
    return f"{text}s" if kind in _PLAIN else f"({text})"
