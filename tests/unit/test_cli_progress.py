import io
import os
import re
from pathlib import Path

import pytest
from rich.console import Console

from patchbay_runner.cli.progress import PlainView, View, open_view
from patchbay_runner.cli.scheduling import exit_code
from patchbay_runner.cli.summary import print_summary
from patchbay_runner.model.recording import Failure, StepResult
from patchbay_runner.model.steps import Stream
from patchbay_runner.results import messages
from patchbay_runner.results.sim import SimRecord
from tests.unit.results_support import plan, recorder_of, step_failure

SUMMARY = """\

Sim         Status        Steps   Duration   Down MB/s   Latency ms
───────────────────────────────────────────────────────────────────
relay       failed          1/2     500 ms
cut         interrupted     0/2      1.0 s
ping        passed            2      1.5 s                    31.40
transfers   passed            2      2.5 s
  a                                  2.0 s       12.50
  b                                                            5.00
later       not run         0/2

relay failed in step 2/2: run fetcher on client (sims/relay.toml:7)
  fetcher exited with code 3
  │ connecting
  │ refused
  see {root}/relay/nodes/client/fetcher.stderr.log

2 passed, 1 failed, 1 interrupted, 1 not run in 5.5 s · {root}
"""


def make_sim(root: Path, name: str) -> SimRecord:
    return SimRecord(plan(name), root / name)


def end_sim(sim: SimRecord, runtime_s: float, failure: Failure | None = None) -> None:
    sim.state.runtime_s = runtime_s
    sim.end(failure)


def make_console() -> tuple[Console, io.StringIO]:
    screen = io.StringIO()
    return Console(file=screen, width=200, highlight=False, markup=False, emoji=False), screen


def lines_of(screen: io.StringIO) -> list[str]:
    return [line.rstrip() for line in screen.getvalue().splitlines()]


def test_the_summary_shows_results_and_explains_failures(tmp_path: Path) -> None:
    ping, transfers, relay, cut, _ = sims = [
        make_sim(tmp_path, name) for name in ("ping", "transfers", "relay", "cut", "later")
    ]
    for sim in sims[:-1]:
        sim.start()
    with recorder_of(ping) as recorder:
        recorder.results([StepResult(id="ping", latency_ms="31.4")])
        recorder.finished(None)
    with recorder_of(transfers) as recorder:
        recorder.results([StepResult(id="a", duration="2", down_bytes="25000000"), StepResult(id="b", latency_ms="5")])
        recorder.finished(None)
    with recorder_of(relay) as recorder:
        recorder.emit("step_finished", step=0)
        outputs: dict[Stream, str] = {"stdout": "", "stderr": "refused\n"}
        for stream, text in outputs.items():
            with os.fdopen(recorder.open_log("client", "fetcher", stream), "w") as log:
                log.write(text)
        recorder.finished(step_failure(output=("connecting", "\x1b[31mrefused")))
    end_sim(ping, 1.5)
    end_sim(transfers, 2.5)
    end_sim(relay, 0.5)
    end_sim(cut, 1, Failure(phase="interrupted", message="interrupted"))
    console, screen = make_console()
    print_summary(console, sims, tmp_path, 5.5)
    assert lines_of(screen) == SUMMARY.format(root=tmp_path).splitlines()


@pytest.mark.parametrize(
    ("failure", "place"),
    [
        (Failure(phase="lab", message="home: no"), "while its network was built"),
        (Failure(phase="host", message="disk full"), "because this host cannot run it"),
        (Failure(phase="internal", message="oops", traceback="Traceback"), "by a defect of patchbay"),
        (Failure(phase="internal", message="killed"), "because its sandbox did not survive"),
    ],
)
def test_a_failure_without_a_step_says_when_it_came(tmp_path: Path, failure: Failure, place: str) -> None:
    sim = make_sim(tmp_path, "relay")
    sim.start()
    end_sim(sim, 1, failure)
    console, screen = make_console()
    print_summary(console, [sim], tmp_path, 1)
    assert f"relay failed {place}" in lines_of(screen)
    assert (f"  see {tmp_path}/relay/traceback.txt" in lines_of(screen)) == bool(failure.traceback)


def plain_view(sims: list[SimRecord], *, is_verbose: bool = False) -> tuple[View, io.StringIO]:
    console, screen = make_console()
    return open_view(console, sims, is_verbose=is_verbose, can_redraw=False), screen


