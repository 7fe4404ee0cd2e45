"""The names that links know headings by: as code forges make them, so that one link works there and in the site."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

_TAG = re.compile(r"<[^<>]*>")
_DROPPED = re.compile(r"[^\w\- ]")


def slugifier() -> Callable[[str, str], str]:
    """What Markdown's `toc` extension asks for."""
    return slug


def slug(heading: str, separator: str = "-") -> str:
    """Small letters, digits, `_` and `-`; blanks become separators, everything else is left out."""
    return _DROPPED.sub("", html.unescape(heading).strip().lower()).replace(" ", separator)
