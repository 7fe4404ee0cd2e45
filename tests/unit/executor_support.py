"""A network that is this machine, and a recorder that remembers."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

from patchbay_runner.errors import CommandNotFound, LabError
from patchbay_runner.executor import RunOptions, run_plan
from patchbay_runner.kernel.files import file_version
from patchbay_runner.kernel.listening import listeners
from patchbay_runner.model.firewall import Firewall
from patchbay_runner.model.links import Direction, LinkCondition, LinkReport
from patchbay_runner.model.names import NameRecord
from patchbay_runner.model.nat import Nat
from patchbay_runner.model.plan import Plan
from patchbay_runner.model.recording import CaptureValue, Failure, StepResult
from patchbay_runner.model.steps import Protocol, Step, Stream
from patchbay_runner.model.topology import Device, NatV6, Topology


class LocalNetwork:
    """Starts programs here, whatever the node. Implements executor.Network."""

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self.values = dict(variables or {"NETSIM_IP_WEB": "198.18.1.2"})
        self.calls: list[tuple[str, ...]] = []
        self.pids: list[int] = []
        self.overload: str | None = None
        self.node_directory = Path("/nowhere")
        self.state: dict[str, Any] | None = {"devices": {}}
        self.links = LinkReport()
        self.refused: set[tuple[str, str]] = set()

    def start(
        self, node: str, argv: Sequence[str], env: Mapping[str, str], *, cwd: str, stdout: int, stderr: int
    ) -> int:
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, stdout, 1),
            (os.POSIX_SPAWN_DUP2, stderr, 2),
        ]
        home = Path.cwd()
        os.chdir(cwd)
        try:
            pid = os.posix_spawnp(argv[0], list(argv), dict(env), file_actions=actions, setsid=True)
        except (FileNotFoundError, PermissionError) as error:
            raise CommandNotFound(f"{argv[0]}: no such program") from error
        finally:
            os.chdir(home)
        self.pids.append(pid)
        return pid

    def node_environment(self, node: str) -> Mapping[str, str]:
        return {"PATCHBAY_NODE_DIR": str(self.node_directory)}

    def listeners(self, node: str, protocol: Protocol, port: int) -> frozenset[int]:
        return listeners(protocol, port)

    def file_version(self, node: str, path: str) -> tuple[int, ...] | None:
        return file_version(path)

    @property
    def nodes(self) -> Sequence[str]:
        return ["client", "web"]

    def node_table(self, node: str, name: str) -> str:
        if (node, name) in self.refused:
            raise LabError(f"no {name} here", node)
        return f"{name} of {node}\n"

    def variables(self) -> Mapping[str, str]:
        return self.values

    def addresses(self, device: str) -> Sequence[IPv4Address | IPv6Address]:
        if device not in ("web", "client"):
            raise LabError("there is no such node", device)
        return [ip_address("198.18.1.2"), ip_address("2001:db8:1:1::2")]

    async def settled(self) -> None:
        return None

    def link_down(self, device: str, interface: str) -> None:
        self._change("link_down", device, interface)

    def link_up(self, device: str, interface: str) -> None:
        self._change("link_up", device, interface)

    def set_default_route(self, device: str, interface: str) -> None:
        self._change("set_default_route", device, interface)
        self.values = {**self.values, "NETSIM_IP_WEB": "198.18.2.2"}

    def replug(self, device: str, interface: str, router: str) -> None:
        self._change("replug", device, interface, router)
        self.values = {**self.values, "NETSIM_IP_WEB": "198.18.3.2"}

    def add_interface(self, device: str, interface: str, router: str) -> None:
        self._change("add_interface", device, interface, router)

    def remove_interface(self, device: str, interface: str) -> None:
        self._change("remove_interface", device, interface)

    def renew_address(self, device: str, interface: str) -> None:
        self._change("renew_address", device, interface)

    def set_link_condition(
        self, device: str, interface: str, condition: LinkCondition | None, direction: Direction
    ) -> None:
        latency = str(condition and condition.latency_ms)
        self._change("set_link_condition", device, interface, latency, direction)

    def set_downlink(self, router: str, condition: LinkCondition | None) -> None:
        self.calls.append(("set_downlink", router, str(condition and condition.latency_ms)))

    def set_uplink(self, router: str, condition: LinkCondition | None) -> None:
        self.calls.append(("set_uplink", router, str(condition and condition.latency_ms)))

    def take_state(self) -> dict[str, Any] | None:
        state, self.state = self.state, None
        return state

    def link_report(self) -> LinkReport:
        return self.links

    def verdict(self) -> str | None:
        return self.overload

    def set_nat(self, router: str, nat: Nat) -> None:
        self.calls.append(("set_nat", router, nat.mode))

    def set_nat_v6(self, router: str, mode: NatV6) -> None:
        self.calls.append(("set_nat_v6", router, mode.value))

    async def reboot_router(self, router: str, down_for_s: float) -> None:
        self.calls.append(("reboot_router", router, str(down_for_s)))

    def flush_nat(self, router: str) -> None:
        self.calls.append(("flush_nat", router))

    def set_firewall(self, router: str, firewall: Firewall) -> None:
        self.calls.append(("set_firewall", router, firewall.mode))

    def break_region_link(self, a: str, b: str) -> None:
        self.calls.append(("break_region_link", a, b))

    def restore_region_link(self, a: str, b: str) -> None:
        self.calls.append(("restore_region_link", a, b))

    def set_names(self, records: Sequence[NameRecord], device: str | None) -> None:
        for record in records:
            self.calls.append(("set_names", device or "", record.name, record.alias, *record.addresses))

    def _change(self, name: str, device: str, interface: str, *more: str) -> None:
        if interface == "missing":
            raise LabError(f"it has no interface {interface!r}", device)
        self.calls.append((name, device, interface, *more))


class MemoryRecorder:
    """Implements model.recording.Recorder below a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.values: dict[str, CaptureValue] = {}
        self.capture_reports = 0
        self.latest_results: dict[str, StepResult] = {}
        self.states: list[dict[str, Any]] = []
        self.link_reports: list[LinkReport] = []
        self.verdicts: list[Failure | None] = []

    def emit(self, kind: str, /, **fields: Any) -> None:
        self.events.append((kind, fields))

    def open_log(self, node: str, step: str, stream: Stream) -> int:
        return self._open(self.log_path(node, step, stream))

    def open_node_log(self, node: str, stream: Stream) -> int:
        return self._open(self.directory / "nodes" / node / f"{stream}.log")

    def log_path(self, node: str, step: str, stream: Stream) -> Path:
        return self.directory / "nodes" / node / f"{step}.{stream}.log"

    def write_file(self, relative: str, content: bytes, mode: int = 0o644) -> Path:
        path = self.directory / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
        return path

    def captures(self, values: dict[str, CaptureValue]) -> None:
        self.capture_reports += 1
        self.values.update(values)

    def results(self, results: Sequence[StepResult]) -> None:
        self.latest_results = {result.id: result for result in results}

    def network(self, state: dict[str, Any]) -> None:
        self.states.append(state)

    def links(self, report: LinkReport, interval_s: float) -> None:
        self.link_reports.append(report)

    def finished(self, failure: Failure | None) -> None:
        self.verdicts.append(failure)

    def kinds(self) -> list[str]:
        """The kinds of all events in order."""
        return [kind for kind, _ in self.events]

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """The fields of all events of a kind."""
        return [fields for found, fields in self.events if found == kind]

    def log(self, step: str, stream: Stream = "stdout", node: str = "web") -> bytes:
        """What a step's program printed."""
        return self.log_path(node, step, stream).read_bytes()

    def node_log(self, stream: Stream = "stdout", node: str = "web") -> bytes:
        """What all programs of a node printed."""
        path = self.directory / "nodes" / node / f"{stream}.log"
        return path.read_bytes() if path.exists() else b""

    def _open(self, path: Path) -> int:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)


