"""What link conditions are asked to be, and what real packets find: delay, rate, loss, bursts, throughput, many links.

Every row names the condition, what was asked, what was measured and the tolerance that the project holds itself to.
The throughput of a link, and many links at once, depend on the machine and say how much processor the emulator took.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterator
from math import sqrt
from typing import Any

from patchbay_runner.model.links import DirectionStatistics, LinkCondition
from tests.netns.support.link_probes import FRAME, PAYLOAD, TCP_SHARE, goodput_kbit, iperf, paced_delays_ms
from tests.netns.support.link_world import ENGINE, LinkWorld

LOSS_PACKETS = 20_000
SECONDS = 5

Row = dict[str, Any]


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Prints and returns a row for each measurement; `only` chooses groups, `markdown` is for internals/fidelity.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(GROUPS), default=list(GROUPS))
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args(arguments)
    report = {
        "benchmark": "links",
        "engine": ENGINE,
        "rows": [row for name in options.only for row in GROUPS[name]()],
    }
    print("\n".join(map(_line, report["rows"])) if options.markdown else json.dumps(report))
    return report


def _line(row: Row) -> str:
    """A row of a Markdown table."""
    known = ("what", "asked", "at_most", "at_least", "measured", "tolerance", "within")
    if "asked" in row:
        asked, tolerance = f"{row['asked']:,}", f"± {row['tolerance']:,}"
    elif "at_most" in row:
        asked, tolerance = f"at most {row['at_most']:,}", ""
    else:
        asked, tolerance = f"at least {row['at_least']:,}", ""
    more = ", ".join(f"{name} {value:,}" for name, value in row.items() if name not in known)
    measured = f"{row['measured']:,} ({more})" if more else f"{row['measured']:,}"
    return f"| {row['what']} | {asked} | {measured} | {tolerance} | {ENGINE} |"


def delays() -> Iterator[Row]:
    """One-way delay: the mean of 100 round trips less those of the clear link; the median of three measurements."""
    with LinkWorld(1) as world:
        base_ms = world.mean_ms()
        for latency_ms in (5, 20, 100, 300):
            world.apply(up=LinkCondition(latency_ms=latency_ms))
            found = statistics.median(world.mean_ms() - base_ms for _ in range(3))
            yield _row("one-way delay, ms", latency_ms, found, max(0.5, 0.005 * latency_ms))


def jitter() -> Iterator[Row]:
    """The spread between the slowest and the fastest of many, for an even distribution of ±5 ms."""
    with LinkWorld(1) as world:
        world.apply(up=LinkCondition(latency_ms=20, jitter_ms=5))
        trips = world.round_trips_ms("d0", 500)
        low, *_, high = statistics.quantiles(trips, n=20)
        yield _row("jitter of ±5 ms, 5th to 95th percentile, ms", 9, high - low, 0.9)


def rates() -> Iterator[Row]:
    """Frame bytes a time of datagrams sent at 1.3 times the rate, and TCP goodput over 5 ms of delay."""
    for rate_kbit in (2_000, 20_000, 54_000, 200_000):
        with LinkWorld(1) as world:
            world.apply(up=LinkCondition(rate_kbit=rate_kbit, buffer_ms=200))
            count = max(100, min(6_000, int(rate_kbit / 8 / FRAME * 400)))
            train = world.train(count, size=PAYLOAD, gap_s=FRAME * 8 / rate_kbit / 1e3 / 1.3)
            yield _row("rate of datagrams, kbit/s", rate_kbit, train.rate_kbit(FRAME), 0.03 * rate_kbit)
            world.apply(up=LinkCondition(rate_kbit=rate_kbit, latency_ms=5))
            found = goodput_kbit(world, SECONDS)
            yield _row("TCP goodput, kbit/s", TCP_SHARE * rate_kbit, found, 0.05 * TCP_SHARE * rate_kbit)


def losses() -> Iterator[Row]:
    """Loss over 20,000 packets with the binomial 99.99 % interval; mean burst length over more than 1,000 bursts."""
    with LinkWorld(1) as world:
        for loss_pct in (0.5, 2, 10, 50):
            world.apply(up=LinkCondition(loss_pct=loss_pct))
            lost = sum(world.train(LOSS_PACKETS, gap_s=0.00003).losses(LOSS_PACKETS))
            spread = 3.89 * sqrt(loss_pct / 100 * (1 - loss_pct / 100) / LOSS_PACKETS) * 100
            yield _row("loss, %", loss_pct, 100 * lost / LOSS_PACKETS, spread)
        for length in (2.0, 5.0):
            count = int(1_500 * length / 0.1)
            world.apply(up=LinkCondition(loss_pct=10, loss_burst=length))
            lost_ones = world.train(count, gap_s=0.00003).losses(count)
            runs = [len(run) for run in "".join("x" if lost else " " for lost in lost_ones).split()]
            yield _row("mean loss burst, packets", length, statistics.fmean(runs), 0.1 * length) | {"bursts": len(runs)}


def throughput() -> Iterator[Row]:
    """A link of 20 ms: frames of 1,514 bytes at 250 Mbit/s, as many as TCP gets through, and with a delay alone."""
    frames = LinkCondition(latency_ms=20, rate_kbit=10_000_000)
    rate, found = _upload(frames, "-u", "-b", "250M", "-l", str(PAYLOAD))
    yield _row("250 Mbit/s frame by frame, 20 ms, Mbit/s", 250, rate, 7.5)
    yield _at_most("lateness of these frames at p99, ms", 5, found.late_p99_ms) | {"late_p50_ms": found.late_p50_ms}
    rate, found = _upload(frames, "-u", "-b", "700M", "-l", str(PAYLOAD))
    yield _at_least("700 Mbit/s of datagrams frame by frame, Mbit/s", 0, rate) | {
        "late_p99_ms": found.late_p99_ms,
        "overrun": found.overrun,
    }
    rate, _ = _upload(frames)
    yield _at_least("TCP frame by frame, 20 ms, Mbit/s", 700, rate)
    whole, _ = _upload(LinkCondition(latency_ms=20))
    yield _at_least("TCP with a delay of 20 ms alone, Mbit/s", rate, whole)


def _upload(condition: LinkCondition, *options: str) -> tuple[float, DirectionStatistics]:
    with LinkWorld(1) as world:
        world.apply(up=condition)
        end = iperf(world, SECONDS, *options)
        found = world.statistics()["d0.eth0"].up
    assert found is not None
    if options:
        return end["sum"]["bits_per_second"] * (1 - end["sum"]["lost_percent"] / 100) / 1e6, found
    return end["sum_received"]["bits_per_second"] / 1e6, found


def many(links: int = 50) -> Iterator[Row]:
    """Fifty links of 5 Mbit/s and 20 ms, each half full at the same time: one-way delays by the kernel's clock."""
    condition = LinkCondition(latency_ms=20, rate_kbit=5_000)
    asked_ms = 20 + FRAME * 8 / 5_000
    with LinkWorld(links) as world:
        world.apply_all([(f"d{i}", condition, None) for i in range(links)])
        delays_ms = paced_delays_ms(world, links, FRAME * 8 / 2_500_000, SECONDS)
        late = [found.up for found in world.statistics().values() if found.up is not None]
    ordered = sorted(delays_ms)
    yield _row("50 links at half of 5 Mbit/s, 20 ms: mean delay, ms", asked_ms, statistics.fmean(delays_ms), 1.0) | {
        "p99_ms": round(ordered[int(0.99 * len(ordered))], 2),
        "packets": len(ordered),
        "late_p99_ms": max(each.late_p99_ms for each in late),
        "overloaded": sum(each.overloaded for each in late),
    }


def _row(what: str, asked: float, measured: float, tolerance: float) -> Row:
    return {
        "what": what,
        "asked": round(asked, 3),
        "measured": round(measured, 3),
        "tolerance": round(tolerance, 3),
        "within": abs(measured - asked) <= tolerance,
    }


def _at_most(what: str, limit: float, measured: float) -> Row:
    return {"what": what, "at_most": limit, "measured": round(measured, 3), "within": measured <= limit}


def _at_least(what: str, limit: float, measured: float) -> Row:
    return {"what": what, "at_least": round(limit, 1), "measured": round(measured, 1), "within": measured >= limit}


GROUPS: dict[str, Callable[[], Iterator[Row]]] = {
    "delays": delays,
    "jitter": jitter,
    "rates": rates,
    "losses": losses,
    "throughput": throughput,
    "many": many,
}

if __name__ == "__main__":
    main()
