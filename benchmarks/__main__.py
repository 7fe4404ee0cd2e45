"""`make bench`: every measurement, one JSON document a line. Names as arguments choose some of them."""

from __future__ import annotations

import sys
from collections.abc import Callable

from benchmarks import build, captures, jobs, links, loader, nat64, pushing, returning, serving, spawn

BENCHMARKS: dict[str, Callable[[list[str]], object]] = {
    "loader": loader.main,
    "spawn": spawn.main,
    "captures": captures.main,
    "returning": returning.main,
    "build": build.main,
    "jobs": jobs.main,
    "links": links.main,
    "nat64": nat64.main,
    "pushing": pushing.main,
    "serving": serving.main,
}

names = sys.argv[1:] or list(BENCHMARKS)
unknown = [name for name in names if name not in BENCHMARKS]
if unknown:
    sys.exit(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
for name in names:
    BENCHMARKS[name]([])
