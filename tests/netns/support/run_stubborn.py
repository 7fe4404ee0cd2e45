"""A sim of 30 nodes whose programs do not want to end, and the phases of its run."""

from __future__ import annotations

import functools
import subprocess
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tests.netns.support.run_records import assert_readable
from tests.netns.support.run_remains import children
from tests.netns.support.running import Project, finish

_NAME = "stubborn"

_TOPOLOGY = """
[[router]]
name = "dc"

[[router]]
name = "isp"
nat = "cgnat"

[[router]]
name = "home"
upstream = "isp"
nat = "home"

[device.server.eth0]
gateway = "dc"

[device.laptop.eth0]
gateway = "home"

[device.crowd]
count = 24
[device.crowd.eth0]
gateway = "dc"
"""

_STEPS = """
[[step]]
action = "gen-certs"
id = "tls"
device = "server"

# Ignores what asks it to end, and so does its child.
[[step]]
action = "spawn"
id = "deaf"
device = "server"
cmd = ["sh", "-c", "trap '' TERM HUP INT; sleep 300 & sleep 300"]

# Forks twice, leaves session and process group, closes everything, forgets the environment, and is deaf as well.
[[step]]
action = "run"
id = "daemon"
device = "laptop"
cmd = ["sh", "-c", '''
(exec setsid -f env -i sh -c "trap '' TERM HUP INT; exec <&- >&- 2>&-; sleep 300 & sleep 300") &
''']

[[step]]
action = "spawn"
id = "ticker"
device = "laptop"
parser = "ndjson"
cmd = ["sh", "-c", 'n=0; while sleep 0.02; do n=$((n+1)); echo "{\\"n\\": $n}"; done']
[step.captures.n]
pick = ".n"

[[step]]
action = "run"
id = "ping"
device = "laptop"
cmd = ["ping", "-n", "-q", "-c", "3", "-i", "0.1", "-W", "2", "$NETSIM_IP_server"]

[[step]]
action = "gen-file"
id = "file"
content = "${ticker.n} of $NETSIM_IP_laptop\\n"

[[step]]
action = "run"
id = "sleep"
device = "laptop"
cmd = ["sleep", "0.3"]

[[step]]
action = "assert"
check = "ticker.n > 3"
"""

_FOLLOWING = """
[[step]]
action = "run"
id = "true"
device = "client"
cmd = ["true"]
"""

VICTIMS = ("parent", "zygote", "outer", "init", "agent")
# The last one takes the sim behind the stubborn one and the reports of the run.
PHASES = ("loading", "building", "steps", "teardown", "following")


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the stubborn sim and of one that follows it. It prints so little that nobody has to read meanwhile."""

    project: Project
    process: subprocess.Popen[str]
    started_s: float

    @classmethod
    def start(cls, project: Project) -> Run:
        """Starts it."""
        sims = [project.sim(_NAME, _STEPS, _TOPOLOGY), project.sim("following", _FOLLOWING)]
        started_s = time.monotonic()
        return cls(project, project.start(*sims, "--jobs", "1"), started_s)

    @property
    def phase(self) -> str:
        """Where the run is now, told from the run directory alone."""
        return self.detailed_phase.partition(",")[0]

    @property
    def detailed_phase(self) -> str:
        """The phase, and while steps run the last event of one."""
        try:
            events = self.project.events(_NAME)
        except FileNotFoundError:
            events = []
        if not events:
            return "loading"
        if events[-1]["kind"] == "sim_finished":
            return "following"
        steps = [event for event in events if event["kind"] in ("step_started", "step_finished")]
        if not steps:
            return "building"
        kind, step = steps[-1]["kind"], steps[-1]["step"]
        is_last = (kind, step) == ("step_finished", _STEPS.count("[[step]]") - 1)
        return "teardown" if is_last else f"steps, {kind} {step}"

    def wait_for_phase(self, wanted: str) -> None:
        """Returns when the run is in the phase, or past it."""
        while PHASES.index(self.phase) < PHASES.index(wanted) and self.process.poll() is None:
            time.sleep(0.002)

    def phase_lengths(self) -> dict[str, float]:
        """Watches the run to its end: how many seconds each phase takes."""
        begins = [self.started_s]
        for following in PHASES[1:]:
            self.wait_for_phase(following)
            begins.append(time.monotonic())
        self.process.wait()
        begins.append(time.monotonic())
        return {name: end - begin for name, (begin, end) in zip(PHASES, pairwise(begins), strict=True)}

    def find(self, victim: str) -> int | None:
        """The process of the run that has the role; one that is not there yet is waited for. None past the end."""
        while self.process.poll() is None:
            pid = self.process.pid
            for _ in range(VICTIMS.index(victim)):
                pid = next(iter(children(pid)), 0) if pid else 0
            if pid:
                return pid
            time.sleep(0.001)
        return None


@functools.cache
def phase_lengths() -> dict[str, float]:
    """How many seconds each phase takes here. The shorter of two runs: a machine with other work makes one long."""
    measured = []
    for _ in range(2):
        with tempfile.TemporaryDirectory(prefix="pb") as name:
            run = Run.start(Project(Path(name)))
            measured.append(run.phase_lengths())
            ended = finish(run.process)
            assert ended.returncode == 0, ended.stdout + ended.stderr
            assert_readable(run.project.latest)
    return {phase: min(lengths[phase] for lengths in measured) for phase in PHASES}
