"""What a step does, in a line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

from patchbay_runner.model.durations import format_duration
from patchbay_runner.model.links import LinkCondition
from patchbay_runner.model.signals import signal_name
from patchbay_runner.model.steps import (
    AddInterface,
    Assert,
    BreakRegionLink,
    FlushNat,
    GenCerts,
    GenFile,
    LinkDown,
    LinkUp,
    ProcessStep,
    Readiness,
    RebootRouter,
    RemoveInterface,
    RenewAddress,
    Replug,
    Restart,
    RestoreRegionLink,
    Run,
    SetDefaultRoute,
    SetDownlink,
    SetFirewall,
    SetLinkCondition,
    SetNames,
    SetNat,
    SetNatV6,
    SetUplink,
    Signal,
    Spawn,
    Step,
    Stop,
    Wait,
    WaitForCapture,
)

_LONGEST = 160


def summary_of(step: Step) -> str:
    """The command, the checks, the interface: what tells this step from others of its action."""
    waits = f" after {', '.join(step.requires)}" if step.requires else ""
    block = f" beside the others of {step.parallel}" if isinstance(step, Run) and step.parallel else ""
    text = _visible(" ".join(_summary(step).split()) + block + waits)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _visible(text: str) -> str:
    """Control characters as their escapes: what a command holds must not act on the terminal, nor go unseen."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _summary(step: Step) -> str:
    if isinstance(step, ProcessStep):
        command = " ".join(part if part and not re.search(r"\s", part) else shlex.quote(part) for part in step.cmd)
        ready_when = step.ready_when if isinstance(step, Spawn) else None
        return command if ready_when is None else f"{command} until {_readiness(ready_when)}"
    describe = _SUMMARIES.get(type(step))
    return describe(step) if describe is not None else ""


def _readiness(ready_when: Readiness) -> str:
    if ready_when.port is not None:
        return f"{ready_when.protocol.upper()} port {ready_when.port} is open"
    return f"{ready_when.file} is there" if ready_when.file is not None else f"{ready_when.capture} is captured"


def _ending(step: Stop | Restart) -> str:
    return f"{signal_name(step.signal)}, after {format_duration(step.grace_s)} SIGKILL"


def _checks(step: Assert) -> str:
    within = f" within {format_duration(step.within_s)}" if step.within_s is not None else ""
    lasting = f" for {format_duration(step.for_s)}" if step.for_s else ""
    return "; ".join(map(str, step.checks)) + within + lasting


def _condition(condition: LinkCondition | None) -> str:
    if condition is None or condition.is_clear:
        return "clear"
    values = {name: getattr(condition, name) for name in condition.__struct_fields__}
    return ", ".join(f"{name} {value:g}" for name, value in values.items() if value)


_SUMMARIES: dict[type[Step], Callable[[Any], str]] = {
    Wait: lambda step: format_duration(step.duration_s),
    WaitForCapture: lambda step: step.capture if step.count == 1 else f"{step.capture}, {step.count} times",
    Signal: lambda step: signal_name(step.signal) + (" to its process group" if step.group else ""),
    Stop: _ending,
    Restart: _ending,
    Assert: _checks,
    GenCerts: lambda step: ", ".join((step.cn, *step.san)),
    GenFile: lambda step: step.content,
    LinkDown: lambda step: step.interface,
    LinkUp: lambda step: step.interface,
    SetDefaultRoute: lambda step: step.to,
    SetLinkCondition: lambda step: f"{step.interface} ({step.direction}): {_condition(step.condition)}",
    SetDownlink: lambda step: f"{step.router}: {_condition(step.condition)}",
    SetUplink: lambda step: f"{step.router}: {_condition(step.condition)}",
    Replug: lambda step: f"{step.interface} to {step.to}",
    AddInterface: lambda step: f"{step.interface} at {step.gateway}",
    RemoveInterface: lambda step: step.interface,
    RenewAddress: lambda step: step.interface,
    SetNat: lambda step: f"{step.router}: {step.nat.mode}",
    SetNatV6: lambda step: f"{step.router}: {step.nat_v6.value}",
    RebootRouter: lambda step: f"{step.router} for {format_duration(step.down_for_s)}",
    FlushNat: lambda step: step.router,
    SetFirewall: lambda step: f"{step.router}: {step.firewall.mode}",
    BreakRegionLink: lambda step: " and ".join(step.regions),
    RestoreRegionLink: lambda step: " and ".join(step.regions),
    SetNames: lambda step: "; ".join(f"{name}: {', '.join(texts) or 'gone'}" for name, texts in step.entries.items()),
}
