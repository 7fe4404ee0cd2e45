"""A program prints 1,000,000 JSON lines: how fast they become captures and logs, against jq selecting the same lines.

One line in ten matches. Among the others are lines that hold the wanted text in another field, deeper down, or as a
key; some of those that match spell it with an escape.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.local_network import LocalNetwork
from patchbay_runner.executor import RunOptions, run_plan
from patchbay_runner.model.plan import Plan
from patchbay_runner.model.steps import Capture, Run
from patchbay_runner.results.recorder import SandboxRecorder

WANTED = "DownloadComplete"
SELECTION = f'select(.kind == "{WANTED}") | .size'


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Prints and returns the medians of both and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        source = directory / "lines.ndjson"
        write_lines(source, options.lines)
        ours_s: list[float] = []
        jq_s: list[float] = []
        for number in range(options.rounds):
            ours_s.append(time_captures(source, directory / f"sim-{number}"))
            jq_s.append(time_jq(source, directory / "selected"))
        report = {
            "benchmark": "captures",
            "lines": options.lines,
            "megabytes": round(source.stat().st_size / 1e6, 1),
            "patchbay_s": round(statistics.median(ours_s), 3),
            "jq_s": round(statistics.median(jq_s), 3),
            "times_faster_than_jq": round(statistics.median(jq_s) / statistics.median(ours_s), 2),
        }
    print(json.dumps(report))
    return report


def write_lines(path: Path, count: int) -> None:
    """About 120 bytes a line."""
    chance = random.Random(7)
    with path.open("w", encoding="ascii") as file:
        for number in range(count):
            line = {"kind": "Progress", "size": number, "host": "alpha", "elapsed": number * 1.25, "note": "x" * 32}
            drawn = chance.random()
            if drawn < 0.1:
                line["kind"] = WANTED
            elif drawn < 0.12:
                line["note"] = f"waiting for {WANTED} of {number}"
            elif drawn < 0.13:
                line["note"] = {"kind": WANTED, "size": -1}
            elif drawn < 0.14:
                line[WANTED] = "kind"
            text = json.dumps(line)
            if drawn < 0.005:
                text = text.replace(WANTED, "\\u0044ownloadComplete")
            file.write(text + "\n")


def time_captures(source: Path, directory: Path) -> float:
    """Seconds of a whole sim: the program, its logs, its captures."""
    capture = Capture(name="size", match={"kind": WANTED}, pick=".size")
    step = Run(id="producer", device="here", cmd=("cat", str(source)), parser="ndjson", captures=(capture,))
    plan = Plan(name="captures", source="", steps=(step,))
    messages = os.open(os.devnull, os.O_WRONLY)
    recorder = SandboxRecorder(directory, messages)
    options = RunOptions(Path.cwd(), os.environ, {})
    started_s = time.perf_counter()
    failure = asyncio.run(run_plan(plan, LocalNetwork(), recorder, options))
    elapsed_s = time.perf_counter() - started_s
    os.close(messages)
    assert failure is None, failure
    logs = [path.stat().st_size for path in directory.rglob("*stdout.log")]
    assert logs == [source.stat().st_size] * 2, logs
    for path in directory.rglob("*.log"):
        path.unlink()
    return elapsed_s


def time_jq(source: Path, target: Path) -> float:
    """Seconds of jq selecting the same values into a file."""
    started_s = time.perf_counter()
    with target.open("wb") as output:
        subprocess.run(["jq", "-c", SELECTION, str(source)], stdout=output, check=True)
    return time.perf_counter() - started_s


if __name__ == "__main__":
    main()
