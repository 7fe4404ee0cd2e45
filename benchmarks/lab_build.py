"""A lab of COUNT devices on one router, as `patchbay run` builds it: zygote, sandbox, then the timed build.

python -m benchmarks.lab_build COUNT 4|46      prints {"build_s": …, "teardown_s": …, "families": …}
"""

from __future__ import annotations

import argparse
import json
import os
import time

from patchbay_runner.kernel.sandbox import SandboxContext, Zygote
from patchbay_runner.lab.lab import Lab
from patchbay_runner.model.topology import Device, Interface, IpSupport, Router, Topology


def topology(count: int, families: str) -> Topology:
    support = IpSupport.V4_ONLY if families == "4" else IpSupport.DUAL_STACK
    devices = tuple(Device(name=f"d{i}", interfaces=(Interface(name="eth0", gateway="r"),)) for i in range(count))
    return Topology(routers=(Router(name="r", ip_support=support),), devices=devices)


def timed_build(context: SandboxContext) -> int:
    """The sandbox's entry: builds, says how long it took, keeps the lab until the other end of the pipe is closed."""
    count, families = json.loads(context.payload)
    asked = topology(count, families)
    started = time.perf_counter()
    Lab.build(asked)
    report, keep = context.fds
    os.write(report, json.dumps(time.perf_counter() - started).encode())
    os.read(keep, 1)
    return 0


def measure(count: int, families: str) -> dict[str, object]:
    """Seconds of the build, and from the end of the sandbox to the end of its last process."""
    with Zygote.start({"build": timed_build}) as zygote:
        report, reported = os.pipe()
        kept, keep = os.pipe()
        sandbox = zygote.sandbox("build", json.dumps((count, families)).encode(), (reported, kept))
        os.close(reported)
        os.close(kept)
        answer = os.read(report, 100)
        if not answer:
            raise SystemExit(f"the lab was not built: {sandbox.wait().error}")
        started = time.perf_counter()
        os.close(keep)
        sandbox.wait()
        teardown_s = time.perf_counter() - started
    return {"count": count, "families": families, "build_s": json.loads(answer), "teardown_s": teardown_s}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int)
    parser.add_argument("families", choices=["4", "46"])
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.count, arguments.families)))
