"""Every link of the built site leads to something in it, and nothing in it is loaded from elsewhere."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from book.pages import Page, read_page

# Of themes whose pages lie anywhere: a server gives it for addresses that are not there, so it links from the root.
_NOT_FOUND = "404.html"


def problems_of_site(site: Path) -> list[str]:
    """Dead links, dead anchors and things loaded from other hosts, of every page below `site`."""
    pages = {path: read_page(path) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        if path.name != _NOT_FOUND:
            found += [f"{path.relative_to(site)}: {each}" for each in _problems(path, page, pages, site)]
    return found


def _problems(path: Path, page: Page, pages: dict[Path, Page], site: Path) -> list[str]:
    found = [f"loads {each} from elsewhere" for each in page.loads if urlsplit(each).netloc]
    for link in dict.fromkeys((*page.links, *page.loads)):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = target_of(path, parts.path)
        if not target.is_file() or not target.is_relative_to(site):
            found.append(f"{link} leads nowhere")
        elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
            found.append(f"{link}: the page has no such place")
    return found


def target_of(path: Path, link: str) -> Path:
    """The file that a relative link of a page means."""
    if not link:
        return path
    target = (path.parent / unquote(link)).resolve()
    return target / "index.html" if target.is_dir() else target
