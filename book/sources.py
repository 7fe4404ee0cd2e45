"""Links to docs/ from outside of it: of the other Markdown files, and names of pages in code and configuration."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from book.pages import read_page
from book.slugs import slugifier

Addresses = dict[str, frozenset[str]]

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
_MENTION = re.compile(r"\bdocs/[\w/.-]+\.md\b")
_SOURCES = ("patchbay_runner", "ui/src", "benchmarks", "book", "sims", "scripts", "contrib")
_slug = slugifier()


def problems_of_sources(root: Path, addresses: Addresses) -> list[str]:
    """Pages that the menu lacks, links of Markdown files beside docs/, and pages that code names and are not there."""
    return [*_orphans(root), *_dead_links(root, addresses), *_dead_mentions(root)]


def site_addresses(site: Path) -> Addresses:
    """The pages of docs/ by their Markdown's path from the root, each with the places that can be linked to."""
    found = {}
    for path in site.rglob("index.html"):
        folder = path.parent.relative_to(site)
        anchors = read_page(path).anchors
        for name in (folder / "index.md", folder.with_suffix(".md") if folder.name else folder):
            found[f"docs/{name}"] = anchors
    return found


def _orphans(root: Path) -> Iterator[str]:
    nav = tomllib.loads((root / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]
    listed = set(_leaves(nav))
    for page in sorted((root / "docs").rglob("*.md")):
        name = str(page.relative_to(root / "docs"))
        if name not in listed:
            yield f"docs/{name} is not in the nav of zensical.toml"


def _leaves(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for each in nav.values() if isinstance(nav, dict) else nav:
            yield from _leaves(each)


def _dead_links(root: Path, addresses: Addresses) -> Iterator[str]:
    for file in sorted(root.glob("*.md")):
        text = _FENCED.sub("", file.read_text(encoding="utf-8"))
        own = frozenset(_slug(heading, "-") for heading in _HEADING.findall(text))
        for link in _LINK.findall(text):
            path, _, fragment = unquote(link).partition("#")
            if "://" in link or path.startswith("mailto:"):
                continue
            if path and not (root / path).exists():
                yield f"{file.name}: {link} leads nowhere"
            elif fragment and fragment not in (addresses.get(path, frozenset()) if path else own):
                yield f"{file.name}: {link}: the page has no such place"


def _dead_mentions(root: Path) -> Iterator[str]:
    for path in sorted(path for folder in _SOURCES for path in (root / folder).rglob("*")):
        if path.is_file() and path.suffix in {".py", ".ts", ".tsx", ".toml", ".service", ""}:
            for mention in set(_MENTION.findall(path.read_text(encoding="utf-8", errors="replace"))):
                if not (root / mention).exists():
                    yield f"{path.relative_to(root)}: there is no {mention}"