def feed(view: View, sim: SimRecord, kind: str, **fields: object) -> None:
    event = messages.Event("t", kind, dict(fields))
    sim.state.take(event)
    view.happened(sim, [event])


def test_plain_lines_number_the_sims(tmp_path: Path) -> None:
    sims = [make_sim(tmp_path, "one"), make_sim(tmp_path, "two")]
    view, screen = plain_view(sims)
    assert isinstance(view, PlainView)
    for sim, failure in zip(sims, (None, step_failure()), strict=True):
        sim.start()
        view.started(sim)
        feed(view, sim, "step_started", step=0, action="wait")
        end_sim(sim, 0.25, failure)
        view.ended(sim)
    view.close()
    assert lines_of(screen) == [
        "[1/2] one: started (sims/one.toml)",
        "[1/2] one: passed, 0 steps in 250 ms",
        "[2/2] two: started (sims/two.toml)",
        "[2/2] two: failed after 250 ms in step 2/2: run fetcher on client: fetcher exited with code 3",
    ]


def test_verbose_lines_show_steps_and_captures(tmp_path: Path) -> None:
    sim = make_sim(tmp_path, "one")
    view, screen = plain_view([sim], is_verbose=True)
    feed(view, sim, "step_started", step=1, action="run", id="fetcher", device="client")
    feed(view, sim, "capture_recorded", key="fetcher.size", value="12\x1b[2J")
    feed(view, sim, "step_started", step=1, action="wait", id="", device="")
    assert lines_of(screen) == [
        "[1/1] one: step 2/2: run fetcher on client",
        "[1/1] one: fetcher.size = 12",
        "[1/1] one: step 2/2: wait",
    ]


def test_what_fails_in_on_failure_is_shown_though_it_is_not_the_verdict(tmp_path: Path) -> None:
    sim = make_sim(tmp_path, "one")
    view, screen = plain_view([sim])
    fields = {"action": "run", "id": "dump", "device": "client"}
    feed(view, sim, "step_started", step=1, on_failure=True, **fields)
    feed(
        view,
        sim,
        "step_failed",
        step=1,
        on_failure=True,
        phase="step",
        message="dump exited with code 3\nmore",
        **fields,
    )
    feed(view, sim, "step_failed", step=0, message="the verdict", **fields)
    assert lines_of(screen) == ["[1/1] one: step 2 of on_failure: run dump on client failed: dump exited with code 3"]


def test_without_a_terminal_a_long_step_says_that_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sim = make_sim(tmp_path, "one")
    view, screen = plain_view([sim])
    sim.start()
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    sim.state.start()
    feed(view, sim, "step_started", step=0, action="wait")
    for elapsed_s in (29, 31, 45, 62):
        now = 100.0 + elapsed_s
        view.tick()
    assert lines_of(screen) == [
        "[1/1] one: still in step 1/2: wait, for 31.0 s",
        "[1/1] one: still in step 1/2: wait, for 1 min 02 s",
    ]


def test_the_live_view_draws_the_running_step_below_the_lines_that_stay(tmp_path: Path) -> None:
    sims = [make_sim(tmp_path, "one"), make_sim(tmp_path, "two")]
    screen = io.StringIO()
    console = Console(file=screen, width=80, force_terminal=True, color_system=None)
    view = open_view(console, sims, is_verbose=False, can_redraw=True)
    sims[0].start()
    view.started(sims[0])
    assert "building the network" in screen.getvalue()
    sims[0].begin_again("worker_lost")
    view.tick()
    assert "waiting for a worker" in screen.getvalue()
    sims[0].state.is_displaced = False
    feed(view, sims[0], "step_started", step=0, action="run", id="fetcher", device="client")
    view.tick()
    assert "1/2" in screen.getvalue()
    assert "run fetcher on client" in screen.getvalue()
    assert "0 of 2 sims done" in screen.getvalue()
    end_sim(sims[0], 1, step_failure())
    view.ended(sims[0])
    assert "1 of 2 sims done, 1 failed" in screen.getvalue()
    view.close()
    assert screen.getvalue().endswith("\x1b[?25h") or "\x1b[?25h" in screen.getvalue(), "the cursor is shown again"


