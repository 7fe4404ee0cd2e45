"""The variants of one sim file, assembled to plans.

A variant differs from the others in few places. Every part of a file (a step, the topology, the binaries) is therefore
compiled once for each set of values of the matrix keys that it mentions, and the records are shared between plans; what
is done for every variant is a walk over its steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from patchbay_runner.loader.binaries import binary, prepare
from patchbay_runner.loader.changes import is_changing, network_after
from patchbay_runner.loader.counts import NONE_COUNTED, RECORDING, Counted, Part, Placed, instances_of, place
from patchbay_runner.loader.diagnostics import Report, VariantReport
from patchbay_runner.loader.discover import is_sim
from patchbay_runner.loader.documents import Reader
from patchbay_runner.loader.extends import Source
from patchbay_runner.loader.matrix import Variant, expand, names
from patchbay_runner.loader.network import Network
from patchbay_runner.loader.node import Node
from patchbay_runner.loader.references import check_references
from patchbay_runner.loader.simtable import SimTable, read_sim_table
from patchbay_runner.loader.steps.compile import compile_step, is_skipped
from patchbay_runner.loader.steps.draft import Draft
from patchbay_runner.loader.substitute import PerValues, mentions, substitute
from patchbay_runner.loader.templates import check_definitions, flatten, mentioned
from patchbay_runner.loader.topologies import TopologyFinder
from patchbay_runner.model.plan import Binary, Plan, Prepare


class _Drafts(msgspec.Struct, frozen=True):
    drafts: tuple[Draft, ...]
    report: Report | None


class _Programs(msgspec.Struct, frozen=True):
    binaries: tuple[Binary, ...]
    prepare: tuple[Prepare, ...]
    report: Report | None


def assemble(source: Source, reader: Reader, report: Report) -> list[Plan]:
    """The plans of a sim file, in the order of its matrix; problems go to `report`."""
    check_definitions(source.definitions, report)
    variants = expand(source.matrix, report)
    if not source.steps and is_sim(source.document):
        report.warn(source.document.root, "the sim has no steps")
    assembler = _Assembler(source, reader)
    given = [assembler.sim_table(variant, index) for index, variant in enumerate(variants)]
    titles = names(variants, [table.name for table in given])
    plans = [
        assembler.plan(variant, index, table, title)
        for index, (variant, table, title) in enumerate(zip(variants, given, titles, strict=True))
    ]
    assembler.noted.condense([variant.axes for variant in variants], report)
    return plans


class _Assembler:
    def __init__(self, source: Source, reader: Reader) -> None:
        self.noted = VariantReport()
        self._source = source
        self._steps = [
            PerValues(mentioned(node, source.definitions), self._drafts_of(node))
            for node in (*source.steps, *source.on_failure)
            if isinstance(node.value, dict)
        ]
        # How many of them are no steps of `on_failure`.
        self._count = sum(isinstance(node.value, dict) for node in source.steps)
        self._topologies = TopologyFinder(source, reader)
        self._sim_tables = PerValues(_mentions(source.sim.values()), lambda values: read_sim_table(source, values))
        self._programs = PerValues(_mentions([*source.binaries.values(), *source.prepare]), self._read_programs)
        # Networks and drafts live as long as the memos above, so their identities do not recur.
        self._placed: dict[tuple[int, str, int, Counted], Placed] = {}
        self._after: dict[tuple[int, int], Network] = {}

    def sim_table(self, variant: Variant, index: int) -> SimTable:
        table = self._sim_tables.at(variant.placeholders)
        self.noted.add(index, table.report)
        return table

    def plan(self, variant: Variant, index: int, table: SimTable, name: str) -> Plan:
        values = variant.placeholders
        programs = self._programs.at(values)
        located = self._topologies.at(values)
        steps = [compiled.at(values) for compiled in self._steps]
        for report in (programs.report, located.report, *[step.report for step in steps]):
            if report is not None:
                self.noted.add(index, report)
        groups = [
            [draft for step in part for draft in step.drafts] for part in (steps[: self._count], steps[self._count :])
        ]
        parts, on_failure = self._place(groups, located.network, index)
        return Plan(
            name=name,
            source=self._source.document.file,
            matrix=variant.axes,
            user=table.user,
            seed=table.seed,
            exclusive=table.exclusive,
            capture=table.capture,
            topology=located.network.topology,
            topology_name=located.name,
            binaries=programs.binaries,
            prepare=programs.prepare,
            steps=tuple([part.step for part in parts if part.step is not None]),
            on_failure=tuple([part.step for part in on_failure if part.step is not None]),
        )

    def _drafts_of(self, node: Node) -> _DraftsOf:
        return _DraftsOf(node, self._source)

    def _place(self, groups: Sequence[Sequence[Draft]], network: Network, index: int) -> tuple[list[Part], list[Part]]:
        """The parts of the steps and those of `on_failure`, which come after all steps."""
        drafts = [draft for group in groups for draft in group]
        parts: list[Part] = []
        first_on_failure = 0
        ids = _give_ids(drafts, network)
        counted = _counted(drafts, ids, network)
        for position, (draft, step_id) in enumerate(zip(drafts, ids, strict=True)):
            if draft.is_skipped:
                continue
            key = (id(draft), step_id, id(network), counted)
            placed = self._placed.get(key)
            if placed is None:
                placed = self._placed[key] = place(draft, step_id, network, self._source.binaries, counted)
            if placed.report is not None:
                self.noted.add(index, placed.report)
            parts += placed.parts
            if position < len(groups[0]):
                first_on_failure = len(parts)
            if step_id and draft.action == "spawn" and draft.device in network.counts:
                counted = Counted(counted.ids, (*counted.spawns, (draft.device, step_id)))
            if is_changing(draft):
                network = self._network_after(draft, network)
        report = Report()
        check_references(parts, [draft for draft in drafts if draft.step is None or draft.is_skipped], report)
        self.noted.add(index, report.or_none())
        return parts[:first_on_failure], parts[first_on_failure:]

    def _network_after(self, draft: Draft, network: Network) -> Network:
        key = (id(draft), id(network))
        if key not in self._after:
            self._after[key] = network_after(draft, network)
        return self._after[key]

    def _read_programs(self, values: Mapping[str, str]) -> _Programs:
        report = Report()
        nodes = [substitute(node, "matrix", values, report) for node in self._source.binaries.values()]
        found = [binary(node, report) for node in nodes]
        prepared = [prepare(substitute(node, "matrix", values, report), report) for node in self._source.prepare]
        return _Programs(
            binaries=tuple(entry for entry in found if entry is not None),
            prepare=tuple(entry for entry in prepared if entry is not None),
            report=report.or_none(),
        )


class _DraftsOf:
    """Compiles one `[[step]]` for the values of a variant."""

    def __init__(self, node: Node, source: Source) -> None:
        self._node = node
        self._source = source

    def __call__(self, values: Mapping[str, str]) -> _Drafts:
        report = Report()
        nodes = flatten(self._node, self._source.definitions, values, report)
        if nodes and all(map(is_skipped, nodes)):
            report = Report()  # what is skipped may mention what this variant does not have
        drafts = [self._draft(node, report) for node in nodes]
        return _Drafts(tuple(drafts) or (Draft(node=self._node),), report.or_none())

    def _draft(self, node: Node, report: Report) -> Draft:
        if is_skipped(node):
            return msgspec.structs.replace(compile_step(node, Report()), is_skipped=True)
        if not report.errors:
            return compile_step(node, report)
        # A placeholder that is not defined is told once, not also as the wrong value that it leaves.
        told = {(error.file, error.line, error.key) for error in report.errors}
        found = Report()
        draft = compile_step(node, found)
        found.errors = [error for error in found.errors if (error.file, error.line, error.key) not in told]
        report.extend(found)
        uses = tuple([use for use in draft.uses if (use.node.file, use.node.line, use.node.key) not in told])
        return msgspec.structs.replace(draft, step=None, uses=uses)


def _mentions(nodes: Iterable[Node]) -> frozenset[str]:
    return frozenset().union(*(mentions(node, "matrix") for node in nodes))


def _give_ids(drafts: Sequence[Draft], network: Network) -> list[str]:
    """The steps' ids; a `run` without one takes its device's name, numbered from the second on."""
    ids = [draft.id for draft in drafts]
    taken: set[str] | None = None
    for position, draft in enumerate(drafts):
        if draft.action != "run" or draft.id or draft.is_skipped:
            continue
        if taken is None:
            written = [other for other in drafts if other.id and other.action in RECORDING and not other.is_skipped]
            taken = {name for other in written for name in _all_ids(other.id, other, network)}
        name, number = draft.device, 1
        while taken.intersection(_all_ids(name, draft, network)):
            number += 1
            name = f"{draft.device}-{number}"
        taken.update(_all_ids(name, draft, network))
        ids[position] = name
    return ids


def _all_ids(name: str, draft: Draft, network: Network) -> list[str]:
    """The id as written, and those of its instances."""
    return [name, *(f"{name}-{index}" for index in range(instances_of(draft, network)))]


def _counted(drafts: Sequence[Draft], ids: Sequence[str], network: Network) -> Counted:
    if not network.counts:
        return NONE_COUNTED
    counts = {
        name: instances_of(draft, network)
        for draft, name in zip(drafts, ids, strict=True)
        if name and draft.action in RECORDING and not draft.is_skipped and instances_of(draft, network)
    }
    return Counted(tuple(counts.items()))
