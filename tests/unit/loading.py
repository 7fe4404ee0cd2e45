"""Loading a sim that a test writes down."""

from __future__ import annotations

from pathlib import Path

import pytest

from patchbay_runner.errors import InputError
from patchbay_runner.loader import load
from patchbay_runner.model.plan import Plan
from patchbay_runner.model.steps import Step

# A router, two devices, and two that are counted.
NETWORK = """
[[router]]
name = "dc"
[device.server.eth0]
gateway = "dc"
[device.client.eth0]
gateway = "dc"
[device.peer]
count = 3
[device.peer.eth0]
gateway = "dc"
[device.solo]
count = 1
[device.solo.eth0]
gateway = "dc"
"""


class Loading:
    """A directory with a sim in it. Further files go beside it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def plans(self, text: str, *, network: str = NETWORK) -> tuple[Plan, ...]:
        path = self.write("sim.toml", f"{text}\n{network}")
        return load([path], cwd=self.directory).plans

    def plan(self, text: str, *, network: str = NETWORK) -> Plan:
        (plan,) = self.plans(text, network=network)
        return plan

    def steps(self, text: str, *, network: str = NETWORK) -> tuple[Step, ...]:
        return self.plan(text, network=network).steps

    def step(self, text: str, *, network: str = NETWORK) -> Step:
        (step,) = self.steps(f"[[step]]\n{text}", network=network)
        return step

    def warnings(self, text: str, *, network: str = NETWORK) -> list[str]:
        path = self.write("sim.toml", f"{text}\n{network}")
        return [warning.message for warning in load([path], cwd=self.directory).warnings]

    def errors(self, text: str, *, network: str = NETWORK) -> list[str]:
        path = self.write("sim.toml", f"{text}\n{network}")
        with pytest.raises(InputError) as raised:
            load([path], cwd=self.directory)
        return [f"{diagnostic.key}: {diagnostic.message}" for diagnostic in raised.value.diagnostics]


@pytest.fixture
def loading(tmp_path: Path) -> Loading:
    """An empty directory to load from."""
    return Loading(tmp_path)
