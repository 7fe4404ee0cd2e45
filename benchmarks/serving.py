"""The server under load: a list of thousands of runs, a log of gigabytes, hundreds of streams of one live run."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from patchbay_runner.model.plan import Plan
from patchbay_runner.model.steps import Wait
from patchbay_runner.results.messages import Event, event_time
from patchbay_runner.results.run import RunDirectory

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_LINE = b'{"timestamp": "2026-03-13T12:00:00Z", "level": "INFO", "fields": {"message": "line of a log"}, "n": %09d}\n'


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Prints and returns all three."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--log-mb", type=int, default=2048)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--events-per-s", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args(arguments)
    report: dict[str, Any] = {"benchmark": "serving"}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        report["list"] = measure_list(work / "many", options.runs)
        report["log"] = measure_log(work / "log", options.log_mb)
        report["streams"] = asyncio.run(
            measure_streams(work / "live", options.streams, options.events_per_s, options.seconds)
        )
    print(json.dumps(report))
    return report


class Served:
    """A server in a process of its own."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self.pid = pid

    def cpu_s(self) -> float:
        """What it has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def memory_mb(self) -> float:
        """The most that it ever had in memory."""
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert found
        return round(int(found[1]) / 1000, 1)


@contextmanager
def serving(directory: Path) -> Iterator[Served]:
    """`patchbay serve` of a directory."""
    command = [sys.executable, "-m", "patchbay_runner", "serve", "--bind", "127.0.0.1:0", str(directory)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        url = process.stderr.readline().partition(" ")[0]
        try:
            yield Served(url, process.pid)
        finally:
            process.terminate()


def measure_list(work: Path, runs: int) -> dict[str, Any]:
    """How long the list takes: the first time from the server's start, then again, then filtered."""
    manifest = (make_run(work).path / "manifest.json").read_bytes()
    for number in range(runs - 1):
        run = work / f"sim-{number:06}"
        run.mkdir()
        (run / "manifest.json").write_bytes(manifest)
    started_s = time.perf_counter()
    with serving(work) as served, httpx.Client(base_url=served.url, timeout=60, trust_env=False) as client:
        assert client.get("api/runs").json()["total"] == runs
        first_s = time.perf_counter() - started_s
        return {
            "runs": runs,
            "first_from_start_s": round(first_s, 3),
            "whole_s": timed(lambda: client.get("api/runs?limit=10000")),
            "page_s": timed(lambda: client.get("api/runs")),
            "filtered_s": timed(lambda: client.get("api/runs?text=sim-00012")),
            "memory_mb": served.memory_mb(),
        }


