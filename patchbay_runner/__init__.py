"""Declarative network simulations on Linux network namespaces. What programs use is exported here, from `library`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from patchbay_runner.library import *  # noqa: F403

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Imports the library when something of it is asked for: the command line starts quicker without."""
    if not name.startswith("_"):
        library = importlib.import_module("patchbay_runner.library")
        if name in library.__all__:
            return getattr(library, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
