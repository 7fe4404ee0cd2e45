"""`use`: steps that take from a template, and calls of a group that become its steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from patchbay_runner.loader.diagnostics import Report, did_you_mean, one_of, unknown
from patchbay_runner.loader.extends import Definition
from patchbay_runner.loader.fields import read_table, require
from patchbay_runner.loader.node import Node, describe, items_of, quote, scalar_text, table_of
from patchbay_runner.loader.steps.compile import canonical, check_keys, is_skipped
from patchbay_runner.loader.substitute import mentions, substitute

# What the call site's value does to the template's, other than replace it.
_JOINED_TABLES = ("env", "captures")
_JOINED_ARRAYS = ("args", "requires")


def flatten(step: Node, definitions: Mapping[str, Definition], values: Mapping[str, str], report: Report) -> list[Node]:
    """The steps that `step` stands for: `${matrix.*}` and `${group.*}` replaced, templates merged, groups expanded.

    No step when the definition that it uses is not there.
    """
    return _Flattening(definitions, values, report).flatten(step)


def mentioned(step: Node, definitions: Mapping[str, Definition]) -> frozenset[str]:
    """The matrix keys that the steps which `step` stands for depend on."""
    used = _reachable(step, definitions)
    return mentions(step, "matrix").union(*(mentions(definition.node, "matrix") for definition in used))


def _reachable(step: Node, definitions: Mapping[str, Definition]) -> list[Definition]:
    """The definitions that a step may come to use; all of them where a placeholder chooses."""
    use = table_of(step).get("use")
    if use is None:
        return []
    if not isinstance(use.value, str) or use.value not in definitions:
        return list(definitions.values())
    definition = definitions[use.value]
    if not definition.is_group:
        return [definition]
    # Groups cannot nest, so what a group's steps use are templates.
    templates = {name: other for name, other in definitions.items() if not other.is_group}
    return [definition, *(used for child in _group_steps(definition) for used in _reachable(child, templates))]


def check_definitions(definitions: Mapping[str, Definition], report: Report) -> None:
    """Checks templates and groups whether or not a step uses them."""
    for definition in definitions.values():
        if not definition.is_group:
            check_keys(definition.node, report, extra=("name", "use", "vars"))
            for key in ("use", "vars"):
                if key in table_of(definition.node):
                    report.error(definition.node.value[key], "a template cannot use another", "the keys themselves")
            continue
        values = read_table(definition.node, {"name": _keep, "step": _keep}, report, "a step group")
        if values is None or not require(definition.node, values, ("step",), report, "a step group"):
            continue
        _check_group(definition, definitions, report)


def _keep(node: Node, report: Report) -> Node:
    _ = report
    return node


def _check_group(definition: Definition, definitions: Mapping[str, Definition], report: Report) -> None:
    steps = definition.node.value["step"]
    if not isinstance(steps.value, tuple):
        report.error(steps, f"found {describe(steps)}", "an array of tables, written [[step-group.step]]")
        return
    for child in steps.value:
        check_keys(child, report, extra=("use", "vars"))
        table = table_of(child)
        if "vars" in table:
            report.error(table["vars"], '"vars" is for calls of a group, and groups cannot nest', 'a template in "use"')
        use = table.get("use")
        if use is not None and isinstance(use.value, str) and "${" not in use.value:
            _check_nested(use, definitions, report)


def _check_nested(use: Node, definitions: Mapping[str, Definition], report: Report) -> None:
    definition = definitions.get(use.value)
    if definition is None:
        report.error(use, *unknown("template or group", use.value, definitions))
    elif definition.is_group:
        report.error(use, f"{quote(use.value)} is a group, and groups cannot nest", "a template")


class _Flattening:
    def __init__(self, definitions: Mapping[str, Definition], values: Mapping[str, str], report: Report) -> None:
        self.definitions = definitions
        self.values = values
        self.report = report

    def flatten(self, step: Node) -> list[Node]:
        node = canonical(substitute(step, "matrix", self.values, self.report), self.report)
        table = table_of(node)
        if "use" not in table:
            if "vars" in table:
                self.report.error(table["vars"], '"vars" needs the name of a group', '"use"')
            return [_without(node, "vars")]
        definition = self.definition(table["use"])
        if definition is None:
            return []
        if definition.is_group:
            if is_skipped(node):
                self.report = Report()  # what a call that is left out lacks is no matter
            return self.group(node, definition)
        if "vars" in table:
            message = f'"vars" is for groups, and {quote(definition.name)} is a template'
            self.report.error(table["vars"], message, "no vars")
        return [self.merge(node, definition, {})]

    def definition(self, use: Node) -> Definition | None:
        if not isinstance(use.value, str):
            self.report.error(use, f"found {describe(use)}", "the name of a template or a group")
            return None
        if use.value not in self.definitions:
            self.report.error(use, *unknown("template or group", use.value, self.definitions))
        return self.definitions.get(use.value)

    def group(self, call: Node, definition: Definition) -> list[Node]:
        """The group's steps; the call's `when` guards all of them."""
        variables = self.variables(call, definition)
        if variables is None:
            return []
        steps = []
        for child in _group_steps(definition):
            replaced = substitute(child, "matrix", self.values, self.report)
            node = self.group_step(
                canonical(substitute(replaced, "group", variables, self.report), self.report), variables
            )
            if node is not None:
                guard = {"when": call.value["when"]} if is_skipped(call) else {}
                steps.append(node.with_value(node.value | guard))
        return steps

    def group_step(self, node: Node, variables: Mapping[str, str]) -> Node | None:
        use = table_of(node).get("use")
        if use is None:
            return _without(node, "vars")
        definition = self.definition(use)
        if definition is None or definition.is_group:
            return None  # the check of the definitions reports nested groups
        return self.merge(node, definition, variables)

    def merge(self, call: Node, definition: Definition, variables: Mapping[str, str]) -> Node:
        """The template with the call site's keys merged over it. In a group, the template may use its variables."""
        template = substitute(definition.node, "matrix", self.values, self.report)
        if variables:
            template = substitute(template, "group", variables, self.report)
        merged = dict(table_of(_without(canonical(template, self.report), "name", "use", "vars")))
        for key, child in table_of(_without(call, "use", "vars")).items():
            given = merged.get(key)
            if given is not None and key == "cmd":
                message = f"the template {quote(definition.name)} says the command"
                self.report.error(child, message, '"args", which are appended')
            else:
                merged[key] = child if given is None else _joined(key, given, child)
        return call.with_value(merged)

    def variables(self, call: Node, definition: Definition) -> dict[str, str] | None:
        """The variables of a call of a group; None when they cannot be read."""
        for key, child in call.value.items():
            if key not in ("use", "vars", "when"):
                self.report.error(child, f"{quote(key)} says nothing to a call of a group", '"vars" or "when"')
        given = call.value.get("vars", call.with_value({}))
        if not isinstance(given.value, dict):
            self.report.error(given, f"found {describe(given)}", 'a table such as { device = "relay" }')
            return None
        before = len(self.report.errors)
        wanted = _variables(_reachable(call, self.definitions))
        for name, child in given.value.items():
            if name not in wanted:
                hint = did_you_mean(name, wanted)
                message = f"the group {quote(definition.name)} has no variable {quote(name)}{hint}"
                self.report.error(child, message, "" if hint else one_of(wanted))
            elif not isinstance(child.value, str | int | float):
                self.report.error(child, f"found {describe(child)}", "a string, a number or a boolean")
        for name in _variables(_certain(definition, self.definitions)):
            if name not in given.value:
                message = f"the group {quote(definition.name)} needs the variable {quote(name)}"
                self.report.error(given, message, f'"{name}" in "vars"')
        if len(self.report.errors) > before:
            return None
        return {name: scalar_text(child.value) for name, child in given.value.items()}


