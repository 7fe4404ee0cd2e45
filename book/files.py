"""Files of the repository that pages link to, such as sims: brought into the site, where links to them work too."""

from __future__ import annotations

import html
import os
import re
from functools import partial
from pathlib import Path
from urllib.parse import unquote

_HREF = re.compile(r'href="([^"#:]+)"')
# Servers know it for text, which browsers show; what .toml is they do not know, and would save it.
_AS_TEXT = ".txt"


def bring_files(site: Path, root: Path) -> None:
    """Copies what pages link to outside of docs/ to files/ of the site, and mends the links."""
    brought: dict[Path, Path] = {}
    for page in sorted(site.rglob("*.html")):
        text = page.read_text(encoding="utf-8")
        mended = _HREF.sub(partial(_mended, page=page, site=site, root=root, brought=brought), text)
        if mended != text:
            page.write_text(mended, encoding="utf-8")


def _mended(found: re.Match[str], page: Path, site: Path, root: Path, brought: dict[Path, Path]) -> str:
    link = unquote(html.unescape(found[1]))
    # A page's folder in the site mirrors its place in docs/, so that links mean the same from there.
    docs = root / "docs"
    source = (docs / page.parent.relative_to(site) / link).resolve()
    is_ours = source.is_relative_to(root) and not source.is_relative_to(docs) and source.exists()
    if not is_ours:
        return found[0]
    if source not in brought:
        brought[source] = _bring_folder(source, site, root) if source.is_dir() else _bring_file(source, site, root)
    return f'href="{os.path.relpath(brought[source], page.parent)}"'


def _bring_file(source: Path, site: Path, root: Path) -> Path:
    target = site / "files" / source.relative_to(root)
    target = target.with_name(target.name + _AS_TEXT)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())
    return target


def _bring_folder(source: Path, site: Path, root: Path) -> Path:
    """A page that lists the folder's files, which come along."""
    found = [path for path in sorted(source.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    files = [_bring_file(path, site, root) for path in found]
    target = site / "files" / source.relative_to(root) / "index.html"
    rows = [f'<li><a href="{os.path.relpath(file, target.parent)}">{file.stem}</a></li>' for file in files]
    name = html.escape(str(source.relative_to(root)))
    target.write_text(f"<!doctype html><title>{name}</title><h1>{name}</h1><ul>{''.join(rows)}</ul>", encoding="utf-8")
    return target