def test_the_live_view_has_a_line_for_each_running_sim_as_far_as_they_fit(tmp_path: Path) -> None:
    sims = [make_sim(tmp_path, f"sim-{number}") for number in range(30)]
    screen = io.StringIO()
    console = Console(file=screen, width=80, height=12, force_terminal=True, color_system=None)
    view = open_view(console, sims, is_verbose=False, can_redraw=True)
    for sim in sims[:20]:
        sim.start()
    screen.truncate(0)
    view.tick()
    drawn = screen.getvalue()
    view.close()
    assert re.findall(r"sim-(\d+)", drawn) == [str(number) for number in range(10)]
    assert "0 of 30 sims done, 20 running" in drawn


def test_attempts_are_told_apart(tmp_path: Path) -> None:
    sims = [SimRecord(plan("web", attempt=number), tmp_path / str(number)) for number in (1, 2)]
    view, screen = plain_view(sims)
    for sim in sims:
        sim.start()
        end_sim(sim, 0.25)
        view.ended(sim)
    console, summary = make_console()
    print_summary(console, sims, tmp_path, 1)
    assert [line.split(": ")[0] for line in lines_of(screen)] == ["[1/2] web #1", "[2/2] web #2"]
    assert [line.split("  ")[0] for line in lines_of(summary)[3:5]] == ["web #1", "web #2"]


def test_the_live_view_counts_steps_that_run_at_the_same_time_and_not_those_of_on_failure(tmp_path: Path) -> None:
    sim = make_sim(tmp_path, "one")
    screen = io.StringIO()
    console = Console(file=screen, width=80, force_terminal=True, color_system=None)
    view = open_view(console, [sim], is_verbose=True, can_redraw=True)
    sim.start()
    for position, step_id in enumerate(("a", "b")):
        feed(view, sim, "step_started", step=position, action="run", id=step_id, device="client")
    view.tick()
    assert "run a on client and 1 more" in screen.getvalue()
    feed(view, sim, "step_finished", step=0, id="a", status="passed")
    feed(view, sim, "step_failed", step=1, id="b", message="no")
    assert (sim.state.step, sim.state.steps_done) == (None, 1)
    feed(view, sim, "step_started", step=0, action="run", id="dump", device="client", on_failure=True)
    assert "step 1 of on_failure: run dump on client" in screen.getvalue()
    feed(view, sim, "step_finished", step=0, id="dump", status="passed", on_failure=True)
    view.close()
    assert (sim.state.step, sim.state.steps_done) == (None, 1)


def test_on_a_narrow_screen_names_give_way_to_what_happens(tmp_path: Path) -> None:
    sim = make_sim(tmp_path, "a-long-name-" * 9)
    screen = io.StringIO()
    console = Console(file=screen, width=80, force_terminal=True, color_system=None)
    view = open_view(console, [sim], is_verbose=False, can_redraw=True)
    sim.start()
    feed(view, sim, "step_started", step=0, action="run", id="a-long-step-" * 9, device="client")
    view.tick()
    view.close()
    assert re.search(r"[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]  a-long-name-[\w-]*…  1/2  run a-long-step-[\w-]*…  \d+ ms", screen.getvalue())


def test_on_a_narrow_screen_the_summary_keeps_its_figures(tmp_path: Path) -> None:
    sim = make_sim(tmp_path, "a-long-name-" * 9)
    sim.start()
    end_sim(sim, 6.1, step_failure())
    screen = io.StringIO()
    print_summary(Console(file=screen, width=80), [sim], tmp_path, 6.1)
    table = screen.getvalue().partition("\n\n")[0].splitlines()[1:]
    assert table[0].split() == ["Sim", "Status", "Steps", "Duration"]
    assert table[2].split()[1:] == ["failed", "0/2", "6.1", "s"]
    assert "".join(line.split()[0] for line in table[2:]) == sim.state.plan.name


def test_the_exit_code_says_whose_fault_it_was(tmp_path: Path) -> None:
    def code(*phases: str | None, is_interrupted: bool = False) -> int:
        sims = []
        for number, phase in enumerate(phases):
            sim = make_sim(tmp_path / str(len(sims)), f"s{number}")
            sim.state.end(Failure(phase=phase, message="x") if phase else None)
            sims.append(sim)
        return exit_code(sims, is_interrupted=is_interrupted)

    assert code(None, None) == 0
    assert code(None, "step") == code("lab") == code("timeout") == 1
    assert code("step", "internal") == 3
    assert code("host", "internal", "step") == 4
    assert code(None, "overloaded") == 5
    assert code("overloaded", "step") == 1
    assert code("overloaded", "internal") == 3
    assert code("step", is_interrupted=True) == 130
