"""`assert`."""

from __future__ import annotations

from patchbay_runner.loader.diagnostics import Report
from patchbay_runner.loader.fields import array, text
from patchbay_runner.loader.node import Node
from patchbay_runner.loader.shapes import FILLED_TEXT, accepts
from patchbay_runner.loader.steps.draft import Built, Table, Use, uses_of_text
from patchbay_runner.model import assertions
from patchbay_runner.model.assertions import Assertion
from patchbay_runner.model.steps import Assert


@accepts(FILLED_TEXT)
def assertion(node: Node, report: Report) -> Assertion | None:
    """One expression."""
    expression = text(node, report)
    if expression is None:
        return None
    try:
        return assertions.parse_assertion(expression)
    except ValueError as error:
        is_shape = "is not an assertion" in str(error)
        report.error(node, str(error), assertions.EXPECTED if is_shape else "")
        return None


assertion_list = array(assertion, "assertions")


def build_assert(table: Table, report: Report) -> Built | None:
    """An `assert` step: `check` first, then `checks`."""
    nodes: list[Node] = []
    checks: list[Assertion] = []
    if "check" in table.values:
        nodes.append(table.at("check"))
        checks.append(table.get("check"))
    if "checks" in table.values:
        nodes += table.at("checks").value
        checks += table.get("checks")
    if not checks:
        if not table.has("check") and (not table.has("checks") or "checks" in table.values):
            report.error(table.node, "assert has nothing to check", '"check" or "checks"')
        return None
    uses: list[Use] = []
    for node, check in zip(nodes, checks, strict=True):
        uses.append(Use("check", check.left, node))
        uses += uses_of_text(check.right, node)
    names = {"eventually": "within_s", "for": "for_s"}
    times = {names[key]: seconds for key, seconds in table.take(*names).items()}
    return Built(Assert(**table.base(), checks=tuple(checks), **times), uses=tuple(uses))
