"""Builds the site of docs/ into site/, and fails on whatever in it leads nowhere.

python -m book          build and check
python -m book serve    show it on http://localhost:8000/, and build anew whatever is written
"""

from __future__ import annotations

import sys

from book.build import SITE, build
from book.reference import write
from book.zensical import ROOT, zensical


def main(arguments: list[str]) -> int:
    """Carries out a command line; the exit code."""
    if arguments == ["serve"]:
        return zensical(ROOT, "serve", is_shown=True).returncode
    if arguments == ["reference"]:
        changed = write(ROOT / "docs")
        print("\n".join(f"wrote {path}" for path in changed) or "up to date")
        return 0
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    problems = build(SITE)
    print("\n".join(problems) or f"built {SITE}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
