"""Sizes as people write them: "500MB", "10GB". Units are decimal."""

from __future__ import annotations

import re
from decimal import Decimal

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([KMGT]?B)?", re.IGNORECASE | re.ASCII)

EXPECTED = 'a size such as "500MB", "10GB" or "1.5TB"'


def parse_size(text: str) -> int:
    """Bytes. Raises ValueError when `text` is not a number, with KB, MB, GB or TB behind it or plain bytes."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a size")
    return int(Decimal(found[1]) * _UNITS[(found[2] or "").upper()])


def format_size(size: int) -> str:
    """A number of bytes to read: "12 B", "3.4 KB", "12 MB"."""
    for unit in ("TB", "GB", "MB", "KB"):
        if size >= _UNITS[unit]:
            return f"{size / _UNITS[unit]:.1f}".removesuffix(".0") + f" {unit}"
    return f"{size} B"
