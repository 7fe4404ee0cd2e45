"""What a page of HTML has in it: where it leads, what it loads, which of its places can be linked to."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import msgspec


class Page(msgspec.Struct, frozen=True):
    """`links` are what readers may click on, `loads` what the browser fetches by itself."""

    links: tuple[str, ...]
    loads: tuple[str, ...]
    anchors: frozenset[str]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attrs if value is not None}
        self.anchors.update(value for name, value in values.items() if name in {"id", "name"})
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag == "link" and values.get("rel") not in {"canonical", "prev", "next"}:
            self.loads.append(values.get("href", ""))
        elif tag in {"script", "img", "source", "iframe"}:
            self.loads += [value for name, value in values.items() if name in {"src", "srcset"}]


def read_page(path: Path) -> Page:
    """The page in a file."""
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return Page(tuple(reader.links), tuple(reader.loads), frozenset(reader.anchors))
