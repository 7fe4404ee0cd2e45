"""Building a LAN of 50, 200 and 1,000 devices: ours, the bare minimum of kernel calls, and Mininet, by turns.

Each is a fresh process, and five seconds lie between any two, because the kernel frees namespaces in the background
and the next build would wait for it. Mininet needs root; without it, it is left out and the report says so.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PAUSE_S = 5.0
# Mininet takes minutes for a thousand hosts and the ratio does not hang on its noise: there it runs once.
_MININET_REPEATED_UP_TO = 500
HERE = Path(__file__).parent
SYSTEM_PYTHON = "/usr/bin/python3"


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Prints and returns medians in seconds, milliseconds a node, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[50, 200, 1000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-mininet", action="store_true")
    options = parser.parse_args(arguments)
    with_mininet = os.geteuid() == 0 and not options.no_mininet
    rows = [_row(count, options.rounds, with_mininet) for count in options.counts]
    report = {"benchmark": "build", "rounds": options.rounds, "rows": rows}
    if not with_mininet:
        report["mininet"] = "left out: it needs root" if os.geteuid() else "left out as asked"
    print(json.dumps(report))
    return report


def _row(count: int, rounds: int, with_mininet: bool) -> dict[str, Any]:
    contestants = {
        f"{name}_{families}": command
        for families in ("4", "46")
        for name, command in (
            ("patchbay", [sys.executable, "-m", "benchmarks.lab_build", str(count), families]),
            ("bare", [sys.executable, str(HERE / "bare_minimum.py"), str(count), "--families", families]),
        )
    }
    if with_mininet:
        contestants["mininet"] = [
            *("unshare", "--net", "--mount"),
            *(SYSTEM_PYTHON, str(HERE / "mininet_hosts.py"), str(count)),
        ]
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in contestants}
    for number in range(rounds):
        # Whoever comes first in one round comes last in the next.
        for name in list(contestants)[:: 1 if number % 2 == 0 else -1]:
            if name == "mininet" and number > 0 and count > _MININET_REPEATED_UP_TO:
                continue
            measured[name].append(_measure(contestants[name]))
    return _summary(count, measured)


def _measure(command: Sequence[str]) -> dict[str, float]:
    time.sleep(PAUSE_S)
    done = subprocess.run(command, stdout=subprocess.PIPE, cwd=HERE.parent, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _summary(count: int, measured: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    def median(name: str, key: str) -> float:
        return statistics.median(result[key] for result in measured[name])

    row: dict[str, Any] = {"count": count}
    for name in measured:
        row[name] = {
            "build_s": round(median(name, "build_s"), 4),
            "per_node_ms": round(median(name, "build_s") / count * 1000, 3),
            "teardown_s": round(median(name, "teardown_s"), 4),
        }
    for families in ("4", "46"):
        row[f"patchbay_to_bare_{families}"] = round(
            median(f"patchbay_{families}", "build_s") / median(f"bare_{families}", "build_s"), 2
        )
    if "mininet" in measured:
        row["times_faster_than_mininet"] = round(median("mininet", "build_s") / median("patchbay_46", "build_s"), 1)
    return row


if __name__ == "__main__":
    main()
