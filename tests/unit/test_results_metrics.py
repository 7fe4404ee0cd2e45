"""metrics.jsonl holds differences whose sum is what sim.json says; state.json is the network as last heard of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from patchbay_runner.model.links import DirectionStatistics, LinkReport, LinkStatistics
from patchbay_runner.results.metrics import link_metrics
from patchbay_runner.results.run import RunDirectory
from tests.unit.results_support import plan, read_json, recorder_of


def report(**links: DirectionStatistics) -> LinkReport:
    return LinkReport("emulator", tuple(LinkStatistics(name, up=up) for name, up in links.items()))


FIRST = report(a=DirectionStatistics(packets=10, bytes=1000, dropped=2, lost=2, delay_total_ms=80.0))
SECOND = report(
    a=DirectionStatistics(packets=14, bytes=1500, dropped=2, lost=2, delay_total_ms=180.0, late_p99_ms=3.0),
    b=DirectionStatistics(packets=1, bytes=60, dropped=1, overflowed=1),
)


def test_the_first_time_everything_is_new() -> None:
    assert link_metrics(LinkReport(), FIRST) == {
        "a": {"up": {"packets": 10, "bytes": 1000, "dropped": 2, "lost": 2, "delay_ms": 10.0}}
    }


def test_later_only_what_was_added_is_there() -> None:
    assert link_metrics(FIRST, SECOND) == {
        "a": {"up": {"packets": 4, "bytes": 500, "delay_ms": 25.0}},
        "b": {"up": {"packets": 1, "bytes": 60, "dropped": 1, "overflowed": 1}},
    }
    assert link_metrics(SECOND, SECOND) == {}


def test_the_record_holds_the_differences_and_the_sum(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path, [plan()]) as directory:
        (sim,) = directory.sims
        sim.start()
        with recorder_of(sim) as recorder:
            recorder.links(FIRST, 1.0)
            recorder.links(SECOND, 0.5)
        sim.end(None)
        lines = [json.loads(line) for line in (sim.directory / "metrics.jsonl").read_bytes().splitlines()]
        assert [line["interval_s"] for line in lines] == [1.0, 0.5]
        assert sum(line["links"]["a"]["up"]["bytes"] for line in lines) == 1500
        links = read_json(sim.directory / "sim.json")["links"]
        assert links["engine"] == "emulator"
        assert [link["name"] for link in links["statistics"]] == ["a", "b"]
        assert links["statistics"][0]["up"]["bytes"] == 1500


def test_a_sim_without_impaired_links_has_no_metrics(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path, [plan()]) as directory:
        (sim,) = directory.sims
        sim.start()
        sim.end(None)
        assert read_json(sim.directory / "sim.json")["links"] is None
        assert not (sim.directory / "metrics.jsonl").exists()
        assert not (sim.directory / "state.json").exists()


def test_the_state_is_the_latest_with_the_event_that_it_follows(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path, [plan()]) as directory:
        (sim,) = directory.sims
        sim.start()
        with recorder_of(sim) as recorder:
            recorder.network({"devices": {"phone": {"up": True}}})
            recorder.emit("link_down", device="phone", iface="eth0")
            recorder.network({"devices": {"phone": {"up": False}}})
        sim.write()
        state = read_json(sim.directory / "state.json")
        assert state["devices"] == {"phone": {"up": False}}
        assert (state["status"], state["opid"], state["schema"]) == ("running", 1, 1)
        sim.end(None)
        assert read_json(sim.directory / "state.json")["status"] == "ok"


@pytest.mark.parametrize("name", ["packets", "delay_total_ms", "overloaded"])
def test_statistics_that_are_nothing_are_left_out(tmp_path: Path, name: str) -> None:
    with RunDirectory.create(tmp_path, [plan()]) as directory:
        (sim,) = directory.sims
        sim.start()
        with recorder_of(sim) as recorder:
            recorder.links(report(a=DirectionStatistics()), 1.0)
        sim.end(None)
        assert name not in (sim.directory / "sim.json").read_text()
