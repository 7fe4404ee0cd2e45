"""The sims of network patterns pass, and show what they say: each fails where what it is about is taken away."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.netns.support.running import Project

CHECKOUT = Path(__file__).parents[2]
SIMS = CHECKOUT / "sims"
PATTERNS = sorted(path.stem for path in (SIMS / "patterns").glob("*.toml"))
OVERLOADED = 5


@dataclass(frozen=True, slots=True)
class Without:
    """A pattern without its trouble or its recovery: what is written in the sim, what stands there instead, and the
    step that fails then. Of a matrix, one `variant` is run."""

    pattern: str
    written: str
    instead: str
    step: str
    variant: str = ""

    def __str__(self) -> str:
        return f"{self.pattern}-{self.step}{self.variant and '-'}{self.variant}"


CASES = [
    Without("vpn-full-tunnel", 'to = "vpn-exit"', 'to = "home"', "large-on-vpn"),
    Without(
        "vpn-full-tunnel", 'device = "laptop"\nto = "home"', 'device = "laptop"\nto = "vpn-exit"', "print-home-again"
    ),
    Without("vpn-split-tunnel", 'action = "link-down"', 'action = "link-up"', "assert"),
    Without("vpn-split-tunnel", 'action = "link-up"', 'action = "link-down"', "intranet-again"),
    Without("vpn-kill-switch", 'action = "link-down"', 'action = "link-up"', "muzzled"),
    Without("vpn-kill-switch", 'to = "vpn-2"', 'to = "home"', "assert"),
    Without("wifi-to-cellular", 'action = "link-down"', 'action = "link-up"', "offline"),
    Without("wifi-to-cellular", 'to = "cell0"', 'to = "wlan0"', "on-cell"),
    Without("dhcp-renewal", 'action = "renew-ip"\ndevice = "nas"', 'action = "wait"\nduration = "1ms"', "assert"),
    Without("corporate-udp-block", 'firewall = "corporate"', 'firewall = "none"', "tls-elsewhere"),
    Without(
        "corporate-udp-block",
        'router = "office"\nfirewall = "none"',
        'router = "office"\nfirewall = "corporate"',
        "udp-open",
    ),
    Without("asymmetric-bandwidth", "impair = { latency_ms = 20, rate_kbit = 2000 }", "", "assert"),
    Without(
        "asymmetric-bandwidth",
        'device = "laptop"\ncondition = { latency_ms = 20, rate_kbit = 20000 }',
        'device = "laptop"\ncondition = { latency_ms = 20, rate_kbit = 2000 }',
        "assert",
    ),
    Without("degrading-link", 'condition = "wifi-bad"', 'condition = "wifi"', "assert"),
    Without("degrading-link", '[[step]]\naction = "set-link-condition"\ndevice = "laptop"\n\n', "", "near-again"),
    Without("flapping-link", 'action = "link-down"', 'action = "link-up"', "inside-1"),
    Without("flapping-link", 'action = "link-up"', 'action = "link-down"', "outside-1"),
    Without("double-nat", 'upstream = "carrier"\n', "", "assert"),
    Without("double-nat", '"meet", "40001"', '"meet", "40002"', "laptop-meets"),
    Without("nat-mapping-timeout", 'udp_timeout = "2s", udp_stream_timeout = "2s"', 'udp_timeout = "30s"', "late"),
    Without("nat-mapping-timeout", '"3.5", "0.5"', '"3.5"', "kept-alive"),
    Without("happy-eyeballs", '"ip", "-6", "route", "add"', '"true"', "v6-only"),
    Without("happy-eyeballs", '"ip", "-6", "route", "del"', '"true"', "assert"),
    Without(
        "hole-punching",
        'alice = "home", bob = "corporate", firewall = "none"',
        'alice = "home", bob = "home", firewall = "none"',
        "assert",
        "home-corporate",
    ),
    Without("hole-punching", 'firewall = "corporate"', 'firewall = "none"', "assert", "home-office"),
    Without("hole-punching", "peer:secret", "peer:other", "alice", "home-corporate"),
]


def test_every_pattern_has_its_cases() -> None:
    assert {case.pattern for case in CASES} == set(PATTERNS)


def test_every_pattern_is_in_the_guide() -> None:
    guide = (CHECKOUT / "docs" / "guide" / "patterns.md").read_text()
    assert [name for name in PATTERNS if f"sims/patterns/{name}.toml)" not in guide] == []


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_passes(tmp_path: Path, name: str) -> None:
    """Overloaded: all steps passed, though the host was too busy to emulate a link on time."""
    ended = Project(tmp_path).run(SIMS / "patterns" / f"{name}.toml", "--project-root", CHECKOUT)
    assert ended.returncode in (0, OVERLOADED), ended.stdout + ended.stderr


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_pattern_fails_without_its_condition(tmp_path: Path, case: Without) -> None:
    project = Project(tmp_path)
    ended = project.run(written(case, tmp_path), "--project-root", CHECKOUT)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    (sim,) = project.read("manifest.json")["simulations"]
    failed = project.read(f"{sim['sim_dir']}/sim.json")["error"]["step"]
    assert case.step in (failed["id"], failed["action"]), ended.stdout


def written(case: Without, directory: Path) -> Path:
    """The sim file without its condition; of a matrix, one variant."""
    text = (SIMS / "patterns" / f"{case.pattern}.toml").read_text()
    assert text.count(case.written) == 1
    text = text.replace(case.written, case.instead).replace('file = "lib/', f'file = "{SIMS}/lib/')
    sim = directory / f"{case.pattern}.toml"
    sim.write_text(text)
    if not case.variant:
        return sim
    plan = [sys.executable, "-m", "patchbay_runner", "plan", str(sim), "--toml", str(directory / "variants")]
    subprocess.run(plan, cwd=CHECKOUT, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=30)
    return directory / "variants" / f"{case.pattern}-{case.variant}.toml"
