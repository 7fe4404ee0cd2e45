"""What `--jobs auto` saves against `--jobs 1` over the sims of this project that wait more than they compute.

At most 0.6 of the time on two processors is the aim. A first run, one sim at a time, tells which sims those are: they
take company, and need less processor time than half of the time
that they take. Then both contestants run by turns.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from patchbay_runner.cli.processors import automatic_jobs
from patchbay_runner.loader import load
from patchbay_runner.model.company import is_alone

_CHECKOUT = Path(__file__).parents[1]
_MOST_COMPUTING = 0.5


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Prints and returns the medians in seconds and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        waiting = [sim for sim in _company() if _share_of_computing(sim, work) < _MOST_COMPUTING]
        taken_s: dict[str, list[float]] = {"1": [], "auto": []}
        for _ in range(options.rounds):
            for jobs, seconds in taken_s.items():
                seconds.append(_run([*waiting, "--jobs", jobs], work))
    one_s, auto_s = (statistics.median(seconds) for seconds in taken_s.values())
    report = {
        "benchmark": "jobs",
        "sims": len(waiting),
        "auto": automatic_jobs(),
        "one_s": round(one_s, 2),
        "auto_s": round(auto_s, 2),
        "ratio": round(auto_s / one_s, 3),
    }
    print(json.dumps(report))
    return report


def _company() -> list[str]:
    """Files all of whose variants run beside others, whatever impairs links here."""
    plans = load(["sims"], cwd=_CHECKOUT).plans
    alone = {plan.source for plan in plans if is_alone(plan, is_emulated=True)}
    return list(dict.fromkeys(plan.source for plan in plans if plan.source not in alone))


def _share_of_computing(sim: str, work: Path) -> float:
    """Processor time of a run and all its programs, for each second that it takes."""
    before = _processor_s()
    taken_s = _run([sim], work)
    return (_processor_s() - before) / taken_s


def _processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _run(arguments: list[str], work: Path) -> float:
    command = [sys.executable, "-m", "patchbay_runner", "run", *arguments, "--work-dir", str(work)]
    started_s = time.monotonic()
    subprocess.run(command, cwd=_CHECKOUT, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - started_s


if __name__ == "__main__":
    main()