class Bench:
    """Runs steps against a LocalNetwork."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.network = LocalNetwork()
        self.recorder = MemoryRecorder(directory / "sim")
        self.binaries: dict[str, str] = {}
        self.keeps_failure_state = False

    def plan(self, *steps: Step) -> Plan:
        """A plan of these steps with a device called web."""
        return Plan(
            name="sim", source="sim.toml", topology=Topology(devices=(Device(name="web", interfaces=()),)), steps=steps
        )

    def options(self, timeout_s: float | None = None, grace_s: float = 1.0) -> RunOptions:
        environment = {"PATH": os.environ["PATH"]}
        return RunOptions(
            self.directory,
            environment,
            self.binaries,
            timeout_s,
            grace_s,
            keeps_failure_state=self.keeps_failure_state,
        )

    async def run_async(self, *steps: Step, timeout_s: float | None = None, grace_s: float = 1.0) -> Failure | None:
        """The verdict of the steps, on the running loop."""
        return await run_plan(self.plan(*steps), self.network, self.recorder, self.options(timeout_s, grace_s))

    def run(self, *steps: Step, timeout_s: float | None = None, grace_s: float = 1.0) -> Failure | None:
        """The verdict of the steps."""
        failure = asyncio.run(self.run_async(*steps, timeout_s=timeout_s, grace_s=grace_s))
        assert self.recorder.verdicts == [failure]
        return failure

    def passes(self, *steps: Step, timeout_s: float | None = None) -> MemoryRecorder:
        """Runs steps that must pass."""
        assert self.run(*steps, timeout_s=timeout_s) is None
        return self.recorder

    def fails(self, *steps: Step, timeout_s: float | None = None, grace_s: float = 1.0) -> Failure:
        """Runs steps that must fail."""
        failure = self.run(*steps, timeout_s=timeout_s, grace_s=grace_s)
        assert failure is not None
        return failure

    def value(self, key: str) -> str:
        """The last reported value of a capture."""
        return self.recorder.values[key].value

    def alive(self, patience_s: float = 2) -> list[int]:
        """The process groups of started programs that still have a member which is no zombie.

        Who is killed is a zombie a moment later; it has that moment.
        """
        deadline_s = time.monotonic() + patience_s
        while (found := [pid for pid in self.network.pids if _group_runs(pid)]) and time.monotonic() < deadline_s:
            time.sleep(0.01)
        return found


def _group_runs(group: int) -> bool:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == group and fields[0] not in "ZX":
            return True
    return False


def sh(script: str) -> tuple[str, ...]:
    """A command that runs a shell script."""
    return ("sh", "-c", script)
