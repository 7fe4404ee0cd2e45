"""Requests as the words of a command line: `METHOD [VALUE…] [KEY=VALUE…] [-- PROGRAM…]`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from patchbay_runner.control import methods
from patchbay_runner.control.methods import Method
from patchbay_runner.control.wire import Refusal, bad_request

# Values of these types are taken as they stand, also when they look like a number.
_TEXTS = (str, str | None, dict[str, str], list[str])


class Asked(msgspec.Struct, frozen=True):
    """A method, its parameters, and the program behind `--`."""

    method: Method
    params: dict[str, Any]
    program: tuple[str, ...]


def read_words(words: Sequence[str]) -> Asked:
    """Raises Refusal for words that are no request."""
    method = _method(words[0])
    own, program = _divided(words[1:])
    if _takes_program(method) != bool(program):
        what = "a program behind --" if _takes_program(method) else "no program"
        raise bad_request(f"{words[0]} takes {what}: {usage(method)}")
    params: dict[str, Any] = {"argv": list(program)} if program else {}
    values = [word for word in own if not _is_named(word)]
    needed, others = _positional(method)
    if len(values) > len(needed + others):
        raise bad_request(f"{values[len(needed + others)]!r} is one value too many: {usage(method)}")
    named = [_parted(word) for word in own if _is_named(word)]
    for path, text in [*zip(needed + others, values, strict=False), *named]:
        _put(params, path.split("."), _value(method, path.partition(".")[0], text))
    for name in needed:
        if name not in params:
            raise bad_request(f"{name.upper()} is missing: {usage(method)}")
    return Asked(method, params, tuple(program))


def _method(word: str) -> Method:
    try:
        return methods.find(word.replace("-", "_"))
    except Refusal as error:
        raise bad_request(str(error).replace("_", "-")) from error


def usage(method: Method) -> str:
    """How a method is called."""
    needed, others = _positional(method)
    optional = [f"[{name.upper()}]" for name in others[:1]]
    more = ["[KEY=VALUE …]"] if method.parameters is None or len(others) > 1 else []
    program = ["-- PROGRAM …"] if _takes_program(method) else []
    name = method.name.replace("_", "-")
    return " ".join(["patchbay ctl", name, *map(str.upper, needed), *optional, *more, *program])


def _positional(method: Method) -> tuple[list[str], list[str]]:
    """The parameters that values without a name fill in their order: those that are needed, and the others."""
    if method.parameters is None:
        return (["name"] if method.name == "add_router" else []), []
    own = [each for each in method.parameters if each.name != "argv"]
    return [each.name for each in own if each.is_required], [each.name for each in own if not each.is_required]


def _takes_program(method: Method) -> bool:
    return any(each.name == "argv" for each in method.parameters or ())


def _divided(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    for number, word in enumerate(words):
        if word == "--":
            return words[:number], words[number + 1 :]
        if word.startswith("--"):
            raise bad_request(f"{word} stands behind the method; options come before it, programs behind --")
    return words, ()


def _is_named(word: str) -> bool:
    name, separator, _ = word.partition("=")
    return bool(separator) and name.replace(".", "").replace("_", "").replace("-", "").isalnum()


def _parted(word: str) -> tuple[str, str]:
    name, _, text = word.partition("=")
    first, dot, rest = name.partition(".")
    return f"{first.replace('-', '_')}{dot}{rest}", text


def _put(params: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        params = params.setdefault(name, {})
        if not isinstance(params, dict):
            raise bad_request(f"{name} has a value already")
    params[path[-1]] = value


def _value(method: Method, name: str, text: str) -> Any:
    """JSON where it is, but for a text alone; else the text."""
    if any(each.name == name and each.kind in _TEXTS for each in method.parameters or ()):
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
