"""How long the loader takes for 10,000 variants of a sim of 20 steps, each variant changing a step.

Three sims: every variant has a value of its own; the variants are a product of four axes; the same with templates, a
group and counted devices. The aim is 3 s each.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

from patchbay_runner.loader import load

VARIANTS = 10_000
STEPS = 20
REPEATS = 3

_TOPOLOGY = """
[[router]]
name = "dc"
[[router]]
name = "home"
upstream = "dc"
nat = "home"
[device.server.eth0]
gateway = "dc"
[device.client.eth0]
gateway = "home"
[device.peer]
count = {peers}
[device.peer.eth0]
gateway = "dc"
"""

_TEMPLATE = """
[[step-template]]
name = "transfer"
action = "run"
parser = "ndjson"
cmd = ["transfer", "--output", "json"]
[step-template.captures.size]
match = { kind = "Done" }
pick = ".size"
[step-template.results]
down_bytes = ".size"
[[step-group]]
name = "serve"
[[step-group.step]]
action = "spawn"
id = "${group.name}"
device = "server"
cmd = ["serve", "--port", "${group.port}"]
[step-group.step.captures.ready]
regex = "ready"
"""


def _plain_step(index: int, placeholder: str) -> str:
    wanted = f'requires = ["step-{index - 1}.value"]' if index else ""
    return f"""
[[step]]
action = "run"
id = "step-{index}"
device = "client"
timeout = "30s"
{wanted}
cmd = ["probe", "--to", "$NETSIM_IP_server:3478", "--option", "{placeholder}"]
[step.captures.value]
regex = "value ([0-9]+)"
"""


def _plain(axes: dict[str, list[str]]) -> str:
    """Twenty steps, of which as many depend on the matrix as it has axes."""
    matrix = "[matrix]\n" + "\n".join(f"{name} = {json.dumps(values)}" for name, values in axes.items())
    names = list(axes)
    steps = [
        _plain_step(index, f"${{matrix.{names[index]}}}" if index < len(names) else "fixed")
        for index in range(STEPS - 1)
    ]
    check = f'[[step]]\naction = "assert"\nchecks = ["step-{STEPS - 2}.value > 0", "step-0.exit_code == 0"]\n'
    return "\n".join([matrix, '[sim]\nname = "bench"', _TOPOLOGY.format(peers=1), *steps, check])


def _rich(axes: dict[str, list[str]]) -> str:
    matrix = "[matrix]\n" + "\n".join(f"{name} = {json.dumps(values)}" for name, values in axes.items())
    calls = '[[step]]\nuse = "serve"\nvars = { name = "relay", port = "3340" }\n'
    steps = [
        f"""
[[step]]
use = "transfer"
id = "step-{index}"
device = "{"peer" if index % 3 == 0 else "client"}"
requires = ["relay.ready"]
args = ["--option", "${{matrix.{list(axes)[index % len(axes)]}}}", "$NETSIM_IP_server"]
"""
        for index in range(8)
    ]
    return "\n".join([matrix, '[sim]\nname = "bench"', _TOPOLOGY.format(peers=4), _TEMPLATE, calls, *steps])


def _seconds(text: str) -> tuple[float, int]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "bench.toml")
        path.write_text(text)
        times = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            plans = load([path], cwd=Path(directory)).plans
            times.append(time.perf_counter() - start)
            assert len(plans) == VARIANTS
            steps = len(plans[0].steps)
            del plans
    return statistics.median(times), steps


def measure() -> dict[str, object]:
    """The figures, in seconds (median)."""
    own = {"value": [f"value-{index}" for index in range(VARIANTS)]}
    product = {name: [f"{name}-{index}" for index in range(10)] for name in ("a", "b", "c", "d")}
    sims = {"own value": _plain(own), "product": _plain(product), "templates, group, counts": _rich(product)}
    results = {}
    for name, text in sims.items():
        seconds, steps = _seconds(text)
        results[name] = {
            "seconds": round(seconds, 3),
            "steps": steps,
            "us_per_variant": round(seconds / VARIANTS * 1e6, 1),
        }
    return {"benchmark": "loader", "variants": VARIANTS, "results": results}


def main(_arguments: list[str] | None = None) -> None:
    """Prints the figures as JSON."""
    print(json.dumps(measure(), indent=2))


if __name__ == "__main__":
    main()
