"""The sims of network patterns pass, and show what they say: each fails where what it is about is taken away."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.netns.support.running import Project

# Four at once are enough for links that are to be on time.
pytestmark = pytest.mark.alone

CHECKOUT = Path(__file__).parents[2]
SIMS = CHECKOUT / "sims"
PATTERNS = sorted(path.stem for path in (SIMS / "patterns").glob("*.toml"))
OVERLOADED = 5
Ended = Callable[["str | Without"], tuple[Project, subprocess.CompletedProcess[str]]]


# Most of the time sims wait for something not to happen.
AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Without:
    """A pattern without its trouble or its recovery: what is written in the sim, so many `times`, what stands there
    instead, and the step that fails then. Of a matrix, one `variant` is run."""

    pattern: str
    written: str
    instead: str
    step: str
    variant: str = ""
    times: int = 1

    def __str__(self) -> str:
        return "-".join(filter(None, (self.pattern, self.variant, self.step)))


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
    Without("hole-punching", 'name = "carols"\nnat = "corporate"', 'name = "carols"\nnat = "home"', "assert"),
    Without("hole-punching", 'password = "secret"', 'password = "other"', "assert"),
    Without("connectivity-matrix", 'preset = "corporate"', 'preset = "home"', "assert", "dual-stack"),
    Without("connectivity-matrix", 'password = "secret"', 'password = "other"', "assert", "v4-only"),
    Without("captive-portal", "allow_tcp = [], allow_udp = [53]", "allow_udp = [53]", "https-before"),
    Without(
        "captive-portal",
        'router = "hotel"\nfirewall = "captive-portal"',
        'router = "hotel"\nfirewall = { allow_tcp = [] }',
        "after",
    ),
    Without("v6-only-nat64", 'preset = "public-v4"', 'preset = "public"', "assert"),
    Without("v6-only-nat64", 'nat_v6 = "none"', 'nat_v6 = "nat64"', "assert"),
    Without(
        "v6-only-nat64",
        'router = "carrier"\nnat_v6 = "nat64"',
        'router = "carrier"\nnat_v6 = "none"',
        "with-nat64-again",
    ),
    Without(
        "residential-dual-stack",
        'preset = "home"\ncidr_v6 = "2001:db8:cafe:1::/64"',
        'nat = "home"\ncidr_v6 = "2001:db8:cafe:1::/64"',
        "stranger",
    ),
    Without("residential-dual-stack", '"meet", "40000"', '"meet", "40002"', "laptop-meets"),
    Without("mobile-dual-stack", 'preset = "mobile"', 'preset = "home"', "stranger-by-v4"),
    Without("mobile-dual-stack", 'preset = "mobile"', 'preset = "public"', "assert"),
    Without("pmtu-black-hole", "block_icmp_frag_needed = true\n", "", "large"),
    Without("pmtu-black-hole", "maxseg size set 1380", "maxseg size set 1460", "large-with-clamping"),
    Without(
        "region-partition",
        'regions = ["europe", "america"]',
        'regions = ["america", "asia"]',
        "europe-refuses",
        times=2,
    ),
    Without(
        "region-partition",
        'action = "restore-region-link"\nregions = ["europe", "america"]',
        'action = "wait"\nduration = "1ms"',
        "europe-follows",
    ),
]


def test_every_pattern_has_its_cases() -> None:
    assert {case.pattern for case in CASES} == set(PATTERNS)


def test_every_pattern_is_in_the_guide() -> None:
    guide = (CHECKOUT / "docs" / "recipes" / "index.md").read_text()
    assert [name for name in PATTERNS if f"sims/patterns/{name}.toml)" not in guide] == []


@pytest.fixture(scope="module")
def ended(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    """Gives the project of a sim, as it is or without something, and how its run ended."""
    wanted = [item.callspec.params["sim"] for item in request.session.items if "ended" in item.fixturenames]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = {sim: pool.submit(run, sim, tmp_path_factory.mktemp("pattern")) for sim in wanted}
        yield lambda sim: runs[sim].result()
        pool.shutdown(cancel_futures=True)


def run(sim: str | Without, directory: Path) -> tuple[Project, subprocess.CompletedProcess[str]]:
    (directory / "sims").symlink_to(SIMS)
    file = SIMS / "patterns" / f"{sim}.toml" if isinstance(sim, str) else written(sim, directory)
    project = Project(directory)
    return project, project.run(file)


@pytest.mark.parametrize("sim", PATTERNS)
def test_a_pattern_passes(ended: Ended, sim: str) -> None:
    """Overloaded: the host was too busy to emulate a link on time."""
    project, process = ended(sim)
    assert process.returncode in (0, OVERLOADED), process.stdout + process.stderr
    left = {path.name for path in project.root.iterdir()} - {"sims", ".patchbay-work"}
    assert not left, "servers write where they are told to, not into the project"


@pytest.mark.parametrize("sim", CASES, ids=str)
def test_a_pattern_fails_without_its_condition(ended: Ended, sim: Without) -> None:
    """On a host too busy for its links it may be overloaded by that, and still fails in this step."""
    project, process = ended(sim)
    assert process.returncode in (1, OVERLOADED), process.stdout + process.stderr
    (document,) = project.read("manifest.json")["simulations"]
    failed = project.read(f"{document['sim_dir']}/sim.json")["error"]["step"] or {}
    assert sim.step in (failed.get("id"), failed.get("action")), process.stdout


def written(case: Without, directory: Path) -> Path:
    """The sim file without its condition; of a matrix, one variant."""
    text = (SIMS / "patterns" / f"{case.pattern}.toml").read_text()
    assert text.count(case.written) == case.times
    text = text.replace(case.written, case.instead).replace('file = "lib/', f'file = "{SIMS}/lib/')
    sim = directory / f"{case.pattern}.toml"
    sim.write_text(text)
    if not case.variant:
        return sim
    plan = [sys.executable, "-m", "patchbay_runner", "plan", str(sim), "--toml", str(directory / "variants")]
    subprocess.run(plan, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=30)
    return directory / "variants" / f"{case.pattern}-{case.variant}.toml"
