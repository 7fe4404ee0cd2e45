"""Log records as a person reads them: the console format of tracing-subscriber, for every logger. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from patchbay_runner.parsers.logrecords import Fields, Level, LogRecord, Span

_RESET = "\x1b[0m"
_DIM, _BOLD, _ITALIC = "\x1b[2m", "\x1b[1m", "\x1b[3m"
_COLOURS = {
    Level.TRACE: "\x1b[35m",
    Level.DEBUG: "\x1b[34m",
    Level.INFO: "\x1b[32m",
    Level.WARN: "\x1b[33m",
    Level.ERROR: "\x1b[31m",
    Level.FATAL: "\x1b[1;31m",
}
# What a terminal would act on. Newlines are treated where they occur.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_NEEDS_QUOTES = re.compile(r"[\s\"'={},]|^$")
_CONTINUED = "    "


class LogFormatter:
    """Renders records, with colours or without."""

    def __init__(self, *, has_colours: bool) -> None:
        self._has_colours = has_colours

    def render(self, record: LogRecord) -> str:
        """One line, and further ones where the message or a field holds several; the last without a newline."""
        head, *rest = (_clean(line) for line in record.message.split("\n"))
        short = [(key, value) for key, value in record.fields if not _is_long(value)]
        parts = [
            self._styled(_DIM, _one_line(record.time)),
            self._level(record),
            self._spans(record.spans),
            self._styled(_DIM, f"{_one_line(record.target)}:") if record.target else "",
            head,
            self._fields(short, " "),
        ]
        blocks = [line for key, value in record.fields if _is_long(value) for line in self._block(key, value)]
        return "\n".join([" ".join(filter(None, parts)), *(_CONTINUED + line for line in [*rest, *blocks])])

    def _level(self, record: LogRecord) -> str:
        text = _one_line(record.level_text)
        colour = _COLOURS[record.level] if record.level is not None else _BOLD
        return self._styled(colour, f"{text:>5}") if text else ""

    def _spans(self, spans: Iterable[Span]) -> str:
        """As `outer{key=value}:inner:`."""
        found = []
        for span in spans:
            fields = f"{{{self._fields(span.fields, ' ')}}}" if span.fields else ""
            found.append(self._styled(_BOLD, _one_line(span.name)) + fields + self._styled(_DIM, ":"))
        return "".join(found)

    def _fields(self, fields: Iterable[tuple[str, Any]] | Fields, separator: str) -> str:
        return separator.join(
            self._styled(_ITALIC, _one_line(key)) + self._styled(_DIM, "=") + _value(value) for key, value in fields
        )

    def _block(self, key: str, value: str) -> list[str]:
        return [self._styled(_ITALIC, f"{_one_line(key)}:"), *(_clean(line) for line in value.rstrip("\n").split("\n"))]

    def _styled(self, style: str, text: str) -> str:
        return f"{style}{text}{_RESET}" if self._has_colours and text else text


def _is_long(value: Any) -> bool:
    """Whether it takes lines of its own, as tracebacks do."""
    return isinstance(value, str) and "\n" in value.rstrip("\n")


def _value(value: Any) -> str:
    if isinstance(value, str) and not _NEEDS_QUOTES.search(value):
        return _clean(value)
    return _clean(msgspec.json.encode(value).decode())


def _one_line(text: str) -> str:
    return text if text.isprintable() else _clean(text.replace("\n", "\\n"))


def _clean(text: str) -> str:
    """`text` with control characters shown, not obeyed."""
    if text.isprintable():  # nearly always, and quickly told
        return text
    return _CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
