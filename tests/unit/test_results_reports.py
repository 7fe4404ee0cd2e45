from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchbay_runner.model.recording import CaptureValue, StepResult
from patchbay_runner.results import messages, reports
from patchbay_runner.results.documents import CombinedResults, CombinedSim, Status
from patchbay_runner.results.sim_state import SimState
from patchbay_runner.results.throughput import measure
from tests.unit.results_support import plan, step_failure

SIM_REPORT = """\
# relay

error, 1 of 2 steps, 12.50 s · sims/relay.toml

- nat = home
- peers = 2

## Failure

Step 2: run fetcher on client (sims/relay.toml:7)

fetcher exited with code 3

    connecting
    ```
    refused

## Results

| Step | Duration (s) | Down (MB) | Down (MB/s) |
| --- | --- | --- | --- |
| fetcher | 2.00 | 25.00 | 12.50 |
| probe |  |  |  |

## Captures

| Capture | Value | Values |
| --- | --- | --- |
| fetcher.kind | a\\|b | 2 |
"""

QUIET_REPORT = """\
# relay

ok, 0 of 2 steps, 0.25 s · sims/relay.toml
"""

COMBINED_REPORT = """\
# sim-260313-120000

| Sim | Status | N | Max Down (MB/s) | Max Up (MB/s) |
| --- | --- | --- | --- | --- |
| relay | ok | 2 | 12.50 | 0.001 |
| ping | interrupted | 0 |  |  |

## Steps

| Sim | Step | Duration (s) | Down (MB) | Up (MB) | Down (MB/s) | Up (MB/s) | Latency (ms) |
| --- | --- | --- | --- | --- | --- | --- | --- |
| relay | a | 2.00 | 25.00 | 0.002 | 12.50 | 0.001 |  |
| relay | b | 1.00 | 1.00 |  | 1.00 |  | 31.40 |
"""


def ended(state: SimState, runtime_s: float) -> SimState:
    state.start()
    state.runtime_s = runtime_s
    return state


def test_a_failed_sims_report() -> None:
    state = ended(SimState(plan(matrix={"nat": "home", "peers": 2}), "relay"), 12.5)
    state.take(messages.Event("", "step_finished"))
    state.take(messages.Captures({"fetcher.kind": messages.CaptureGrowth("a|b", ("c", "a|b"), 2)}))
    state.take(
        messages.Results((StepResult(id="fetcher", duration="2", down_bytes="25000000"), StepResult(id="probe")))
    )
    state.take(messages.Finished(step_failure(output=("connecting", "```", "refused"))))
    state.end(None)
    assert reports.sim_markdown(state.sim_document(), state.results_document()) == SIM_REPORT


def test_a_sim_without_results_or_captures_has_no_empty_sections() -> None:
    state = ended(SimState(plan(), "relay"), 0.25)
    state.end(None)
    assert reports.sim_markdown(state.sim_document(), state.results_document()) == QUIET_REPORT


def test_the_combined_report() -> None:
    steps = (
        StepResult(id="a", duration="2.0", down_bytes="25000000", up_bytes="2000"),
        StepResult(id="b", duration="1", down_bytes="1000000", latency_ms="31.4"),
    )
    common: dict[str, Any] = {"run": "sim-260313-120000", "matrix": {}}
    combined = CombinedResults(
        runs=(
            CombinedSim(sim="relay", sim_dir="relay", status=Status.OK, steps=steps, **common),
            CombinedSim(sim="ping", sim_dir="ping", status=Status.INTERRUPTED, steps=(), **common),
        )
    )
    assert reports.combined_markdown(combined) == COMBINED_REPORT


def test_throughput_is_decimal_megabytes_over_seconds() -> None:
    measures = measure(StepResult(id="x", duration="0.5", down_bytes="1000000", up_bytes="500"))
    assert (measures.down_mb_s, measures.up_mb_s) == (2.0, 0.001)


@pytest.mark.parametrize("duration", ["0", "-1", None, "soon"])
def test_without_a_duration_there_is_no_throughput(duration: str | None) -> None:
    measures = measure(StepResult(id="x", duration=duration, down_bytes="1000"))
    assert measures.down_mb_s is None
    assert measures.down_mb == 0.001


@given(st.dictionaries(st.text(min_size=1), st.text(), min_size=1, max_size=4))
def test_no_value_breaks_a_table(values: dict[str, str]) -> None:
    state = ended(SimState(plan(), "relay"), 1)
    state.take(messages.Captures({key: messages.CaptureGrowth(value, (value,), 1) for key, value in values.items()}))
    state.end(None)
    report = reports.sim_markdown(state.sim_document(), state.results_document())
    table = report.split("## Captures\n\n", 1)[1].strip("\n").split("\n")
    assert len(table) == 2 + len(values)
    assert all(line.startswith("| ") and line.endswith(" |") for line in table)


def test_capture_values_say_whether_they_are_cut() -> None:
    assert not CaptureValue("1", ("1",), 1).is_cut
    assert CaptureValue("2", ("2",), 2).is_cut
