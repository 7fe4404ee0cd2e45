"""`assert`: captures compared with what they should be."""

from __future__ import annotations

from patchbay_runner.errors import AssertionFailed
from patchbay_runner.executor.comparing import compare, cut, explain
from patchbay_runner.executor.interpolation import Resolver
from patchbay_runner.executor.session import Session
from patchbay_runner.executor.watching import Watch
from patchbay_runner.model.assertions import Assertion
from patchbay_runner.model.steps import Assert


async def assert_(session: Session, step: Assert, resolver: Resolver) -> None:
    """Fails on the first check that does not hold."""
    if step.within_s is not None:
        await Watch(session, step, resolver).outcome()
        return
    for check in step.checks:
        left = await resolver.capture(check.left)
        right = await resolver.text(check.right)
        if not step.for_s:
            _judge(session, check, left, right)
    if step.for_s:
        await Watch(session, step, resolver).outcome()


def _judge(session: Session, check: Assertion, left: str, right: str) -> None:
    """Tells how a check came out. Raises AssertionFailed when it does not hold."""
    holds = compare(check, left, right)
    session.recorder.emit(
        "assertion_passed" if holds else "assertion_failed",
        check=str(check),
        value=cut(left),
        expected=cut(right),
    )
    if not holds:
        raise AssertionFailed(explain(check, right, session.captures.value(check.left)))
