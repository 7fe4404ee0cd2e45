"""References in a step's texts, replaced by what they mean now."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from patchbay_runner.errors import StepError, StepTimeout
from patchbay_runner.executor.captures import CaptureStore
from patchbay_runner.model.interpolation import (
    BinaryRef,
    CaptureRef,
    Literal,
    Token,
    Variable,
    is_lab_variable,
    tokenize,
)


class Resolver:
    """Resolves the texts of one step. Waits for captures until `deadline_s` on the loop's clock."""

    def __init__(
        self, variables: Mapping[str, str], binaries: Mapping[str, str], captures: CaptureStore, timeout_s: float
    ) -> None:
        self._variables = variables
        self._binaries = binaries
        self._captures = captures
        self.timeout_s = timeout_s
        self.deadline_s = asyncio.get_running_loop().time() + timeout_s

    async def text(self, text: str) -> str:
        """Raises CaptureMissing, StepTimeout, or StepError for an unknown variable or binary."""
        if "$" not in text:
            return text
        return "".join([await self._token(token) for token in tokenize(text)])

    async def command(self, arguments: Sequence[str]) -> list[str]:
        """The resolved arguments. A `--flag` and the value after it are dropped when the value resolved to nothing."""
        resolved: list[str] = []
        for argument in arguments:
            value = await self.text(argument)
            if value == "" and argument != "" and resolved and _is_flag(resolved[-1]):
                resolved.pop()
                continue
            resolved.append(value)
        return resolved

    async def mapping(self, texts: Mapping[str, str]) -> dict[str, str]:
        """The same keys with resolved values."""
        return {key: await self.text(text) for key, text in texts.items()}

    async def capture(self, key: str, count: int = 1) -> str:
        """The newest value of a capture, once it was recorded `count` times."""
        latest = self._captures.latest(key)
        if latest is not None and self._captures.count(key) >= count:
            return latest
        try:
            async with asyncio.timeout_at(self.deadline_s) as limit:
                return await self._captures.wait(key, count)
        except TimeoutError as error:
            if not limit.expired():
                raise
            output = self._captures.last_lines(key)
            how_often = f" {count} times" if count > 1 else ""
            message = f"{key} was not captured{how_often} within {self.timeout_s:g} s"
            raise StepTimeout(message, output) from error

    def known_text(self, text: str) -> str | None:
        """The text as it resolves now; None while a capture in it has no value. Raises StepError as `text` does."""
        if "$" not in text:
            return text
        parts = [self._known(token) for token in tokenize(text)]
        return None if None in parts else "".join(part for part in parts if part is not None)

    def _known(self, token: Token) -> str | None:
        match token:
            case Literal(text):
                return text
            case Variable(name):
                return self._variable(name)
            case BinaryRef(name):
                return self._binary(name)
            case CaptureRef(key):
                return self._captures.latest(key)

    async def _token(self, token: Token) -> str:
        if isinstance(token, CaptureRef):
            await self.capture(token.key)
        known = self._known(token)
        assert known is not None
        return known

    def _variable(self, name: str) -> str:
        for spelling in (name, name.upper()):
            if spelling in self._variables:
                return self._variables[spelling]
        if is_lab_variable(name):
            raise StepError(f"unknown variable ${name}{_nearest(name.upper(), self._variables)}")
        return f"${name}"

    def _binary(self, name: str) -> str:
        path = self._binaries.get(name)
        if path is None:
            raise StepError(f"unknown binary ${{binary.{name}}}{_nearest(name, self._binaries)}")
        return path


def _is_flag(argument: str) -> bool:
    return argument.startswith("--") and len(argument) > 2 and "=" not in argument


def _nearest(name: str, names: Mapping[str, str]) -> str:
    close = get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]}?" if close else ""
