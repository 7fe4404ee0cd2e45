"""The build hook: whatever installs patchbay gets its page with it (ui/build_page.py says how it is built)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).resolve().parent / "ui"))
import build_page


class PageBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Node, but only where there is something to build: an sdist carries the built page."""
        return [] if build_page.skipped() or build_page.is_current() else [build_page.NODE_REQUIREMENT]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if build_page.skipped():
            return
        try:
            build_page.build()
        except build_page.PageBuildError as error:
            sys.exit(str(error))
