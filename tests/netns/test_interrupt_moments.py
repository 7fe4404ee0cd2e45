"""Ctrl-C at any moment of a run: exit code 130, everything written, nothing left, and never a traceback."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from patchbay_runner.results import lock
from tests.netns.support.run_records import assert_readable
from tests.netns.support.run_stubborn import PHASES, Run, phase_lengths
from tests.netns.support.running import Project, finish

_FRACTIONS = (0.1, 0.35, 0.6, 0.85)
_TRIES = 3


@pytest.mark.parametrize("phase", PHASES)
def test_ctrl_c_ends_a_run_cleanly_whatever_the_moment(phase: str, tmp_path: Path) -> None:
    length_s = phase_lengths()[phase]

    def interrupt(fraction: float) -> None:
        # On a busy machine the interruption may come when all steps have passed: then it says nothing of this phase.
        for attempt in range(_TRIES):
            if interrupted_in_time(fraction, tmp_path / f"{fraction}-{attempt}"):
                return
        pytest.fail(f"{fraction:.0%} of {phase}: the run went on to its end {_TRIES} times")

    def interrupted_in_time(fraction: float, root: Path) -> bool:
        root.mkdir()
        run = Run.start(Project(root))
        try:
            if phase == "loading":
                run.find("zygote")  # before, the interpreter is at its imports and answers for itself
                time.sleep(0.02 * fraction)
            else:
                run.wait_for_phase(phase)
                time.sleep(length_s * fraction)
            return _interrupt(run)
        except AssertionError as error:
            raise AssertionError(f"{fraction:.0%} of {phase}: {error}") from error
        finally:
            finish(run.process)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(interrupt, _FRACTIONS))


def _interrupt(run: Run) -> bool:
    """Interrupts the run and looks at what it left; False when the sim had passed before it heard of it."""
    project = run.project
    hit = run.detailed_phase
    run.process.send_signal(signal.SIGINT)
    asked_s = time.monotonic()
    ended = finish(run.process)
    took_s = time.monotonic() - asked_s
    assert "Traceback" not in ended.stdout + ended.stderr, ended
    assert project.processes() == {}
    if ended.returncode == 0:
        return hit == "following"
    assert ended.returncode == 130, (hit, ended)
    # The deaf programs have a second.
    assert took_s < 5, hit
    if not project.latest.exists():
        assert hit == "loading"
        return True
    assert_readable(project.root)
    assert not lock.is_held(project.latest)
    manifest = project.read("manifest.json")
    assert manifest["status"] == "interrupted", (hit, ended)
    statuses = [sim["status"] for sim in manifest["simulations"]]
    assert "running" not in statuses, (hit, ended)
    if hit in ("loading", "following"):
        return True
    assert statuses[0] in ("ok", "interrupted"), (hit, ended)
    assert statuses[1] == "pending", (hit, ended)
    assert project.read("stubborn/results.json")["status"] == statuses[0]
    # Programs that get their time to end may do so after the last step has passed.
    return statuses[0] == "interrupted" or hit == "teardown"
