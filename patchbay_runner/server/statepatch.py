"""What leads from one JSON document to the next: a merge patch (RFC 7396)."""

from __future__ import annotations

from typing import Any


def difference(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The patch. A field that is null in `new` and one that is not in it are the same to a merge patch."""
    patch: dict[str, Any] = {}
    for key, value in new.items():
        if key in old and isinstance(value, dict) and isinstance(old[key], dict):
            below = difference(old[key], value)
            if below:
                patch[key] = below
        elif key not in old or old[key] != value:
            patch[key] = value
    return patch | dict.fromkeys((key for key in old if key not in new), None)