def measure_log(work: Path, megabytes: int) -> dict[str, Any]:
    """How long windows of a large log take, before and after its lines were counted."""
    run = make_run(work)
    log = run.path / "web" / "nodes" / "c" / "large.log"
    log.parent.mkdir(parents=True)
    lines = (megabytes << 20) // len(_LINE % 0)
    with log.open("wb") as file:
        for begin in range(0, lines, 50_000):
            file.write(b"".join(_LINE % number for number in range(begin, min(begin + 50_000, lines))))
    path = f"api/runs/{run.path.name}/sims/web/logs/nodes/c/large.log"
    with serving(work) as served, httpx.Client(base_url=served.url, timeout=60, trust_env=False) as client:
        report = {
            "megabytes": megabytes,
            "lines": lines,
            "open_s": timed(lambda: client.get(path, params={"before": "end"}), rounds=1),
            "first_line_s": timed(lambda: client.get(path, params={"line": lines // 2}), rounds=1),
        }
        started_s = time.perf_counter()
        while client.get(path).json()["total_lines"] != lines:
            time.sleep(0.05)
        report["then_counted_s"] = round(time.perf_counter() - started_s, 3)
        report["line_s"] = timed(lambda: client.get(path, params={"line": lines // 3}))
        report["scroll_s"] = timed(lambda: client.get(path, params={"at": log.stat().st_size // 3}))
        started_s = time.perf_counter()
        found, place, rounds = 0, 0, 0
        while True:
            page = client.get(f"{path}/search", params={"q": f"{lines - 1:09}", "after": place}).json()
            found, place, rounds = found + len(page["matches"]), page["next"], rounds + 1
            if page["is_end"]:
                break
        assert found == 1
        report["search_all_s"] = round(time.perf_counter() - started_s, 3)
        report["memory_mb"] = served.memory_mb()
        return report


async def measure_streams(work: Path, streams: int, events_per_s: int, seconds: float) -> dict[str, Any]:
    """What following one live run costs the server, and how late events are."""
    with RunDirectory.create(work, [Plan(name="web", source="web.toml", steps=(Wait(duration_s=1),))]) as directory:
        directory.sims[0].start()
        run = directory.path.name
        with serving(work) as served:
            limits = httpx.Limits(max_connections=None)
            async with httpx.AsyncClient(base_url=served.url, timeout=60, limits=limits, trust_env=False) as client:
                late_s: list[float] = []
                ready = asyncio.Semaphore(0)
                path = f"api/stream?runs=true&run={run}&sim=web"
                tasks = [asyncio.create_task(follow(client, path, ready, late_s)) for _ in range(streams)]
                for _ in tasks:
                    await ready.acquire()
                before_s, began_s = served.cpu_s(), time.perf_counter()
                written = await write_events(directory, events_per_s, seconds)
                await asyncio.gather(*tasks)
                cpu_s, lasted_s = served.cpu_s() - before_s, time.perf_counter() - began_s
            late_s.sort()
            assert len(late_s) == written * streams
            return {
                "streams": streams,
                "events_per_s": events_per_s,
                "delivered": len(late_s),
                "cores": round(cpu_s / lasted_s, 3),
                "late_p50_ms": round(late_s[len(late_s) // 2] * 1000, 1),
                "late_p99_ms": round(late_s[len(late_s) * 99 // 100] * 1000, 1),
                "memory_mb": served.memory_mb(),
            }


async def write_events(directory: RunDirectory, events_per_s: int, seconds: float) -> int:
    """Writes events as a run does, with its documents; returns how many."""
    sim, written, began_s = directory.sims[0], 0, time.perf_counter()
    sim.state.network = {"routers": {"home": {"nat": "home"}}, "devices": {}}
    while (passed_s := time.perf_counter() - began_s) < seconds:
        due = int(passed_s * events_per_s) - written
        events = [Event(event_time(), "note", {"at": time.perf_counter()}) for _ in range(due)]
        sim.feed(b"".join(msgspec.json.encode(event) + b"\n" for event in events))
        written += due
        sim.state.network["routers"]["home"]["n"] = written
        sim.state.network_is_new = True
        directory.write_if_due()
        await asyncio.sleep(0.02)
    sim.feed(msgspec.json.encode(Event(event_time(), "last", {})) + b"\n")
    return written


async def follow(client: httpx.AsyncClient, path: str, ready: asyncio.Semaphore, late_s: list[float]) -> None:
    """Follows until the last event, and notes how old each was."""
    async with client.stream("GET", path) as response:
        kind = ""
        async for line in response.aiter_lines():
            if line.startswith("event: "):
                kind = line[7:]
                if kind == "sims":
                    ready.release()
            elif kind == "events" and line.startswith("data: "):
                now_s = time.perf_counter()
                for event in msgspec.json.decode(line[6:]):
                    if event["kind"] == "note":
                        late_s.append(now_s - event["at"])
                    elif event["kind"] == "last":
                        return


def make_run(work: Path) -> RunDirectory:
    """A run that is over."""
    with RunDirectory.create(work, [Plan(name="web", source="web.toml", steps=(Wait(duration_s=1),))]) as directory:
        directory.sims[0].start()
        directory.sims[0].end(None)
    return directory


def timed(ask: Callable[[], httpx.Response], rounds: int = 5) -> float:
    """The shortest of some rounds, in seconds."""
    taken_s = []
    for _ in range(rounds):
        started_s = time.perf_counter()
        ask().raise_for_status()
        taken_s.append(time.perf_counter() - started_s)
    return round(min(taken_s), 4)


if __name__ == "__main__":
    main()
