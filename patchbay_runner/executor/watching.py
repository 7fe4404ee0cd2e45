"""Assertions over time: `eventually` and `for`."""

from __future__ import annotations

import asyncio

from patchbay_runner.errors import AssertionFailed, StepError
from patchbay_runner.executor.comparing import cut, explain, holds_now
from patchbay_runner.executor.interpolation import Resolver
from patchbay_runner.executor.session import Session
from patchbay_runner.model.assertions import Assertion
from patchbay_runner.model.interpolation import CaptureRef, tokenize
from patchbay_runner.model.steps import Assert


class Watch:
    """An assertion that is looked at again after every captured value, until it is decided."""

    def __init__(self, session: Session, step: Assert, resolver: Resolver) -> None:
        self._session = session
        self._step = step
        self._resolver = resolver
        self._loop = asyncio.get_running_loop()
        self._decided: asyncio.Future[None] = self._loop.create_future()
        self._can_begin = True
        self._lasting: asyncio.TimerHandle | None = None

    async def outcome(self) -> None:
        """Returns when the assertion has held for as long as asked. Raises StepError when it will not."""
        begin = self._loop.call_later(self._step.within_s or 0.0, self._too_late)
        try:
            with self._session.captures.watching(self._look):
                self._look()
                await self._decided
        finally:
            begin.cancel()
            self._break()
        for check in self._step.checks:
            fields = {"value": self._left(check), "expected": self._right(check)}
            self._session.recorder.emit(
                "assertion_passed", check=str(check), **{name: cut(text or "") for name, text in fields.items()}
            )

    def _look(self) -> None:
        if self._decided.done():
            return
        try:
            failing = self._failing()
        except StepError as error:
            self._decided.set_exception(error)
            return
        if failing is None:
            if self._lasting is None:
                self._lasting = self._loop.call_later(self._step.for_s, self._pass)
            if not self._step.for_s:
                self._pass()
            return
        self._break()
        if not self._can_begin or self._step.within_s is None:
            self._fail(failing)

    def _failing(self) -> Assertion | None:
        """The first check that does not hold now."""
        for check in self._step.checks:
            left, right = self._left(check), self._right(check)
            if left is None or right is None:
                self._raise_if_missing(check)
                return check
            if not holds_now(check, left, right):
                return check
        return None

    def _raise_if_missing(self, check: Assertion) -> None:
        captures = self._session.captures
        for key in _keys(check):
            missing = captures.missing(key) if captures.latest(key) is None else None
            if missing is not None:
                raise missing

    def _left(self, check: Assertion) -> str | None:
        return self._session.captures.latest(check.left)

    def _right(self, check: Assertion) -> str | None:
        return self._resolver.known_text(check.right)

    def _pass(self) -> None:
        if not self._decided.done():
            self._decided.set_result(None)

    def _too_late(self) -> None:
        self._can_begin = False
        if self._step.within_s is not None and self._lasting is None:
            self._look()

    def _break(self) -> None:
        if self._lasting is not None:
            self._lasting.cancel()
            self._lasting = None

    def _fail(self, check: Assertion) -> None:
        left, right = self._left(check), self._right(check)
        self._session.recorder.emit(
            "assertion_failed", check=str(check), value=cut(left or ""), expected=cut(right or "")
        )
        if left is None or right is None:
            absent = next(key for key in _keys(check) if self._is_absent(key))
            explanation = f"assertion failed: {check}\n  {absent} was not captured"
        else:
            explanation = explain(check, right, self._session.captures.value(check.left))
        self._decided.set_exception(AssertionFailed(explanation + _asked(self._step)))

    def _is_absent(self, key: str) -> bool:
        return self._session.captures.latest(key) is None


def _keys(check: Assertion) -> list[str]:
    """The captures that a check reads."""
    return [check.left, *(token.key for token in tokenize(check.right) if isinstance(token, CaptureRef))]


def _asked(step: Assert) -> str:
    within = f" within {step.within_s:g} s" if step.within_s is not None else ""
    lasting = f" for {step.for_s:g} s" if step.for_s else ""
    return f"\n  it had to hold{within}{lasting}"
