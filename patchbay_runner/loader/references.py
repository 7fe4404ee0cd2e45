"""Checks between steps: every capture that a step waits for is recorded before, every spawn awaited was started."""

from __future__ import annotations

from collections.abc import Sequence

from patchbay_runner.loader.counts import Part
from patchbay_runner.loader.diagnostics import Report, did_you_mean, one_of, unknown
from patchbay_runner.loader.node import quote
from patchbay_runner.loader.steps.draft import Draft, Use


def check_references(parts: Sequence[Part], absent: Sequence[Draft], report: Report) -> None:
    """`absent` are steps that are skipped, or too wrong to be placed; nothing is said of what they might record."""
    explainer = _Explainer(parts, absent, report)
    recorded: set[str] = set()
    ids: dict[str, Part] = {}
    blocks = _Blocks()
    for position, part in enumerate(parts):
        first = blocks.enter(part)
        if first is not None:
            explainer.parted(part, first)
        recorded.update(blocks.take_ended())
        for use in part.waits:
            if use.name not in recorded:
                explainer.missing(use, position, is_beside=use.name in blocks.recorded)
        blocks.recorded.update(part.records)
        if part.aims_at and (part.aims_at not in ids or ids[part.aims_at].action != "spawn"):
            explainer.not_started(part, position)
        if part.id and ids.setdefault(part.id, part) is not part:
            explainer.duplicate(part, ids[part.id])
    recorded.update(blocks.recorded)
    for part in parts:
        for use in part.reads:
            if use.name not in recorded:
                explainer.unknown_result(use)


class _Blocks:
    """Which steps run at the same time: what they record is there only when all of them have ended."""

    def __init__(self) -> None:
        self.recorded: set[str] = set()
        self._ended: set[str] = set()
        self._name = ""
        self._firsts: dict[str, Part] = {}

    def enter(self, part: Part) -> Part | None:
        """Goes on to a step; the first of its block when another step stands between them."""
        written = part.node.value.get("parallel")
        name = written.value if written is not None and isinstance(written.value, str) else ""
        if name and name == self._name:
            return None
        self._name = name
        self._ended |= self.recorded
        self.recorded = set()
        first = self._firsts.setdefault(name, part) if name else part
        return None if first is part else first

    def take_ended(self) -> set[str]:
        """What is there since the last call."""
        ended, self._ended = self._ended, set()
        return ended


class _Explainer:
    """Finds the words for a reference that does not hold; slow, and only asked when something is wrong."""

    def __init__(self, parts: Sequence[Part], absent: Sequence[Draft], report: Report) -> None:
        self._parts = parts
        self._absent = absent
        self._report = report

    def duplicate(self, part: Part, first: Part) -> None:
        node = part.node.value.get("id", part.node)
        self._report.error(node, f"there is a step {quote(part.id)} already, at {first.node.origin}", "another id")

    def parted(self, part: Part, first: Part) -> None:
        node = part.node.value["parallel"]
        message = f"the steps of {quote(node.value)}, from {first.node.origin} on, do not stand together"
        self._report.error(node, message, "all of them one after the other, or another name")

    def missing(self, use: Use, position: int, *, is_beside: bool) -> None:
        key = use.name
        if is_beside:
            message = f"{quote(key)} is recorded by a step that runs at the same time"
            self._report.error(use.node, message, "a step before them, or a spawn")
            return
        later = next((part for part in self._parts[position:] if key in part.records), None)
        if later is self._parts[position]:
            self._report.error(use.node, f"{quote(key)} is recorded by this very step, which would wait for itself")
        elif later is not None:
            message = f"{quote(key)} is recorded only later, by the step at {later.node.origin}"
            self._report.error(use.node, message, "a step before this one")
        else:
            self._unknown(use)

    def unknown_result(self, use: Use) -> None:
        """A result of a step that is skipped in this variant is left out; one that no step has is wrong."""
        step, _, capture = use.name.rpartition(".")
        skipped = [draft for draft in self._absent if draft.is_skipped and self._may_be(draft, step)]
        if not any(capture in draft.captures or draft.step is None for draft in skipped):
            self._unknown(use)

    def not_started(self, part: Part, position: int) -> None:
        name = part.aims_at
        if self._is_excused(name):
            return
        node = part.node.value.get("id", part.node)
        other = next((other for other in self._parts if other.id == name), None)
        if other is not None and other.action == "spawn":
            message = f"the spawn {quote(name)} starts only later, at {other.node.origin}"
            self._report.error(node, message, "a spawn before this step")
        elif other is not None:
            self._report.error(node, f"{quote(name)} is a {other.action} step, which has ended by then", "a spawn")
        elif self._skipped(name):
            self._report.error(node, f'the spawn {quote(name)} is skipped by its "when"', 'the same "when" here')
        else:
            spawns = [other.id for other in self._parts[:position] if other.action == "spawn" and other.id]
            spawns += [draft.id for draft in self._absent if draft.action == "spawn" and draft.id]
            self._report.error(node, *unknown("spawn", name, spawns))

    def _unknown(self, use: Use) -> None:
        step, _, capture = use.name.rpartition(".")
        if step in ("matrix", "group"):
            self._report_leftover(use, step)
            return
        of_step = [part for part in self._parts if part.id == step]
        if self._is_excused(step):
            return
        if of_step:
            names = [key.rpartition(".")[2] for part in of_step for key in part.records]
            hint = did_you_mean(capture, names)
            message = f"the step {quote(step)} records no {quote(capture)}{hint}"
            self._report.error(use.node, message, "" if hint else one_of(names))
        elif self._skipped(step):
            self._report.error(
                use.node, f'{quote(use.name)} is of a step that is skipped by its "when"', 'the same "when" here'
            )
        else:
            ids = [part.id for part in self._parts if part.id] + [draft.id for draft in self._absent if draft.id]
            hint = did_you_mean(step, ids)
            message = f"{quote(use.name)} is of no step: there is no {quote(step)} that records captures{hint}"
            expected = one_of(ids) if ids else "a step before this one; none records captures"
            self._report.error(use.node, message, "" if hint else expected)

    def _report_leftover(self, use: Use, namespace: str) -> None:
        where = {"matrix": "[matrix] is replaced before groups are", "group": "it is replaced in group steps only"}
        self._report.error(use.node, f"{quote('${' + use.name + '}')} is not replaced here: {where[namespace]}")

    def _skipped(self, step: str) -> bool:
        return any(draft.is_skipped and self._may_be(draft, step) for draft in self._absent)

    def _is_excused(self, step: str) -> bool:
        """Whether a step that is reported as wrong may be the one meant."""
        wrong = [draft for draft in self._absent if draft.step is None and not draft.is_skipped]
        return any(draft.has_unknown_id or self._may_be(draft, step) for draft in wrong)

    @staticmethod
    def _may_be(draft: Draft, step: str) -> bool:
        """Whether `step` is the draft's id, or one of its instances' or its device's."""
        name = draft.id or draft.device
        return bool(name) and (step == name or step.startswith(f"{name}-"))
