"""Small wheels, and a package index of them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path


def make_wheel(
    directory: Path, name: str, version: str, files: Mapping[str, str], *, requires: str = "", scripts: str = ""
) -> Path:
    """A pure wheel with these files; pip accepts a record without a line for each."""
    directory.mkdir(parents=True, exist_ok=True)
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    contents = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{scripts}\n" if scripts else "",
    }
    record = "".join(f"{file},,\n" for file in contents) + f"{info}/RECORD,,\n"
    path = directory / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in {**contents, f"{info}/RECORD": record}.items():
            archive.writestr(file, content)
    return path


def make_index(root: Path, wheels: list[Path]) -> None:
    """The "simple" pages of PEP 503 for wheels of one project."""
    project = wheels[0].name.partition("-")[0].replace("_", "-")
    pages = root / "simple" / project
    pages.mkdir(parents=True)
    links = []
    for wheel in wheels:
        (pages / wheel.name).write_bytes(wheel.read_bytes())
        links.append(f'<a href="{wheel.name}">{wheel.name}</a>')
    (pages / "index.html").write_text(f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>")
