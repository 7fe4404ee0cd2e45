"""How soon `patchbay run` returns after the last step of a sim with 200 devices: at most 100 ms is the aim.

The last step writes down when it ends; the rest is ours: results, the end of the sandbox, the summary.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

SIM = """
[sim]
name = "returning"
[[router]]
name = "r"
[device.d]
count = {count}
[device.d.eth0]
gateway = "r"
[[step]]
device = "d-0"
cmd = ["true"]
"""


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Prints and returns the median in milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        measured = [_measure(Path(name), options.count) for _ in range(options.rounds)]
    report = {
        "benchmark": "returning",
        "count": options.count,
        "median_ms": round(statistics.median(measured), 1),
        "worst_ms": round(max(measured), 1),
    }
    print(json.dumps(report))
    return report


def _measure(directory: Path, count: int) -> float:
    """Milliseconds from the event of the last step's end to the end of the process."""
    sim = directory / "returning.toml"
    sim.write_text(SIM.format(count=count))
    work = directory / "work"
    command = [sys.executable, "-m", "patchbay_runner", "run", str(sim), "--work-dir", str(work)]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    returned = time.time()
    events = (work / "latest" / "returning" / "events.jsonl").read_text().splitlines()
    ended = next(event for event in map(json.loads, reversed(events)) if event["kind"] == "step_finished")
    time.sleep(2)
    return (returned - _seconds(ended["timestamp"])) * 1000


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


if __name__ == "__main__":
    main()
