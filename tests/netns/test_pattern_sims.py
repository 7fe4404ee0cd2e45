"""The sims of network patterns show what they say: each fails where what it is about is taken away."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.netns.support.running import Project

CHECKOUT = Path(__file__).parents[2]
PATTERNS = CHECKOUT / "sims" / "patterns"

# What is written in the sim, what stands there instead, and the step that fails then.
WITHOUT = {
    "vpn-full-tunnel": ('to = "vpn-exit"', 'to = "home"', "large-on-vpn"),
    "dhcp-renewal": ('action = "renew-ip"\ndevice = "nas"', 'action = "wait"\nduration = "1ms"', "assert"),
    "corporate-udp-block": ('firewall = "corporate"', 'firewall = "none"', "tls-elsewhere"),
}
# The same of the recovery.
UNHEALED = {
    "vpn-full-tunnel": ('device = "laptop"\nto = "home"', 'device = "laptop"\nto = "vpn-exit"', "print-home-again"),
    "corporate-udp-block": (
        'router = "office"\nfirewall = "none"',
        'router = "office"\nfirewall = "corporate"',
        "udp-open",
    ),
}


def test_every_pattern_is_here() -> None:
    assert {path.stem for path in PATTERNS.glob("*.toml")} == WITHOUT.keys()


@pytest.mark.parametrize(
    ("name", "change"), [*WITHOUT.items(), *UNHEALED.items()], ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_pattern_fails_without_its_condition(tmp_path: Path, name: str, change: tuple[str, str, str]) -> None:
    written, instead, step = change
    text = (PATTERNS / f"{name}.toml").read_text()
    assert text.count(written) == 1
    tools = CHECKOUT / "sims" / "tools"
    (tmp_path / f"{name}.toml").write_text(text.replace(written, instead).replace('"sims/tools', f'"{tools}'))
    project = Project(tmp_path)
    ended = project.run(f"{name}.toml")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    failed = project.read(f"{name}/sim.json")["error"]["step"]
    assert step in (failed["id"], failed["action"])
