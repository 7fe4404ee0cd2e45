"""Steps put onto the network: ids given, counted devices expanded, every name of the topology checked.

A step of a counted device becomes one step for each instance, and what it says of other counted steps means the same
instance. A step of its own says of a counted step all of it where that makes sense (`requires`, the left side of an
assertion, `wait-for`), and is told to choose elsewhere, unless there is but one instance.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import msgspec

from patchbay_runner.loader.diagnostics import Report, one_of
from patchbay_runner.loader.network import Network
from patchbay_runner.loader.node import Node, quote
from patchbay_runner.loader.nodechecks import check_names, check_nodes
from patchbay_runner.loader.steps.draft import Draft, Use
from patchbay_runner.model.assertions import Assertion
from patchbay_runner.model.interpolation import rename_captures
from patchbay_runner.model.steps import (
    Assert,
    ProcessStep,
    RenewAddress,
    Replug,
    ResultKeys,
    SetLinkCondition,
    Spawn,
    Step,
    WaitForCapture,
)

RECORDING = ("run", "spawn", "gen-certs", "gen-file")
# What is done to a spawned program, which `id` names.
AIMED = ("wait-for", "signal", "stop", "restart")
_OF_ROUTERS = ("set-nat", "set-nat-v6", "reboot-router", "flush-nat", "set-firewall")
_NOWHERE = (*AIMED, *_OF_ROUTERS, "wait", "wait-for-capture", "assert")
_TEXTS = {
    "run": ("cmd", "env"),
    "spawn": ("cmd", "env"),
    "gen-certs": ("san",),
    "gen-file": ("content",),
    "set-dns": ("entries",),
}
_RESULT_KEYS = ("duration", "up_bytes", "down_bytes", "latency_ms")


class Counted(msgspec.Struct, frozen=True):
    """What counted devices make of a variant's step ids.

    `ids` maps the id of a counted step to its instances; `spawns` lists the counted spawns of a device so far.
    """

    ids: tuple[tuple[str, int], ...] = ()
    spawns: tuple[tuple[str, str], ...] = ()


NONE_COUNTED = Counted()


class Part(msgspec.Struct, frozen=True, gc=False):
    """One final step: the captures that it records, waits for and reads, the spawn that it starts or is aimed at.

    `step` is None for a step that is wrong; what it refers to is checked all the same.
    """

    node: Node
    action: str
    step: Step | None = None
    id: str = ""
    records: tuple[str, ...] = ()
    waits: tuple[Use, ...] = ()
    reads: tuple[Use, ...] = ()
    aims_at: str = ""


class Placed(msgspec.Struct, frozen=True, gc=False):
    """What a draft becomes on a network."""

    parts: tuple[Part, ...]
    report: Report | None


def instances_of(draft: Draft, network: Network) -> int:
    """How many steps a draft becomes; 0 where it is not counted."""
    return 0 if draft.action in _NOWHERE else network.counts.get(draft.device, 0)


def place(draft: Draft, step_id: str, network: Network, binaries: Collection[str], counted: Counted) -> Placed:
    """The final steps of a draft whose id is `step_id`."""
    placing = _Placing(draft, step_id, network, binaries, counted)
    return Placed(tuple(placing.parts()), placing.report.or_none())


class _Placing:
    def __init__(
        self, draft: Draft, step_id: str, network: Network, binaries: Collection[str], counted: Counted
    ) -> None:
        self.draft = draft
        self.id = step_id
        self.network = network
        self.binaries = binaries
        self.ids = dict(counted.ids)
        self.spawns = counted.spawns
        self.report = Report()

    def parts(self) -> Iterator[Part]:
        check_nodes(self.draft, self.network, self.report)
        check_names(self.draft, self.network, self.binaries, self.report)
        if self.draft.step is None:
            waits = [use for use in self.draft.uses if use.kind in ("capture", "check")]
            known = tuple([use for use in waits if use.name.rpartition(".")[0] not in self.ids])
            yield Part(node=self.draft.node, action=self.draft.action, waits=known)
            return
        self.step: Step = self.draft.step
        count = instances_of(self.draft, self.network)
        if count:
            yield from (self.instance(index) for index in range(count))
        elif self.draft.action in AIMED:
            yield from self.aimed()
        elif isinstance(self.step, WaitForCapture):
            yield from self.wait_for_capture(self.step)
        else:
            yield self.single()

    def single(self) -> Part:
        """A step of its own: it may mean all instances of a counted step in some places, none in others."""
        waits: list[Use] = []
        reads: list[Use] = []
        for use in self.draft.uses:
            step, _, capture = use.name.rpartition(".")
            if use.kind in ("binary", "variable"):
                continue
            if step in self.ids and use.kind == "check":
                waits += [Use("check", f"{step}-{index}.{capture}", use.node) for index in range(self.ids[step])]
            elif self.ids.get(step, 1) > 1:
                self.report_ambiguous(use, step, capture)
            elif use.kind == "result":
                reads.append(Use("result", self.own(self.of_only(use.name), self.id), use.node))
            else:
                waits.append(Use(use.kind, self.of_only(use.name), use.node))
        if 1 not in self.ids.values():
            step_record = self.finished(self.step, self.id, self.draft.device, lambda key: key)
        else:
            device = rename_captures(self.draft.device, self.of_only)
            step_record = self.renamed(self.finished(self.step, self.id, device, self.of_only), self.of_only)
        return self.part(self.expanded(step_record), self.id, waits + self.required(lambda key: key), reads)

    def instance(self, index: int) -> Part:
        """The step of one instance: what it says of counted steps means their instance of the same number."""

        def rename(key: str) -> str:
            step, _, capture = key.rpartition(".")
            return f"{step}-{index}.{capture}" if self.ids.get(step, 1) > 1 else self.of_only(key)

        step_id = f"{self.id}-{index}" if self.id else ""
        waits: list[Use] = []
        reads: list[Use] = []
        for use in self.draft.uses:
            if use.kind in ("binary", "variable"):
                continue
            if not self.is_in_range(use.name, use.node, index):
                continue
            renamed = Use(use.kind, self.own(rename(use.name), step_id), use.node)
            (reads if use.kind == "result" else waits).append(renamed)
        step = self.finished(self.step, step_id, f"{self.draft.device}-{index}", rename)
        step = msgspec.structs.replace(self.renamed(step, rename), requires=tuple(map(rename, step.requires)))
        return self.part(step, step_id, waits + self.required(rename, index), reads)

    def renamed(self, step: Step, rename: Callable[[str], str]) -> Step:
        """The record with the captures in its texts renamed."""
        texts = {
            field: _map_texts(getattr(step, field), lambda text: rename_captures(text, rename))
            for field in _TEXTS.get(self.draft.action, ())
        }
        if isinstance(step, Spawn) and step.ready_when is not None and step.ready_when.file is not None:
            file = rename_captures(step.ready_when.file, rename)
            texts["ready_when"] = msgspec.structs.replace(step.ready_when, file=file)
        return msgspec.structs.replace(step, **texts) if texts else step

    def wait_for_capture(self, step: WaitForCapture) -> Iterator[Part]:
        """One for each instance of a counted step."""
        node = self.draft.place("capture")
        for position, key in enumerate(self.all_of(step.capture)):
            waits = self.required(lambda key: key) if position == 0 else []
            aimed = self.expanded(msgspec.structs.replace(step, capture=key))
            yield self.part(aimed, "", [*waits, Use("check", key, node)], [])

    def aimed(self) -> Iterator[Part]:
        """One for each instance, when the id is that of a counted spawn or of a counted device."""
        named = [name for _, name in self.spawns if name == self.id]
        spawns = named or [name for device, name in self.spawns if device == self.id]
        if not spawns and self.id in self.ids:
            spawns = [self.id]
        targets = [f"{name}-{index}" for name in spawns for index in range(self.ids[name])]
        for position, target in enumerate(targets or [self.id]):
            step = self.expanded(msgspec.structs.replace(self.step, id=target))
            waits = self.required(lambda key: key) if position == 0 else []
            yield Part(step=step, node=self.draft.node, action=self.draft.action, aims_at=target, waits=tuple(waits))

    def part(self, step: Step, step_id: str, waits: list[Use], reads: list[Use]) -> Part:
        records = self.draft.action in RECORDING
        return Part(
            step=step,
            node=self.draft.node,
            action=self.draft.action,
            id=step_id if records else "",
            records=tuple([f"{step_id}.{name}" for name in self.draft.captures]) if records else (),
            waits=tuple(waits),
            reads=tuple(reads),
        )

    def required(self, rename: Callable[[str], str], index: int | None = None) -> list[Use]:
        """The captures of `requires`, with the elements that ask for them."""
        if not self.step.requires:
            return []
        nodes = self.draft.place("requires").value
        waits = []
        for key, node in zip(self.step.requires, nodes, strict=True):
            step, _, capture = key.rpartition(".")
            if index is not None:
                if self.is_in_range(key, node, index):
                    waits.append(Use("requires", rename(key), node))
            elif step in self.ids:
                waits += [Use("requires", f"{step}-{i}.{capture}", node) for i in range(self.ids[step])]
            else:
                waits.append(Use("requires", key, node))
        return waits

    def expanded(self, step: Step) -> Step:
        """`requires` and the left sides of assertions name every instance of a counted step."""
        if not self.ids:
            return step
        requires = [name for key in step.requires for name in self.all_of(key)]
        changed: Step = msgspec.structs.replace(step, requires=tuple(requires))
        if isinstance(changed, Assert):
            checks = [
                Assertion(left, check.operator, rename_captures(check.right, self.of_only))
                for check in changed.checks
                for left in self.all_of(check.left)
            ]
            return msgspec.structs.replace(changed, checks=tuple(checks))
        return changed

    def all_of(self, key: str) -> list[str]:
        step, _, capture = key.rpartition(".")
        return [f"{step}-{index}.{capture}" for index in range(self.ids[step])] if step in self.ids else [key]

    def of_only(self, key: str) -> str:
        """The capture of the only instance, where a counted step has no more."""
        step, _, capture = key.rpartition(".")
        return f"{step}-0.{capture}" if self.ids.get(step) == 1 else key

    def finished(self, step: Step, step_id: str, device: str, rename: Callable[[str], str]) -> Step:
        """The record with its id, device, interface and results filled in."""
        changes: dict[str, object] = {}
        if step.id != step_id:
            changes["id"] = step_id
        if getattr(step, "device", device) not in (device, None):
            changes["device"] = device
        if isinstance(step, SetLinkCondition | Replug | RenewAddress) and not step.interface:
            changes["interface"] = self.unnamed_interface(step, device)
        if isinstance(step, ProcessStep) and step.results is not None:
            changes["results"] = self.result_keys(step.results, step_id, rename)
        return msgspec.structs.replace(step, **changes) if changes else step

    def unnamed_interface(self, step: SetLinkCondition | Replug | RenewAddress, name: str) -> str:
        """The interface that is meant where none is named; "" where the device is not known."""
        device = self.network.devices.get(name)
        if device is None or not device.interfaces:
            return ""
        return device.interfaces[0].name if isinstance(step, SetLinkCondition) else device.default_interface

    def result_keys(self, keys: ResultKeys, step_id: str, rename: Callable[[str], str]) -> ResultKeys:
        given = {name: getattr(keys, name) for name in _RESULT_KEYS}
        final = {name: self.own(rename(key), step_id) for name, key in given.items() if key is not None}
        return msgspec.structs.replace(keys, **final)

    @staticmethod
    def own(key: str, step_id: str) -> str:
        """`.capture` is the step's own."""
        return f"{step_id}{key}" if key.startswith(".") else key

    def is_in_range(self, key: str, node: Node, index: int) -> bool:
        """Whether a counted step has an instance of this number; reported when it has not."""
        step = key.rpartition(".")[0]
        count = self.ids.get(step, 1)
        is_there = count == 1 or index < count
        if not is_there:
            mine = f"{self.draft.device}-{index}"
            message = f"{quote(key)} has no instance {index} for {quote(mine)}: {quote(step)} has {count}"
            self.report.error(node, message, "devices of the same count, or an instance by its name")
        return is_there

    def report_ambiguous(self, use: Use, step: str, capture: str) -> None:
        keys = [f"{step}-{index}.{capture}" for index in range(self.ids[step])]
        shown = [*keys[:3], "..."] if len(keys) > 3 else keys
        message = f"{quote(use.name)} is ambiguous: the step {quote(step)} runs on a counted device"
        self.report.error(use.node, message, one_of(shown))


def _map_texts(value: object, change: Callable[[str], str]) -> object:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, tuple):
        return tuple([_map_texts(text, change) for text in value])
    assert isinstance(value, dict)
    return {key: _map_texts(text, change) for key, text in value.items()}