def _variables(definitions: Iterable[Definition]) -> list[str]:
    """The variables of a group that definitions mention."""
    return sorted(frozenset().union(*(mentions(definition.node, "group") for definition in definitions)))


def _certain(group: Definition, definitions: Mapping[str, Definition]) -> list[Definition]:
    """The group and the templates that it uses whatever its variables are."""
    uses = [table_of(child)["use"].value for child in _group_steps(group) if "use" in table_of(child)]
    return [group, *(definitions[use] for use in uses if isinstance(use, str) and use in definitions)]


def _joined(key: str, given: Node, child: Node) -> Node:
    if key in _JOINED_TABLES and isinstance(given.value, dict) and isinstance(child.value, dict):
        return child.with_value(given.value | child.value)
    if key in _JOINED_ARRAYS and isinstance(given.value, tuple) and isinstance(child.value, tuple):
        return child.with_value(given.value + child.value)
    return child


def _group_steps(definition: Definition) -> tuple[Node, ...]:
    if not definition.is_group:
        return ()
    return tuple(child for child in items_of(table_of(definition.node).get("step")) if isinstance(child.value, dict))


def _without(node: Node, *keys: str) -> Node:
    table = table_of(node)
    if not any(key in table for key in keys):
        return node
    return node.with_value({key: child for key, child in table.items() if key not in keys})
