"""SIGKILL of any process of a run, at 50 moments from its first instruction to its last, leaves nothing behind.

Programs that ignore SIGTERM run meanwhile, and one that forked away. Where each kill hit is printed.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from patchbay_runner.results import lock
from tests.netns.support.run_records import assert_readable
from tests.netns.support.run_remains import foreign_namespaces, host, inhabitants
from tests.netns.support.run_stubborn import PHASES, VICTIMS, Run, phase_lengths
from tests.netns.support.running import Project, finish

# The moments are fractions of phases whose length was measured before.
pytestmark = pytest.mark.alone

# How many kills in each phase; in the first there is no sandbox to kill.
_MOMENTS = {"loading": 5, "building": 15, "steps": 15, "teardown": 10, "following": 5}
# Then the sandbox may have given its verdict, and the next one may be the victim.
_LATE = ("teardown", "following")
_PATIENCE_S = 5.0
# The runs mostly wait, so some of them go at a time.
_AT_A_TIME = 3
# Init, agent, the deaf program and the daemon with two children each.
_FULL = 8


@dataclass(frozen=True, slots=True)
class Moment:
    """The same number is the same victim at the same place of the run."""

    number: int
    phase: str
    victim: str
    fraction: float

    def __str__(self) -> str:
        return f"moment {self.number}: {self.victim} at {self.fraction:.0%} of {self.phase}"


@dataclass(frozen=True, slots=True)
class Kill:
    """What happened at a moment. `hit` is the phase that stood in the run directory; so many ran in the sandbox."""

    moment: Moment
    hit: str
    inhabitants: int
    gone_after_s: float

    def __str__(self) -> str:
        gone = f"nothing left after {self.gone_after_s * 1000:.0f} ms"
        return f"{self.moment}: hit {self.hit}, {self.inhabitants} processes in the sandbox, {gone}"


def _moments(phase: str) -> list[Moment]:
    first = sum(_MOMENTS[earlier] for earlier in PHASES[: PHASES.index(phase)])
    count = _MOMENTS[phase]
    victims = VICTIMS[:2] if phase == "loading" else VICTIMS
    return [Moment(first + n, phase, victims[n % len(victims)], (n + 0.5) / (count + 1)) for n in range(count)]


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pb") as name:
        yield Path(name)


@pytest.mark.parametrize("phase", _MOMENTS)
def test_nothing_is_left_and_everything_is_readable(
    phase: str, directory: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    length_s = phase_lengths()[phase]
    before = host()
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        kills = list(pool.map(lambda moment: _kill_at(moment, length_s, directory), _moments(phase)))
    report = "\n".join(map(str, kills))
    with capfd.disabled():
        os.write(1, f"\n{report}\n".encode())
    assert host().more_than(before) == []
    assert sum(kill.hit.startswith(phase) for kill in kills) >= len(kills) // 3, report
    if phase in ("steps", "teardown"):
        assert max(kill.inhabitants for kill in kills) >= _FULL, report


def _kill_at(moment: Moment, length_s: float, directory: Path) -> Kill:
    root = directory / str(moment.number)
    root.mkdir()
    run = Run.start(Project(root))
    try:
        run.wait_for_phase(moment.phase)
        time.sleep(length_s * moment.fraction)
        return _kill(run, moment)
    except AssertionError as error:
        raise AssertionError(f"{moment}: {error}") from error
    finally:
        finish(run.process)


def _kill(run: Run, moment: Moment) -> Kill:
    victim = run.find(moment.victim)
    inside = inhabitants(foreign_namespaces(run.project.processes()))
    hit = run.detailed_phase
    if victim is not None:
        with suppress(ProcessLookupError):  # it ended by itself while we looked
            os.kill(victim, signal.SIGKILL)
    killed_s = time.monotonic()
    _wait_until_empty(lambda: [each for each in inside if each.is_alive], "still run in the sandbox")
    if moment.victim == "parent":
        run.process.wait(_PATIENCE_S)
        _wait_until_empty(run.project.processes, "still run")
    gone_after_s = time.monotonic() - killed_s
    if moment.victim == "parent":
        _assert_cut(run)
    else:
        _assert_concluded(run, moment, hit)
    _wait_until_empty(run.project.processes, "still run after the run")
    assert_readable(run.project.root)
    return Kill(moment, hit, len(inside), gone_after_s)


def _wait_until_empty(left: Callable[[], Collection[object]], problem: str) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while found := left():
        assert time.monotonic() < deadline_s, f"{found} {problem}"
        time.sleep(0.01)


def _assert_cut(run: Run) -> None:
    """What a killed parent was writing says "running" for ever; the free lock tells a reader that it is not."""
    project = run.project
    hit = run.phase  # nobody writes any more: this is where it was cut
    if not project.latest.exists():
        assert hit == "loading"
        return
    assert not lock.is_held(project.latest)
    status = project.read("manifest.json")["status"]
    if run.process.returncode == 0:
        assert status == "done"
    else:
        assert status == "running" or (hit, status) == ("following", "done"), hit
    if hit not in ("loading", "following"):
        assert project.read("stubborn/sim.json")["status"] == "running"


def _assert_concluded(run: Run, moment: Moment, hit: str) -> None:
    """The parent has written what happened to the sim, and has gone on with the next one if it could."""
    ended = finish(run.process)
    project = run.project
    manifest = project.read("manifest.json")
    assert (manifest["status"], lock.is_held(project.latest)) == ("done", False), ended
    statuses = {each["sim"]: each["status"] for each in manifest["simulations"]}
    failed = [sim for sim, status in statuses.items() if status == "error"]
    if not failed:
        # The verdict was there before the kill.
        assert (ended.returncode, hit in _LATE) == (0, True), ended
        return
    assert ended.returncode == 3, ended
    assert ended.stderr == ""
    for sim in failed:
        error = project.read(f"{sim}/sim.json")["error"]
        assert error["phase"] == "internal"
        assert error["message"] in ended.stdout
    expected = ["stubborn", "following"] if moment.victim == "zygote" else ["stubborn"]
    assert failed == expected or hit in _LATE, ended
    assert "pending" not in statuses.values(), ended
