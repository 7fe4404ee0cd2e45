"""A router's `preset`: the name of one, in the newer and the older spelling."""

from __future__ import annotations

from typing import Any

import msgspec

from patchbay_runner.loader.diagnostics import Report
from patchbay_runner.loader.fields import choice
from patchbay_runner.loader.node import Node
from patchbay_runner.loader.shapes import accepts, shape_of
from patchbay_runner.model.presets import PRESET_ALIASES, PRESETS

_BY_NAME = choice(PRESETS | {alias: PRESETS[name] for alias, name in PRESET_ALIASES.items()})


@accepts(shape_of(_BY_NAME))
def preset(node: Node, report: Report) -> dict[str, Any] | None:
    """The values that the preset `node` gives to the router's other keys."""
    found = _BY_NAME(node, report)
    return None if found is None else msgspec.structs.asdict(found)
