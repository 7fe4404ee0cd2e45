"""Every public member of the library, with the examples of its docstring."""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import patchbay_runner
from patchbay_runner.library import pytest_plugin

FIXTURES = ("lab", "nat_mode", "link_preset")
_MEMBERS = (property, classmethod, staticmethod, cached_property)


def members() -> dict[str, str]:
    """Docstrings by qualified name."""
    return dict(_members())


def fixtures() -> dict[str, str]:
    """Docstrings of the plugin's fixtures by name."""
    return {name: inspect.getdoc(getattr(pytest_plugin, name)) or "" for name in FIXTURES}


def examples(name: str, text: str) -> list[doctest.Example]:
    """The examples in a docstring."""
    return doctest.DocTestParser().get_examples(text, name)


def _members() -> Iterator[tuple[str, str]]:
    for name in sorted(patchbay_runner._EXPORTED):
        exported = getattr(patchbay_runner, name)
        if not inspect.isroutine(exported) and not inspect.isclass(exported):
            continue  # a number of subprocess's
        yield name, inspect.cleandoc(exported.__doc__ or "")
        if inspect.isclass(exported):
            for member, value in _own(exported).items():
                yield f"{name}.{member}", _doc(exported, member, value)


def _own(kind: type) -> dict[str, Any]:
    """What it defines by itself: the rest is another's member."""
    return {
        name: value
        for name, value in vars(kind).items()
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, _MEMBERS))
    }


def _doc(kind: type, member: str, value: Any) -> str:
    found = inspect.getdoc(getattr(value, "__func__", value)) or inspect.getdoc(getattr(kind, member))
    return found or ""
