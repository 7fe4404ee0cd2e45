"""Declarative network simulations on Linux network namespaces. What programs use is exported here, from `library`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from patchbay_runner.library import *  # noqa: F403

__version__ = "0.1.0"

# Named here as well, so that asking for any other name imports nothing.
_EXPORTED = frozenset(
    {
        "DEVNULL",
        "PIPE",
        "STDOUT",
        "AsyncProcess",
        "Device",
        "Interface",
        "Ix",
        "Lab",
        "Node",
        "Popen",
        "Reflector",
        "Router",
        "Task",
        "embed_v4_in_nat64",
        "enter",
    }
)


def __getattr__(name: str) -> Any:
    """Imports the library when something of it is asked for: the command line starts quicker without."""
    if name not in _EXPORTED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("patchbay_runner.library"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTED})
