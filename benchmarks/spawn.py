"""What a `run` step of `true` costs, against the bare minimum: enter the namespace, posix_spawn, return, wait.

Both run in the same sandbox by turns. A step also opens two logs, watches the program, records its exit and reports
six events to the parent.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import json
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from patchbay_runner.executor import RunOptions, run_plan
from patchbay_runner.kernel.sandbox import SandboxContext, Zygote
from patchbay_runner.lab.lab import Lab
from patchbay_runner.model.plan import Plan
from patchbay_runner.model.steps import Run
from patchbay_runner.model.topology import Device, Interface, Router, Topology
from patchbay_runner.results.recorder import SandboxRecorder

DEVICE = "device"
CLONE_NEWNET = 0x40000000


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Prints and returns the medians of both in milliseconds, and of their ratio round by round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args(arguments)
    with Zygote.start({"spawn": measure}) as zygote, tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
        job = {"steps": options.steps, "rounds": options.rounds, "directory": directory}
        read_end, write_end = os.pipe()
        messages_read, messages_write = os.pipe()
        payload = json.dumps(job).encode()
        with zygote.sandbox("spawn", payload, (write_end, messages_write)) as sandbox, os.fdopen(read_end) as answers:
            os.close(write_end)
            os.close(messages_write)
            reader = threading.Thread(target=_discard, args=(messages_read,))
            reader.start()
            answer = answers.read()
            reader.join()
            sandbox.wait(10)
    report = {"benchmark": "spawn", "steps": options.steps, **json.loads(answer)}
    print(json.dumps(report))
    return report


def measure(context: SandboxContext) -> int:
    """The sandbox's entry: measures and writes the figures to the first descriptor."""
    job = json.loads(context.payload)
    device = Device(name=DEVICE, interfaces=(Interface(name="eth0", gateway="router"),))
    lab = Lab.build(Topology(routers=(Router(name="router"),), devices=(device,)))
    recorder = SandboxRecorder(Path(job["directory"]), context.fds[1])
    namespace = _namespace_of(lab)
    bare_ms: list[float] = []
    step_ms: list[float] = []
    for number in range(job["rounds"] + 1):
        bare = time_bare(namespace, job["steps"])
        step = asyncio.run(time_steps(lab, recorder, number, job["steps"]))
        if number:  # the first round warms up
            bare_ms.append(bare)
            step_ms.append(step)
    figures = {
        "bare_ms": round(statistics.median(bare_ms), 3),
        "step_ms": round(statistics.median(step_ms), 3),
        "times_bare": round(statistics.median(step / bare for step, bare in zip(step_ms, bare_ms, strict=True)), 2),
    }
    os.write(context.fds[0], json.dumps(figures).encode())
    return 0


def time_bare(namespace: int, count: int) -> float:
    """Milliseconds a program, from before the start until its exit code is there."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    environment = dict(os.environ)
    started_s = time.perf_counter()
    for _ in range(count):
        libc.setns(namespace, CLONE_NEWNET)
        pid = os.posix_spawn("/bin/true", ["true"], environment)
        libc.setns(home, CLONE_NEWNET)
        assert os.waitpid(pid, 0)[1] == 0
    elapsed_s = time.perf_counter() - started_s
    os.close(home)
    return elapsed_s * 1000 / count


async def time_steps(lab: Lab, recorder: SandboxRecorder, number: int, count: int) -> float:
    """Milliseconds a step of a whole sim, its end included."""
    steps = tuple(Run(id=f"r{number}-{index}", device=DEVICE, cmd=("true",)) for index in range(count))
    options = RunOptions(Path("/"), os.environ, {})
    recorder_of_round = _Unfinished(recorder)
    started_s = time.perf_counter()
    failure = await run_plan(Plan(name="spawn", source="", steps=steps), lab, recorder_of_round, options)
    assert failure is None, failure
    return (time.perf_counter() - started_s) * 1000 / count


class _Unfinished:
    """A recorder that outlives several sims: everything but the verdict goes through."""

    def __init__(self, recorder: SandboxRecorder) -> None:
        self._recorder = recorder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recorder, name)

    def finished(self, failure: object) -> None:
        """The parent hears nothing of it."""


def _namespace_of(lab: Lab) -> int:
    """The device's network namespace, by way of a program that runs there."""
    null = os.open(os.devnull, os.O_RDWR)
    pid = lab.start(DEVICE, ("sleep", "600"), os.environ, cwd="/", stdout=null, stderr=null)
    return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _discard(descriptor: int) -> None:
    while os.read(descriptor, 1 << 16):
        pass
    os.close(descriptor)


if __name__ == "__main__":
    main()
